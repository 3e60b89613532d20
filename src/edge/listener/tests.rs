//! The socket's path: who gets it, how it looks, and who removes it.

use super::*;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn only_a_dead_socket_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");

    drop(UnixListener::bind(&path).unwrap());
    let server = StreamServer::bind(&path).unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    UnixStream::connect(&path).unwrap();

    let error = StreamServer::bind(&path).unwrap_err();
    assert!(error.to_string().contains("listens there"), "{error}");
    drop(server);
    assert!(!path.exists());

    fs::write(&path, "x").unwrap();
    let error = StreamServer::bind(&path).unwrap_err();
    assert!(error.to_string().contains("no socket"), "{error}");
    assert!(path.exists());

    let long = dir.path().join("l".repeat(105));
    assert!(StreamServer::bind(&long).is_err());
}

#[test]
fn it_says_who_listens_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let _server = StreamServer::bind(&path).unwrap();
    let error = StreamServer::bind(&path).unwrap_err().to_string();
    let pid = std::process::id();
    assert!(error.contains(&format!("(process {pid})")), "{error}");
    assert!(path.exists());
}

/// Nobody ever sees it open to others.
#[test]
fn its_mode_is_0600_at_every_instant() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut seen = 0;
            while !done.load(Ordering::Relaxed) || seen == 0 {
                if let Ok(metadata) = fs::symlink_metadata(&path) {
                    assert_eq!(metadata.mode() & 0o777, 0o600);
                    seen += 1;
                }
            }
        });
        for _ in 0..2000 {
            drop(StreamServer::bind(&path).unwrap());
        }
        let _kept = StreamServer::bind(&path).unwrap();
        // It is looked at while it stays, too.
        done.store(true, Ordering::Relaxed);
        watcher.join().unwrap();
    });
}

#[test]
fn others_reach_it_only_if_they_may() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let mode = || fs::metadata(&path).unwrap().mode() & 0o777;
    let _server = StreamServer::bind_for(&path, Users::default().and([0])).unwrap();
    assert_eq!(mode(), 0o600);
    drop(_server);
    let _server = StreamServer::bind_for(&path, Users::default().and([4242])).unwrap();
    // Whatever the umask of this process.
    assert_eq!(mode(), 0o666);
    let private = StreamServer::bind_private_for(Users::default().and([4242])).unwrap();
    let directory = fs::metadata(private.path().parent().unwrap()).unwrap();
    assert_eq!(directory.mode() & 0o777, 0o711);
}

/// Of many that find a dead socket one gets the place, and keeps it.
#[test]
fn one_of_many_replaces_a_dead_socket() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..50 {
        let path = dir.path().join(round.to_string());
        drop(UnixListener::bind(&path).unwrap());
        let bound = std::thread::scope(|scope| {
            let binders: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| StreamServer::bind(&path)))
                .collect();
            binders
                .into_iter()
                .filter_map(|binder| binder.join().unwrap().ok())
                .collect::<Vec<_>>()
        });
        assert_eq!(bound.len(), 1);
        UnixStream::connect(&path).unwrap();
    }
}

#[test]
fn a_socket_that_was_passed_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listening = UnixListener::bind(&path).unwrap();
    let users = Users::default();
    let server = StreamServer::from_listening(listening.into(), users.clone()).unwrap();
    assert_eq!(server.path(), path);
    drop(server);
    assert!(path.exists());

    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (connected, _peer) = UnixStream::pair().unwrap();
    let (pipe, _writer) = io::pipe().unwrap();
    for fd in [tcp.into(), connected.into(), pipe.into()] {
        assert!(StreamServer::from_listening(fd, users.clone()).is_err());
    }
}

#[test]
fn what_took_its_place_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let server = StreamServer::bind(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "another's").unwrap();
    drop(server);
    assert!(path.exists());
}

#[test]
fn a_private_directory_comes_and_goes() {
    let server = StreamServer::bind_private().unwrap();
    let directory = server.path().parent().unwrap().to_owned();
    let mode = fs::metadata(&directory).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    drop(server);
    assert!(!directory.exists());
}
