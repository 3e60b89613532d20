//! The real binary under load: bounds on memory and descriptors, and that
//! nothing is lost, whoever writes how much.

#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod descriptors;
mod ending;
mod fairness;
mod memory;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// One at a time: each measures.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // That another test failed is no reason to fail.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What `--stats-path` wrote.
fn statistics(path: &std::path::Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}
