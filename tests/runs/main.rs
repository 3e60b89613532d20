//! Runs do not get into each other's way: each has its directory, and what is
//! in it is of this run.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod each_its_own;
mod earlier;
mod lock;
mod newcomer;
mod sending;

use std::path::Path;
use std::process::Output;

use common::process;

/// Runs butler in `dir`, to its end.
fn butler(dir: &Path, args: &[&str]) -> Output {
    process::command(args).current_dir(dir).output().unwrap()
}

/// What `butler cat` shows of it there: its stdout, without any complaint.
fn cat(dir: &Path, args: &[&str]) -> String {
    let output = butler(dir, &[&["cat"], args].concat());
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
