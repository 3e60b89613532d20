//! The LogDog butler: takes the log streams of a CI job from local processes
//! and delivers them, losing nothing.
//!
//! Log data has one way through the program, and the modules stand along it:
//!
//! ```text
//! edge        accepts connections, reads into pooled buffers     (the edge)
//! wire        header, names, descriptor: bytes to values
//! stream      text, binary, datagram machines: bytes to entries
//! bundler     stages entries in one segment, cuts bundles by size and age
//! output      directory, file, socket, logdog, log, null, memory (the edge)
//! ```
//!
//! [`core`] holds `stream` and `bundler` together and is sans-IO: it is told
//! what happened and when, and asked what to do next. [`Butler`] ties it to
//! the edge, on one thread. [`ledger`] accounts for every byte on the way,
//! [`limits`] has every bound in one place.
//!
//! An error says its own part; what caused it is its `source()`.
//!
//! A job's own butler, with its output in memory:
//!
//! ```
//! use butler::output::{MemoryOutput, Output};
//! use butler::wire::descriptor::{StreamProperties, StreamType};
//! use butler::{Butler, Config};
//! use std::io::Write;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let memory = MemoryOutput::default();
//! let config = Config::new(Output::Memory(memory.clone()));
//! butler::start(async {
//!     let butler = Butler::new(config)?;
//!     let (reader, mut writer) = std::io::pipe()?;
//!     let properties = StreamProperties::new("build/log".parse()?, StreamType::Text);
//!     butler.add_stream(reader.into(), &properties)?;
//!     writer.write_all(b"hello\n")?;
//!     drop(writer);
//!     butler.activate();
//!     let report = butler.wait().await?;
//!     assert!(report.is_complete());
//!     Ok::<_, Box<dyn std::error::Error>>(())
//! })??;
//! assert_eq!(memory.stream_bytes("build/log"), b"hello\n");
//! # Ok(())
//! # }
//! ```

pub mod arena;
mod bundler;
mod butler;
mod chain;
#[cfg(feature = "cli")]
pub mod cli;
mod config;
pub mod core;
mod delivery;
pub mod edge;
mod escape;
mod layout;
pub mod ledger;
pub mod limits;
mod memory;
pub mod output;
pub mod pairs;
#[cfg(feature = "cli")]
mod process;
pub mod proto;
mod random;
pub mod read;
mod secret;
mod segments;
pub mod stats;
pub mod stream;
pub mod time;
pub mod units;
mod utf8;
mod watch;
pub mod wire;

pub use butler::{
    AddStreamError, AddStreamReason, Butler, ChunkCallback, Dropped, Error, Loss, Quantiles,
    RegistrationCallback, Report, Snapshot, start, start_with,
};
pub use config::{Config, ConfigError};
pub use delivery::gather::Gather;
pub use delivery::message::{BundleLimits, Identity, Message, MessageStream, StreamInfo, Ticket};
pub use delivery::outcome::Outcome;
pub use delivery::window::Capacity;
pub use edge::door::Users;
pub use edge::listener::StreamServer;
pub use edge::runtime::{IoMode, UnknownIoMode};
pub use edge::source::UnfitSource;
pub use secret::Secret;
