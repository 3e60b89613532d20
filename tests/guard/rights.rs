//! Clients that pass descriptors: a TCP socket with `SO_LINGER`, which makes
//! whoever closes it last wait for as long as the client chose.

use std::fs::{self, Permissions};
use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg, sockopt};
use rustix::process::{Uid, geteuid};

use super::activation::activated;
use crate::common::process::{Serve, command, open};

/// Longer than any test waits.
const LINGER: Duration = Duration::from_secs(3600);

/// Passes a socket of which nobody but the queue of `over` has a descriptor
/// then; with bytes that nobody reads at its other end, which is returned.
fn pass(over: &UnixStream) -> Result<TcpStream, Errno> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (other, _) = listener.accept().unwrap();
    socket.set_nonblocking(true).unwrap();
    while socket.write(&[0; 65536]).is_ok() {}
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    let passed = [socket.as_fd()];
    assert!(rights.push(SendAncillaryMessage::ScmRights(&passed)));
    let bytes = [IoSlice::new(b"x")];
    sockopt::set_socket_linger(&socket, Some(LINGER)).unwrap();
    let sent = sendmsg(over, &bytes, &mut rights, SendFlags::empty());
    if sent.is_err() {
        // Ours is the last descriptor then.
        sockopt::set_socket_linger(&socket, None).unwrap();
    }
    sent.map(|_| other)
}

/// Others go on, whatever became of what was passed, and so does the end.
fn goes_on(serve: Serve, delivered: u64) -> String {
    let mut honest = open(&serve.socket, "honest", "text");
    honest.write_all(b"a line\n").unwrap();
    drop(honest);
    serve.wait_for_counter("bytes_delivered", delivered + 7);
    let ended = serve.terminate();
    ended.expect_success();
    ended.stderr
}

fn start(dir: &Path) -> Serve {
    Serve::start(dir, &["--output=null", "--output-no-buffer"])
}

/// In a header, in a stream, and before the connection is accepted.
#[test]
fn passed_by_a_client() {
    let dir = tempfile::tempdir().unwrap();
    let serve = start(dir.path());
    let mut kept = Vec::new();
    let mut streams = Vec::new();
    for number in 0..3 {
        let mut stream = match number {
            0 => UnixStream::connect(&serve.socket).unwrap(),
            _ => open(&serve.socket, &format!("passes/{number}"), "text"),
        };
        if number == 2 {
            stream.write_all(b"line\n").unwrap();
            serve.wait_for_counter("bytes_delivered", 5);
        }
        kept.push(pass(&stream));
        streams.push(stream);
    }
    // Kernels from 6.16 on tell it the client, whose stream goes on.
    if kept.iter().all(|passed| passed.is_err()) {
        streams[2].write_all(b"more\n").unwrap();
        serve.wait_for_counter("bytes_delivered", 10);
        goes_on(serve, 10);
    } else {
        goes_on(serve, 5);
    }
}

#[test]
fn passed_by_somebody_who_may_not_connect() {
    if !geteuid().is_root() {
        println!("skipped: only root can be somebody else");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o711)).unwrap();
    let serve = start(dir.path());
    fs::set_permissions(&serve.socket, Permissions::from_mode(0o666)).unwrap();
    let socket = serve.socket.clone();
    let stranger = std::thread::spawn(move || {
        let uid = Uid::from_raw(65533);
        rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
        let stream = UnixStream::connect(socket).unwrap();
        (pass(&stream), stream)
    });
    let _kept = stranger.join().unwrap();
    serve.wait_for_counter("peers_refused", 1);
    goes_on(serve, 0);
}

/// Nobody had refused them yet: these are in the queues of the sockets.
#[test]
fn passed_before_butler_runs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("activated.sock");
    let listening = UnixListener::bind(&path).unwrap();
    let mut early = open(&path, "early", "text");
    early.write_all(b"before\n").unwrap();
    let passes = open(&path, "passes", "text");
    let other = pass(&passes).expect("nobody refuses them yet");
    let options = ["--output=null", "--output-no-buffer"];
    let serve = Serve::spawn(activated(&listening, &options), path);
    serve.wait_for_stderr("streams are taken at");
    serve.wait_for_counter("bytes_delivered", 7);
    serve.wait_for_stderr("stream refused: its client passes descriptors");
    assert_eq!(serve.statistics()["streams_refused"], 1);
    goes_on(serve, 7);
    drop(other);
}

/// The source of `stream` is a socket too.
#[test]
fn passed_to_the_source_of_a_stream() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let other = pass(&theirs).expect("nobody refuses them");
    let mut butler = command(["--output=null", "stream"]);
    let output = butler.stdin(Stdio::from(std::os::fd::OwnedFd::from(ours)));
    let output = output.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(250), "{stderr}");
    assert!(stderr.contains("descriptors"), "{stderr}");
    drop(other);
}
