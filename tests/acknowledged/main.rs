//! Outputs whose far end acknowledges what it has, and those that are encrypted: the
//! real binary, whatever becomes of whoever it sends to.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod far;
mod plain;
#[cfg(feature = "tls")]
mod tls;
