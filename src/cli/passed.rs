//! The socket that a service manager listens on for us (socket activation).

use std::env;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;

use super::notify::number;
use crate::process::passed;

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
        let [pid, count] = ["LISTEN_PID", "LISTEN_FDS"].map(env::var_os);
        let count = count_for_us(pid.as_deref(), count.as_deref(), std::process::id());
        if count > 0 {
            passed::keep_from_children(u32::try_from(count).unwrap_or(u32::MAX));
        }
        Self::read(count, passed::take_first)
    }

    fn read(count: u64, take_first: impl FnOnce() -> Option<OwnedFd>) -> Self {
        match count {
            0 => Self::Nothing,
            1 => match take_first() {
                Some(socket) => Self::Socket(socket),
                None => Self::Wrong("LISTEN_FDS is 1, and nothing is open as 3".into()),
            },
            count => Self::Wrong(format!(
                "the service manager passes {count} sockets (LISTEN_FDS); wanted is one"
            )),
        }
    }
}

/// How many descriptors were passed to this process: none, if the variables
/// are another process's, which has left them to us.
fn count_for_us(pid: Option<&OsStr>, count: Option<&OsStr>, own_pid: u32) -> u64 {
    match pid.and_then(number) == Some(own_pid.into()) {
        true => count.and_then(number).unwrap_or(0),
        false => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_socket_that_is_for_us() {
        let read = |pid: Option<&str>, count: Option<&str>, open: bool| {
            let take = || open.then(|| std::io::pipe().unwrap().0.into());
            let count = count_for_us(pid.map(OsStr::new), count.map(OsStr::new), 7);
            Passed::read(count, take)
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
