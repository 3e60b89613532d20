//! Descriptors that we were started with, besides stdin, stdout and stderr.
//!
//! A service manager passes sockets to us alone. Everything else is for the
//! command that we run: the pipes of make's jobserver, `<(…)` of a shell, a
//! file that `flock` has locked. It finds them under the numbers that they
//! have, as it would without us.

use std::fs;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FileType, fstat};

/// The first descriptor that a service manager passes.
const FIRST: RawFd = 3;

/// Keeps the first `count` descriptors from whatever is executed: they were
/// passed to us alone.
pub(crate) fn keep_from_children(count: u32) {
    let last = (FIRST as libc::c_uint).saturating_add(count.saturating_sub(1));
    // SAFETY: the call only sets a flag of descriptors; none is closed now.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            FIRST as libc::c_uint,
            last,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if result != 0 {
        let error = std::io::Error::last_os_error();
        log::debug!("a child may inherit the service manager's sockets: {error}");
    }
}

/// Takes the first descriptor that we were passed: once in the process's life,
/// and before anything else is opened, as it could have that number then.
pub(crate) fn take_first() -> Option<OwnedFd> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) || flags(FIRST).is_none() {
        return None;
    }
    // SAFETY: it is open. Nothing in this process owns it: it was passed to
    // us, and nobody has taken it before.
    Some(unsafe { OwnedFd::from_raw_fd(FIRST) })
}

/// The flags of an open descriptor.
fn flags(number: RawFd) -> Option<i32> {
    // SAFETY: it only asks, and fails if nothing has that number.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    (flags >= 0).then_some(flags)
}

/// Descriptors that are for our child, and that nobody here reads or writes.
#[derive(Debug, Default)]
pub(crate) struct Inherited(Vec<OwnedFd>);

impl Inherited {
    /// Takes all that a child would inherit: once in the process's life, and
    /// before anything else is opened. Without /proc it finds none, and they
    /// just stay open.
    pub fn take() -> Self {
        static TAKEN: AtomicBool = AtomicBool::new(false);
        if TAKEN.swap(true, Ordering::Relaxed) {
            return Self::default();
        }
        let numbers: Vec<RawFd> = fs::read_dir("/proc/self/fd")
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        let for_children = |number: &RawFd| *number >= FIRST && flags(*number) == Some(0);
        // SAFETY: each of them is open, and nothing in this process owns it:
        // what we open ourselves is closed on exec, and has a flag. None is
        // taken twice.
        let take = |number| unsafe { OwnedFd::from_raw_fd(number) };
        Self(numbers.into_iter().filter(for_children).map(take).collect())
    }

    /// Closes our end of pipes and sockets, which the child has by now: whoever
    /// has the other end waits for the child to close it, not for us. What
    /// `keep` is true for stays open, by its device and inode.
    ///
    /// Files stay open too: closing one would let go of locks that we hold on
    /// it as a process.
    pub fn close_pipes(&mut self, keep: impl Fn((u64, u64)) -> bool) {
        self.0.retain(|fd| {
            fstat(fd).is_ok_and(|stat| {
                let kind = FileType::from_raw_mode(stat.st_mode);
                let pipe = matches!(kind, FileType::Fifo | FileType::Socket);
                !pipe || keep((stat.st_dev, stat.st_ino))
            })
        });
    }
}
