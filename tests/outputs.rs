//! Every output gets what clients wrote, whatever becomes of its reader.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::Path;

use butler::wire::message::{Compression, MessageView};
use common::content::{Sent, check_all, every_kind, noise, send_all};
use common::process::{self, Collector, Listener, Serve, open, parse, parse_file};
use common::reassemble;
use rustix::process::Signal;

/// Serves all kinds of streams with that output, to a good end.
fn serve_all(dir: &Path, output: &str) -> Vec<Sent> {
    let all = every_kind();
    let serve = Serve::start(dir, &["--output", output]);
    send_all(&serve.socket, &all);
    serve.terminate().expect_success();
    all
}

fn file_output(path: &Path, compression: &str) -> String {
    format!("file,path={},compress={compression}", path.display())
}

#[test]
fn null_counts() {
    let dir = tempfile::tempdir().unwrap();
    let stats = dir.path().join("stats");
    let all = every_kind();
    let options = ["--output", "null", "--stats-path", stats.to_str().unwrap()];
    let serve = Serve::start(dir.path(), &options);
    send_all(&serve.socket, &all);
    serve.terminate().expect_success();
    let stats: serde_json::Value = serde_json::from_slice(&std::fs::read(stats).unwrap()).unwrap();
    let written: usize = all.iter().map(|sent| sent.written.len()).sum();
    assert_eq!(stats["bytes_in"], written);
    assert_eq!(stats["bytes_delivered"], written);
    assert_eq!(stats["streams"], all.len() + 1);
    assert!(stats["bytes_out"].as_u64() > Some(written as u64));
}

#[test]
fn log_prints_for_people() {
    let dir = tempfile::tempdir().unwrap();
    let printed = dir.path().join("printed");
    let socket = dir.path().join("streams.sock");
    let mut command = process::command(["--log-level", "info", "--output", "log"]);
    command
        .arg(format!("--stream-server=unix:{}", socket.display()))
        .stdout(std::fs::File::create(&printed).unwrap());
    let serve = Serve::spawn(command, socket);
    let all = every_kind();
    send_all(&serve.socket, &all);
    serve.terminate().expect_success();
    let printed = std::fs::read_to_string(printed).unwrap();
    for sent in &all {
        let head = format!("\n  {}, {}\n", sent.name, sent.stream_type);
        assert!(printed.contains(&head), "{}", sent.name);
        let end = format!("\n  {} ends after entry ", sent.name);
        assert!(printed.contains(&end), "{}", sent.name);
    }
    for line in [
        " line 0: one\n",
        " line 3: four\n",
        " line 1: without an end…\n",
    ] {
        assert!(printed.contains(line), "{line}");
    }
    assert!(!printed.contains("nothing"), "it had no entry");
}

#[test]
fn file_gets_everything() {
    for compression in ["none", "zlib"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs");
        let all = serve_all(dir.path(), &file_output(&path, compression));
        check_all(&reassemble(&parse_file(&path)), &all);
    }
}

#[test]
fn sockets_get_everything() {
    for compression in ["none", "zlib"] {
        let dir = tempfile::tempdir().unwrap();
        for listener in [Listener::unix(dir.path()), Listener::tcp()] {
            let collector = Collector::new(listener);
            let output = format!("{},compress={compression}", collector.output());
            let all = serve_all(dir.path(), &output);
            check_all(&reassemble(&collector.bundles()), &all);
        }
    }
}

/// zlib where the bundle has 860 bytes or more, else not.
#[test]
fn small_messages_are_not_compressed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("logs");
    let output = file_output(&path, "zlib");
    let serve = Serve::start(dir.path(), &["--output", &output, "--output-no-buffer"]);
    let mut stream = open(&serve.socket, "s", "text");
    let mut written = Vec::new();
    for (sent, len) in [10, 500, 700, 2_000, 50, 100_000].into_iter().enumerate() {
        let line = [b"x".repeat(len), b"\n".to_vec()].concat();
        stream.write_all(&line).unwrap();
        written.extend(line);
        // So that each is in a bundle of its own, or in some.
        process::wait_until("it is delivered", || {
            serve.statistics()["bytes_delivered"] == written.len()
        });
        assert!(serve.statistics()["bundles"].as_u64() > Some(sent as u64));
    }
    drop(stream);
    serve.terminate().expect_success();

    let bytes = std::fs::read(&path).unwrap();
    let (mut rest, mut small, mut large) = (&bytes[..], 0, 0);
    while !rest.is_empty() {
        let view = MessageView::parse(rest).unwrap().unwrap();
        let len = prost::Message::encoded_len(&view.bundle().unwrap());
        let expected = match len {
            ..860 => Compression::None,
            _ => Compression::Zlib,
        };
        assert_eq!(view.compression, expected, "{len} bytes");
        *(if len < 860 { &mut small } else { &mut large }) += 1;
        rest = &rest[view.len..];
    }
    assert!(small >= 4 && large >= 2, "{small}, {large}");
    assert_eq!(reassemble(&parse(&bytes))["s"].bytes, written);
}

/// Delivers `text` as the stream `name`, appending to the file; returns what
/// was said.
fn append(path: &Path, name: &str, text: &str) -> process::Ended {
    let dir = tempfile::tempdir().unwrap();
    let output = file_output(path, "none");
    let serve = Serve::start(dir.path(), &["--output", &output]);
    let mut stream = open(&serve.socket, name, "text");
    stream.write_all(text.as_bytes()).unwrap();
    drop(stream);
    serve.terminate()
}

#[test]
fn file_is_appended_to() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("logs");
    append(&path, "first", "1\n").expect_success();
    let before = std::fs::read(&path).unwrap();
    append(&path, "second", "2\n").expect_success();
    let after = std::fs::read(&path).unwrap();
    assert_eq!(after[..before.len()], before);
    for (bytes, name, text) in [
        (&after[..before.len()], "first", "1\n"),
        (&after[before.len()..], "second", "2\n"),
    ] {
        let streams = reassemble(&parse(bytes));
        assert_eq!(streams.len(), 1);
        assert_eq!(streams[name].bytes, text.as_bytes());
    }
}

#[test]
fn torn_tail_is_taken_away() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("logs");
    append(&path, "first", "1\n").expect_success();
    let whole = std::fs::read(&path).unwrap();
    for torn in [1, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, [&whole[..], &whole[..torn]].concat()).unwrap();
        let ended = append(&path, "second", "2\n");
        ended.expect_success();
        let says = format!("{torn} bytes from byte {} on are taken away", whole.len());
        assert!(ended.stderr.contains("butler: warning: "), "{ended:?}");
        assert!(ended.stderr.contains(&says), "{ended:?}");
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes[..whole.len()], whole);
        let streams = reassemble(&parse(&bytes[whole.len()..]));
        assert_eq!(streams["second"].bytes, b"2\n");
    }
}

/// What no butler wrote stays as it is, and the butler says so and ends.
#[test]
fn foreign_file_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("precious");
    for content in [&b"my thesis\n"[..], b"\0", &noise(10_000)] {
        std::fs::write(&path, content).unwrap();
        let output = process::run(["--output", &file_output(&path, "none")]);
        assert_eq!(output.status.code(), Some(250));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("that no butler wrote"), "{stderr}");
        assert!(stderr.contains(path.to_str().unwrap()), "{stderr}");
        assert_eq!(std::fs::read(&path).unwrap(), content);
    }
}

#[test]
fn file_has_one_butler_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("logs");
    let output = file_output(&path, "none");
    let serve = Serve::start(dir.path(), &["--output", &output]);
    let mut stream = open(&serve.socket, "s", "text");
    stream.write_all(b"first\n").unwrap();

    let second = process::run(["--output", &output, "run", "--", "true"]);
    assert_eq!(second.status.code(), Some(250));
    let stderr = String::from_utf8(second.stderr).unwrap();
    assert!(stderr.contains("another process writes to it"), "{stderr}");

    drop(stream);
    serve.terminate().expect_success();
    let streams = reassemble(&parse_file(&path));
    assert_eq!(streams["s"].bytes, b"first\n");
    // And the file is free again.
    append(&path, "t", "x").expect_success();
}

#[test]
fn reader_may_come_later() {
    let dir = tempfile::tempdir().unwrap();
    let listeners: [fn(&Path) -> Listener; 2] = [Listener::unix, |_| Listener::tcp()];
    for listen in listeners {
        let listener = listen(dir.path());
        let output = listener.output();
        // The address is free and nobody listens.
        drop(listener);
        let _ = std::fs::remove_file(dir.path().join("output.sock"));
        let serve = Serve::start(dir.path(), &["--output", &output, "--output-no-buffer"]);
        let all = every_kind();
        send_all(&serve.socket, &all);
        serve.wait_for_stderr("; trying again");
        let listener = match output.split_once(':').unwrap() {
            ("unix", _) => Listener::unix(dir.path()),
            (_, address) => Listener::Tcp(std::net::TcpListener::bind(address).unwrap()),
        };
        let collector = Collector::new(listener);
        let ended = serve.terminate();
        ended.expect_success();
        assert!(ended.stderr.contains("works again"), "{ended:?}");
        check_all(&reassemble(&collector.bundles()), &all);
        let _ = std::fs::remove_file(dir.path().join("output.sock"));
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

/// The message that was cut comes again, whole and first, on the next
/// connection.
#[test]
fn reader_dies_in_mid_message() {
    let dir = tempfile::tempdir().unwrap();
    for listener in [Listener::unix(dir.path()), narrow_tcp()] {
        let serve = Serve::start(dir.path(), &["--output", &listener.output()]);
        // Each comes in two messages of 5 MiB: more than the kernel takes.
        let datagram = noise(10 << 20);
        let sent = Sent::datagrams("s", &[&datagram, &datagram]);
        let socket = serve.socket.clone();
        let client = std::thread::spawn(move || {
            sent.send(&socket);
            sent
        });
        // Only what was read whole counts.
        let mut bundles = Vec::new();
        for whole in [0, 1] {
            let mut connection = listener.accept();
            for _ in 0..whole {
                bundles.extend(parse(&connection.read_message()));
            }
            let mut begun = [0; 1000];
            connection.read_exact(&mut begun).unwrap();
        }
        let collector = Collector::new(listener);
        let sent = client.join().unwrap();
        let ended = serve.terminate();
        ended.expect_success();
        assert!(ended.stderr.contains("; trying again"), "{ended:?}");
        bundles.extend(collector.bundles());
        check_all(&reassemble(&bundles), &[sent]);
    }
}

/// Nothing is read for a while; the writer waits, and then all comes.
#[test]
fn reader_that_stalls_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for listener in [Listener::unix(dir.path()), narrow_tcp()] {
        let options = ["--output", &listener.output(), "--max-buffered", "4MiB"];
        let serve = Serve::start(dir.path(), &options);
        let data = noise(12_000_000);
        let socket = serve.socket.clone();
        let sent = data.clone();
        let client = std::thread::spawn(move || {
            let mut stream = open(&socket, "s", "binary");
            stream.write_all(&sent).unwrap();
        });
        let connection = listener.accept();
        // Its memory is full: nothing more is read of the client.
        let bytes_in = || serve.statistics()["bytes_in"].as_u64().unwrap();
        process::wait_until("it waits", || {
            let before = bytes_in();
            std::thread::sleep(std::time::Duration::from_millis(100));
            before > 3_000_000 && bytes_in() == before
        });
        assert!(bytes_in() < 8_000_000, "{}", bytes_in());
        assert!(!client.is_finished());
        let bytes = std::thread::spawn(move || connection.read_all());
        client.join().unwrap();
        serve.terminate().expect_success();
        let streams = reassemble(&parse(&bytes.join().unwrap()));
        assert!(streams["s"].bytes == data, "other bytes");
    }
}

/// A file that can't be opened is told before anything is served.
#[test]
fn unwritable_output_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("no/such/file");
    let output = file_output(&path, "none");
    let output = process::run(["--log-level=info", "--output", &output]);
    assert_eq!(output.status.code(), Some(250));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("no/such/file"), "{stderr}");
    assert!(!stderr.contains("streams are taken at"), "{stderr}");
    assert!(output.stdout.is_empty(), "nobody is told of a socket");
}

/// A FIFO has a reader at times only.
#[test]
fn fifo_waits_for_its_reader() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    let output = file_output(&path, "none");
    let serve = Serve::start(dir.path(), &["--output", &output, "--output-no-buffer"]);
    let all = every_kind();
    send_all(&serve.socket, &all);
    serve.wait_for_stderr("; trying again");
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let mut fifo = OpenOptions::new().read(true).open(path).unwrap();
        fifo.read_to_end(&mut bytes).unwrap();
        bytes
    });
    serve.terminate().expect_success();
    check_all(&reassemble(&parse(&reader.join().unwrap())), &all);
}

/// Signals interrupt calls: that is no reason to think that the reader has
/// gone, and to send what follows over another connection.
#[test]
fn signals_break_no_connection() {
    for tcp in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let listener = match tcp {
            true => Listener::tcp(),
            false => Listener::unix(dir.path()),
        };
        let collector = Collector::new(listener);
        let options = ["--output", &collector.output(), "--output-no-buffer"];
        let serve = Serve::start(dir.path(), &options);
        let line = b"a line of some length, which goes out as a message of its own\n";
        let data = line.repeat(20_000);
        let mut stream = open(&serve.socket, "s", "text");
        std::thread::scope(|scope| {
            let client = scope.spawn(|| {
                for line in data.chunks(line.len()) {
                    stream.write_all(line).unwrap();
                }
            });
            while !client.is_finished() {
                serve.signal(Signal::USR1);
                std::thread::sleep(std::time::Duration::from_micros(20));
            }
        });
        drop(stream);
        serve.terminate().expect_success();
        let connections = collector.connections();
        assert_eq!(connections.len(), 1);
        assert!(reassemble(&parse(&connections[0]))["s"].bytes == data);
    }
}

/// On a local port where nobody listens, TCP may connect a socket with itself:
/// in a network of its own that has no other port, it always does.
#[test]
fn nobody_but_itself_listens() {
    let script = "ip link set lo up && echo 40000 40000 >/proc/sys/net/ipv4/ip_local_port_range";
    let unshared = |rest: &str| {
        let mut command = std::process::Command::new("unshare");
        command.args(["-n", "sh", "-c", &format!("{script} && {rest}"), "sh"]);
        command
    };
    match unshared("true").output() {
        Ok(output) if output.status.success() => {}
        other => return println!("skipped: no network of our own: {other:?}"),
    }
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    std::fs::write(&source, "for nobody\n").unwrap();
    let butler = process::command([
        "--output=tcp:127.0.0.1:40000",
        "--flush-timeout=500ms",
        "stream",
        "--stream=name=s",
        "--source",
    ]);
    let mut command = unshared("exec \"$@\"");
    command.arg(butler.get_program()).args(butler.get_args());
    command.arg(&source);
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("; trying again"), "{stderr}");
    assert!(stderr.contains("stream s: 11 bytes lost"), "{stderr}");
    assert_eq!(output.status.code(), Some(250), "{stderr}");
}
