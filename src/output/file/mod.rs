//! The output that appends messages to a file.
//!
//! A regular file belongs to one butler at a time: it is locked (`flock`),
//! and a message that an earlier butler left cut is taken away before the
//! next is written. A write that fails or is short goes on at the byte where
//! it stopped, so that no message ever stands behind a cut one. A file that is
//! moved or removed meanwhile is written on: nothing goes astray, and whoever
//! moved it has it whole. One that is truncated (`copytruncate`, or to make
//! room on a full disk) is gone on with at its new end, and a message that was
//! cut by that is written again. What is written is not synced: it outlives
//! the butler, but not the machine.
//!
//! What is not a regular file gets the same messages one after the other. A
//! FIFO whose reader has gone gets the cut message once more, whole, when
//! there is a reader again; a message that was wholly in the pipe when the
//! reader went counts as delivered. (A reader that comes in the moment when
//! another leaves, before we can notice, gets the rest of a message: to the
//! kernel the pipe never broke.) A path that stands for a descriptor, such as
//! `/dev/stdout` in a pipeline, has the readers that it has: when they have
//! gone, what follows is dropped and reported. Opening never waits, neither for
//! a FIFO's reader nor for a terminal's line.

pub(crate) mod fifo;
mod kind;
mod open;
mod recover;
mod regular;

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rustix::io::Errno;

use self::fifo::Fifo;
pub use self::kind::FileOutput;
use self::regular::Regular;
use super::attempts::Attempts;
use super::write::Progress;
use crate::delivery::encode::{Compress, Encoder};
use crate::delivery::message::{Message, Ticket};
use crate::delivery::outcome::Outcome;
use crate::edge::io::{Io, Wait};
use crate::edge::transport::{Completed, Now, Transport};
use crate::ledger::DropReason;

/// Appends messages to one file.
#[derive(Debug)]
pub(crate) struct Appender<D> {
    target: Target<D>,
    /// The message that is in the encoder, and how far it is written.
    writing: Option<(Ticket, Progress)>,
    encoder: Encoder,
    attempts: Attempts,
    /// It waits until the target takes more.
    is_waiting: bool,
}

#[derive(Debug)]
enum Target<D> {
    Regular(Regular<D>),
    /// A terminal, `/dev/null` and the like.
    Device(D),
    Fifo(Fifo<D>),
    /// A terminal or a pipe that nobody reads any more.
    Gone,
}

/// Why a message is not written.
#[derive(Debug)]
enum Failure {
    /// The target takes nothing now.
    Full,
    /// It may work later.
    Error(io::Error),
    /// Nobody reads it any more, and nobody can come.
    Gone(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock => Self::Full,
            _ => Self::Error(error),
        }
    }
}

/// What the only operation is: to wait for the target.
const WRITABLE: u32 = 0;

impl<D> Appender<D> {
    /// Opens the file at `path`, or makes one that only its owner may read.
    ///
    /// # Errors
    ///
    /// All name the file. Besides those of opening: `ResourceBusy` if another
    /// process has it locked, `InvalidData` if it holds something else than
    /// messages.
    pub fn open<I: Io<Fd = D>>(io: &mut I, path: &Path, compress: Compress) -> io::Result<Self> {
        let target = open::target(io, path).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })?;
        Ok(Self {
            target,
            writing: None,
            encoder: Encoder::new(compress),
            attempts: Attempts::new(format!("output file {}", path.display())),
            is_waiting: false,
        })
    }
}

impl<D> Target<D> {
    /// Writes what is left of the message.
    fn write<I: Io<Fd = D>>(
        &mut self,
        now: &mut Now<'_, I>,
        pieces: &[Bytes],
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        match self {
            Self::Regular(file) => Ok(file.append(now, pieces, progress)?),
            Self::Device(device) => {
                let io = &mut *now.io;
                write_ready(io, device, pieces, progress).map_err(|error| {
                    match is_gone(io, device, &error) {
                        true => Failure::Gone(error),
                        false => error.into(),
                    }
                })
            }
            Self::Fifo(fifo) => fifo.write(now.io, pieces, progress),
            Self::Gone => Err(Failure::Gone(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// What is waited for when it takes nothing.
    fn waited_for(&self) -> Option<&D> {
        match self {
            Self::Device(device) => Some(device),
            Self::Fifo(fifo) => fifo.reader(),
            Self::Regular(_) | Self::Gone => None,
        }
    }
}

/// Writes what a pipe or device takes now.
fn write_ready<I: Io>(
    io: &mut I,
    fd: &I::Fd,
    pieces: &[Bytes],
    progress: &mut Progress,
) -> io::Result<()> {
    progress.write(pieces, |slices, _| Ok(io.write_ready(fd, slices)?))
}

/// Does the error of a write say that nobody reads any more? Of a terminal that
/// was closed too, which is never opened again.
pub(in crate::output) fn is_gone<I: Io>(io: &mut I, fd: &I::Fd, error: &io::Error) -> bool {
    match Errno::from_io_error(error) {
        Some(Errno::PIPE) => true,
        Some(Errno::IO) => io.has_hung_up(fd),
        _ => false,
    }
}

impl<I: Io> Transport<I> for Appender<I::Fd> {
    fn start(&mut self, now: &mut Now<'_, I>, message: Arc<Message>) {
        let ticket = message.ticket();
        if matches!(self.target, Target::Gone) {
            drop(message);
            let lost = Outcome::lost(ticket, DropReason::Undelivered);
            return now.outcomes.settle(lost);
        }
        self.encoder.encode(&message);
        self.writing = Some((ticket, Progress::default()));
        drop(message);
        self.poll(now);
    }

    /// Gives up only when nobody reads any more, and nobody can come.
    fn poll(&mut self, now: &mut Now<'_, I>) {
        if self.is_waiting || !self.attempts.may_try(now.ns) {
            return;
        }
        let Some((ticket, progress)) = &mut self.writing else {
            return;
        };
        let ticket = *ticket;
        let outcome = match self.target.write(now, self.encoder.pieces(), progress) {
            Ok(()) => {
                self.attempts.worked();
                Outcome::delivered(ticket, self.encoder.len())
            }
            Err(Failure::Full) => {
                let waits = match self.target.waited_for() {
                    Some(fd) => now.io.wait(WRITABLE, fd, Wait::Writable),
                    None => Err(io::ErrorKind::WouldBlock.into()),
                };
                self.is_waiting = waits.is_ok();
                if let Err(error) = waits {
                    self.attempts.failed(now.ns, &error);
                }
                return;
            }
            Err(Failure::Error(error)) => return self.attempts.failed(now.ns, &error),
            Err(Failure::Gone(error)) => {
                self.target = Target::Gone;
                self.attempts.health().failed_for_good(&error);
                Outcome::lost(ticket, DropReason::Undelivered)
            }
        };
        self.writing = None;
        self.encoder.clear();
        now.outcomes.settle(outcome);
    }

    fn completed(&mut self, _: &mut Now<'_, I>, _: u32, _: Completed) {
        self.is_waiting = false;
    }

    fn due_ns(&self) -> Option<u64> {
        self.attempts.due_ns()
    }

    /// Nothing is kept back.
    fn finish(&mut self, _: &mut Now<'_, I>) {}

    fn is_finished(&self) -> bool {
        self.writing.is_none()
    }

    fn give_up(&mut self, _: &mut Now<'_, I>) {
        self.writing = None;
        self.encoder.clear();
    }

    fn errors(&self) -> u64 {
        self.attempts.health().errors()
    }
}

#[cfg(test)]
mod tests;
