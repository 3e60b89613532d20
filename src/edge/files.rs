//! What the outputs on this machine ask of the kernel: files, and what is
//! written to.
//!
//! Every call is made as it is told here. The simulator of the tests puts faults
//! in their place: errors, and writes that are short.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, IoSlice, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use bytes::Bytes;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::writer;

/// Descriptors, and what is done with files by them. No call waits for anybody.
pub trait Files {
    /// An open descriptor. Dropped, it is closed.
    type Fd: fmt::Debug + AsFd + From<OwnedFd> + 'static;

    /// Opens what is at the path.
    fn open(&mut self, path: &Path, flags: OFlags, mode: Mode) -> Result<Self::Fd, Errno> {
        Ok(rustix::fs::open(path, flags | OFlags::CLOEXEC, mode)?.into())
    }

    /// Opens what has that name in the directory. If it is a link it is not
    /// followed.
    fn open_in(
        &mut self,
        directory: &Self::Fd,
        name: &OsStr,
        flags: OFlags,
        mode: Mode,
    ) -> Result<Self::Fd, Errno> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(directory, name, flags, mode, resolve) {
            // A kernel older than 5.6, or a filter that does not know the call.
            // This is as good for a single component, with `NOFOLLOW`.
            Err(Errno::NOSYS | Errno::PERM) => {
                Ok(rustix::fs::openat(directory, name, flags, mode)?.into())
            }
            opened => Ok(opened?.into()),
        }
    }

    /// Makes a directory.
    fn make_in(&mut self, directory: &Self::Fd, name: &OsStr, mode: Mode) -> Result<(), Errno> {
        rustix::fs::mkdirat(directory, name, mode)
    }

    /// Removes what has that name, but not a directory.
    fn remove_in(&mut self, directory: &Self::Fd, name: &OsStr) -> Result<(), Errno> {
        rustix::fs::unlinkat(directory, name, AtFlags::empty())
    }

    /// Gives a file another name, whatever has that.
    fn rename_in(&mut self, directory: &Self::Fd, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
        rustix::fs::renameat(directory, from, directory, to)
    }

    /// What has that name; of a link itself.
    fn stat_in(&mut self, directory: &Self::Fd, name: &OsStr) -> Result<Stat, Errno> {
        rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// What is at the path.
    fn stat_at(&mut self, path: &Path) -> Result<Stat, Errno> {
        rustix::fs::stat(path)
    }

    /// What is open.
    fn stat(&mut self, fd: &Self::Fd) -> Result<Stat, Errno> {
        rustix::fs::fstat(fd)
    }

    /// Locks the file for as long as it is open. `WOULDBLOCK`: somebody else has.
    fn lock(&mut self, fd: &Self::Fd) -> Result<(), Errno> {
        rustix::fs::flock(fd, FlockOperation::NonBlockingLockExclusive)
    }

    /// The names in the directory, in no order.
    fn list(&mut self, directory: &Self::Fd) -> Result<Vec<OsString>, Errno> {
        let mut names = Vec::new();
        for entry in Dir::read_from(directory)? {
            let name = entry?;
            let name = name.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                names.push(OsStr::from_bytes(name).to_owned());
            }
        }
        Ok(names)
    }

    /// Says who may do what with the file or directory.
    fn set_mode(&mut self, fd: &Self::Fd, mode: Mode) -> Result<(), Errno> {
        rustix::fs::fchmod(fd, mode)
    }

    /// Gives a file another name, in another directory. Whatever has that name is
    /// replaced.
    fn move_to(
        &mut self,
        (from, name): (&Self::Fd, &OsStr),
        (to, new_name): (&Self::Fd, &OsStr),
    ) -> Result<(), Errno> {
        rustix::fs::renameat(from, name, to, new_name)
    }

    /// Makes the file as long as that.
    fn truncate(&mut self, fd: &Self::Fd, len: u64) -> Result<(), Errno> {
        rustix::fs::ftruncate(fd, len)
    }

    /// Reads at a place in a regular file.
    fn read_at(&mut self, fd: &Self::Fd, bytes: &mut [u8], at: u64) -> Result<usize, Errno> {
        rustix::io::pread(fd, bytes, at)
    }

    /// Writes to a regular file at a place, or at its end if it was opened to be
    /// appended to.
    fn write_at(&mut self, fd: &Self::Fd, slices: &[IoSlice<'_>], at: u64) -> Result<usize, Errno> {
        rustix::io::pwritev(fd, slices, at)
    }

    /// Writes to a regular file where it stands: at its end if it was opened to
    /// be appended to.
    fn write(&mut self, fd: &Self::Fd, bytes: &[u8]) -> Result<usize, Errno> {
        rustix::io::write(fd, bytes)
    }

    /// Writes what a pipe, a terminal or another device takes without waiting,
    /// whether it is set to block or not. `AGAIN`: that is nothing.
    fn write_ready(&mut self, fd: &Self::Fd, slices: &[Bytes]) -> Result<usize, Errno> {
        writer::write_now(fd, &writer::io_slices(slices))
    }

    /// A descriptor that is of no use, and keeps the place of one that will be.
    fn spare_file(&mut self) -> Result<Self::Fd, Errno> {
        Ok(eventfd(0, EventfdFlags::CLOEXEC)?.into())
    }

    /// Has a terminal been closed at its other end?
    fn has_hung_up(&mut self, fd: &Self::Fd) -> bool {
        writer::has_hung_up(fd)
    }
}

/// Reads a regular file from its beginning, wherever it stands.
pub(crate) struct Reader<'a, F: Files> {
    io: &'a mut F,
    file: &'a F::Fd,
    at: u64,
}

impl<'a, F: Files> Reader<'a, F> {
    pub fn new(io: &'a mut F, file: &'a F::Fd) -> Self {
        Self { io, file, at: 0 }
    }
}

impl<F: Files> Read for Reader<'_, F> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.io.read_at(self.file, bytes, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl<F: Files> Seek for Reader<'_, F> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => {
                let len = u64::try_from(self.io.stat(self.file)?.st_size).unwrap_or(0);
                len.checked_add_signed(by)
            }
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
