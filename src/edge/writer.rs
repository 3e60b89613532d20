//! Files that are written to without holding up the thread.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::{Errno, ReadWriteFlags};
use smallvec::SmallVec;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio_uring::BufResult;

use super::runtime::{self, Backend};
use super::wake;

/// The offset that stands for the file's own position, or for none.
const AT_POSITION: u64 = u64::MAX;

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
    /// Writes to a pipe or device that others have too, such as stdout.
    pub fn shared(file: File) -> io::Result<Self> {
        let file = own_terminal(file);
        // The ring would write to a terminal at once, and if that stands still
        // it would wait with all the thread has to do.
        if runtime::kind() == Backend::Uring && !rustix::termios::isatty(&file) {
            return Ok(Self::Ring(tokio_uring::fs::File::from_std(file)));
        }
        match wake::watch(file.into(), Interest::WRITABLE) {
            Ok(watched) => Ok(Self::Polled(watched)),
            // It can't be waited for: it is always ready.
            Err((fd, error)) if Errno::from_io_error(&error) == Some(Errno::PERM) => {
                Ok(Self::Plain(fd.into()))
            }
            Err((_, error)) => Err(error),
        }
    }

    /// Writes what the kernel takes.
    pub async fn writev(&self, slices: Vec<Bytes>) -> BufResult<usize, Vec<Bytes>> {
        let result = match self {
            Self::Ring(ring) => return ring.writev_at(slices, AT_POSITION).await,
            Self::Plain(file) => {
                rustix::io::writev(file, &io_slices(&slices)).map_err(io::Error::from)
            }
            Self::Polled(watched) => {
                when_ready(watched, || write_now(watched, &io_slices(&slices))).await
            }
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

/// Writes what is taken at once, to a file that others have too. A regular
/// file takes all.
#[cfg(feature = "cli")]
pub(crate) fn write_without_waiting(fd: impl AsFd, bytes: &[u8]) -> rustix::io::Result<usize> {
    use rustix::fs::{FileType, fstat};
    let stat = fstat(&fd)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
        return rustix::io::write(fd, bytes);
    }
    write_now(fd, &[IoSlice::new(bytes)])
}

/// Has a terminal been closed at its other end?
pub(super) fn has_hung_up(fd: impl AsFd) -> bool {
    let mut ready = [PollFd::new(&fd, PollFlags::OUT)];
    poll(&mut ready, Some(&Timespec::default())).is_ok()
        && ready[0].revents().contains(PollFlags::HUP)
}

/// Writes without waiting, to what may be set to block.
pub(super) fn write_now(fd: impl AsFd, all: &[IoSlice<'_>]) -> rustix::io::Result<usize> {
    let fd = fd.as_fd();
    match rustix::io::pwritev2(fd, all, AT_POSITION, ReadWriteFlags::NOWAIT) {
        // Terminals and pipes of old kernels know no such flag.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
        result => return result,
    }
    if fcntl_getfl(fd)?.contains(OFlags::NONBLOCK) {
        return rustix::io::writev(fd, all);
    }
    write_some(fd, all)
}

/// Writes as little as can't block, to a pipe that is set to block.
fn write_some(fd: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> rustix::io::Result<usize> {
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
    reopen_terminal(&file).unwrap_or(file)
}

/// The same for what is not ours to close. `None`: it is no terminal, or can't
/// be opened.
pub(crate) fn reopen_terminal(fd: impl AsFd) -> Option<File> {
    if !rustix::termios::isatty(&fd) {
        return None;
    }
    OpenOptions::new()
        .write(true)
        .custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32)
        .open(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::runtime::IoMode;
    use crate::edge::testing::terminal;
    use std::io::Read;
    use std::time::Duration;

    /// More than a pipe or a terminal takes.
    fn much() -> Bytes {
        let bytes: Vec<u8> = (0..1_000_000u32).map(|at| b'a' + (at % 23) as u8).collect();
        bytes.into()
    }

    async fn write_all(writer: &Writer, mut rest: Bytes) -> io::Result<()> {
        while !rest.is_empty() {
            let (written, _) = writer.writev(vec![rest.clone()]).await;
            rest = rest.slice(written?..);
        }
        Ok(())
    }

    /// Nobody reads at first, and meanwhile the thread does other things.
    fn waits_for_its_reader(file: File, reader: OwnedFd) {
        crate::start_with(IoMode::Epoll, async {
            let writer = Writer::shared(file).unwrap();
            let mut writing = std::pin::pin!(write_all(&writer, much()));
            let early = tokio::time::timeout(Duration::from_millis(20), &mut writing);
            assert!(early.await.is_err(), "nobody has read it");
            let thread = std::thread::spawn(move || {
                let mut read = vec![0; much().len()];
                File::from(reader).read_exact(&mut read).unwrap();
                read
            });
            writing.await.unwrap();
            assert!(thread.join().unwrap() == much());
        })
        .unwrap();
    }

    #[test]
    fn a_pipe_that_is_set_to_block() {
        let (reader, writer) = io::pipe().unwrap();
        waits_for_its_reader(OwnedFd::from(writer).into(), reader.into());
    }

    #[test]
    fn a_terminal_that_is_set_to_block() {
        let Some((ours, theirs)) = terminal() else {
            return;
        };
        waits_for_its_reader(theirs.into(), ours);
    }

    #[test]
    fn as_little_as_never_blocks() {
        let (reader, writer) = io::pipe().unwrap();
        let much = much();
        let data = [IoSlice::new(&[]), IoSlice::new(&much)];
        let mut written = 0;
        loop {
            match write_some(writer.as_fd(), &data) {
                Ok(len) => written += len,
                Err(Errno::AGAIN) => break,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(rustix::io::ioctl_fionread(&reader), Ok(written as u64));
        assert!(written >= TAKEN_AT_ONCE);
        drop(reader);
        let error = write_some(writer.as_fd(), &data).unwrap_err();
        assert_eq!(error, Errno::PIPE);
    }

    #[test]
    fn what_can_not_be_waited_for_is_ready() {
        crate::start_with(IoMode::Epoll, async {
            let null = || OpenOptions::new().write(true).open("/dev/null").unwrap();
            let writer = Writer::shared(null()).unwrap();
            assert!(matches!(writer, Writer::Plain(_)));
            write_all(&writer, much()).await.unwrap();
        })
        .unwrap();
    }
}
