//! How much of what was written to a socket its peer has not read yet.

use std::io;
use std::os::fd::AsFd;

use libc::c_int;
use rustix::ioctl::{Getter, Opcode, ioctl};

/// Bytes of memory; 0: the peer has read all.
pub(crate) fn unread_by_peer(socket: impl AsFd) -> io::Result<c_int> {
    const OUTPUT_QUEUE: Opcode = libc::TIOCOUTQ as Opcode;
    // SAFETY: for sockets that code is SIOCOUTQ, which puts an `int` where it
    // is told to, and nothing else; for other files it is the same or an error.
    Ok(unsafe { ioctl(socket, Getter::<OUTPUT_QUEUE, c_int>::new()) }?)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn until_it_is_read() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        assert_eq!(unread_by_peer(&ours).unwrap(), 0);
        ours.write_all(b"abc").unwrap();
        assert!(unread_by_peer(&ours).unwrap() > 0);
        theirs.read_exact(&mut [0; 2]).unwrap();
        assert!(unread_by_peer(&ours).unwrap() > 0);
        theirs.read_exact(&mut [0; 1]).unwrap();
        assert_eq!(unread_by_peer(&ours).unwrap(), 0);
    }
}
