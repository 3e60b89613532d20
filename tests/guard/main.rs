//! Who gets in, what leaks, what the sandbox leaves, what a service manager
//! hears, and what reaches a terminal.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod activation;
mod booted;
mod child;
#[path = "../common/mod.rs"]
mod common;
mod notify;
mod peers;
mod rights;
mod sandbox;
mod terminal;
