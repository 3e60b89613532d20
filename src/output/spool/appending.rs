//! How messages come into the spool.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use rustix::io::Errno;

use super::acks::write_all;
use super::place::segment_name;
use super::segment::Segment;
use super::{AppendError, OWN, Store, manifest_of};
use crate::delivery::gather::Gather;
use crate::delivery::message::Message;
use crate::edge::io::Io;
use crate::edge::writer::io_slices;
use crate::output::write::Progress;
use crate::spool::{Header, Manifest, RecordId, Sums, begin_head, seal_head};

/// How often a number may be taken that nobody has told of.
const CREATE_ATTEMPTS: u32 = 16;

/// Memory that is reused.
#[derive(Debug, Default)]
pub(super) struct Appending {
    gather: Gather,
    head: Vec<u8>,
    heads: BytesMut,
    /// All of a record.
    pieces: Vec<Bytes>,
}

impl<D: 'static> Store<D> {
    /// Puts a message behind all others of this run. `under_way`: it is sent from
    /// memory, so [`next_own`](Store::next_own) does not give it; to be said only
    /// when nothing is before it ([`has_own`](Store::has_own)).
    ///
    /// # Errors
    ///
    /// Nothing of it counts as written then, and it can be tried again.
    pub fn append<I: Io<Fd = D>>(
        &mut self,
        io: &mut I,
        now_ns: u64,
        message: &Message,
        under_way: bool,
    ) -> Result<RecordId, AppendError> {
        assert!(!under_way || !self.has_own(), "something is before it");
        self.appending.gather.body(message);
        let body = self.appending.gather.pieces();
        let sums = Sums::of(body.iter().map(|piece| &piece[..]));
        let manifest = manifest_of(message);
        let appended = self.append_body(io, &manifest, sums);
        self.appending.gather.clear();
        self.appending.pieces.clear();
        if let Ok(record) = &appended {
            self.syncing.appended(now_ns);
            if under_way {
                self.pass_last(*record);
            }
        }
        appended
    }

    fn append_body<I: Io<Fd = D>>(
        &mut self,
        io: &mut I,
        manifest: &Manifest,
        body: Sums,
    ) -> Result<RecordId, AppendError> {
        let head = &mut self.appending.head;
        begin_head(head, manifest, body);
        let len = head.len() as u64 + u64::from(body.len);
        self.make_room(io, len)?;
        let (marker, index) = self.segment_for(io, len).map_err(append_error)?;
        let appending = &mut self.appending;
        seal_head(&mut appending.head, marker, index);
        appending.heads.put_slice(&appending.head);
        appending.pieces.clear();
        appending.pieces.push(appending.heads.split().freeze());
        appending
            .pieces
            .extend_from_slice(appending.gather.pieces());
        let segment = self.own.segments.back_mut().expect("it was just made");
        let file = segment.file.as_ref().expect("one that is open has a file");
        Progress::default()
            .write(&appending.pieces, |slices, done| {
                let written = io.write_at(file, &io_slices(slices), segment.end + done);
                Ok(written?)
            })
            .map_err(AppendError::Io)?;
        segment.end += len;
        segment.appended += 1;
        self.used += len;
        Ok(RecordId {
            segment: segment.number,
            index,
        })
    }

    /// Sees to it that so many bytes more are not too many.
    fn make_room<I: Io<Fd = D>>(&mut self, io: &mut I, len: u64) -> Result<(), AppendError> {
        let max = self.settings.max_bytes;
        if self.used + len <= max {
            return Ok(());
        }
        // All of what is appended to may be done.
        let last = self.own.segments.back_mut();
        if let Some(last) = last.filter(|last| last.is_open && last.is_all_done()) {
            last.is_open = false;
        }
        self.sweep(io);
        match self.used + len <= max {
            true => Ok(()),
            false => Err(AppendError::Full),
        }
    }

    /// Marker and index for the next record, which goes into the last segment.
    fn segment_for<I: Io<Fd = D>>(&mut self, io: &mut I, len: u64) -> Result<(u64, u32), Errno> {
        let max = self.settings.segment_max();
        if let Some(last) = self.own.segments.back_mut().filter(|last| last.is_open) {
            if last.appended == 0 || last.end + len <= max {
                return Ok((last.marker, last.appended));
            }
            last.is_open = false;
        }
        let header = Header::new(self.runs[OWN].header.clone());
        let bytes = header.encode();
        for _ in 0..CREATE_ATTEMPTS {
            let number = self.next_number;
            let name = segment_name(number);
            let file = match self.place.create(io, &name) {
                // What has that name is not ours to change.
                Err(Errno::EXIST) => {
                    self.next_number = number.checked_add(1).ok_or(Errno::OVERFLOW)?;
                    continue;
                }
                created => created?,
            };
            if let Err(errno) = write_all(io, &file, &bytes, 0) {
                // What stays is empty, or damaged before it had anything.
                let _ = self.place.remove(io, &name);
                return Err(errno);
            }
            self.next_number = number.checked_add(1).ok_or(Errno::OVERFLOW)?;
            self.used += bytes.len() as u64;
            self.syncing.directory_changed = true;
            let begun = Segment::begun(number, header.marker, bytes, file);
            self.own.segments.push_back(begun);
            return Ok((header.marker, 0));
        }
        Err(Errno::EXIST)
    }

    /// The last record is not given to be sent.
    fn pass_last(&mut self, record: RecordId) {
        let last = self.own.segments.back_mut().expect("the record is there");
        last.walk.pass_to(last.end, record.index + 1);
    }
}

fn append_error(errno: Errno) -> AppendError {
    AppendError::Io(io::Error::from(errno))
}
