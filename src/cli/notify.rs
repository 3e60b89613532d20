//! What a service manager is told (`sd_notify`): that we are ready, that we
//! are alive, that we end.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;
use std::time::Duration;

use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send, socket_with,
};

/// What a service manager sets for us alone: a child must not speak for us, or
/// take the socket for its own.
pub(super) const VARIABLES: [&str; 6] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
];

/// Tells the service manager, if there is one.
#[derive(Debug)]
pub(super) struct Notifier {
    socket: Option<Rc<OwnedFd>>,
    /// How often it wants to hear that we are alive.
    watchdog: Option<Duration>,
}

impl Notifier {
    /// Connects to where the environment says.
    pub fn from_environment() -> Self {
        let address = env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty());
        let socket = address.and_then(|address| match open(&address) {
            Ok(socket) => Some(Rc::new(socket)),
            Err(error) => {
                log::warn!("can't tell the service manager anything: {error}");
                None
            }
        });
        let watchdog = watchdog(
            env::var_os("WATCHDOG_USEC").as_deref(),
            env::var_os("WATCHDOG_PID").as_deref(),
            std::process::id(),
        );
        Self { socket, watchdog }
    }

    /// Streams are taken from now on. Also begins to say that we are alive,
    /// if that is wanted.
    ///
    /// It is said from the thread that does all of the work, so one that
    /// hangs falls silent.
    pub fn ready(&self) {
        let Some(socket) = &self.socket else {
            return;
        };
        tell(socket, "READY=1");
        if let Some(watchdog) = self.watchdog {
            let socket = Rc::clone(socket);
            tokio::task::spawn_local(async move {
                loop {
                    tokio::time::sleep(watchdog / 2).await;
                    tell(&socket, "WATCHDOG=1");
                }
            });
        }
    }

    /// We have begun to end.
    pub fn stopping(&self) {
        if let Some(socket) = &self.socket {
            tell(socket, "STOPPING=1");
        }
    }
}

fn open(address: &OsStr) -> io::Result<OwnedFd> {
    let address = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name)?,
        path @ [b'/', ..] => SocketAddrUnix::new(path)?,
        _ => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "NOTIFY_SOCKET is neither a path nor an abstract address",
            ));
        }
    };
    let (family, kind) = (AddressFamily::UNIX, SocketType::DGRAM);
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    connect(&socket, &address)?;
    Ok(socket)
}

/// `WATCHDOG_USEC` is for the process of `WATCHDOG_PID`, if that is set.
fn watchdog(usec: Option<&OsStr>, pid: Option<&OsStr>, own_pid: u32) -> Option<Duration> {
    if pid.is_some_and(|pid| number(pid) != Some(own_pid.into())) {
        return None;
    }
    let usec = number(usec?).filter(|usec| *usec > 0)?;
    Some(Duration::from_micros(usec))
}

pub(super) fn number(text: &OsStr) -> Option<u64> {
    text.to_str()?.parse().ok()
}

fn tell(socket: &OwnedFd, state: &str) {
    // A service manager that does not listen must not hold us up.
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    if let Err(error) = send(socket, state.as_bytes(), flags) {
        log::warn!("can't tell the service manager {state}: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_for_us() {
        let read = |usec: &str, pid: Option<&str>| {
            watchdog(Some(OsStr::new(usec)), pid.map(OsStr::new), 7)
        };
        assert_eq!(read("3000", None), Some(Duration::from_millis(3)));
        assert_eq!(read("3000", Some("7")), Some(Duration::from_millis(3)));
        assert_eq!(read("3000", Some("8")), None);
        assert_eq!(read("3000", Some("")), None);
        for usec in ["", "0", "-1", "x"] {
            assert_eq!(read(usec, None), None);
        }
        assert_eq!(watchdog(None, None, 7), None);
    }

    #[test]
    fn addresses() {
        for address in ["relative", "vsock:2:1", "/nowhere/at/all"] {
            assert!(open(OsStr::new(address)).is_err());
        }
    }
}
