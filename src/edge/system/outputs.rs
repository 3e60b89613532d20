//! What outputs ask of sockets. No call waits.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::sync::mpsc::Sender;
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType, getpeername, getsockname, recv, sendmsg, socket_with, sockopt,
};

use super::Answer;
use crate::edge::io::{Endpoint, Sync};
use crate::limits::{BUNDLE_TARGET, TCP_KEEPALIVE_IDLE};

/// So that a bundle finds room while its reader has another one still; the
/// kernel may allow less.
const UNIX_SEND_BUFFER: usize = 2 * BUNDLE_TARGET;

/// Looks up a name, on a thread that lives as long as the question: the C
/// library's resolver is the one that the machine is set up for, and it blocks.
pub(super) fn resolve(
    answers: Sender<Answer>,
    eventfd: OwnedFd,
    number: u32,
    host: &str,
    port: u16,
) -> io::Result<()> {
    let answer = move |found: io::Result<Vec<SocketAddr>>| {
        // Nobody may be there to hear it.
        let _ = answers.send(Answer::Resolved(number, found));
        let _ = rustix::io::write(&eventfd, &1u64.to_ne_bytes());
    };
    if let Ok(address) = host.parse::<IpAddr>() {
        answer(Ok(vec![(address, port).into()]));
        return Ok(());
    }
    if host.eq_ignore_ascii_case("localhost") {
        answer(Ok(vec![
            (Ipv4Addr::LOCALHOST, port).into(),
            (Ipv6Addr::LOCALHOST, port).into(),
        ]));
        return Ok(());
    }
    let host = host.to_owned();
    thread::Builder::new()
        .name("resolve".into())
        .spawn(move || {
            answer(
                (host.as_str(), port)
                    .to_socket_addrs()
                    .map(Iterator::collect),
            )
        })?;
    Ok(())
}

/// Syncs a file, on a thread that lives as long as that takes.
pub(super) fn sync(
    answers: Sender<Answer>,
    eventfd: OwnedFd,
    number: u32,
    file: &OwnedFd,
    what: Sync,
) -> io::Result<()> {
    let file = file.try_clone()?;
    let sync = move || {
        let synced = match what {
            Sync::Data => rustix::fs::fdatasync(&file),
            Sync::All => rustix::fs::fsync(&file),
        };
        // Nobody may be there to hear it.
        let _ = answers.send(Answer::Synced(number, synced.map_err(io::Error::from)));
        let _ = rustix::io::write(&eventfd, &1u64.to_ne_bytes());
    };
    thread::Builder::new().name("sync".into()).spawn(sync)?;
    Ok(())
}

pub(super) fn connect(to: &Endpoint) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (socket, begun) = match to {
        Endpoint::Unix(path) => {
            let address = SocketAddrUnix::new(path)?;
            let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
            let begun = rustix::net::connect(&socket, &address);
            sockopt::set_socket_send_buffer_size(&socket, UNIX_SEND_BUFFER)?;
            (socket, begun)
        }
        Endpoint::Tcp(address) => {
            let family = match address {
                SocketAddr::V4(_) => AddressFamily::INET,
                SocketAddr::V6(_) => AddressFamily::INET6,
            };
            let socket = socket_with(family, SocketType::STREAM, flags, None)?;
            sockopt::set_tcp_nodelay(&socket, true)?;
            sockopt::set_socket_keepalive(&socket, true)?;
            sockopt::set_tcp_keepidle(&socket, TCP_KEEPALIVE_IDLE)?;
            let begun = rustix::net::connect(&socket, address);
            (socket, begun)
        }
    };
    match begun {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn connected(socket: &OwnedFd) -> io::Result<()> {
    let mut fds = [PollFd::new(socket, PollFlags::OUT)];
    if retry_on_intr(|| poll(&mut fds, Some(&Timespec::default())))? == 0 {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    sockopt::socket_error(socket)??;
    // Where nobody listens on a local port, the kernel may give a connection to
    // it that very port for its own end: it connects with itself (TCP's
    // simultaneous open), and what is sent goes nowhere.
    let ours = SocketAddr::try_from(getsockname(socket)?);
    let theirs = getpeername(socket)?.map(SocketAddr::try_from);
    match (ours, theirs) {
        (Ok(ours), Some(Ok(theirs))) if ours == theirs => {
            Err(io::ErrorKind::ConnectionRefused.into())
        }
        _ => Ok(()),
    }
}

pub(super) fn send(socket: &OwnedFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    let mut nothing = SendAncillaryBuffer::default();
    Ok(retry_on_intr(|| {
        sendmsg(socket, slices, &mut nothing, flags)
    })?)
}

pub(super) fn receive(socket: &OwnedFd, into: &mut [u8]) -> io::Result<usize> {
    let (len, _) = retry_on_intr(|| recv(socket, &mut *into, RecvFlags::DONTWAIT))?;
    Ok(len)
}

pub(super) fn check(socket: &OwnedFd) -> io::Result<()> {
    let mut fds = [PollFd::new(socket, PollFlags::IN | PollFlags::RDHUP)];
    // A signal interrupts it, though it does not wait.
    retry_on_intr(|| poll(&mut fds, Some(&Timespec::default())))?;
    let found = fds[0].revents();
    if found.intersects(PollFlags::HUP | PollFlags::ERR)
        || found.contains(PollFlags::RDHUP) && !is_unix(socket)?
    {
        return Err(io::Error::new(
            io::ErrorKind::ConnectionReset,
            "the peer has closed the connection",
        ));
    }
    if found.contains(PollFlags::IN) {
        drain(socket)?;
    }
    Ok(())
}

/// A peer that closes looks like one that closes only its own direction, but over a
/// Unix socket, where more than `RDHUP` is set once it takes nothing any more. One of
/// TCP loses nothing if it gets a new connection.
fn is_unix(socket: &OwnedFd) -> io::Result<bool> {
    Ok(sockopt::socket_domain(socket)? == AddressFamily::UNIX)
}

/// Does not keep up with a peer that never stops.
pub(super) fn drain(socket: &OwnedFd) -> io::Result<bool> {
    let mut sunk = [0; 4096];
    for _ in 0..64 {
        match recv(socket, &mut sunk, RecvFlags::DONTWAIT) {
            Ok((_, 0)) => return Ok(true),
            Err(Errno::AGAIN) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}
