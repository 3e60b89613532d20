//! The library, as a program that embeds a butler uses it.

#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod callbacks;
mod endings;
mod examples;
mod handles;
mod streams;
mod watchers;

use std::time::Duration;

use butler::output::{MemoryOutput, Output};
use butler::wire::descriptor::{StreamProperties, StreamType};
use butler::{Builder, Handle};
use butler::{Butler, Report};
use common::process::io_mode;

/// Longer than anything takes that is waited for.
const LONG: Duration = Duration::from_secs(60);

/// A butler with its output in memory.
fn builder(memory: &MemoryOutput) -> Builder {
    Butler::builder(Output::Memory(memory.clone())).io_mode(io_mode())
}

/// It runs.
fn started(memory: &MemoryOutput) -> Handle {
    builder(memory).start().unwrap()
}

fn text(name: &str) -> StreamProperties {
    StreamProperties::new(name.parse().unwrap(), StreamType::Text)
}

/// Ends a butler whose streams end by themselves. All must be delivered.
fn end(handle: &Handle) -> Report {
    let report = handle.shutdown(LONG).wait().unwrap();
    assert!(report.is_complete(), "{report:?}");
    report
}

/// Waits until it is so.
fn until(mut it_is_so: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !it_is_so() {
        assert!(begun.elapsed() < LONG);
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until so many bytes of streams have been read.
fn until_read(handle: &Handle, bytes: u64) {
    until(|| handle.snapshot().unwrap().bytes_in == bytes);
}
