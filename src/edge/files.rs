//! What the outputs on this machine ask of the kernel.

use std::fmt;

/// Descriptors, and what is done with files by them.
pub trait Files {
    /// An open descriptor. Dropped, it is closed.
    type Fd: fmt::Debug;
}
