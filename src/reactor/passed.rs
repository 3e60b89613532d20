//! Descriptors that we were started with, besides stdin, stdout and stderr.

use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// The first descriptor that a service manager passes.
const FIRST: i32 = 3;

/// Whatever is open from there on is closed when a program is executed: what
/// somebody forgot to close before us is not for our child.
pub(crate) fn keep_from_children() {
    // SAFETY: the call only sets a flag of descriptors; none is closed now.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            FIRST as libc::c_uint,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if result != 0 {
        let error = std::io::Error::last_os_error();
        log::debug!("a child may inherit descriptors that we were started with: {error}");
    }
}

/// Takes the first descriptor that we were passed: once in the process's life,
/// and before anything else is opened, as it could have that number then.
pub(crate) fn take_first() -> Option<OwnedFd> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        return None;
    }
    // SAFETY: it only asks for a flag, and fails if nothing has that number.
    if unsafe { libc::fcntl(FIRST, libc::F_GETFD) } < 0 {
        return None;
    }
    // SAFETY: it is open. Nothing in this process owns it: it was passed to
    // us, and nobody has taken it before.
    Some(unsafe { OwnedFd::from_raw_fd(FIRST) })
}
