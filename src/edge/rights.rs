//! Descriptors that a client passes beside its bytes (`SCM_RIGHTS`).
//!
//! Butler has no use for them. But a descriptor in flight belongs to the queue
//! of our socket: whoever reads past it, or closes the socket, closes it, and
//! that may take as long as its owner chose, for a TCP socket with `SO_LINGER`
//! and bytes that nobody reads. It must not be our one thread that waits.
//!
//! From Linux 6.16 on a socket can refuse them (`SO_PASSRIGHTS`): then it is
//! the client's `sendmsg` that fails. A socket that listens leaves that to
//! those that connect to it. Before, there is [`read`], which looks before it
//! reads, and [`Elsewhere`], where a socket is closed that may have some in its
//! queue.

use std::io::IoSliceMut;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Sender, channel};
use std::{io, thread};

use rustix::io::Errno;
use rustix::net::sockopt::socket_domain;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, ReturnFlags, Shutdown, recv, recvmsg, shutdown,
};

/// As most architectures number it. Where that is another option, or none, the
/// kernel says so, and counts as one that can't refuse descriptors.
const SO_PASSRIGHTS: libc::c_int = 83;

/// What is looked through of a queue at a time.
const LOOKED_AT: usize = 64 * 1024;

/// Whether descriptors can come over a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rights {
    /// None can, and none are there.
    Refused,
    /// The kernel can't refuse them.
    Possible,
    /// Some are there: nobody had refused them so far.
    Passed,
}

/// From now on nobody can pass descriptors over `socket`, as far as the kernel
/// can see to that.
pub(super) fn refuse(socket: impl AsFd) -> Rights {
    let socket = socket.as_fd();
    match get(socket, SO_PASSRIGHTS) {
        Ok(0) => Rights::Refused,
        Ok(_) => match set(socket, SO_PASSRIGHTS, 0) {
            Ok(()) if are_queued(socket) => Rights::Passed,
            Ok(()) => Rights::Refused,
            Err(_) => Rights::Possible,
        },
        // Only over Unix sockets can there be any.
        Err(_) if socket_domain(socket) == Ok(AddressFamily::UNIX) => Rights::Possible,
        Err(_) => Rights::Refused,
    }
}

/// Can this kernel refuse them?
pub(super) fn can_be_refused() -> io::Result<bool> {
    let (socket, _) = UnixStream::pair()?;
    Ok(refuse(socket) == Rights::Refused)
}

/// Are there descriptors among the bytes that wait in the queue?
fn are_queued(socket: BorrowedFd<'_>) -> bool {
    // Each look goes on where the last one ended. What can't be looked at is
    // no Unix stream socket with anything in it.
    if set(socket, libc::SO_PEEK_OFF, 0).is_err() {
        return false;
    }
    let mut bytes = vec![0; LOOKED_AT];
    let found = loop {
        match peek(socket, &mut bytes) {
            Ok(Look { passed: true, .. }) => break true,
            Ok(Look { len, .. }) if len > 0 => {}
            Err(Errno::INTR) => {}
            _ => break false,
        }
    };
    // It was just set, so it can be.
    let _ = set(socket, libc::SO_PEEK_OFF, -1);
    found
}

/// What is next in a queue.
struct Look {
    len: usize,
    /// It comes with descriptors.
    passed: bool,
}

fn peek(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<Look, Errno> {
    let mut slices = [IoSliceMut::new(bytes)];
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    // Without room for any, the kernel says that there would be some.
    let mut no_room = RecvAncillaryBuffer::default();
    let looked = recvmsg(socket, &mut slices, &mut no_room, flags)?;
    Ok(Look {
        len: looked.bytes,
        passed: looked.flags.contains(ReturnFlags::CTRUNC),
    })
}

/// Reads from a socket over which descriptors are possible, without waiting and
/// without closing one: if some are there, that is an error, and the socket is
/// to be closed [`Elsewhere`].
pub(super) fn read(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    let look = peek(socket, buffer)?;
    if look.passed {
        return Err(passed());
    }
    // Exactly what was looked at: behind it there may be anything by now.
    let (len, _) = recv(socket, &mut buffer[..look.len], RecvFlags::DONTWAIT)?;
    Ok(len)
}

/// A client has passed descriptors.
pub(super) fn passed() -> io::Error {
    io::Error::other("its client passes descriptors, which are not taken")
}

/// Where sockets are closed that may hold descriptors: a thread of its own,
/// which is there while somebody needs it.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    thread: Option<Sender<OwnedFd>>,
}

impl Elsewhere {
    /// Closes a client's socket, at some time. The client sees at once that it
    /// is over.
    pub fn close(&mut self, socket: OwnedFd) {
        // It may be gone already.
        let _ = shutdown(&socket, Shutdown::Both);
        self.let_go(socket);
    }

    /// Closes what nobody else has, at some time.
    pub fn let_go(&mut self, socket: OwnedFd) {
        if self.thread.is_none() {
            let (thread, sockets) = channel();
            let spawned = thread::Builder::new()
                .name("close".into())
                .spawn(move || sockets.into_iter().for_each(drop::<OwnedFd>));
            match spawned {
                Ok(_) => self.thread = Some(thread),
                Err(error) => log::warn!("sockets are closed without a thread: {error}"),
            }
        }
        if let Some(thread) = &self.thread {
            // It goes on for as long as this end exists.
            let _ = thread.send(socket);
        }
    }
}

fn get(socket: BorrowedFd<'_>, option: libc::c_int) -> Result<libc::c_int, Errno> {
    let mut value: libc::c_int = 0;
    let mut len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open for as long as it is borrowed; the kernel
    // writes at most `len` bytes to `value`, which has as many and may hold any
    // number.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw mut value).cast(),
            &raw mut len,
        )
    };
    match result {
        0 => Ok(value),
        _ => Err(last_error()),
    }
}

fn set(socket: BorrowedFd<'_>, option: libc::c_int, value: libc::c_int) -> Result<(), Errno> {
    // SAFETY: the descriptor is open for as long as it is borrowed; the kernel
    // reads `value`, as many bytes as it is told.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(last_error()),
    }
}

fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg, sockopt};

    /// Longer than any test.
    const LINGER: Duration = Duration::from_secs(3600);

    /// A TCP socket that whoever closes it last waits for, and its other end.
    fn lingering() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (other, _) = listener.accept().unwrap();
        sockopt::set_socket_linger(&socket, Some(LINGER)).unwrap();
        socket.set_nonblocking(true).unwrap();
        while socket.write(&[0; 65536]).is_ok() {}
        (socket, other)
    }

    fn pass(over: &UnixStream, passed: &impl AsFd, bytes: &[u8]) -> Result<usize, Errno> {
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut rights = SendAncillaryBuffer::new(&mut space);
        let passed = [passed.as_fd()];
        assert!(rights.push(SendAncillaryMessage::ScmRights(&passed)));
        let bytes = [io::IoSlice::new(bytes)];
        sendmsg(over, &bytes, &mut rights, SendFlags::empty())
    }

    #[test]
    fn what_the_kernel_refuses() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        if refuse(&ours) == Rights::Possible {
            eprintln!("skipped: this kernel does not refuse descriptors");
            return;
        }
        assert!(can_be_refused().unwrap());
        let (passed, _other) = lingering();
        assert_eq!(pass(&theirs, &passed, b"x"), Err(Errno::PERM));
        assert_eq!(refuse(&ours), Rights::Refused);
        // Where there can be none it has nothing to say.
        assert_eq!(refuse(&passed), Rights::Refused);
        passed.set_nonblocking(true).unwrap();
        sockopt::set_socket_linger(&passed, None).unwrap();
    }

    #[test]
    fn what_was_passed_before_is_found() {
        for (before, found) in [(true, Rights::Passed), (false, Rights::Refused)] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            if can_be_refused().unwrap() {
                // More than one look, and in the end there they are.
                theirs.write_all(&[b'x'; LOOKED_AT + 10]).unwrap();
                let (passed, _other) = lingering();
                if before {
                    pass(&theirs, &passed, b"y").unwrap();
                }
                assert_eq!(refuse(&ours), found);
                // What is queued is still read from its beginning.
                let mut read = [0; 3];
                recv(&ours, &mut read, RecvFlags::DONTWAIT).unwrap();
                assert_eq!(&read, b"xxx");
                Elsewhere::default().close(ours.into());
                sockopt::set_socket_linger(&passed, None).unwrap();
            }
        }
    }

    /// The way without the kernel's help.
    #[test]
    fn they_are_never_read() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut buffer = [0; 100];
        let mut next = || read(ours.as_fd(), &mut buffer).map(|len| buffer[..len].to_vec());
        theirs.write_all(b"bytes").unwrap();
        assert_eq!(next().unwrap(), b"bytes");
        assert_eq!(next().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let (passed, _other) = lingering();
        pass(&theirs, &passed, b"and more").unwrap();
        for _ in 0..2 {
            assert!(next().unwrap_err().to_string().contains("descriptors"));
        }
        // Now the queue alone has it.
        drop(passed);
        let begun = Instant::now();
        Elsewhere::default().close(ours.into());
        assert!(begun.elapsed() < LINGER / 10);
        assert_eq!(
            theirs.write(b"x").unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
    }

    #[test]
    fn the_end_is_the_end() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        assert_eq!(read(ours.as_fd(), &mut [0; 10]).unwrap(), 0);
    }
}
