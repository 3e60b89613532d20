//! How messages come back from the spool.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rustix::io::Errno;

use super::place::{Place, segment_name};
use super::segment::Segment;
use super::{Loss, Owner, Read, Shelf, Store};
use crate::delivery::message::Ticket;
use crate::delivery::stored::Stored;
use crate::edge::files::Reader;
use crate::edge::io::Io;
use crate::limits::SPOOL_RETRY;
use crate::spool::{Found, Lost, Part, Record, RecordId, Why};

/// How often a place in a segment is read that can't be.
const READ_ATTEMPTS: u32 = 3;

/// What came of going one step on.
enum Step {
    /// Nothing is to be had now.
    Nothing,
    Record(RecordId, usize, Record, Bytes),
    /// It was done before.
    Done,
    Lost(Loss),
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
                Step::Lost(loss) => {
                    self.losses.push(Loss { is_own, ..loss });
                }
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
    /// When something is to be read again that could not be.
    pub(super) fn due_ns(&self) -> Option<u64> {
        let waits = self.attempts > 0 && self.segments.iter().any(Segment::has_unsent);
        waits.then_some(self.retry_ns)
    }

    fn offers(&self, runs: &[Owner]) -> bool {
        let mut segments = self.segments.iter();
        self.attempts == 0 && segments.any(|it| it.has_unsent() && !runs[it.run].held)
    }

    fn step<I: Io<Fd = D>>(
        &mut self,
        io: &mut I,
        now_ns: u64,
        place: &Place<D>,
        runs: &[Owner],
    ) -> Step {
        if self.attempts > 0 && now_ns < self.retry_ns {
            return Step::Nothing;
        }
        let mut segments = self.segments.iter_mut();
        let Some(at) = segments.position(|it| it.has_unsent() && !runs[it.run].held) else {
            return Step::Nothing;
        };
        if self.reading != Some(self.segments[at].number) {
            if let Some(before) = self.reading {
                self.close(before);
            }
            self.window.clear();
            self.reading = Some(self.segments[at].number);
        }
        let segment = &mut self.segments[at];
        let mut walk = segment.walk;
        let found = segment.next(io, place, &mut walk, &mut self.window);
        let step = match found {
            Ok(None) => Ok(Step::Done),
            Ok(Some(Found::Lost(lost))) => Ok(Step::Lost(segment.lose(lost))),
            Ok(Some(Found::Record(record))) if segment.done.contains(record.index) => {
                Ok(Step::Done)
            }
            Ok(Some(Found::Record(record))) => match segment.body(io, place, &self.window, &record)
            {
                Ok(Some(body)) => {
                    let id = RecordId {
                        segment: segment.number,
                        index: record.index,
                    };
                    Ok(Step::Record(id, segment.run, record, body))
                }
                Ok(None) => Ok(Step::Lost(segment.lose(lost(record)))),
                Err(error) => Err((error, Some(record))),
            },
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
            self.retry_ns = now_ns + SPOOL_RETRY.as_nanos() as u64;
            return Step::Nothing;
        }
        self.attempts = 0;
        segment.unreadable = true;
        let place = segment.walk;
        let lost = match record {
            Some(record) => {
                segment.walk.pass(&record);
                lost(record)
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
        Step::Lost(segment.tell(&lost))
    }
}

/// A record of which only the body is lost.
fn lost(record: Record) -> Lost {
    Lost {
        at: record.at,
        len: record.end() - record.at,
        index: record.index,
        records: Some(1),
        why: Why::Damaged,
        streams: record.manifest.streams,
    }
}

impl<D: 'static> Segment<D> {
    /// The body of a record; `None`: it is not what was written.
    fn body<I: Io<Fd = D>>(
        &mut self,
        io: &mut I,
        place: &Place<D>,
        window: &crate::spool::Window,
        record: &Record,
    ) -> io::Result<Option<Bytes>> {
        let file = self.file(io, place)?;
        let mut body = BytesMut::zeroed(record.body.len as usize);
        let whole = window.read(&mut Reader::new(io, file), record.body_at, &mut body)?;
        Ok((whole && record.has_body(&body)).then(|| body.freeze()))
    }

    /// What is lost there nobody sends any more.
    fn lose(&mut self, lost: Lost) -> Loss {
        if lost.why == Why::Damaged {
            self.damaged = true;
            if let Some(records) = lost.records.filter(|records| *records > 0) {
                self.done.insert(lost.index, lost.index + (records - 1));
            }
        }
        self.tell(&lost)
    }

    fn tell(&self, lost: &Lost) -> Loss {
        let name = segment_name(self.number);
        let what = match lost.why {
            Why::Cut => "ends in the middle of a message",
            Why::Damaged => "is damaged",
        };
        log::error!(
            "spool: {name} {what}: {} bytes at {} are lost{}",
            lost.len,
            lost.at,
            Streams(&lost.streams)
        );
        Loss {
            is_own: false,
            segment: self.number,
            offset: lost.at,
            len: lost.len,
            records: lost.records,
            streams: lost.streams.clone(),
        }
    }
}

/// As many as a line has room for.
const STREAMS_TOLD: usize = 5;

/// The streams that lost bytes, for a message.
struct Streams<'a>(&'a [Part]);

impl std::fmt::Display for Streams<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, part) in self.0.iter().take(STREAMS_TOLD).enumerate() {
            let before = match at {
                0 => ", of",
                _ => ",",
            };
            write!(
                f,
                "{before} {} ({} bytes of its client)",
                part.name, part.bytes
            )?;
        }
        match self.0.len().checked_sub(STREAMS_TOLD + 1) {
            Some(more) => write!(f, " and {} streams more", more + 1),
            None => Ok(()),
        }
    }
}
