//! Goes through the records of a segment, whatever became of it.

use std::io::{self, Read, Seek};

use memchr::memmem::Finder;

use super::record::{HEAD, Head, Part, Record};
use super::window::Window;

/// What is searched at a time for the next record.
const SEARCHED: usize = 256 * 1024;

/// Where somebody is in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walk {
    marker: u64,
    at: u64,
    index: u32,
}

/// What is next in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A record. Its body was not looked at.
    Record(Record),
    /// Bytes that are no record.
    Lost(Lost),
}

/// Bytes of a segment that once were records, or were to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Where they begin.
    pub at: u64,
    /// How many they are.
    pub len: u64,
    /// The index of the first record in them.
    pub index: u32,
    /// How many records they were, if that is known.
    pub records: Option<u32>,
    /// What they are.
    pub why: Why,
    /// What was in them, if that is known.
    pub streams: Vec<Part>,
}

/// What lost bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The end of what was being written when somebody was killed, or the power
    /// failed.
    Cut,
    /// They are not what was written.
    Damaged,
}

impl Lost {
    /// All of a record whose body is bad.
    pub fn of(record: Record) -> Self {
        Self {
            at: record.at,
            len: record.end() - record.at,
            index: record.index,
            records: Some(1),
            why: Why::Damaged,
            streams: record.manifest.streams,
        }
    }
}

impl Walk {
    /// At the first record of the segment with that marker, whose header has
    /// `header_len` bytes.
    pub fn new(marker: u64, header_len: u64) -> Self {
        Self {
            marker,
            at: header_len,
            index: 0,
        }
    }

    /// The index that the next record should have: so many there were before it.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Where the next record should begin.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// What is next in `file`, which has `end` bytes; `None`: nothing.
    ///
    /// # Errors
    ///
    /// If the file can't be read. The place stays what it was.
    pub fn next(
        &mut self,
        file: &mut (impl Read + Seek),
        end: u64,
        window: &mut Window,
    ) -> io::Result<Option<Found>> {
        if self.at >= end {
            return Ok(None);
        }
        let found = match self.record_at(file, self.at, end, window)? {
            Some(record) if record.index == self.index => record,
            _ => match self.search(file, end, window)? {
                None => return Ok(Some(self.cut(end, Vec::new()))),
                Some(next) => {
                    let lost = Lost {
                        at: self.at,
                        len: next.at - self.at,
                        index: self.index,
                        records: Some(next.index - self.index),
                        why: Why::Damaged,
                        streams: Vec::new(),
                    };
                    (self.at, self.index) = (next.at, next.index);
                    return Ok(Some(Found::Lost(lost)));
                }
            },
        };
        if found.end() > end {
            return Ok(Some(self.cut(end, found.manifest.streams)));
        }
        self.pass(&found);
        Ok(Some(Found::Record(found)))
    }

    /// Goes on behind a record that is known to be next.
    pub fn pass(&mut self, record: &Record) {
        (self.at, self.index) = (record.end(), record.index.saturating_add(1));
    }

    /// Goes on there, where the record of that index is or will be.
    pub fn pass_to(&mut self, at: u64, index: u32) {
        (self.at, self.index) = (at, index);
    }

    /// Nothing follows any more.
    fn cut(&mut self, end: u64, streams: Vec<Part>) -> Found {
        let lost = Lost {
            at: self.at,
            len: end - self.at,
            index: self.index,
            records: (!streams.is_empty()).then_some(1),
            why: Why::Cut,
            streams,
        };
        self.at = end;
        Found::Lost(lost)
    }

    /// The record at that place, if one begins there.
    fn record_at(
        &self,
        file: &mut (impl Read + Seek),
        at: u64,
        end: u64,
        window: &mut Window,
    ) -> io::Result<Option<Record>> {
        let Some(head) = Head::parse(window.get(file, at, HEAD, end)?, self.marker) else {
            return Ok(None);
        };
        let bytes = window.get(file, at, head.len(), end)?;
        Ok(head.record(at, bytes))
    }

    /// The next record that was not there before.
    fn search(
        &self,
        file: &mut (impl Read + Seek),
        end: u64,
        window: &mut Window,
    ) -> io::Result<Option<Record>> {
        let marker = self.marker.to_le_bytes();
        let finder = Finder::new(&marker);
        let mut at = self.at;
        while at + (HEAD as u64) <= end {
            let bytes = window.get(file, at, SEARCHED, end)?;
            let Some(found) = finder.find(bytes) else {
                if bytes.len() < marker.len() {
                    // The file has become shorter.
                    return Ok(None);
                }
                // The marker may begin in the last bytes.
                at += (bytes.len() - (marker.len() - 1)) as u64;
                continue;
            };
            at += found as u64;
            match self.record_at(file, at, end, window)? {
                Some(record) if record.index >= self.index => return Ok(Some(record)),
                _ => at += 1,
            }
        }
        Ok(None)
    }
}
