//! Children that nobody waits for: those that a shell left to us when it
//! executed us, and, of process 1 of a container, all whose parents have gone.

use std::mem;

use rustix::process::{Pid, WaitOptions, waitpid};

/// Takes note that they have ended, so that they don't stay as zombies. Not of
/// `ours`: how that one ended is for whoever waits for it. It may hide others,
/// so this is to be called again after that.
pub(crate) fn reap(ours: Option<Pid>) {
    while let Some(pid) = first_that_ended() {
        if Some(pid) == ours || waitpid(Some(pid), WaitOptions::NOHANG).is_err() {
            return;
        }
    }
}

/// A child that has ended and stays as it is.
fn first_that_ended() -> Option<Pid> {
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: all-zero is a valid value.
    let mut found: libc::siginfo_t = unsafe { mem::zeroed() };
    // SAFETY: it only writes to `found`.
    let result = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut found, options) };
    // SAFETY: it was filled in for a child, or is all zero still.
    let pid = unsafe { found.si_pid() };
    (result == 0).then(|| Pid::from_raw(pid)).flatten()
}
