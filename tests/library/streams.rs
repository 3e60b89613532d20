//! What streams are read from, and written with.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use butler::OpenStreamError;
use butler::output::MemoryOutput;
use butler::wire::name::Namespace;
use butler::{AddStreamReason, Selector, UnfitSource, Watch};

use crate::common::reassemble;
use crate::{LONG, end, started, text};

#[test]
fn any_descriptor_is_a_stream() {
    let memory = MemoryOutput::default();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let long: Vec<u8> = (0..300_000u32)
        .flat_map(|at| format!("{at}\n").into_bytes())
        .collect();
    std::fs::write(&path, &long).unwrap();
    let handle = started(&memory);
    let file = std::fs::File::open(&path).unwrap();
    handle.attach(file, &text("a/file")).unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    handle.attach(ours, &text("a/socket")).unwrap();
    let (reader, mut writer) = std::io::pipe().unwrap();
    handle.attach(reader, &text("a/pipe")).unwrap();
    theirs.write_all(b"socket").unwrap();
    writer.write_all(b"pipe").unwrap();
    drop((theirs, writer));
    let report = end(&handle);
    assert_eq!(report.snapshot.streams, 3);
    assert_eq!(report.snapshot.bytes_in, long.len() as u64 + 10);
    let streams = reassemble(&memory.bundles());
    assert_eq!(streams["a/file"].bytes, long);
    assert_eq!(streams["a/socket"].bytes, b"socket");
    assert_eq!(streams["a/pipe"].bytes, b"pipe");
    let names: Vec<_> = streams.into_keys().collect();
    let told = handle.streams().unwrap();
    let told: Vec<_> = told.iter().map(ToString::to_string).collect();
    assert_eq!(names, told);
}

/// Whatever is wrong, and also when there is no butler any more.
#[test]
fn a_refused_descriptor_comes_back_open() {
    let memory = MemoryOutput::default();
    let handle = started(&memory);
    let mut first = handle.stream("x").open().unwrap();
    let refused = |says: &str| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let error = handle.attach(ours, &text("x")).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        UnixStream::from(error.fd).write_all(b"open").unwrap();
        let mut read = String::new();
        theirs.read_to_string(&mut read).unwrap();
        assert_eq!(read, "open");
        error.reason
    };
    refused("name x was used");
    first.write_all(b"undisturbed\n").unwrap();
    drop(first);
    assert_eq!(end(&handle).snapshot.streams_refused, 1);
    assert_eq!(refused("has ended"), AddStreamReason::Ended);
    assert_eq!(memory.stream_bytes("x"), b"undisturbed\n");
}

/// A read would cut them, and nobody would be told.
#[test]
fn messages_are_no_stream() {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    let handle = started(&MemoryOutput::default());
    for kind in [SocketType::DGRAM, SocketType::SEQPACKET] {
        let (ours, _theirs) =
            socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
        let error = handle.attach(ours, &text("x")).unwrap_err();
        let expected = AddStreamReason::Unfit(UnfitSource::Messages);
        assert_eq!(error.reason, expected, "{error}");
    }
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    handle.attach(socket, &text("x")).unwrap_err();
    // The name is as free as it was.
    drop(handle.stream("x").open().unwrap());
    end(&handle);
}

#[test]
fn writers_need_no_descriptor() {
    let memory = MemoryOutput::default();
    let handle = started(&memory);
    let mut lines = handle
        .stream("lines")
        .tag("step", "1")
        .content_type("text/x-log")
        .open()
        .unwrap();
    let mut bytes = handle
        .stream("bytes")
        .binary()
        .tag("a", "b")
        .open()
        .unwrap();
    write!(lines, "one {}\ntwo", 1).unwrap();
    bytes.write_all(&[0, 255, 10]).unwrap();
    let command = handle.stream("command").text().open().unwrap();
    let status = Command::new("echo")
        .arg("from a command")
        .stdout(OwnedFd::from(command))
        .status();
    assert!(status.unwrap().success());
    drop((lines, bytes));
    end(&handle);
    let streams = reassemble(&memory.bundles());
    assert_eq!(streams["lines"].bytes, b"one 1\ntwo");
    assert_eq!(streams["lines"].desc.content_type, "text/x-log");
    assert_eq!(streams["lines"].desc.tags["step"], "1");
    assert_eq!(streams["bytes"].bytes, [0, 255, 10]);
    assert_eq!(
        streams["bytes"].desc.content_type,
        "application/octet-stream"
    );
    assert_eq!(streams["bytes"].desc.tags["a"], "b");
    assert_eq!(streams["command"].bytes, b"from a command\n");
    assert!(streams.values().all(|stream| stream.terminal.is_some()));
}

#[test]
fn a_write_is_a_datagram() {
    let memory = MemoryOutput::default();
    let handle = started(&memory);
    let mut writer = handle.stream("d").datagram().open().unwrap();
    // Longer than any socket takes at once.
    let long = vec![b'x'; 3_000_000];
    writer.write_all(b"one").unwrap();
    writer.send(b"").unwrap();
    let parts = [
        IoSlice::new(b"of "),
        IoSlice::new(b""),
        IoSlice::new(b"parts"),
    ];
    assert_eq!(writer.write_vectored(&parts).unwrap(), 8);
    writer.write_all(&long).unwrap();
    let error = writer.send(&vec![0; (10 << 20) + 1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    writer.send(b"last").unwrap();
    drop(writer);
    end(&handle);
    let streams = reassemble(&memory.bundles());
    let expected: [&[u8]; 5] = [b"one", b"", b"of parts", &long, b"last"];
    assert!(streams["d"].datagrams == expected);
    assert!(!streams["d"].datagram_open);
}

#[test]
fn what_is_wrong_with_a_stream_is_told_when_it_is_opened() {
    let handle = started(&MemoryOutput::default());
    let error = handle.stream("no name").tag("no key", "").open();
    assert!(matches!(error, Err(OpenStreamError::Name(_))));
    let error = handle.stream("x").tag("no key", "").datagram().open();
    assert!(matches!(error, Err(OpenStreamError::Tag(_))));
    let x = handle.stream("x").open().unwrap();
    let refused = |name: &str| match handle.stream(name).open() {
        Err(OpenStreamError::Refused(reason)) => reason,
        other => panic!("{other:?}"),
    };
    assert!(matches!(refused("x"), AddStreamReason::Refused(_)));
    let namespace = Namespace::new("a").unwrap();
    handle.drain(&namespace, Duration::ZERO).wait().unwrap();
    assert!(matches!(refused("a/b"), AddStreamReason::Refused(_)));
    drop(x);
    end(&handle);
    assert_eq!(refused("y"), AddStreamReason::Ended);
    let mut watcher = handle.watch(Selector::All, Watch::Whole);
    assert!(watcher.next().is_none());
}

/// Its writer is told, and not by a signal.
#[test]
fn a_stream_that_the_butler_ends() {
    let memory = MemoryOutput::default();
    let handle = started(&memory);
    let mut writer = handle.stream("open").open().unwrap();
    writer.write_all(b"in time").unwrap();
    let report = handle.shutdown(Duration::ZERO).wait().unwrap();
    assert_eq!(report.cut, ["open".parse().unwrap()]);
    assert!(report.is_complete());
    let error = writer.write_all(b"too late").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    assert_eq!(memory.stream_bytes("open"), b"in time");
}

#[test]
fn streams_of_many_threads() {
    let memory = MemoryOutput::default();
    let handle = started(&memory);
    let threads = (0..8).map(|thread| {
        let handle = handle.clone();
        std::thread::spawn(move || {
            for at in (thread..500).step_by(8) {
                let mut writer = handle.stream(&format!("s/{at}")).open().unwrap();
                writeln!(writer, "stream {at}").unwrap();
            }
        })
    });
    for thread in threads.collect::<Vec<_>>() {
        thread.join().unwrap();
    }
    handle.activate();
    let report = handle.wait().wait().unwrap();
    assert!(report.is_complete());
    let namespace = Namespace::new("").unwrap();
    assert_eq!(handle.drain(&namespace, LONG).wait().unwrap(), []);
    let streams = reassemble(&memory.bundles());
    assert_eq!(streams.len(), 500);
    for (name, stream) in streams {
        let at = name.strip_prefix("s/").unwrap();
        assert_eq!(stream.bytes, format!("stream {at}\n").as_bytes());
    }
}
