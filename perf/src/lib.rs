//! What measures butler: what the programs in `bin/` share.
//!
//! ```text
//! load ──streams──> butler, or relay (the floor), or a peer ──output──> sink
//! ```
//!
//! `load` and `sink` know LogDog's header and nothing else of a butler;
//! [`collector`] is what takes the place of the sink when a butler publishes;
//! [`mod@bench`] starts all of them, measures the one in the middle, and compares.

pub mod address;
pub mod args;
pub mod bench;
pub mod clock;
pub mod collector;
pub mod flame;
pub mod header;
pub mod inlet;
pub mod pacer;
pub mod payload;
pub mod report;
pub mod signals;
pub mod stamp;

/// What goes wrong here is only ever told to a person.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Raises the number of descriptors that this process may open to what it is
/// allowed, which it returns.
pub fn raise_descriptor_limit() -> Result<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised)?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}
