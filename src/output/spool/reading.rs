//! How messages come back from the spool.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rustix::io::Errno;

use super::place::{Place, segment_name};
use super::segment::Segment;
use super::{Owner, Read, Shelf, Store};
use crate::delivery::message::Ticket;
use crate::delivery::stored::Stored;
use crate::edge::files::Reader;
use crate::edge::io::Io;
use crate::limits::SPOOL_RETRY;
use crate::spool::{Found, Lost, Record, RecordId, Why, Window};

/// How often a place in a segment is read that can't be.
const READ_ATTEMPTS: u32 = 3;

/// What came of going one step on.
enum Step {
    /// Nothing is to be had now.
    Nothing,
    Record(RecordId, usize, Record, Bytes),
    /// It was done before.
    Done,
    /// It is not what was written.
    Lost(u32, Lost),
    /// It can't be read, for this butler.
    Missed(u32, Lost),
}

impl<D: 'static> Store<D> {
    /// Is there a message of this run that was not given?
    pub fn has_own(&self) -> bool {
        self.own.segments.iter().any(Segment::has_unsent)
    }

    /// May there be one of an earlier run, which is not held?
    pub fn has_earlier(&self) -> bool {
        let runs = &self.runs;
        let mut segments = self.earlier.segments.iter();
        segments.any(|segment| segment.has_unsent() && !runs[segment.run].held)
    }

    /// When something is to be read again that could not be.
    pub fn reads_again_ns(&self) -> Option<u64> {
        let shelves = [self.own.due_ns(), self.earlier.due_ns()];
        shelves.into_iter().flatten().min()
    }

    /// May there be one of this run to be had now?
    pub fn offers_own(&self) -> bool {
        self.own.offers(&self.runs)
    }

    /// The same of earlier ones.
    pub fn offers_earlier(&self) -> bool {
        self.earlier.offers(&self.runs)
    }

    /// The next message of this run. `ticket` is that of the message.
    pub fn next_own<I: Io<Fd = D>>(
        &mut self,
        io: &mut I,
        now_ns: u64,
        ticket: Ticket,
    ) -> Option<Read> {
        self.next(io, now_ns, ticket, true)
    }

    /// The next message of the runs before, in their order. Those of a run that is
    /// held are passed over.
    pub fn next_earlier<I: Io<Fd = D>>(
        &mut self,
        io: &mut I,
        now_ns: u64,
        ticket: Ticket,
    ) -> Option<Read> {
        self.next(io, now_ns, ticket, false)
    }

    fn next<I: Io<Fd = D>>(
        &mut self,
        io: &mut I,
        now_ns: u64,
        ticket: Ticket,
        is_own: bool,
    ) -> Option<Read> {
        loop {
            let shelf = match is_own {
                true => &mut self.own,
                false => &mut self.earlier,
            };
            match shelf.step(io, now_ns, &self.place, &self.runs) {
                Step::Nothing => return None,
                Step::Done => {}
                Step::Lost(number, lost) => self.lose(number, lost),
                Step::Missed(number, lost) => self.miss(number, lost),
                Step::Record(id, run, record, body) => {
                    let first = record.manifest.streams[0].name.clone();
                    let others = record.manifest.streams.len() - 1;
                    let run = Arc::clone(&self.runs[run].run);
                    return Some(Read {
                        record: id,
                        manifest: record.manifest,
                        stored: Stored::new(ticket, run, body, (first, others)),
                    });
                }
            }
        }
    }
}

impl<D: 'static> Shelf<D> {
    /// See [`Store::reads_again_ns`].
    fn due_ns(&self) -> Option<u64> {
        self.retry_ns
    }

    /// What could not be read may be read again, if it is time.
    pub(super) fn poll(&mut self, now_ns: u64) {
        self.retry_ns = self.retry_ns.filter(|retry| *retry > now_ns);
    }

    fn offers(&self, runs: &[Owner]) -> bool {
        let mut segments = self.segments.iter();
        self.retry_ns.is_none() && segments.any(|it| it.has_unsent() && !runs[it.run].held)
    }

    fn step<I: Io<Fd = D>>(
        &mut self,
        io: &mut I,
        now_ns: u64,
        place: &Place<D>,
        runs: &[Owner],
    ) -> Step {
        if self.retry_ns.is_some_and(|retry| now_ns < retry) {
            return Step::Nothing;
        }
        let mut segments = self.segments.iter_mut();
        let Some(at) = segments.position(|it| it.has_unsent() && !runs[it.run].held) else {
            self.bodies = BytesMut::new();
            return Step::Nothing;
        };
        if self.reading != Some(self.segments[at].number) {
            if let Some(before) = self.reading.and_then(|number| self.find(number)) {
                before.close();
            }
            self.window.clear();
            self.reading = Some(self.segments[at].number);
        }
        let segment = &mut self.segments[at];
        let mut walk = segment.walk;
        let found = segment.next(io, place, &mut walk, &mut self.window);
        let step = match found {
            Ok(None) => Ok(Step::Done),
            // It was told when the segment was written anew.
            Ok(Some(Found::Lost(lost))) if segment.is_done(&lost) => Ok(Step::Done),
            Ok(Some(Found::Lost(lost))) => Ok(Step::Lost(segment.number, lost)),
            Ok(Some(Found::Record(record))) if segment.done.contains(record.index) => {
                Ok(Step::Done)
            }
            Ok(Some(Found::Record(record))) => {
                match segment.body(io, place, (&self.window, &mut self.bodies), &record) {
                    Ok(Some(body)) => {
                        let id = RecordId {
                            segment: segment.number,
                            index: record.index,
                        };
                        Ok(Step::Record(id, segment.run, record, body))
                    }
                    Ok(None) => Ok(Step::Lost(segment.number, Lost::of(record))),
                    Err(error) => Err((error, Some(record))),
                }
            }
            Err(error) => Err((error, None)),
        };
        match step {
            Ok(step) => {
                segment.walk = walk;
                self.attempts = 0;
                step
            }
            Err((error, record)) => self.failed(now_ns, at, &error, record),
        }
    }

    /// The segment can't be read where it is to be: that may pass, but not for
    /// ever.
    fn failed(
        &mut self,
        now_ns: u64,
        at: usize,
        error: &io::Error,
        record: Option<Record>,
    ) -> Step {
        let segment = &mut self.segments[at];
        let name = segment_name(segment.number);
        let no_descriptors = matches!(
            Errno::from_io_error(error),
            Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM)
        );
        self.window.clear();
        self.attempts = (self.attempts + 1).min(READ_ATTEMPTS);
        if no_descriptors || self.attempts < READ_ATTEMPTS {
            log::warn!("spool: {name} can't be read: {error}; trying again");
            self.retry_ns = Some(now_ns + SPOOL_RETRY.as_nanos() as u64);
            return Step::Nothing;
        }
        self.attempts = 0;
        segment.unreadable = true;
        let place = segment.walk;
        let lost = match record {
            Some(record) => {
                segment.walk.pass(&record);
                Lost::of(record)
            }
            None => {
                segment.walk.pass_to(segment.end, place.index());
                Lost {
                    at: place.at(),
                    len: segment.end - place.at(),
                    index: place.index(),
                    records: None,
                    why: Why::Damaged,
                    streams: Vec::new(),
                }
            }
        };
        log::error!("spool: {name} can't be read: {error}; it is left for the next butler");
        Step::Missed(segment.number, lost)
    }
}

impl<D: 'static> Segment<D> {
    /// The body of a record; `None`: it is not what was written.
    fn body<I: Io<Fd = D>>(
        &mut self,
        io: &mut I,
        place: &Place<D>,
        (window, bodies): (&Window, &mut BytesMut),
        record: &Record,
    ) -> io::Result<Option<Bytes>> {
        let file = self.file(io, place)?;
        // In the memory of the one before, if that is sent: new memory costs more
        // than reading.
        bodies.clear();
        bodies.resize(record.body.len as usize, 0);
        let whole = window.read(&mut Reader::new(io, file), record.body_at, bodies)?;
        Ok((whole && record.has_body(bodies)).then(|| bodies.split().freeze()))
    }
}
