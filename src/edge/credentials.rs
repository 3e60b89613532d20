//! Who is at the other end of a Unix socket.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};

use crate::core::{Peer, Users};

/// The peer of `socket` (`SO_PEERCRED`): the user and the process that connected
/// (or, asked of a client's side, that listen), as they were at that moment.
pub(super) fn of_peer(socket: impl AsFd) -> io::Result<Peer> {
    let mut found = libc::ucred {
        pid: 0,
        uid: u32::MAX,
        gid: u32::MAX,
    };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the descriptor is open for as long as it is borrowed; the kernel
    // writes at most `len` bytes to `found`, which has as many and may hold any
    // numbers.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut found).cast(),
            &raw mut len,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Peer {
        pid: u32::try_from(found.pid).ok().filter(|pid| *pid > 0),
        uid: found.uid,
    })
}

impl Default for Users {
    /// Our own user and root.
    fn default() -> Self {
        Self::only(rustix::process::geteuid().as_raw())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn ourselves() {
        let (one, _other) = UnixStream::pair().unwrap();
        let peer = of_peer(&one).unwrap();
        assert_eq!(peer.pid, Some(std::process::id()));
        assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
        let (pipe, _writer) = io::pipe().unwrap();
        assert!(of_peer(&pipe).is_err());
    }
}
