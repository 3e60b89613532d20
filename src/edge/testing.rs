//! What tests of the edge share.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// The two ends of a new terminal: that which types and reads what is shown,
/// and that of a program in it. `None`, with the reason printed, where there
/// are none.
pub fn terminal() -> Option<(OwnedFd, OwnedFd)> {
    let Ok(ours) = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY) else {
        eprintln!("skipped: no terminals here");
        return None;
    };
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    Some((ours, theirs))
}
