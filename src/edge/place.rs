//! The path that a socket is to be bound to: who may take it.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FileType, FlockOperation, Mode, OFlags, flock, fstat, open};
use rustix::io::Errno;
use rustix::net::{SocketAddrUnix, connect};
use rustix::process::{Pid, test_kill_process};

use super::credentials::of_peer;
use super::listener::new_socket;

/// Another butler holds a claim for microseconds: somebody who holds it for
/// longer than all of these waits together is none, and is not waited for.
const CLAIM_WAITS: u32 = 100;
const CLAIM_WAIT: Duration = Duration::from_millis(10);

/// How long a listener that has gone may still accept.
const GONE_WAITS: u32 = 100;
const GONE_WAIT: Duration = Duration::from_millis(10);

/// Keeps other butlers from looking at what is in the directory of `path`, for
/// as long as what it returns is open: that directory, locked. `None` where it
/// can't be had.
pub(super) fn claim(path: &Path) -> Option<OwnedFd> {
    let directory = match path.parent()?.as_os_str() {
        here if here.is_empty() => Path::new("."),
        directory => Path::new(directory),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let locked = open(directory, flags, Mode::empty()).ok()?;
    for _ in 0..CLAIM_WAITS {
        if flock(&locked, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return Some(locked);
        }
        std::thread::sleep(CLAIM_WAIT);
    }
    None
}

/// Lets everybody connect to the socket at `path`, whatever the umask.
pub(super) fn open_to_all(path: &Path) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = open(path, flags, Mode::empty())?;
    // Not what somebody may have put in its place, or a link leads to.
    if FileType::from_raw_mode(fstat(&found)?.st_mode) != FileType::Socket {
        return Err(io::Error::other("it is no socket any more"));
    }
    let found = format!("/proc/self/fd/{}", found.as_raw_fd());
    fs::set_permissions(found, Permissions::from_mode(0o666))
}

/// Makes way at `path`: a socket of our own that nobody listens on is removed;
/// anything else is an error.
pub(super) fn clear(path: &Path, address: &SocketAddrUnix) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let refuse = |why: &str| {
        Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!("{why}: remove it or choose another path"),
        ))
    };
    let in_use = |who: &str| Err(io::Error::new(io::ErrorKind::AddrInUse, who));
    if !metadata.file_type().is_socket() {
        return refuse("there is a file of that name that is no socket");
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return refuse("there is a socket of another user");
    }
    for _ in 0..GONE_WAITS {
        let socket = new_socket()?;
        let pid = match connect(&socket, address).map_err(io::Error::from) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return fs::remove_file(path);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                return refuse(&format!("there is a socket that may be in use ({error})"));
            }
            Ok(()) => of_peer(&socket).ok().and_then(|peer| peer.pid),
        };
        let Some(pid) = pid else {
            break;
        };
        let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
        // The kernel takes the rings of one that was killed apart after it has
        // gone, and its sockets with them.
        if process.map(test_kill_process) != Some(Err(Errno::SRCH)) {
            return in_use(&format!("somebody listens there (process {pid})"));
        }
        std::thread::sleep(GONE_WAIT);
    }
    in_use("somebody listens there")
}
