//! The real binary with a spool: who dies, stops or is not there meanwhile, and
//! what a disk can do to it.
//!
//! What needs more than a plain machine skips itself and says why. What is
//! drawn by chance prints its seed; `BUTLER_SPOOL_SEED` repeats it.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod arrived;
mod bench;
mod far_end;
mod waiting;
