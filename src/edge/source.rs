//! What a stream is read from.

use std::os::fd::AsFd;

use rustix::fs::{FileType, fstat};
use rustix::net::SocketType;
use rustix::net::sockopt::{set_socket_oobinline, socket_type};

use super::io::ReadBy;
use super::rights::{self, Rights};

/// Why a descriptor can't be a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnfitSource {
    /// It is a socket of messages (`SOCK_DGRAM`, `SOCK_SEQPACKET`), not of
    /// bytes: one that is longer than a read would be cut, and nobody told.
    #[error("it is a socket of messages, not of bytes")]
    Messages,
    /// Somebody has passed descriptors over it: whoever reads it would close
    /// them, and may have to wait for that.
    #[error("descriptors were passed over it, which are not taken")]
    Descriptors,
}

/// How `fd` is read as a stream.
pub(crate) fn of(fd: impl AsFd) -> Result<ReadBy, UnfitSource> {
    let fd = fd.as_fd();
    let is_socket =
        fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket);
    if !is_socket {
        return Ok(ReadBy::Read);
    }
    // What is no socket any more fails when it is read.
    if socket_type(fd).is_ok_and(|it| it != SocketType::STREAM) {
        return Err(UnfitSource::Messages);
    }
    match rights::refuse(fd) {
        Rights::Passed => Err(UnfitSource::Descriptors),
        rights => {
            out_of_band_in_line(fd);
            Ok(by(rights))
        }
    }
}

/// How the socket of a client is read.
pub(super) fn by(rights: Rights) -> ReadBy {
    match rights {
        Rights::Refused => ReadBy::Recv,
        Rights::Possible | Rights::Passed => ReadBy::Look,
    }
}

/// A byte that was sent with `MSG_OOB` is read where it stands: else it is left
/// out of what is read, and is lost.
pub(super) fn out_of_band_in_line(socket: impl AsFd) {
    // A kernel that does not know it for such sockets has no such bytes either.
    let _ = set_socket_oobinline(socket, true);
}
