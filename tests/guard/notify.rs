//! What a service manager hears.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::time::Duration;

use crate::common::process::{Serve, command};

fn next(manager: &UnixDatagram) -> String {
    let mut bytes = [0; 100];
    let len = manager.recv(&mut bytes).expect("a message comes in time");
    String::from_utf8(bytes[..len].to_vec()).unwrap()
}

fn manager(address: &SocketAddr) -> UnixDatagram {
    let manager = UnixDatagram::bind_addr(address).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    manager
}

fn serve(dir: &std::path::Path, address: impl AsRef<OsStr>) -> Serve {
    let socket = dir.join("streams.sock");
    let mut command = command(["--log-level=info", "--output=null", "--stream-server"]);
    command
        .arg(format!("unix:{}", socket.display()))
        .env("NOTIFY_SOCKET", address)
        .env("WATCHDOG_USEC", "100000")
        .env_remove("WATCHDOG_PID");
    Serve::begin(command, socket)
}

#[test]
fn ready_alive_and_stopping() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let name = format!("butler-test-{}", std::process::id());
    for (address, given) in [
        (
            SocketAddr::from_pathname(&path),
            path.clone().into_os_string(),
        ),
        (
            SocketAddr::from_abstract_name(&name),
            format!("@{name}").into(),
        ),
    ] {
        let manager = manager(&address.unwrap());
        let serve = serve(dir.path(), given);
        assert_eq!(next(&manager), "READY=1");
        UnixStream::connect(&serve.socket).expect("it listens by then");
        for _ in 0..3 {
            assert_eq!(next(&manager), "WATCHDOG=1");
        }
        serve.signal(rustix::process::Signal::TERM);
        while next(&manager) != "STOPPING=1" {}
        serve.wait().expect_success();
    }
}

#[test]
fn a_manager_that_is_gone_does_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    for address in ["", "/nowhere/at/all", "nonsense"] {
        let serve = serve(dir.path(), address);
        crate::common::process::wait_until("it listens", || {
            UnixStream::connect(&serve.socket).is_ok()
        });
        serve.terminate().expect_success();
    }
}

/// It would speak for us.
#[test]
fn a_child_does_not_hear_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let manager = manager(&SocketAddr::from_pathname(&path).unwrap());
    let output = command(["--output=null", "run", "--stdout=type=text", "--", "env"])
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "600000000")
        .env("LISTEN_FDS", "0")
        .env("LISTEN_PID", "1")
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    for name in ["NOTIFY_", "WATCHDOG_", "LISTEN_"] {
        assert!(!stdout.contains(name), "{stdout}");
    }
    assert_eq!(next(&manager), "READY=1");
    assert_eq!(next(&manager), "STOPPING=1");
    drop(OwnedFd::from(manager));
}
