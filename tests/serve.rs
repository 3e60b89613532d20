//! `butler serve` as its clients see it.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::Write;

use common::process::{Collector, Serve, open};
use common::reassemble;

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
