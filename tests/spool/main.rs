//! The real binary with a spool: who dies, stops or is not there meanwhile, and
//! what a disk can do to it.
//!
//! What needs more than a plain machine skips itself and says why. What is
//! drawn by chance prints its seed; `BUTLER_SPOOL_SEED` repeats it.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../simulation/random.rs"]
#[allow(dead_code, reason = "the simulation draws more")]
mod random;

mod arrived;
mod bench;
mod disks;
mod ending;
mod far_end;
mod killed;
mod memory;
mod reading;
mod sending;
mod waiting;

use std::hash::{BuildHasher, RandomState};

/// The seed of this run, which is printed.
fn seed() -> u64 {
    let given = std::env::var("BUTLER_SPOOL_SEED").ok();
    let seed = given.map_or_else(
        || RandomState::new().hash_one(0),
        |it| it.parse().expect("BUTLER_SPOOL_SEED is a number"),
    );
    println!("BUTLER_SPOOL_SEED={seed}");
    seed
}
