//! A segment of the spool, and how far it is sent.

use std::io::{self, Read, Seek};

use rustix::io::Errno;

use super::place::{Place, segment_name};
use crate::edge::files::{Files, Reader};
use crate::proto::spool::SpoolRun;
use crate::secret::Secret;
use crate::spool::{Found, Header, HeaderError, Ranges, Walk, Why, Window};

/// See the module.
#[derive(Debug)]
pub(super) struct Segment<D> {
    pub number: u32,
    /// Whose it is, by its place among the runs.
    pub run: usize,
    pub marker: u64,
    /// As it stands in the file: there is a secret in it.
    pub header: Secret,
    /// Bytes in it. Of one that is appended to, what may stand behind is of a
    /// write that failed.
    pub end: u64,
    /// Records are still appended.
    pub is_open: bool,
    /// Records that we have appended.
    pub appended: u32,
    /// At what is to be sent next.
    pub walk: Walk,
    /// Records that nobody sends any more, those that are lost among them.
    pub done: Ranges,
    /// Something in it is not what was written.
    pub damaged: bool,
    /// Something in it can't be read: perhaps another butler can.
    pub unreadable: bool,
    /// It is open while it is read, and until it is synced.
    pub file: Option<D>,
    /// Bytes that outlive the machine.
    pub synced: u64,
    /// A sync has failed: nobody knows what is on the disk.
    pub is_doubtful: bool,
    /// A sync of it is under way.
    pub is_syncing: bool,
}

/// What was found under the name of a segment.
pub(super) enum Opened<D> {
    Segment(Box<(Segment<D>, SpoolRun)>),
    /// Nothing was written to it.
    Empty,
    /// It is none, or its header is damaged.
    Corrupt,
    Newer(u32),
}

impl<D: 'static> Segment<D> {
    /// A new one, whose header is written.
    pub fn begun(number: u32, marker: u64, header: Vec<u8>, file: D) -> Self {
        let header_len = header.len() as u64;
        Self {
            number,
            run: 0,
            marker,
            header: Secret::new(header),
            end: header_len,
            is_open: true,
            appended: 0,
            walk: Walk::new(marker, header_len),
            done: Ranges::default(),
            damaged: false,
            unreadable: false,
            file: Some(file),
            synced: 0,
            is_doubtful: false,
            is_syncing: false,
        }
    }

    /// One of an earlier butler.
    pub fn open<F: Files<Fd = D>>(
        io: &mut F,
        place: &Place<D>,
        number: u32,
    ) -> io::Result<Opened<D>> {
        let (file, len) = match place.open_file(io, &segment_name(number)) {
            // A link, a directory, a FIFO or whatever else somebody put there.
            Err(Errno::LOOP | Errno::ISDIR | Errno::NXIO) => return Ok(Opened::Corrupt),
            opened => opened?,
        };
        if len == 0 {
            return Ok(Opened::Empty);
        }
        Ok(match Header::read(Reader::new(io, &file))? {
            Ok((header, bytes)) => {
                let begun = Self::begun(number, header.marker, bytes, file);
                let segment = Self {
                    end: len,
                    is_open: false,
                    file: None,
                    synced: 0,
                    ..begun
                };
                Opened::Segment(Box::new((segment, header.run)))
            }
            Err(HeaderError::Newer(version)) => Opened::Newer(version),
            Err(HeaderError::Damaged) => Opened::Corrupt,
        })
    }

    /// Where its first record begins.
    fn header_len(&self) -> u64 {
        self.header.expose().len() as u64
    }

    /// At its first record again.
    pub fn beginning(&self) -> Walk {
        Walk::new(self.marker, self.header_len())
    }

    /// Is there something in it that was not looked at?
    pub fn has_unsent(&self) -> bool {
        self.walk.at() < self.end
    }

    /// Does nobody need what is in it so far?
    pub fn is_all_done(&self) -> bool {
        !self.has_unsent() && !self.unreadable && self.done.has_all_below(self.walk.index())
    }

    /// Does nobody need it any more?
    pub fn is_over(&self) -> bool {
        !self.is_open && self.is_all_done()
    }

    /// Its file, opened if it is not.
    pub fn file<F: Files<Fd = D>>(&mut self, io: &mut F, place: &Place<D>) -> Result<&D, Errno> {
        match &mut self.file {
            Some(file) => Ok(file),
            closed => {
                let (file, _) = place.open_file(io, &segment_name(self.number))?;
                Ok(closed.insert(file))
            }
        }
    }

    /// Would all that is in it outlive the machine?
    pub fn is_synced(&self) -> bool {
        !self.is_doubtful && self.synced >= self.end
    }

    /// Closes it, unless it is written to or being synced, or we have written to it and are to hear
    /// whether that has reached the disk.
    pub fn close(&mut self) {
        let is_needed = self.is_open || self.is_syncing;
        if !is_needed && (self.appended == 0 || self.is_synced()) {
            self.file = None;
        }
    }

    /// What is next for somebody who is there in it.
    pub fn next<F: Files<Fd = D>>(
        &mut self,
        io: &mut F,
        place: &Place<D>,
        walk: &mut Walk,
        window: &mut Window,
    ) -> io::Result<Option<Found>> {
        self.file(io, place)?;
        match &self.file {
            Some(file) => self.next_in(&mut Reader::new(io, file), walk, window),
            None => Ok(None),
        }
    }

    /// The same in that file.
    pub fn next_in(
        &self,
        file: &mut (impl Read + Seek),
        walk: &mut Walk,
        window: &mut Window,
    ) -> io::Result<Option<Found>> {
        let mut found = walk.next(file, self.end, window)?;
        // Of its own records the butler knows how many there were.
        if let Some(Found::Lost(lost)) = &mut found
            && lost.why == Why::Cut
            && lost.index < self.appended
        {
            (lost.why, lost.records) = (Why::Damaged, Some(self.appended - lost.index));
            walk.pass_to(self.end, self.appended);
        }
        Ok(found)
    }
}
