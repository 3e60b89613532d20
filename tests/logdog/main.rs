//! The logdog output of the real binary, against a Coordinator, token servers
//! and a Pub/Sub of our own that fail on demand, over real HTTP and gRPC; and
//! against Google's emulator of Pub/Sub, where the machine has it.
#![cfg(all(feature = "cli", feature = "logdog"))]
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod accounts;
mod emulator;
mod fakes;
mod publishing;
mod registration;
mod secrets;
mod spool;
mod tls;
