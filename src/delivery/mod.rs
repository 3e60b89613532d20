//! From messages that are cut to what became of them.
//!
//! ```text
//! message   what an output gets: entries of some streams, and their facts
//! window    the messages that the output has, by ticket
//! outcome   what became of a message, by stream and reason
//! stored    a message that comes back from disk
//! gather    a message as it stands on the wire
//! encode    the same as an output writes it, compressed or not
//! ```
//!
//! Nothing here does I/O, reads a clock or waits.

pub(crate) mod encode;
pub(crate) mod gather;
pub(crate) mod message;
pub(crate) mod outcome;
pub(crate) mod stored;
pub(crate) mod window;
