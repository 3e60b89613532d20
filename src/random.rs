//! Names that nobody else has.

use std::hash::{BuildHasher, RandomState};

/// 32 random hexadecimal digits: a segment of a name, or of a path.
pub(crate) fn segment() -> String {
    // The standard library seeds this from the kernel's random source; a
    // second hash of the same seed fills the other half.
    let state = RandomState::new();
    format!("{:016x}{:016x}", state.hash_one(0), state.hash_one(1))
}
