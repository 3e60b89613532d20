//! Files that are written to without holding up the thread.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, ReadWriteFlags};
use smallvec::SmallVec;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio_uring::BufResult;

use super::runtime::{self, Kind};
use super::wake;

/// The offset that stands for the file's own position, or for none.
pub(crate) const AT_POSITION: u64 = u64::MAX;

/// What a pipe takes at once if it is ready at all (`PIPE_BUF`).
const TAKEN_AT_ONCE: usize = 4096;

/// See the module.
#[derive(Debug)]
pub(crate) enum Writer {
    /// The ring writes, and waits if it must.
    Ring(tokio_uring::fs::File),
    /// Writing waits for nobody.
    Plain(File),
    /// It is written to whenever it is ready.
    Polled(AsyncFd<OwnedFd>),
}

impl Writer {
    /// Writes to a regular file.
    pub fn regular(file: File) -> Self {
        match runtime::kind() {
            Kind::Uring => Self::Ring(tokio_uring::fs::File::from_std(file)),
            Kind::Epoll => Self::Plain(file),
        }
    }

    /// Writes to a pipe or device that we have opened for ourselves.
    pub fn own(file: File) -> io::Result<Self> {
        let flags = fcntl_getfl(&file)?;
        match runtime::kind() {
            // The ring waits by itself, but not for files that say they never
            // block.
            Kind::Uring => fcntl_setfl(&file, flags - OFlags::NONBLOCK)?,
            Kind::Epoll => fcntl_setfl(&file, flags | OFlags::NONBLOCK)?,
        }
        Self::shared(file)
    }

    /// Writes to a pipe or device that others have too, such as stdout.
    pub fn shared(file: File) -> io::Result<Self> {
        match runtime::kind() {
            Kind::Uring => Ok(Self::Ring(tokio_uring::fs::File::from_std(file))),
            Kind::Epoll => {
                let file = own_terminal(file);
                match wake::watch(file.into(), Interest::WRITABLE) {
                    Ok(watched) => Ok(Self::Polled(watched)),
                    // It can't be waited for: it is always ready.
                    Err((fd, error)) if Errno::from_io_error(&error) == Some(Errno::PERM) => {
                        Ok(Self::Plain(fd.into()))
                    }
                    Err((_, error)) => Err(error),
                }
            }
        }
    }

    /// Writes what the kernel takes.
    pub async fn writev_at(&self, slices: Vec<Bytes>, at: u64) -> BufResult<usize, Vec<Bytes>> {
        let result = match self {
            Self::Ring(ring) => return ring.writev_at(slices, at).await,
            Self::Plain(file) => match at {
                AT_POSITION => rustix::io::writev(file, &io_slices(&slices)),
                at => rustix::io::pwritev(file, &io_slices(&slices), at),
            }
            .map_err(io::Error::from),
            Self::Polled(watched) => when_ready(watched, || write_now(watched, &slices)).await,
        };
        (result, slices)
    }
}

/// Calls `write` until it is not `AGAIN`, whenever the descriptor is ready.
pub(crate) async fn when_ready<T>(
    watched: &AsyncFd<OwnedFd>,
    mut write: impl FnMut() -> rustix::io::Result<T>,
) -> io::Result<T> {
    loop {
        let mut ready = watched.writable().await?;
        match write() {
            Err(Errno::AGAIN) => ready.clear_ready(),
            Err(Errno::INTR) => {}
            result => return result.map_err(io::Error::from),
        }
    }
}

/// The slices of one call.
pub(crate) fn io_slices(slices: &[Bytes]) -> SmallVec<[IoSlice<'_>; 64]> {
    slices.iter().map(|it| IoSlice::new(it)).collect()
}

/// Writes without waiting, to what may be set to block.
fn write_now(fd: impl AsFd, slices: &[Bytes]) -> rustix::io::Result<usize> {
    let fd = fd.as_fd();
    let all = io_slices(slices);
    match rustix::io::pwritev2(fd, &all, AT_POSITION, ReadWriteFlags::NOWAIT) {
        // Terminals and pipes of old kernels know no such flag.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
        result => return result,
    }
    if fcntl_getfl(fd)?.contains(OFlags::NONBLOCK) {
        return rustix::io::writev(fd, &all);
    }
    let mut ready = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    if poll(&mut ready, Some(&Timespec::default()))? == 0 {
        return Err(Errno::AGAIN);
    }
    let some = slices.iter().find(|slice| !slice.is_empty());
    let some = some.map_or(&[] as &[u8], |slice| slice);
    rustix::io::write(fd, &some[..some.len().min(TAKEN_AT_ONCE)])
}

/// A terminal that says it is ready may take less than we write, and then make
/// us wait; and that it must not would hold for all who have it. So it is
/// opened once more, if we may.
fn own_terminal(file: File) -> File {
    if !rustix::termios::isatty(&file) {
        return file;
    }
    OpenOptions::new()
        .write(true)
        .custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32)
        .open(format!("/proc/self/fd/{}", file.as_raw_fd()))
        .unwrap_or(file)
}
