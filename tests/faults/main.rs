//! The real binary, and a kernel that refuses, processes that are killed or
//! stopped, disks that are full.
//!
//! What needs more than a plain machine skips itself and says why. What is
//! drawn by chance prints its seed; `BUTLER_FAULTS_SEED` repeats it.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../simulation/random.rs"]
#[allow(dead_code, reason = "the simulation draws more")]
mod random;

mod account;
mod butler_killed;
mod clients_killed;
mod clients_slow;
mod devices;
mod directory;
mod directory_killed;
mod directory_removed;
mod file_limit;
mod file_replaced;
mod full_disk;
mod messages;
mod one_path;
mod readers;
mod stderr;

use std::hash::{BuildHasher, RandomState};

/// The seed of this run, which is printed.
fn seed() -> u64 {
    let given = std::env::var("BUTLER_FAULTS_SEED").ok();
    let seed = given.map_or_else(
        || RandomState::new().hash_one(0),
        |it| it.parse().expect("BUTLER_FAULTS_SEED is a number"),
    );
    println!("BUTLER_FAULTS_SEED={seed}");
    seed
}
