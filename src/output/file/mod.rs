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
mod recover;

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use tokio_uring::BufResult;

use self::fifo::Fifo;
use super::Sink;
use super::attempts::Attempts;
use super::compress::{Compress, Encoder};
use super::health::Health;
use super::write::Unwritten;
use crate::delivery::message::Message;
use crate::edge::writer::{AT_POSITION, Writer};
use crate::ledger::DropReason;
use crate::limits::FILE_CHECK_INTERVAL;

/// Appends messages to one file.
#[derive(Debug)]
pub(crate) struct FileSink {
    target: Target,
    encoder: Encoder,
    writer: Writing,
}

#[derive(Debug)]
enum Target {
    Regular(Regular),
    /// A terminal, `/dev/null` and the like.
    Device(Unplaced),
    Fifo(Fifo),
    /// A terminal or a pipe that nobody reads any more.
    Gone,
}

/// What every kind of file needs to write.
#[derive(Debug)]
struct Writing {
    /// Memory that is reused.
    slices: Vec<Bytes>,
    attempts: Attempts,
}

impl FileSink {
    /// Opens the file at `path`, or makes one that only its owner may read.
    ///
    /// # Errors
    ///
    /// All name the file. Besides those of opening: `ResourceBusy` if another
    /// process has it locked, `InvalidData` if it holds something else than
    /// messages.
    pub fn open(path: &Path, compress: Compress) -> io::Result<Self> {
        let target = Target::open(path).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })?;
        Ok(Self {
            target,
            encoder: Encoder::new(compress),
            writer: Writing {
                slices: Vec::new(),
                attempts: Attempts::new(format!("output file {}", path.display())),
            },
        })
    }
}

impl Sink for FileSink {
    /// Gives up only when nobody reads any more, and nobody can come.
    async fn deliver(&mut self, bundle: &Message) -> Result<u64, DropReason> {
        if matches!(self.target, Target::Gone) {
            return Err(DropReason::Undelivered);
        }
        self.encoder.encode(bundle);
        let pieces = self.encoder.pieces();
        let written = match &mut self.target {
            Target::Regular(file) => {
                file.append(pieces, &mut self.writer).await;
                Ok(())
            }
            Target::Device(device) => device.write(pieces, &mut self.writer).await,
            Target::Fifo(fifo) => fifo.write(pieces, &mut self.writer).await,
            Target::Gone => Ok(()),
        };
        let len = self.encoder.len();
        self.encoder.clear();
        if let Err(error) = written {
            self.target = Target::Gone;
            self.writer.attempts.health().failed_for_good(&error);
            return Err(DropReason::Undelivered);
        }
        self.writer.attempts.worked();
        Ok(len)
    }

    /// Nothing is kept back.
    async fn finish(&mut self) {}

    fn health(&self) -> &Health {
        self.writer.attempts.health()
    }
}

impl Target {
    fn open(path: &Path) -> io::Result<Self> {
        // Opening a FIFO for writing waits for its reader, and opening it for
        // both makes us its reader: it has a way of its own.
        let there = fs::metadata(path).ok().map(|found| found.file_type());
        if there.is_some_and(|it| it.is_fifo()) {
            return Ok(Self::Fifo(Fifo::new(path)));
        }
        if there.is_some_and(|it| it.is_socket()) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is a socket: the unix output connects to one",
            ));
        }
        // A device need not be readable. Appending, so that what is truncated
        // meanwhile gets no hole.
        let is_device = there.is_some_and(|it| it.is_char_device() || it.is_block_device());
        let flags = OFlags::NOCTTY | OFlags::NONBLOCK;
        let file = OpenOptions::new()
            .read(!is_device)
            .append(true)
            .create(!is_device)
            .mode(0o600)
            .custom_flags(flags.bits() as i32)
            .open(path)?;
        let found = file.metadata()?;
        if found.file_type().is_fifo() {
            // It took the place of what was there a moment ago.
            return Ok(Self::Fifo(Fifo::new(path)));
        }
        if !found.is_file() {
            return Ok(Self::Device(Unplaced(Writer::own(file)?)));
        }
        // The ring would not wait for the disk.
        fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
        lock(&file, path)?;
        Ok(Self::Regular(Regular {
            path: path.to_owned(),
            identity: identity(&found),
            end: take_cut_away(&file, path)?,
            writer: Writer::regular(file.try_clone()?),
            file,
            checked: Instant::now(),
            replaced: false,
        }))
    }
}

/// How long a writer that was killed may still have the file: the kernel takes
/// its rings apart, and what they hold, only after it has gone.
const LOCK_TRIES: u32 = 100;
const LOCK_WAIT: Duration = Duration::from_millis(10);

fn lock(file: &File, path: &Path) -> io::Result<()> {
    let mut locked = file.try_lock();
    for _ in 1..LOCK_TRIES {
        if !matches!(locked, Err(TryLockError::WouldBlock)) {
            break;
        }
        thread::sleep(LOCK_WAIT);
        locked = file.try_lock();
    }
    match locked {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            "another process writes to it",
        )),
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
            log::warn!(
                "{}: it can't be locked there; no other butler may write to it",
                path.display()
            );
            Ok(())
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Takes a message that is cut away from the file's end, and says where that
/// is then. An error as from [`recover::end_of_messages`], or of the file.
fn take_cut_away(file: &File, path: &Path) -> io::Result<u64> {
    let len = file.metadata()?.len();
    let end = recover::end_of_messages(file)?;
    if end < len {
        file.set_len(end)?;
        log::warn!(
            "{}: its last message was cut; {} bytes from byte {end} on are taken away",
            path.display(),
            len - end
        );
    }
    Ok(end)
}

/// A regular file.
#[derive(Debug)]
struct Regular {
    path: PathBuf,
    /// Its device and inode.
    identity: (u64, u64),
    /// To look at.
    file: File,
    writer: Writer,
    /// Where the last whole message ends.
    end: u64,
    /// When it was last looked whether the path still leads to the file.
    checked: Instant,
    /// It does not, and that was told.
    replaced: bool,
}

fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// What [`Unwritten::write`] is told of one write.
type Written = BufResult<usize, Vec<Bytes>>;

impl Regular {
    async fn append(&mut self, pieces: &[Bytes], writer: &mut Writing) {
        if self.checked.elapsed() >= FILE_CHECK_INTERVAL {
            self.check();
        }
        let mut unwritten = Unwritten::new(pieces);
        let mut last = 0;
        loop {
            let write = async |slices, done| self.write(slices, done, &mut last).await;
            let Err(error) = unwritten.write(&mut writer.slices, write).await else {
                break;
            };
            self.check();
            match self.go_on_if_truncated(unwritten.done(), last) {
                Ok(true) => (unwritten, last) = (Unwritten::new(pieces), 0),
                Ok(false) => writer.attempts.failed(&error).await,
                Err(error) => writer.attempts.failed(&error).await,
            }
        }
        self.end += unwritten.done();
    }

    /// Writes what follows `done` bytes of a message. An error of kind
    /// `UnexpectedEof` says that the file was truncated; if that was while it
    /// was written to, `last` has the bytes that were.
    async fn write(&self, slices: Vec<Bytes>, done: u64, last: &mut u64) -> Written {
        let truncated = || io::Error::from(io::ErrorKind::UnexpectedEof);
        match self.missing(done) {
            Ok(0) => {}
            Ok(_) => return (Err(truncated()), slices),
            Err(error) => return (Err(error), slices),
        }
        let (result, slices) = self.writer.writev_at(slices, self.end + done).await;
        if let Ok(written) = result
            && self
                .missing(done + written as u64)
                .is_ok_and(|missing| missing > 0)
        {
            *last = written as u64;
            return (Err(truncated()), slices);
        }
        (result, slices)
    }

    /// Bytes of what was written that the file has not any more, when `done`
    /// bytes of a message were.
    fn missing(&self, done: u64) -> io::Result<u64> {
        Ok((self.end + done).saturating_sub(self.file.metadata()?.len()))
    }

    /// Finds the new end of a file that was truncated, after `done` bytes of a
    /// message and the `last` ones. True if it was: the message must begin
    /// again.
    fn go_on_if_truncated(&mut self, done: u64, last: u64) -> io::Result<bool> {
        let missing = self.missing(done + last)?;
        if missing == 0 {
            return Ok(false);
        }
        log::warn!(
            "{}: the file was truncated, the last {missing} bytes are gone; it goes on at its new end",
            self.path.display(),
        );
        if last > 0 && self.file.metadata()?.len() == last {
            // It was emptied just before they were written: they may be the
            // rest of a message whose beginning is gone.
            self.file.set_len(0)?;
        }
        self.end = match take_cut_away(&self.file, &self.path) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                log::error!("{}: {error}", self.path.display());
                self.file.metadata()?.len()
            }
            found => found?,
        };
        Ok(true)
    }

    /// Tells once if the path leads elsewhere by now.
    fn check(&mut self) {
        self.checked = Instant::now();
        let same = || fs::metadata(&self.path).is_ok_and(|found| identity(&found) == self.identity);
        if !self.replaced && !same() {
            self.replaced = true;
            log::warn!(
                "{}: the file was moved, removed or replaced; what was opened is written on",
                self.path.display()
            );
        }
    }
}

/// A file with a position of its own, or with none.
#[derive(Debug)]
struct Unplaced(Writer);

impl Unplaced {
    /// An error says that nobody reads it any more.
    async fn write(&self, pieces: &[Bytes], writer: &mut Writing) -> io::Result<()> {
        let mut unwritten = Unwritten::new(pieces);
        while let Err(error) = self.write_on(&mut unwritten, writer).await {
            if self.0.is_gone(&error) {
                return Err(error);
            }
            writer.attempts.failed(&error).await;
        }
        Ok(())
    }

    async fn write_on(
        &self,
        unwritten: &mut Unwritten<'_>,
        writer: &mut Writing,
    ) -> io::Result<()> {
        let write = async |slices, _| self.0.writev_at(slices, AT_POSITION).await;
        unwritten.write(&mut writer.slices, write).await
    }
}

#[cfg(test)]
mod tests;
