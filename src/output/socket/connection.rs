//! One connection, Unix or TCP.
//!
//! Connecting goes through tokio's sockets, which don't block and may be
//! given up at any time; from then on the ring waits, and needs the socket
//! blocking. Without a ring it may block as well: no call on it waits.

use std::fmt;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, sendmsg, sockopt};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio_uring::BufResult;

use super::Address;
use crate::edge::runtime::{self, Kind};
use crate::edge::wake;
use crate::edge::writer::{io_slices, when_ready};
use crate::limits::{BUNDLE_TARGET, CONNECT_TIMEOUT, TCP_KEEPALIVE_IDLE};
use crate::output::resolve::resolve;

/// So that a bundle finds room while its reader has another one still; the
/// kernel may allow less.
const UNIX_SEND_BUFFER: usize = 2 * BUNDLE_TARGET;

/// Waits until a socket takes more.
pub(super) enum Room<R> {
    /// It writes as well.
    Ring(R),
    Polled(AsyncFd<OwnedFd>),
}

impl<R> Room<R> {
    fn new<S>(socket: &S, ring: impl FnOnce(S) -> R) -> io::Result<Self>
    where
        S: From<OwnedFd> + AsFd,
    {
        let socket = socket.as_fd().try_clone_to_owned()?;
        match runtime::kind() {
            Kind::Uring => Ok(Self::Ring(ring(socket.into()))),
            Kind::Epoll => wake::watch(socket, Interest::WRITABLE)
                .map(Self::Polled)
                .map_err(|(_, error)| error),
        }
    }
}

/// A socket twice: to wait until it takes more, and for everything else.
pub(super) enum Connection {
    Unix(Room<tokio_uring::net::UnixStream>, UnixStream),
    Tcp(Room<tokio_uring::net::TcpStream>, TcpStream),
}

/// Where nobody listens on a local port, the kernel may give a connection to
/// it that very port for its own end: it connects with itself (TCP's
/// simultaneous open), and what is sent goes nowhere.
fn is_with_itself(socket: &tokio::net::TcpStream) -> bool {
    matches!((socket.local_addr(), socket.peer_addr()), (Ok(ours), Ok(theirs)) if ours == theirs)
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(_, socket) => socket.fmt(f),
            Self::Tcp(_, socket) => socket.fmt(f),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(_, socket) => socket.as_fd(),
            Self::Tcp(_, socket) => socket.as_fd(),
        }
    }
}

impl Connection {
    pub async fn open(address: &Address) -> io::Result<Self> {
        match address {
            Address::Unix(path) => Self::open_unix(path).await,
            Address::Tcp { host, port } => Self::open_tcp(host, *port).await,
        }
    }

    /// Fails with `WouldBlock` when too many wait to be accepted.
    async fn open_unix(path: &Path) -> io::Result<Self> {
        let socket = tokio::net::UnixStream::connect(path).await?.into_std()?;
        socket.set_nonblocking(false)?;
        sockopt::set_socket_send_buffer_size(&socket, UNIX_SEND_BUFFER)?;
        let room = Room::new(&socket, tokio_uring::net::UnixStream::from_std)?;
        Ok(Self::Unix(room, socket))
    }

    /// Tries all addresses and fails as the last one did.
    async fn open_tcp(host: &str, port: u16) -> io::Result<Self> {
        let mut last_error = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in resolve(host, port).await? {
            let connecting = tokio::net::TcpStream::connect(address);
            match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
                Ok(Ok(socket)) if is_with_itself(&socket) => {
                    last_error = io::ErrorKind::ConnectionRefused.into();
                }
                Ok(Ok(socket)) => return Self::from_tcp(socket.into_std()?),
                Ok(Err(error)) => last_error = error,
                Err(_) => last_error = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last_error)
    }

    fn from_tcp(socket: TcpStream) -> io::Result<Self> {
        socket.set_nonblocking(false)?;
        socket.set_nodelay(true)?;
        sockopt::set_socket_keepalive(&socket, true)?;
        sockopt::set_tcp_keepidle(&socket, TCP_KEEPALIVE_IDLE)?;
        let room = Room::new(&socket, tokio_uring::net::TcpStream::from_std)?;
        Ok(Self::Tcp(room, socket))
    }

    /// Writes what the kernel takes; waits until that is something.
    ///
    /// Mostly it has room. Then it takes no turn of the ring, which would cost
    /// more than the call: figures in `perf/README.md`.
    pub async fn writev(&self, slices: Vec<Bytes>) -> BufResult<usize, Vec<Bytes>> {
        match self.send_now(&slices) {
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            result => return (result.map_err(io::Error::from), slices),
        }
        match self {
            Self::Unix(Room::Ring(ring), _) => ring.writev(slices).await,
            Self::Tcp(Room::Ring(ring), _) => ring.writev(slices).await,
            Self::Unix(Room::Polled(watched), _) | Self::Tcp(Room::Polled(watched), _) => {
                let result = when_ready(watched, || self.send_now(&slices)).await;
                (result, slices)
            }
        }
    }

    fn send_now(&self, slices: &[Bytes]) -> rustix::io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let slices = io_slices(slices);
        sendmsg(self, &slices, &mut SendAncillaryBuffer::default(), flags)
    }

    /// Is the peer still there, as far as the kernel knows? What it has sent
    /// is thrown away.
    pub fn check(&self) -> io::Result<()> {
        let gone = match self {
            // Only set when the peer takes nothing any more.
            Self::Unix(..) => PollFlags::HUP | PollFlags::ERR,
            // A peer that closes looks like one that closes only its own
            // direction. That one loses nothing if it gets a new connection.
            Self::Tcp(..) => PollFlags::HUP | PollFlags::ERR | PollFlags::RDHUP,
        };
        let mut fds = [PollFd::new(self, PollFlags::IN | PollFlags::RDHUP)];
        // A signal interrupts it, though it does not wait.
        retry_on_intr(|| poll(&mut fds, Some(&Timespec::default())))?;
        let found = fds[0].revents();
        if found.intersects(gone) {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionReset,
                "the peer has closed the connection",
            ));
        }
        if found.contains(PollFlags::IN) {
            self.drain()?;
        }
        Ok(())
    }

    /// Throws away what the peer has sent, but does not keep up with one that
    /// never stops.
    fn drain(&self) -> io::Result<()> {
        let mut sunk = [0; 4096];
        for _ in 0..64 {
            match recv(self, &mut sunk, RecvFlags::DONTWAIT) {
                Ok((_, 0)) | Err(rustix::io::Errno::AGAIN) => break,
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Nothing follows. Returns when a TCP peer has read all and closed; of a
    /// Unix socket all that was written is with the peer already.
    pub async fn close(self) -> io::Result<()> {
        let (room, socket) = match self {
            Self::Unix(_, ref socket) => {
                socket.shutdown(Shutdown::Write)?;
                // What we leave unread would reach the peer as an error.
                return self.drain();
            }
            Self::Tcp(room, socket) => (room, socket),
        };
        socket.shutdown(Shutdown::Write)?;
        // Nothing more is written: it gives up its part of the socket.
        drop(room);
        socket.set_nonblocking(true)?;
        let socket = tokio::net::TcpStream::from_std(socket)?;
        let mut sunk = [0; 4096];
        loop {
            socket.readable().await?;
            match socket.try_read(&mut sunk) {
                Ok(0) => return Ok(()),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
    }
}
