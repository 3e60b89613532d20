//! The real binary under load: bounds on memory and descriptors, and that
//! nothing is lost, whoever writes how much.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod crowd;
mod descriptors;
mod ending;
mod fairness;
mod formula;
mod holds;
mod long_names;
mod memory;
mod opens;
mod soak;

use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::process::{Serve, open, wait_until};
use common::reader::Reader;
use common::tracker::Tracker;

/// In its sandbox only root can count a butler's descriptors, and a test need
/// not be root.
const COUNTABLE: &str = "--sandbox=off";

/// One at a time: each measures.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // That another test failed is no reason to fail.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For streams that write for hours.
const NO_LIMIT: &str = "--max-stream-size=1000000GiB";

/// What a variable of the environment says.
fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().expect("a number"))
}

/// For how long the load is to go on, if that was said.
fn seconds() -> Option<u64> {
    number("BUTLER_LOAD_SECONDS")
}

/// What `--stats-path` wrote.
fn statistics(path: &std::path::Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// How many descriptors a butler has open without any stream, once a first one
/// has ended: then all there is was there.
fn settled_descriptors(serve: &Serve, reader: &Reader) -> usize {
    let mut first = open(&serve.socket, "first", "text");
    first.write_all(b"line\n").unwrap();
    drop(first);
    wait_until("the first stream is delivered", || {
        reader.seen(Tracker::terminals) == 1
    });
    serve.descriptors()
}
