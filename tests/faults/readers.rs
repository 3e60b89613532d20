//! The process that reads a socket output is stopped, continued, killed, or
//! closes one direction.

use std::fs::{self, File};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::content::{Sent, check_all, noise};
use crate::common::process::{
    Collector, Connection, Listener, Serve, open, parse, parse_file, wait_until,
};
use crate::common::reassemble;
use crate::messages;

/// A process that reads a connection into a file: so many bytes, then it
/// stops itself (SIGSTOP), and all that follows.
struct Reader {
    child: Child,
    file: PathBuf,
}

impl Reader {
    fn stopped_after(bytes: u64, connection: Connection, dir: &Path) -> Self {
        let file = dir.join("read");
        let mut child = Command::new("sh")
            .args(["-c", "head -c \"$1\"; kill -STOP $$; exec cat", "sh"])
            .arg(bytes.to_string())
            .stdin(into_fd(connection))
            .stdout(File::create(&file).unwrap())
            .spawn()
            .unwrap();
        wait_until("the reader has stopped", || {
            assert_eq!(child.try_wait().unwrap(), None);
            let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
            stat.contains(") T ")
        });
        assert_eq!(fs::metadata(&file).unwrap().len(), bytes);
        Self { child, file }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id() as i32).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// What it has read by its end.
    fn read(mut self) -> Vec<u8> {
        self.child.wait().unwrap();
        fs::read(&self.file).unwrap()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn into_fd(connection: Connection) -> OwnedFd {
    match connection {
        Connection::Unix(socket) => socket.into(),
        Connection::Tcp(socket) => socket.into(),
    }
}

/// TCP with so little in the kernel that a message does not fit in it.
fn narrow_tcp() -> Listener {
    let listener = Listener::tcp();
    if let Listener::Tcp(socket) = &listener {
        rustix::net::sockopt::set_socket_recv_buffer_size(socket, 4096).unwrap();
    }
    listener
}

/// Sends in a thread of its own two datagrams that come in messages of 5 MiB:
/// more than the kernel takes.
fn send_large(serve: &Serve) -> std::thread::JoinHandle<Sent> {
    let socket = serve.socket.clone();
    std::thread::spawn(move || {
        let datagram = noise(10 << 20);
        let sent = Sent::datagrams("s", &[&datagram, &datagram]);
        sent.send(&socket);
        sent
    })
}

/// In mid-message, in the first of them and in a later one.
const STOPPED_AFTER: [u64; 2] = [1000, 6_000_000];

#[test]
fn a_stopped_reader_goes_on() {
    for bytes in STOPPED_AFTER {
        let dir = tempfile::tempdir().unwrap();
        for listener in [Listener::unix(dir.path()), narrow_tcp()] {
            let options = ["--output", &listener.output(), "--max-buffered=4MiB"];
            let serve = Serve::start(dir.path(), &options);
            let client = send_large(&serve);
            let reader = Reader::stopped_after(bytes, listener.accept(), dir.path());
            // Writers are kept waiting; nobody is refused.
            let other = Sent::text("other", b"opened meanwhile\n");
            other.send(&serve.socket);
            assert_eq!(serve.statistics()["streams_refused"], 0);
            assert!(!client.is_finished());
            reader.signal(Signal::CONT);
            let sent = client.join().unwrap();
            let ended = serve.terminate();
            ended.expect_success();
            assert!(!ended.stderr.contains("trying again"), "{ended:?}");
            check_all(&reassemble(&parse(&reader.read())), &[sent, other]);
        }
    }
}

/// The message that it had not whole comes again, whole, to the next.
#[test]
fn a_stopped_reader_is_killed() {
    for bytes in STOPPED_AFTER {
        let dir = tempfile::tempdir().unwrap();
        for listener in [Listener::unix(dir.path()), narrow_tcp()] {
            let serve = Serve::start(dir.path(), &["--output", &listener.output()]);
            let client = send_large(&serve);
            let reader = Reader::stopped_after(bytes, listener.accept(), dir.path());
            reader.signal(Signal::KILL);
            let collector = Collector::new(listener);
            let sent = client.join().unwrap();
            let ended = serve.terminate();
            ended.expect_success();
            assert!(ended.stderr.contains("; trying again"), "{ended:?}");
            let first = reader.read();
            let found = messages::parse(&first);
            assert!(found.torn > 0);
            let connections = collector.connections();
            // A resend is identical.
            assert!(connections[0].starts_with(&first[found.end..]));
            let mut bundles = found.bundles;
            bundles.extend(connections.iter().flat_map(|bytes| parse(bytes)));
            check_all(&reassemble(&bundles), &[sent]);
        }
    }
}

/// The end comes within its time, and says what was lost.
#[test]
fn a_reader_that_stays_stopped() {
    let dir = tempfile::tempdir().unwrap();
    for listener in [Listener::unix(dir.path()), narrow_tcp()] {
        let stats = dir.path().join("stats");
        let options = ["--max-buffered=64MiB", "--flush-timeout=1s", "--stats-path"];
        let output = ["--output", &listener.output()];
        let options = [&output, &options[..], &[stats.to_str().unwrap()]].concat();
        let serve = Serve::start(dir.path(), &options);
        let client = send_large(&serve);
        let _reader = Reader::stopped_after(1000, listener.accept(), dir.path());
        let sent = client.join().unwrap();
        let ended = serve.terminate();
        assert_eq!(ended.status.code(), Some(250), "{ended:?}");
        assert!(ended.stderr.contains("error: stream s: "), "{ended:?}");
        let stats: serde_json::Value = serde_json::from_slice(&fs::read(&stats).unwrap()).unwrap();
        let count = |name: &str| stats[name].as_u64().unwrap();
        assert_eq!(count("bytes_in"), sent.written.len() as u64);
        let accounted = count("bytes_delivered") + count("bytes_dropped");
        assert_eq!(count("bytes_in"), accounted, "{stats}");
    }
}

/// Delivers a line to a connection, has something done to that, delivers
/// another line, and returns the second connection, if there is one.
fn after(listener: Listener, fault: impl FnOnce(&Connection)) -> (Vec<u8>, Vec<Vec<u8>>) {
    let dir = tempfile::tempdir().unwrap();
    let options = ["--output", &listener.output(), "--output-no-buffer"];
    let serve = Serve::start(dir.path(), &options);
    let mut stream = open(&serve.socket, "s", "text");
    let mut write = |line: &[u8]| std::io::Write::write_all(&mut stream, line).unwrap();
    write(b"one\n");
    let mut connection = listener.accept();
    let mut first = connection.read_message();
    fault(&connection);
    let rest = std::thread::spawn(move || connection.read_all());
    let collector = Collector::new(listener);
    write(b"two\n");
    serve.wait_for_counter("bytes_delivered", 8);
    drop(stream);
    serve.terminate().expect_success();
    first.extend(rest.join().unwrap());
    (first, collector.connections())
}

/// It reads on: all of it comes, where the kernel can tell the two apart on
/// the same connection.
#[test]
fn a_reader_closes_its_own_direction() {
    let dir = tempfile::tempdir().unwrap();
    for (listener, connections) in [(Listener::unix(dir.path()), 0), (Listener::tcp(), 1)] {
        let (first, others) = after(listener, |connection| match connection {
            Connection::Unix(socket) => socket.shutdown(Shutdown::Write).unwrap(),
            Connection::Tcp(socket) => socket.shutdown(Shutdown::Write).unwrap(),
        });
        assert_eq!(others.len(), connections);
        check_two_lines(&first, &others);
    }
}

/// It reads no more: the rest comes on a new connection.
#[test]
fn a_reader_closes_our_direction() {
    let dir = tempfile::tempdir().unwrap();
    let (first, others) = after(Listener::unix(dir.path()), |connection| {
        if let Connection::Unix(socket) = connection {
            socket.shutdown(Shutdown::Read).unwrap();
        }
    });
    assert_eq!(others.len(), 1);
    check_two_lines(&first, &others);
}

fn check_two_lines(first: &[u8], others: &[Vec<u8>]) {
    let mut bundles = parse(first);
    bundles.extend(others.iter().flat_map(|bytes| parse(bytes)));
    let streams = reassemble(&bundles);
    assert_eq!(streams["s"].bytes, b"one\ntwo\n");
    assert!(streams["s"].terminal.is_some());
}

/// A FIFO's reader is a process too: what it had not whole goes to the next.
#[test]
fn a_fifo_whose_reader_ends() {
    let dir = tempfile::tempdir().unwrap();
    let (fifo, got) = (dir.path().join("fifo"), dir.path().join("got"));
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    let output = format!("file,path={}", fifo.display());
    let serve = Serve::start(dir.path(), &["--output", &output]);
    let client = send_large(&serve);
    let read = |script: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh"]).args([&fifo, &got]);
        shell.spawn().unwrap()
    };
    // Into the second message.
    let mut first = read("exec head -c 6000000 < \"$1\" > \"$2\"");
    first.wait().unwrap();
    let mut bundles = messages::parse(&fs::read(&got).unwrap()).bundles;
    assert_eq!(bundles.len(), 1);
    serve.wait_for_stderr("; trying again");
    let mut next = read("exec cat < \"$1\" > \"$2\"");
    let sent = client.join().unwrap();
    serve.terminate().expect_success();
    next.wait().unwrap();
    bundles.extend(parse_file(&got));
    check_all(&reassemble(&bundles), &[sent]);
}
