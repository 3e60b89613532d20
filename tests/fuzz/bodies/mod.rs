//! What is fuzzed: each module has a `run` that takes any bytes and panics if
//! something does not hold. The fuzz targets and `tests/fuzz_bodies.rs` share
//! it.
#![allow(dead_code)]

pub mod binary;
pub mod cli;
pub mod core;
pub mod datagram;
pub mod driver;
pub mod header;
pub mod input;
pub mod reader;
pub mod spool;
pub mod text;

/// A name and its body.
pub type Body = (&'static str, fn(&[u8]));

/// All of them; the names are those of the fuzz targets.
pub const ALL: [Body; 8] = [
    ("header", header::run),
    ("text", text::run),
    ("binary", binary::run),
    ("datagram", datagram::run),
    ("core", core::run),
    ("reader", reader::run),
    ("spool", spool::run),
    ("cli", cli::run),
];
