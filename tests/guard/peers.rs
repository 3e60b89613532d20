//! Clients of other users.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::process::{Uid, geteuid};

use crate::common::process::{Serve, header};

/// Nobody, on most systems; it needs no account.
const STRANGER: u32 = 65533;

/// Opens a stream and writes to it as another user: on a thread, as the kernel
/// keeps the user of each. What it comes to is not its concern.
fn write_as(uid: u32, socket: &Path, name: &str) {
    let (socket, name) = (socket.to_owned(), name.to_owned());
    let client = std::thread::spawn(move || {
        let uid = Uid::from_raw(uid);
        rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
        let mut stream = UnixStream::connect(socket).unwrap();
        let header = header(&format!(r#"{{"name":"{name}"}}"#));
        let _ = stream.write_all(&[&header[..], b"a line\n"].concat());
    });
    client.join().unwrap();
}

/// A directory that others may go through.
fn passable() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o711)).unwrap();
    dir
}

fn is_root() -> bool {
    let root = geteuid().is_root();
    if !root {
        println!("skipped: only root can be somebody else");
    }
    root
}

#[test]
fn strangers_are_counted_and_never_read() {
    if !is_root() {
        return;
    }
    let dir = passable();
    let logs = format!("directory,path={}", dir.path().join("logs").display());
    let serve = Serve::start(dir.path(), &["--output", &logs]);
    // Somebody opened the path to all: who comes is looked at all the same.
    fs::set_permissions(&serve.socket, Permissions::from_mode(0o666)).unwrap();
    for at in 1..=3 {
        write_as(STRANGER, &serve.socket, &format!("strange/{at}"));
        serve.wait_for_counter("peers_refused", at);
    }
    write_as(0, &serve.socket, "ours");
    serve.wait_for_counter("streams", 1);
    let statistics = serve.statistics();
    assert_eq!(statistics["streams_refused"], 0);
    assert_eq!(statistics["bytes_in"], 7);
    let ended = serve.terminate();
    ended.expect_success();
    let says = format!("a connection is refused: user {STRANGER}");
    assert_eq!(ended.stderr.matches(&says).count(), 1, "{}", ended.stderr);
    let advice = format!("may not; --allow-uid {STRANGER} would let them");
    assert!(ended.stderr.contains(&advice), "{}", ended.stderr);
    assert_eq!(fs::read(dir.path().join("logs/ours")).unwrap(), b"a line\n");
    assert!(!dir.path().join("logs/strange").exists());
}

#[test]
fn those_who_may() {
    if !is_root() {
        return;
    }
    let dir = passable();
    let logs = format!("directory,path={}", dir.path().join("logs").display());
    let uid = STRANGER.to_string();
    let serve = Serve::start(dir.path(), &["--output", &logs, "--allow-uid", &uid]);
    write_as(STRANGER, &serve.socket, "theirs");
    serve.wait_for_counter("streams", 1);
    write_as(STRANGER - 1, &serve.socket, "strange");
    serve.wait_for_counter("peers_refused", 1);
    serve.terminate().expect_success();
    assert_eq!(
        fs::read(dir.path().join("logs/theirs")).unwrap(),
        b"a line\n"
    );
}

#[test]
fn a_live_socket_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::start(dir.path(), &["--output", "null"]);
    let uri = format!("unix:{}", serve.socket.display());
    let second = crate::common::process::run(["--output=null", "--stream-server", &uri]);
    assert_eq!(second.status.code(), Some(250));
    let stderr = String::from_utf8(second.stderr).unwrap();
    let says = format!("(process {})", serve.pid());
    assert!(stderr.contains(&says), "{stderr}");
    UnixStream::connect(&serve.socket).unwrap();
    serve.terminate().expect_success();
}
