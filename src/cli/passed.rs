//! The socket that a service manager listens on for us (socket activation).

use std::env;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;

use super::notify::number;
use crate::reactor::passed;

/// What we were passed.
#[derive(Debug)]
pub(super) enum Passed {
    /// Nothing: we make a socket ourselves.
    Nothing,
    /// One socket.
    Socket(OwnedFd),
    /// Something else than one socket.
    Wrong(String),
}

impl Passed {
    /// Takes what the environment says is ours. Nothing may be open in this
    /// process yet but what it was started with.
    pub fn take() -> Self {
        passed::keep_from_children();
        let [pid, count] = ["LISTEN_PID", "LISTEN_FDS"].map(env::var_os);
        Self::read(pid.as_deref(), count.as_deref(), std::process::id(), || {
            passed::take_first()
        })
    }

    fn read(
        pid: Option<&OsStr>,
        count: Option<&OsStr>,
        own_pid: u32,
        take_first: impl FnOnce() -> Option<OwnedFd>,
    ) -> Self {
        // Another process's, which has left its variables to us.
        if pid.and_then(number) != Some(own_pid.into()) {
            return Self::Nothing;
        }
        match count.and_then(number) {
            None | Some(0) => Self::Nothing,
            Some(1) => match take_first() {
                Some(socket) => Self::Socket(socket),
                None => Self::Wrong("LISTEN_FDS is 1, and nothing is open as 3".into()),
            },
            Some(count) => Self::Wrong(format!(
                "the service manager passes {count} sockets (LISTEN_FDS); wanted is one"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_socket_that_is_for_us() {
        let read = |pid: Option<&str>, count: Option<&str>, open: bool| {
            let take = || open.then(|| std::io::pipe().unwrap().0.into());
            Passed::read(pid.map(OsStr::new), count.map(OsStr::new), 7, take)
        };
        for (pid, count) in [
            (None, Some("1")),
            (Some("8"), Some("1")),
            (Some("x"), Some("1")),
            (Some("7"), None),
            (Some("7"), Some("0")),
            (Some("7"), Some("x")),
        ] {
            assert!(matches!(read(pid, count, true), Passed::Nothing));
        }
        assert!(matches!(
            read(Some("7"), Some("1"), true),
            Passed::Socket(_)
        ));
        for (count, open) in [("1", false), ("2", true)] {
            assert!(matches!(
                read(Some("7"), Some(count), open),
                Passed::Wrong(_)
            ));
        }
    }
}
