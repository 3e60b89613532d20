//! The output that prints every bundle for people, on stdout.
//!
//! ```text
//! bundle of 2023-11-14T22:13:20Z: 1 streams, 2 entries, 123 bytes
//!   build/log, text
//!     4 +0.000s line 10: compiling
//!     4 +0.000s line 11: 42 %, no end yet…
//!   build/log ends after entry 4
//! ```

mod kind;
mod text;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use rustix::fs::FileType;

pub use self::kind::{Controls, LogOutput};
use super::attempts::Attempts;
use super::file;
use crate::delivery::message::{EntriesAt, Message};
use crate::delivery::outcome::Outcome;
use crate::edge::io::{Io, Wait};
use crate::edge::transport::{Completed, Now, Transport};
use crate::edge::writer::reopen_terminal;
use crate::ledger::DropReason;

/// Text is written when there is this much of it.
const CHUNK: usize = 64 * 1024;

/// Texts that are written before others have their turn.
const CHUNKS_AT_ONCE: usize = 16;

/// Prints messages.
#[derive(Debug)]
pub(crate) struct Printer<D> {
    out: Out<D>,
    controls: Controls,
    /// Memory that is reused.
    text: BytesMut,
    /// What is left to write of the last text.
    chunk: Bytes,
    /// Which of the clients' bytes stand where in it.
    marks: Marks,
    printing: Option<Printing>,
    attempts: Attempts,
    /// It waits until more can be printed.
    is_waiting: bool,
    /// Others have their turn, and then it goes on.
    is_pausing: bool,
}

/// What is printed to.
#[derive(Debug)]
enum Out<D> {
    /// A regular file, which others may share with us (a child that inherits
    /// it, say): only `write` takes its position and moves it in one step.
    Regular(D),
    /// A pipe, a terminal, a socket: its reader is waited for.
    Stream(D),
    /// Nobody reads any more.
    Closed,
}

/// The message that is printed, and what of it is.
#[derive(Debug)]
struct Printing {
    message: Arc<Message>,
    outcome: Outcome,
    /// Bytes of text.
    printed: u64,
    /// Whether something of it is in a text.
    has_begun: bool,
    /// Which of its streams comes next.
    stream: usize,
    /// How far that one is in a text; `None`: not at all.
    at: Option<EntriesAt>,
}

/// What the only operation is: to wait for the reader.
const WRITABLE: u32 = 0;

impl<D: From<OwnedFd>> Printer<D> {
    /// Prints to stdout. What is printed for people ends up on a terminal, also
    /// by way of a file or a pipe.
    pub fn stdout<I: Io<Fd = D>>(io: &mut I, controls: Controls) -> io::Result<Self> {
        let stdout = io::stdout();
        // To a terminal that is set to block we could not write without waiting,
        // and that it does not must not hold for all who have it.
        let out = match reopen_terminal(&stdout) {
            Some(terminal) => terminal.into(),
            None => stdout.as_fd().try_clone_to_owned()?,
        };
        Self::to(io, out.into(), controls)
    }

    fn to<I: Io<Fd = D>>(io: &mut I, out: D, controls: Controls) -> io::Result<Self> {
        let kind = FileType::from_raw_mode(io.stat(&out)?.st_mode);
        Ok(Self {
            out: match kind {
                FileType::RegularFile => Out::Regular(out),
                _ => Out::Stream(out),
            },
            controls,
            text: BytesMut::new(),
            chunk: Bytes::new(),
            marks: Marks::default(),
            printing: None,
            attempts: Attempts::new("output log"),
            is_waiting: false,
            is_pausing: false,
        })
    }

    /// Writes what is left of the text. True if there is nothing left.
    fn write<I: Io<Fd = D>>(&mut self, now: &mut Now<'_, I>) -> bool {
        while !self.chunk.is_empty() {
            match self.out.write(now.io, &self.chunk) {
                Ok(written) => {
                    self.chunk.advance(written);
                    if let Some(printing) = &mut self.printing {
                        printing.printed += written as u64;
                        self.marks.wrote(written, &mut printing.outcome);
                    }
                }
                Err(error) => {
                    self.failed(now, error);
                    return false;
                }
            }
        }
        self.attempts.worked();
        self.marks.restart();
        true
    }

    fn failed<I: Io<Fd = D>>(&mut self, now: &mut Now<'_, I>, error: io::Error) {
        let mut error = error;
        if let Out::Stream(out) = &self.out {
            if file::is_gone(now.io, out, &error) {
                self.out = Out::Closed;
                self.attempts.health().failed_for_good(&error);
                return self.end(now, Err(DropReason::Undelivered));
            }
            if error.kind() == io::ErrorKind::WouldBlock {
                match now.io.wait(WRITABLE, out, Wait::Writable) {
                    Ok(()) => {
                        self.is_waiting = true;
                        return;
                    }
                    Err(reason) => error = reason,
                }
            }
        }
        self.attempts.failed(now.ns, &error);
    }

    /// Makes the next text. False if there is nothing left of the message.
    fn fill(&mut self) -> bool {
        let Some(printing) = &mut self.printing else {
            return false;
        };
        printing.put(&mut self.text, &mut self.marks, self.controls);
        self.chunk = self.text.split().freeze();
        !self.chunk.is_empty()
    }

    /// The message is printed, or can't be.
    fn end<I: Io<Fd = D>>(&mut self, now: &mut Now<'_, I>, result: Result<(), DropReason>) {
        self.chunk = Bytes::new();
        self.marks = Marks::default();
        if let Some(printing) = self.printing.take() {
            let mut outcome = printing.outcome;
            outcome.end(result.map(|()| printing.printed));
            drop(printing.message);
            now.outcomes.settle(outcome);
        }
    }
}

impl<I: Io> Transport<I> for Printer<I::Fd> {
    fn start(&mut self, now: &mut Now<'_, I>, message: Arc<Message>) {
        self.printing = Some(Printing {
            outcome: Outcome::begin(message.ticket()),
            message,
            printed: 0,
            has_begun: false,
            stream: 0,
            at: None,
        });
        self.poll(now);
    }

    /// That nobody reads any more is final.
    fn poll(&mut self, now: &mut Now<'_, I>) {
        if self.is_waiting || !self.attempts.may_try(now.ns) {
            return;
        }
        if matches!(self.out, Out::Closed) {
            return self.end(now, Err(DropReason::Undelivered));
        }
        self.is_pausing = false;
        for _ in 0..CHUNKS_AT_ONCE {
            if !self.write(now) {
                return;
            }
            if !self.fill() {
                return self.end(now, Ok(()));
            }
        }
        self.is_pausing = true;
    }

    fn completed(&mut self, _: &mut Now<'_, I>, _: u32, _: Completed) {
        self.is_waiting = false;
    }

    fn due_ns(&self) -> Option<u64> {
        match self.is_pausing {
            true => Some(0),
            false => self.attempts.due_ns(),
        }
    }

    /// It keeps nothing back.
    fn finish(&mut self, _: &mut Now<'_, I>) {}

    fn is_finished(&self) -> bool {
        self.printing.is_none()
    }

    /// What is printed of the message is delivered.
    fn give_up(&mut self, now: &mut Now<'_, I>) {
        self.end(now, Err(DropReason::Undelivered));
    }

    fn errors(&self) -> u64 {
        self.attempts.health().errors()
    }
}

impl Printing {
    /// Puts what follows, until it is enough for a text.
    fn put(&mut self, text: &mut BytesMut, marks: &mut Marks, controls: Controls) {
        if !std::mem::replace(&mut self.has_begun, true) {
            text::put_bundle(text, &self.message);
        }
        while text.len() < CHUNK
            && let Some(stream) = self.message.streams().get(self.stream)
        {
            let at = self.at.get_or_insert_with(|| {
                text::put_stream(text, stream);
                Message::entries_of(stream)
            });
            match self.message.next_entry(at) {
                Some(Ok(entry)) => {
                    let bytes = text::put_entry(text, entry, controls);
                    marks.put(text.len(), self.stream, bytes);
                }
                Some(Err(error)) => {
                    log::error!("stream {}: {error} in a message", stream.info.name);
                }
                None => {
                    text::put_end(text, stream);
                    self.stream += 1;
                    self.at = None;
                }
            }
        }
    }
}

impl<D> Out<D> {
    fn write<I: Io<Fd = D>>(&self, io: &mut I, text: &Bytes) -> io::Result<usize> {
        let result = loop {
            let result = match self {
                Self::Regular(file) => io.write(file, text),
                Self::Stream(out) => io.write_ready(out, std::slice::from_ref(text)),
                Self::Closed => Err(rustix::io::Errno::PIPE),
            };
            if result != Err(rustix::io::Errno::INTR) {
                break result;
            }
        };
        match result {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            result => Ok(result?),
        }
    }
}

/// Which of the clients' bytes stand where in a text. An entry counts when all
/// of it is written.
#[derive(Debug, Default)]
struct Marks {
    /// Where an entry's text ends, which of the bundle's streams it is of, and
    /// the client's bytes in it.
    entries: VecDeque<(usize, usize, u64)>,
    /// Bytes of the text that are written.
    written: usize,
}

impl Marks {
    fn put(&mut self, end: usize, stream: usize, bytes: u64) {
        self.entries.push_back((end, stream, bytes));
    }

    fn wrote(&mut self, bytes: usize, outcome: &mut Outcome) {
        self.written += bytes;
        while let Some((end, stream, bytes)) = self.entries.front().copied()
            && end <= self.written
        {
            outcome.part(stream).delivered += bytes;
            self.entries.pop_front();
        }
    }

    /// All is written, and a new text begins.
    fn restart(&mut self) {
        self.written = 0;
    }
}

#[cfg(test)]
mod tests;
