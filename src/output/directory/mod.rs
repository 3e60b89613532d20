//! The directory output: every stream has a file with the bytes that its
//! client sent.
//!
//! Where that is stands in [`layout`](crate::layout). A stream of an earlier run goes when one
//! of its name is registered, before there is anything of the new one: see
//! [`earlier`].
//!
//! # What must hold
//!
//! Nothing is written outside the directory, whatever links are in it: see
//! [`beneath`]. Files are always new ones, so a link that was put in place of
//! one leads nowhere.
//!
//! No byte is lost or doubled by an error that passes: it goes on behind
//! the last one that was written. What all streams need (room, descriptors) is
//! waited for as long as it takes; what is wrong with one stream's path is
//! that stream's [`trouble`], and nobody else's.
//!
//! What is said to be delivered is there. The links of a file that is written
//! are counted now and then and when it is closed, those of the root for each
//! bundle; what is gone is told as lost, and what follows begins anew. A
//! stream that has ended is only remembered to be lost with the root.
//! Directories that are moved away, like files, are written on where they are;
//! a file that somebody truncates goes on at its new end.
//!
//! What is kept of a stream does not depend on its name, nor on how many
//! others there were.
//!
//! # Why not through the ring
//!
//! Writes are plain `write`s, on our one thread. To page cache that costs
//! least (kernel 6.18, 2 cores, CPU of the process with its ring workers):
//!
//! | a bundle of | `write` ext4, tmpfs | ring, 64 at a time: ext4, tmpfs |
//! |---|---|---|
//! | 16 streams of 64 KiB | 0.18, 0.31 s/GB | 0.30, 0.49 s/GB |
//! | 500 streams of 500 B | 0.9, 0.7 µs a write | 3.0 to 5.3, 2.1 µs a write |
//!
//! because on most file systems a ring hands buffered writes to a worker
//! thread. The price: while the kernel throttles a writer, we don't read.

mod beneath;
mod contents;
mod disk;
mod earlier;
mod kind;
mod mark;
mod meta;
mod open_files;
mod place;
mod stream_files;
mod streams;
mod trouble;

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;

use self::beneath::Root;
use self::contents::{Done, Piece};
use self::disk::Disk;
use self::earlier::Earlier;
pub use self::kind::DirectoryOutput;
use self::streams::Streams;
use super::attempts::Attempts;
use crate::delivery::message::{EntriesAt, Message};
use crate::delivery::outcome::Outcome;
use crate::edge::io::Io;
use crate::edge::transport::{Now, Transport};
use crate::ledger::DropReason;
use crate::limits::STREAM_BUFFER_MAX;
use crate::wire::descriptor::StreamType;
use crate::wire::name::StreamName;
use crate::wire::walk::Malformed;

/// Gives every stream a file; see the module.
#[derive(Debug)]
pub(crate) struct DirectoryWriter<D> {
    /// What was there when this run began.
    earlier: Option<Earlier<D>>,
    streams: Streams<D>,
    writing: Option<Writing>,
    /// What a message has of one stream.
    bytes: Vec<u8>,
    attempts: Attempts,
    /// Others have their turn, and then it goes on.
    is_pausing: bool,
    ending: Ending,
}

/// The message that is being written, and what of it is.
#[derive(Debug)]
struct Writing {
    message: Arc<Message>,
    outcome: Outcome,
    /// How far the streams are whose part is not done.
    left: Vec<Place>,
    /// Those of them that this round has had its turn of.
    seen: usize,
    /// Of these, how many can't be written now: they are in front.
    kept: usize,
    /// Why the last of them can't.
    failed: Option<(Errno, StreamName)>,
}

/// How far a message's part of a stream is written.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Which of the message's streams.
    stream: usize,
    /// The next piece of a stream of datagrams.
    at: EntriesAt,
    /// What is done of the next piece.
    done: Done,
}

/// What is left to do after the last message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// It is not said yet that nothing follows.
    NotYet,
    /// What is held is still tried.
    Holding,
    Over,
}

/// Why a stream's part is not written.
#[derive(Debug)]
enum Failure {
    /// It may be later.
    Error(Errno),
    /// It never will.
    Malformed(Malformed),
    /// Others have their turn first.
    Pause,
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Error(errno)
    }
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// Files that are made or written before the rest of the butler has its turn.
const BUSY_MAX: usize = 64;

impl<D: 'static> DirectoryWriter<D> {
    /// Makes the directory if it is not there.
    pub fn open<I: Io<Fd = D>>(io: &mut I, path: &Path) -> io::Result<Self> {
        Self::with_open_files(io, path, open_files::bound_of_process())
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    }

    fn with_open_files<I: Io<Fd = D>>(io: &mut I, path: &Path, bound: usize) -> io::Result<Self> {
        let attempts = Attempts::new(format!("directory {}", path.display()));
        let root = Root::open(io, path)?;
        let health = attempts.health().clone();
        Ok(Self {
            earlier: Earlier::look(io, &root)?,
            streams: Streams::new(Disk::new(io, root, bound), health),
            writing: None,
            bytes: Vec::new(),
            attempts,
            is_pausing: false,
            ending: Ending::NotYet,
        })
    }

    /// Writes what is left of the message. It waits only for what all streams
    /// need, as room on the disk.
    fn write<I: Io<Fd = D>>(&mut self, now: &mut Now<'_, I>, writing: &mut Writing) -> bool {
        let mut busy = 0;
        while writing.seen < writing.left.len() {
            let mut place = writing.left[writing.seen];
            match self.write_part(now, writing, &mut place, &mut busy) {
                Ok(()) => {}
                Err(Failure::Error(errno)) => {
                    writing.left[writing.kept] = place;
                    writing.kept += 1;
                    let name = &writing.message.streams()[place.stream].info.name;
                    writing.failed = Some((errno, name.clone()));
                }
                Err(Failure::Malformed(malformed)) => {
                    let name = &writing.message.streams()[place.stream].info.name;
                    log::error!("stream {name}: {malformed} in a message");
                    writing.outcome.part(place.stream).dropped = Some(DropReason::Refused);
                }
                Err(Failure::Pause) => {
                    writing.left[writing.seen] = place;
                    self.is_pausing = true;
                    return false;
                }
            }
            writing.seen += 1;
        }
        writing.left.truncate(std::mem::take(&mut writing.kept));
        writing.seen = 0;
        if let Some((errno, name)) = writing.failed.take() {
            let error = format_args!("stream {name}: {errno}");
            self.attempts.failed(now.ns, &error);
            return false;
        }
        true
    }

    /// Writes what is left of a stream's part of the message.
    fn write_part<I: Io<Fd = D>>(
        &mut self,
        now: &mut Now<'_, I>,
        writing: &mut Writing,
        place: &mut Place,
        busy: &mut usize,
    ) -> Result<(), Failure> {
        let Writing {
            message, outcome, ..
        } = writing;
        let part = &message.streams()[place.stream];
        let note = outcome.part(place.stream);
        match part.info.stream_type {
            StreamType::Text | StreamType::Binary => {
                breathe(busy)?;
                contents::gather(message, part, &mut self.bytes)?;
                let piece = Piece {
                    data: &self.bytes,
                    client: part.client_bytes,
                    ends: false,
                };
                // It may have nothing but its end.
                if !piece.data.is_empty() {
                    self.streams
                        .put(now.io, &part.info, &piece, &mut place.done, note)?;
                }
                self.bytes.shrink_to(STREAM_BUFFER_MAX);
            }
            StreamType::Datagram => {
                let mut next = place.at;
                while let Some(piece) = contents::next_datagram(message, &mut next) {
                    breathe(busy)?;
                    self.streams
                        .put(now.io, &part.info, &piece?, &mut place.done, note)?;
                    place.at = next;
                    place.done = Done::default();
                }
            }
        }
        if part.terminal.is_some() {
            self.streams.end(now.io, &part.info);
        }
        Ok(())
    }

    /// The message is written, or given up.
    fn settle<I: Io<Fd = D>>(&mut self, now: &mut Now<'_, I>, writing: Writing) {
        let Writing {
            message, outcome, ..
        } = writing;
        drop(message);
        now.outcomes.settle(outcome);
    }
}

impl<I: Io> Transport<I> for DirectoryWriter<I::Fd> {
    fn start(&mut self, now: &mut Now<'_, I>, message: Arc<Message>) {
        self.streams.look(now);
        self.streams.tell(now.outcomes);
        let place = |(stream, part)| Place {
            stream,
            at: Message::entries_of(part),
            done: Done::default(),
        };
        self.writing = Some(Writing {
            left: message.streams().iter().enumerate().map(place).collect(),
            // There is no mark of a stream's end on disk.
            outcome: Outcome::begin(message.ticket()).without_ends(),
            message,
            seen: 0,
            kept: 0,
            failed: None,
        });
        self.poll(now);
    }

    fn poll(&mut self, now: &mut Now<'_, I>) {
        let is_retry = self.attempts.due_ns().is_some();
        if self.writing.is_some() && self.attempts.may_try(now.ns) {
            if is_retry {
                self.streams.look(now);
            }
            self.is_pausing = false;
            if let Some(mut writing) = self.writing.take() {
                if !self.write(now, &mut writing) {
                    self.writing = Some(writing);
                    return;
                }
                self.attempts.worked();
                writing.outcome.end(Ok(0));
                self.settle(now, writing);
            }
        }
        if self.streams.due_ns().is_some_and(|due| due <= now.ns) {
            self.streams.look(now);
        }
        if self.writing.is_none() {
            self.streams.tell(now.outcomes);
        }
        if self.ending == Ending::Holding && self.streams.due_ns().is_none() {
            self.streams.give_up(now);
            self.ending = Ending::Over;
        }
    }

    fn due_ns(&self) -> Option<u64> {
        if self.is_pausing {
            return Some(0);
        }
        match self.writing {
            Some(_) => self.attempts.due_ns(),
            None => self.streams.due_ns(),
        }
    }

    /// Waits until nothing is held any more, and then takes a last look at what
    /// somebody may have removed.
    fn finish(&mut self, now: &mut Now<'_, I>) {
        self.ending = Ending::Holding;
        self.poll(now);
    }

    fn is_finished(&self) -> bool {
        self.ending == Ending::Over
    }

    /// What is held is lost, and so is what somebody has removed until now.
    fn give_up(&mut self, now: &mut Now<'_, I>) {
        self.is_pausing = false;
        if let Some(writing) = self.writing.take() {
            self.settle(now, writing);
        }
        if self.ending != Ending::Over {
            self.streams.give_up(now);
            self.ending = Ending::Over;
        }
    }

    fn wants_registrations(&self) -> bool {
        self.earlier.is_some()
    }

    fn registered(&mut self, now: &mut Now<'_, I>, name: &StreamName) {
        if let Some(earlier) = &self.earlier
            && let Err(errno) = earlier.make_way(now.io, name)
        {
            log::warn!(
                "stream {name}: what an earlier run has left of it can't be removed: {errno}"
            );
        }
    }

    fn errors(&self) -> u64 {
        self.attempts.health().errors()
    }
}

/// Others have their turn now and then.
fn breathe(busy: &mut usize) -> Result<(), Failure> {
    if *busy == BUSY_MAX {
        return Err(Failure::Pause);
    }
    *busy += 1;
    Ok(())
}

#[cfg(test)]
mod tests;
