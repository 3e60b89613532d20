//! One stream, followed entry by entry: each must go on at the very byte
//! where the one before it stopped.

use std::collections::BTreeMap;

use butler::ledger::DropReason;
use butler::proto::logpb::{LogEntry, log_entry};
use butler::wire::descriptor::StreamType;

use crate::expected::Expected;
use crate::world::Opened;

/// A stream, as it should be and as it came.
pub struct Followed<'a> {
    pub opened: &'a Opened,
    pub stream_type: StreamType,
    pub expected: Expected,
    pub lost: BTreeMap<u64, (LogEntry, DropReason)>,
    /// Stream index and place in the content that come next.
    pub next: u64,
    at: usize,
    /// Datagrams begun, and whether the last goes on.
    datagrams: usize,
    in_datagram: bool,
    pub delivered: u64,
    pub dropped: BTreeMap<DropReason, u64>,
    /// Its end was never sent.
    pub is_cut: bool,
}

/// What is wrong at a place of a stream.
pub struct Wrong {
    pub at: usize,
    pub got: Vec<u8>,
    pub what: String,
}

impl<'a> Followed<'a> {
    /// From its beginning.
    pub fn new(opened: &'a Opened, stream_type: StreamType, expected: Expected) -> Self {
        Self {
            opened,
            stream_type,
            expected,
            lost: BTreeMap::new(),
            next: 0,
            at: 0,
            datagrams: 0,
            in_datagram: false,
            delivered: 0,
            dropped: BTreeMap::new(),
            is_cut: false,
        }
    }

    /// Takes an entry that came.
    pub fn take_received(&mut self, log: &LogEntry) -> Result<(), Wrong> {
        self.take_lost()?;
        let wrong = |what: String| Wrong {
            at: self.at,
            got: content(log),
            what,
        };
        let (next, got) = (self.next, log.stream_index);
        if got < next {
            return Err(wrong(format!("entry {got} came again")));
        }
        if got > next {
            return Err(wrong(format!("entry {next} is missing, {got} comes next")));
        }
        self.delivered += self.take(log)?;
        Ok(())
    }

    /// Takes those that are reported as lost and come next.
    fn take_lost(&mut self) -> Result<(), Wrong> {
        while let Some((log, reason)) = self.lost.remove(&self.next) {
            *self.dropped.entry(reason).or_default() += self.take(&log)?;
        }
        Ok(())
    }

    /// Whether what has not come is lost: all behind the last one that came, for
    /// that reason.
    pub fn take_end(&mut self, tail: Option<DropReason>) -> Result<(), Wrong> {
        self.take_lost()?;
        let missing = self.expected.content.len() - self.at;
        let datagrams = self.expected.datagrams.len() - self.datagrams;
        if missing == 0 && datagrams == 0 && self.lost.is_empty() {
            return Ok(());
        }
        let Some(reason) = tail.filter(|_| self.lost.is_empty()) else {
            let what = format!("its last {missing} bytes, {datagrams} datagrams are missing");
            return Err(Wrong {
                at: self.at,
                got: Vec::new(),
                what,
            });
        };
        self.is_cut = true;
        let sizes = &self.expected.datagrams[self.datagrams..];
        let sizes: usize = sizes.iter().map(|(_, size)| size).sum();
        let bytes = self.expected.client_bytes(self.at, missing, None);
        *self.dropped.entry(reason).or_default() += bytes + sizes as u64;
        Ok(())
    }

    /// Compares an entry with what must come; returns the bytes of the client
    /// that it stands for.
    fn take(&mut self, log: &LogEntry) -> Result<u64, Wrong> {
        let got = content(log);
        let rest = &self.expected.content[self.at..];
        let same = rest.iter().zip(&got).take_while(|(a, b)| a == b).count();
        if same < got.len() {
            return Err(Wrong {
                at: self.at + same,
                got: got[same..].to_vec(),
                what: "other bytes".into(),
            });
        }
        let mut begins = None;
        if let Some(log_entry::Content::Datagram(datagram)) = &log.content {
            if !self.in_datagram && self.datagrams == self.expected.datagrams.len() {
                return Err(Wrong {
                    at: self.at,
                    got,
                    what: "a datagram too many".into(),
                });
            }
            begins = (!self.in_datagram).then_some(self.datagrams);
            self.datagrams += usize::from(!self.in_datagram);
            self.in_datagram = datagram.partial.as_ref().is_some_and(|it| !it.last);
        }
        let bytes = self.expected.client_bytes(self.at, got.len(), begins);
        self.at += got.len();
        self.next += 1;
        self.check_cut(log)?;
        Ok(bytes)
    }

    /// A part of a line ends neither in a character nor between `\r` and `\n`.
    fn check_cut(&self, log: &LogEntry) -> Result<(), Wrong> {
        let Some(log_entry::Content::Text(text)) = &log.content else {
            return Ok(());
        };
        let is_part = text.lines.last().is_some_and(|it| it.delimiter.is_empty());
        let (before, after) = self.expected.content.split_at(self.at);
        let after = &after[..after.len().min(3)];
        let in_crlf = before.ends_with(b"\r") && after.starts_with(b"\n");
        let in_char = (1..=before.len().min(3)).any(|len| {
            let around = [&before[before.len() - len..], after].concat();
            let valid = match std::str::from_utf8(&around) {
                Ok(text) => text,
                Err(error) => {
                    std::str::from_utf8(&around[..error.valid_up_to()]).unwrap_or_default()
                }
            };
            valid.chars().next().is_some_and(|it| it.len_utf8() > len)
        });
        // At the size limit the line gets an end of ours.
        let at_limit = self.at as u64 >= self.expected.kept;
        if is_part && !at_limit && (in_crlf || in_char) {
            return Err(Wrong {
                at: self.at,
                got: after.to_vec(),
                what: "a cut that must not be".into(),
            });
        }
        Ok(())
    }
}

/// An entry's content in one.
fn content(log: &LogEntry) -> Vec<u8> {
    match &log.content {
        Some(log_entry::Content::Text(text)) => {
            let lines = text.lines.iter();
            lines
                .flat_map(|line| [&line.value[..], line.delimiter.as_bytes()].concat())
                .collect()
        }
        Some(log_entry::Content::Binary(binary)) => binary.data.to_vec(),
        Some(log_entry::Content::Datagram(datagram)) => datagram.data.to_vec(),
        None => Vec::new(),
    }
}
