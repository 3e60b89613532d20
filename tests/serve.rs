//! `butler serve` as its clients see it.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod common;

use std::io::Write;
use std::time::{Duration, Instant};

use common::process::{Collector, Serve, open, wait_until};
use common::reader::Reader;
use common::reassemble;
use common::tracker::Tracker;

/// Whoever had connected and written before the signal is delivered, also
/// from the accept queue.
#[test]
fn two_thousand_streams_and_a_signal_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::listen(dir.path());
    let serve = Serve::start(dir.path(), &["--output", &collector.output()]);
    let count = 2000;
    for at in 0..count {
        let mut stream = open(&serve.socket, &format!("s/{at}"), "text");
        writeln!(stream, "line {at}").unwrap();
    }
    let ended = serve.terminate();
    assert!(ended.status.success(), "{}", ended.stderr);
    let streams = reassemble(&collector.bundles());
    assert_eq!(streams.len(), count);
    for at in 0..count {
        let stream = &streams[&format!("s/{at}")];
        assert_eq!(stream.bytes, format!("line {at}\n").into_bytes());
        assert_eq!(stream.terminal, Some(0));
    }
}

/// An unfinished line that came after a whole one leaves at its own age.
#[test]
fn a_prompt_after_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let reader = Reader::listen(dir.path(), Tracker::default());
    let age = ["--output-max-buffer-age", "300ms"];
    let output = reader.output();
    let serve = Serve::start(dir.path(), &[&["--output", &output], &age[..]].concat());
    let mut stream = open(&serve.socket, "prompt", "text");
    stream.write_all(b"a line\n").unwrap();
    // Read on its own, after the line and long before its age.
    std::thread::sleep(Duration::from_millis(100));
    stream.write_all(b"go on? ").unwrap();
    let written = Instant::now();
    wait_until("the prompt is there", || {
        reader.seen(|seen| {
            seen.streams
                .get("prompt")
                .is_some_and(|it| it.kept == b"a line\ngo on? ")
        })
    });
    assert!(written.elapsed() < Duration::from_secs(10));
    drop(stream);
    let ended = serve.terminate();
    assert!(ended.status.success(), "{}", ended.stderr);
    assert_eq!(reader.finish().terminals(), 1);
}
