//! A regular file, and what others do to it meanwhile.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::Stat;

use super::recover;
use crate::edge::files::Reader;
use crate::edge::io::Io;
use crate::edge::transport::Now;
use crate::edge::writer::io_slices;
use crate::limits::FILE_CHECK_INTERVAL;
use crate::output::write::Progress;

#[derive(Debug)]
pub(super) struct Regular<D> {
    path: PathBuf,
    /// Its device and inode.
    identity: (u64, u64),
    file: D,
    /// Where the last whole message ends.
    end: u64,
    /// When it was last looked whether the path still leads to the file.
    checked_ns: u64,
    /// It does not, and that was told.
    replaced: bool,
}

fn identity(found: &Stat) -> (u64, u64) {
    (found.st_dev, found.st_ino)
}

impl<D> Regular<D> {
    /// Takes a message that an earlier writer left cut away.
    pub fn new<I: Io<Fd = D>>(io: &mut I, path: &Path, file: D, found: &Stat) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            identity: identity(found),
            end: take_cut_away(io, &file, path)?,
            file,
            checked_ns: 0,
            replaced: false,
        })
    }

    /// Writes what is left of a message.
    pub fn append<I: Io<Fd = D>>(
        &mut self,
        now: &mut Now<'_, I>,
        pieces: &[Bytes],
        progress: &mut Progress,
    ) -> io::Result<()> {
        if now.ns.saturating_sub(self.checked_ns) >= FILE_CHECK_INTERVAL.as_nanos() as u64 {
            self.check(now);
        }
        loop {
            let mut last = 0;
            let written = progress.write(pieces, |slices, done| {
                self.write(now.io, &io_slices(slices), done, &mut last)
            });
            let Err(error) = written else {
                break;
            };
            self.check(now);
            if !self.go_on_if_truncated(now.io, progress.done(), last)? {
                return Err(error);
            }
            *progress = Progress::default();
        }
        self.end += progress.done();
        Ok(())
    }

    /// Writes what follows `done` bytes of a message. An error of kind
    /// `UnexpectedEof` says that the file was truncated; if that was while it
    /// was written to, `last` has the bytes that were.
    fn write<I: Io<Fd = D>>(
        &self,
        io: &mut I,
        slices: &[IoSlice<'_>],
        done: u64,
        last: &mut u64,
    ) -> io::Result<usize> {
        if self.missing(io, done)? > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let written = io.write_at(&self.file, slices, self.end + done)?;
        let is_shorter = self.missing(io, done + written as u64);
        if is_shorter.is_ok_and(|missing| missing > 0) {
            *last = written as u64;
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(written)
    }

    /// Bytes of what was written that the file has not any more, when `done`
    /// bytes of a message were.
    fn missing<I: Io<Fd = D>>(&self, io: &mut I, done: u64) -> io::Result<u64> {
        Ok((self.end + done).saturating_sub(len(io, &self.file)?))
    }

    /// Finds the new end of a file that was truncated, after `done` bytes of a
    /// message and the `last` ones. True if it was: the message must begin
    /// again.
    fn go_on_if_truncated<I: Io<Fd = D>>(
        &mut self,
        io: &mut I,
        done: u64,
        last: u64,
    ) -> io::Result<bool> {
        let missing = self.missing(io, done + last)?;
        if missing == 0 {
            return Ok(false);
        }
        log::warn!(
            "{}: the file was truncated, the last {missing} bytes are gone; it goes on at its new end",
            self.path.display(),
        );
        if last > 0 && len(io, &self.file)? == last {
            // It was emptied just before they were written: they may be the
            // rest of a message whose beginning is gone.
            io.truncate(&self.file, 0)?;
        }
        self.end = match take_cut_away(io, &self.file, &self.path) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                log::error!("{}: {error}", self.path.display());
                len(io, &self.file)?
            }
            found => found?,
        };
        Ok(true)
    }

    /// Tells once if the path leads elsewhere by now.
    fn check<I: Io<Fd = D>>(&mut self, now: &mut Now<'_, I>) {
        self.checked_ns = now.ns;
        let mut same = || {
            let found = now.io.stat_at(&self.path);
            found.is_ok_and(|found| identity(&found) == self.identity)
        };
        if !self.replaced && !same() {
            self.replaced = true;
            log::warn!(
                "{}: the file was moved, removed or replaced; what was opened is written on",
                self.path.display()
            );
        }
    }
}

fn len<I: Io>(io: &mut I, file: &I::Fd) -> io::Result<u64> {
    Ok(u64::try_from(io.stat(file)?.st_size).unwrap_or(0))
}

/// Takes a message that is cut away from the file's end, and says where that
/// is then. An error as from [`recover::end_of_messages`], or of the file.
fn take_cut_away<I: Io>(io: &mut I, file: &I::Fd, path: &Path) -> io::Result<u64> {
    let len = len(io, file)?;
    let end = recover::end_of_messages(Reader::new(io, file))?;
    if end < len {
        io.truncate(file, end)?;
        log::warn!(
            "{}: its last message was cut; {} bytes from byte {end} on are taken away",
            path.display(),
            len - end
        );
    }
    Ok(end)
}
