//! Over sockets as they are.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use butler::read::Receiver;
use butler::wire::ack;

use crate::common::content::{Sent, check_all, every_kind, noise, send_all};
use crate::common::process::{self, Listener, Serve, open, wait_until};
use crate::common::reassemble;
use crate::far::Store;

fn both(dir: &Path) -> [Listener; 2] {
    [Listener::unix(dir), Listener::tcp()]
}

fn acknowledged(listener: &Listener) -> String {
    format!("{},ack=yes", listener.output())
}

/// Serves at that output; every small write is a message of its own.
fn serve(dir: &Path, listener: &Listener, options: &[&str]) -> Serve {
    let output = acknowledged(listener);
    let mut all = vec!["--output", &output, "--output-no-buffer"];
    all.extend(options);
    Serve::start(dir, &all)
}

#[test]
fn all_that_is_acknowledged_is_delivered() {
    for compress in ["none", "zlib"] {
        let dir = tempfile::tempdir().unwrap();
        for listener in both(dir.path()) {
            let output = format!("{},compress={compress}", acknowledged(&listener));
            let serve = Serve::start(dir.path(), &["--output", &output]);
            let far = std::thread::spawn(move || {
                let mut store = Store::default();
                store.take_all(listener.accept());
                store
            });
            let all = every_kind();
            send_all(&serve.socket, &all);
            serve.terminate().expect_success();
            check_all(&reassemble(&far.join().unwrap().bundles()), &all);
        }
    }
}

/// What is not acknowledged is not delivered, however long that takes; several
/// messages are under way meanwhile.
#[test]
fn delivered_is_what_is_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    for listener in both(dir.path()) {
        let serve = serve(dir.path(), &listener, &[]);
        let mut stream = open(&serve.socket, "s", "text");
        let mut connection = None;
        let mut receiver = Receiver::new();
        for number in 0..5 {
            // In one piece, which is one message then.
            let line = format!("line {number}\n");
            stream.write_all(line.as_bytes()).unwrap();
            let connection = connection.get_or_insert_with(|| listener.accept());
            while receiver.message().unwrap().is_none() {
                receiver.read_from(connection).unwrap();
            }
        }
        let mut connection = connection.unwrap();
        assert_eq!(serve.statistics()["bytes_delivered"], 0);
        for (safe, delivered) in [(2, 14), (2, 14), (5, 35)] {
            let frame = receiver.acknowledge_first(safe);
            connection.write_all(&frame).unwrap();
            serve.wait_for_counter("bytes_delivered", delivered);
        }
        drop(stream);
        // The end of the stream is a message of its own.
        let last = std::thread::spawn(move || {
            while receiver.read_from(&mut connection).unwrap() > 0 {
                while receiver.message().unwrap().is_some() {}
                connection.write_all(&receiver.acknowledge()).unwrap();
            }
        });
        serve.terminate().expect_success();
        last.join().unwrap();
    }
}

/// The far end goes again and again, with messages that it has not acknowledged:
/// all come again, the same, and none is missing.
#[test]
fn a_far_end_that_is_killed_again_and_again() {
    for compress in ["none", "zlib"] {
        let dir = tempfile::tempdir().unwrap();
        for listener in both(dir.path()) {
            let output = format!("{},compress={compress}", acknowledged(&listener));
            let serve = Serve::start(dir.path(), &["--output", &output]);
            let data = noise(24 << 20);
            let sent = Sent::binary("s", &data);
            let far = std::thread::spawn(move || {
                let mut store = Store::default();
                for (most, withheld) in [(1, 1), (3, 2), (4, 4), (2, 0), (5, 3)] {
                    store.take(listener.accept(), most, withheld);
                }
                store.take_all(listener.accept());
                store
            });
            sent.send(&serve.socket);
            let ended = serve.terminate();
            ended.expect_success();
            assert!(ended.stderr.contains("; trying again"), "{ended:?}");
            let store = far.join().unwrap();
            let bundles = store.bundles();
            assert!(store.len() > bundles.len(), "some came twice");
            check_all(&reassemble(&bundles), &[sent]);
        }
    }
}

/// Nobody listens for a while, and what was not acknowledged waits.
#[test]
fn a_far_end_that_is_restarted() {
    let dir = tempfile::tempdir().unwrap();
    let listener = Listener::unix(dir.path());
    let serve = serve(dir.path(), &listener, &[]);
    let all = every_kind();
    send_all(&serve.socket, &all);
    let mut store = Store::default();
    store.take(listener.accept(), 3, 3);
    drop(listener);
    std::fs::remove_file(dir.path().join("output.sock")).unwrap();
    serve.wait_for_stderr("; trying again");
    let listener = Listener::unix(dir.path());
    let far = std::thread::spawn(move || {
        store.take_all(listener.accept());
        store
    });
    let ended = serve.terminate();
    ended.expect_success();
    assert!(ended.stderr.contains("works again"), "{ended:?}");
    check_all(&reassemble(&far.join().unwrap().bundles()), &all);
}

/// It stands still with messages that it has: memory is bounded, the writer waits,
/// and all comes when it goes on.
#[test]
fn a_far_end_that_stands_still() {
    let dir = tempfile::tempdir().unwrap();
    let listener = Listener::unix(dir.path());
    let output = acknowledged(&listener);
    let options = ["--output", &output, "--max-buffered", "4MiB"];
    let serve = Serve::start(dir.path(), &options);
    let sent = Sent::binary("s", &noise(12 << 20));
    let socket = serve.socket.clone();
    let client = std::thread::spawn(move || {
        sent.send(&socket);
        sent
    });
    let connection = listener.accept();
    let bytes_in = || serve.statistics()["bytes_in"].as_u64().unwrap();
    wait_until("it waits", || {
        let before = bytes_in();
        std::thread::sleep(Duration::from_millis(100));
        before > 2_000_000 && bytes_in() == before
    });
    assert!(bytes_in() < 9_000_000, "{}", bytes_in());
    let far = std::thread::spawn(move || {
        let mut store = Store::default();
        store.take_all(connection);
        store
    });
    let sent = client.join().unwrap();
    serve.terminate().expect_success();
    check_all(&reassemble(&far.join().unwrap().bundles()), &[sent]);
}

/// At the end it is waited for as long as is said, and then told.
#[test]
fn acknowledgements_that_never_come() {
    let dir = tempfile::tempdir().unwrap();
    for listener in both(dir.path()) {
        let serve = serve(dir.path(), &listener, &["--flush-timeout", "700ms"]);
        let mut stream = open(&serve.socket, "s", "text");
        writeln!(stream, "a line").unwrap();
        drop(stream);
        let mut connection = listener.accept();
        let message = connection.read_message();
        assert!(!message.is_empty());
        let ended = serve.terminate();
        assert_eq!(ended.status.code(), Some(250), "{ended:?}");
        assert!(ended.stderr.contains("stream s: 7 bytes lost"), "{ended:?}");
    }
}

/// Whatever the far end says that it must not, and that it takes no more: is told,
/// in one line that commands no terminal, and all comes again.
#[test]
fn what_is_no_acknowledgement() {
    let too_much = ack::frame(9, "");
    let refused = ack::frame(0, &format!("\x1b[31mno room\n{}", "x".repeat(1000)));
    for (answer, says) in [
        (
            &too_much[..],
            "acknowledges 9 messages, of 1 that were sent",
        ),
        (&refused, "takes no more: \\x1b[31mno room\\nxxxx"),
        (b"\xff\xff\x7f", "has more than 4096 bytes"),
        (b"\x03\x08", "not acknowledged all (1 messages)"),
        (b"\x02\x0a\x00", "an acknowledgement is malformed"),
        (b"", "not acknowledged all (1 messages)"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let listener = Listener::unix(dir.path());
        let serve = serve(dir.path(), &listener, &[]);
        let mut stream = open(&serve.socket, "s", "text");
        writeln!(stream, "a line").unwrap();
        let mut connection = listener.accept();
        let message = connection.read_message();
        connection.write_all(answer).unwrap();
        drop(connection);
        let mut connection = listener.accept();
        assert_eq!(connection.read_message(), message);
        connection.write_all(&ack::frame(1, "")).unwrap();
        serve.wait_for_counter("bytes_delivered", 7);
        let stderr = serve.stderr();
        let line = stderr.lines().find(|line| line.contains(says));
        let line = line.unwrap_or_else(|| panic!("{says}: {stderr}"));
        assert!(
            line.ends_with("; trying again") && line.len() < 400,
            "{line}"
        );
    }
}

/// One whose far end is right is used again for all that follows, and closed in
/// order at the end; what it says without being asked does no harm.
#[test]
fn one_connection_is_enough() {
    let dir = tempfile::tempdir().unwrap();
    for listener in both(dir.path()) {
        let output = acknowledged(&listener);
        let far = std::thread::spawn(move || {
            let mut connection = listener.accept();
            connection.write_all(&ack::frame(0, "").repeat(3)).unwrap();
            let mut store = Store::default();
            store.take_all(connection);
            store.len()
        });
        let args = [
            "--output",
            &output,
            "run",
            "--",
            "sh",
            "-c",
            "echo a; sleep 0.2; echo b",
        ];
        let ended = process::run(args);
        assert!(ended.status.success(), "{ended:?}");
        assert!(far.join().unwrap() > 0);
    }
}
