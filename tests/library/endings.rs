//! How a butler ends, and what it tells of that.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use butler::output::{FileOutput, MemoryOutput, UnixOutput};
use butler::wire::name::Namespace;
use butler::{Butler, Error, StreamServer};

use crate::common::process::{io_mode, open};
use crate::{LONG, builder, end, started, text, until, until_read};

#[test]
fn no_stream_ends_the_run_before_it_is_activated() {
    let memory = MemoryOutput::default();
    let handle = started(&memory);
    let waits = std::thread::spawn({
        let ended = handle.wait();
        move || ended.wait().unwrap()
    });
    drop(handle.stream("a").open().unwrap());
    until(|| handle.snapshot().unwrap().streams_open == 0);
    let mut late = handle.stream("b").open().unwrap();
    handle.activate();
    late.write_all(b"late").unwrap();
    drop(late);
    assert!(waits.join().unwrap().is_complete());
    assert_eq!(memory.streams(), ["b"]);
}

#[test]
fn a_namespace_drains() {
    let handle = started(&MemoryOutput::default());
    let inside = handle.stream("a/b/c").open().unwrap();
    let beside = handle.stream("a/bc").open().unwrap();
    let namespace = Namespace::new("a/b").unwrap();
    let drain = |namespace: &Namespace, deadline| {
        let open = handle.drain(namespace, deadline).wait().unwrap();
        open.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(drain(&namespace, Duration::from_millis(20)), ["a/b/c"]);
    assert!(handle.stream("a/b/d").open().is_err());
    drop(handle.stream("a/d").open().unwrap());
    drop(inside);
    assert!(drain(&namespace, LONG).is_empty());
    let everything = Namespace::new("").unwrap();
    assert_eq!(drain(&everything, Duration::ZERO), ["a/bc"]);
    drop(beside);
    end(&handle);
}

#[test]
fn servers_end_with_the_butler() {
    let memory = MemoryOutput::default();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let handle = started(&memory);
    handle.listen(StreamServer::bind(&path).unwrap()).unwrap();
    let mut stream = open(&path, "x", "text");
    stream.write_all(b"through a server\n").unwrap();
    drop(stream);
    end(&handle);
    assert_eq!(memory.stream_bytes("x"), b"through a server\n");
    assert!(!path.exists());
    let late = StreamServer::bind(&path).unwrap();
    assert!(handle.listen(late).is_err() && !path.exists());
}

#[test]
fn what_is_not_delivered_is_reported() {
    let memory = MemoryOutput::default();
    memory.stall(true);
    let short = builder(&memory).flush_timeout(Duration::from_millis(50));
    let handle = short.start().unwrap();
    for (name, bytes) in [("a", 7), ("b", 9)] {
        let mut writer = handle.stream(name).open().unwrap();
        writer.write_all(&vec![b'x'; bytes]).unwrap();
    }
    handle.activate();
    let report = handle.wait().wait().unwrap();
    assert!(!report.is_complete());
    let losses = report.losses.iter();
    let losses: Vec<_> = losses
        .map(|loss| (loss.stream.as_str(), loss.bytes))
        .collect();
    assert_eq!(losses, [("a", 7), ("b", 9)]);
    assert_eq!(report.snapshot.bytes_dropped, 16);
    assert_eq!(report.snapshot.bytes_pending, 0);
}

/// Memory is full of what the output does not take, so that a stream is never
/// read to its end: the shutdown does not wait for it.
#[test]
fn a_stuck_output_does_not_hold_up_the_shutdown() {
    let memory = MemoryOutput::default();
    memory.stall(true);
    let full = 4 << 20;
    let handle = builder(&memory)
        .flush_timeout(Duration::from_millis(50))
        .max_buffered(full)
        .start()
        .unwrap();
    let mut endless = handle.stream("endless").open().unwrap();
    let writer = std::thread::spawn(move || while endless.write_all(b"a line\n").is_ok() {});
    until(|| handle.snapshot().unwrap().peak_buffered >= full);
    let report = handle.shutdown(Duration::from_millis(10)).wait().unwrap();
    assert!(!report.is_complete());
    assert_eq!(report.snapshot.bytes_pending, 0);
    drop(handle);
    writer.join().unwrap();
}

#[test]
fn a_wrong_configuration_is_refused() {
    let wrong = builder(&MemoryOutput::default()).max_buffered(1);
    let error = wrong.start().unwrap_err();
    assert!(matches!(error, Error::Config(_)), "{error}");
    let dir = tempfile::tempdir().unwrap();
    let file = FileOutput::new(dir.path().join("none/file"));
    let error = Butler::builder(file).start().unwrap_err();
    assert!(matches!(error, Error::Output(_)), "{error}");
}

#[test]
fn nothing_is_left_open() {
    let count = |of: &str| std::fs::read_dir(of).unwrap().count();
    let run = || {
        let handle = started(&MemoryOutput::default());
        for at in 0..10 {
            let (reader, writer) = std::io::pipe().unwrap();
            handle.attach(reader, &text(&format!("p{at}"))).unwrap();
            drop(writer);
            drop(handle.stream(&format!("s{at}")).open().unwrap());
        }
        match count("/proc/self/fd") % 2 {
            0 => drop(handle),
            _ => drop(end(&handle)),
        }
    };
    run();
    let before = (count("/proc/self/fd"), count("/proc/self/task"));
    for _ in 0..10 {
        run();
    }
    let after = (count("/proc/self/fd"), count("/proc/self/task"));
    // Other tests of this process may open some meanwhile.
    assert!(after.0 < before.0 + 100, "{before:?} then {after:?}");
    assert!(after.1 < before.1 + 40, "{before:?} then {after:?}");
}

#[test]
fn errors_of_an_output_show_while_it_fails() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = UnixOutput::new(dir.path().join("nobody"));
    let handle = Butler::builder(nobody)
        .io_mode(io_mode())
        .buffer_logs(false)
        .flush_timeout(Duration::from_millis(50))
        .start()
        .unwrap();
    let mut lines = handle.stream("lines").open().unwrap();
    lines.write_all(b"a line\n").unwrap();
    until(|| handle.snapshot().unwrap().output_errors > 0);
    let report = handle.shutdown(Duration::ZERO).wait().unwrap();
    assert!(!report.is_complete());
}

/// What has been written is read, and what the output takes is delivered,
/// however young it is.
#[test]
fn an_abort_delivers_what_is_taken_without_waiting() {
    for stalled in [false, true] {
        let memory = MemoryOutput::default();
        memory.stall(stalled);
        let old = builder(&memory).max_buffer_age(Duration::from_secs(600));
        let handle = old.start().unwrap();
        // It stays open, and is no socket: nothing ends it.
        let (reader, mut writer) = std::io::pipe().unwrap();
        handle.attach(reader, &text("last/words")).unwrap();
        writer.write_all(b"a line\nand half of one").unwrap();
        let report = handle.abort().wait().unwrap();
        assert_eq!(report.snapshot.bytes_in, 22);
        assert_eq!(report.snapshot.bytes_dropped, if stalled { 22 } else { 0 });
        assert_eq!(report.is_complete(), !stalled);
        let delivered: &[u8] = if stalled {
            b""
        } else {
            b"a line\nand half of one"
        };
        assert_eq!(memory.stream_bytes("last/words"), delivered);
        assert_eq!(memory.is_terminal("last/words"), !stalled);
    }
}

/// Without an end in sight: whoever writes goes on.
#[test]
fn nothing_is_buffered_any_more() {
    let memory = MemoryOutput::default();
    let old = builder(&memory).max_buffer_age(Duration::from_secs(600));
    let handle = old.start().unwrap();
    let (ours, mut writer) = UnixStream::pair().unwrap();
    handle.attach(ours, &text("words")).unwrap();
    writer.write_all(b"before\nbe").unwrap();
    until_read(&handle, 9);
    assert!(memory.bundles().is_empty(), "it is younger than 10 minutes");
    handle.stop_buffering();
    until(|| memory.stream_bytes("words") == b"before\nbe");
    writer.write_all(b"hind\n").unwrap();
    until(|| memory.stream_bytes("words") == b"before\nbehind\n");
}
