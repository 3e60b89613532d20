//! How the runtime learns that the ring has work.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Waits on `eventfd` with the runtime.
pub(crate) fn watch(eventfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` stays open and the same for as long as it exists,
    // and the `AsyncFd` owns it.
    let watched = unsafe { AsyncFd::register_with_interest(eventfd, Interest::READABLE) };
    watched.map_err(io::Error::from)
}
