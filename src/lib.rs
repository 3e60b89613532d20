//! The LogDog butler: takes the log streams of a CI job from local processes
//! and delivers them, losing nothing.
//!
//! # The house
//!
//! Log data has one way through the program, and the modules stand along it:
//!
//! ```text
//! edge        io: what is asked of the kernel; driver: completions and commands
//! core        clients, turns, memory, life: what is decided
//! wire        header, names, descriptor: bytes to values
//! stream      text, binary, datagrams: bytes to entries
//! bundler     stages entries in one segment, cuts bundles by size and age
//! delivery    messages by ticket, what is in flight, what became of it
//! output      a transport for each destination; one of them puts a spool before another
//! ```
//!
//! [`core`] is sans-IO: its [`Machine`](core::Machine) is told what has happened
//! and when, and gives commands. The [driver](edge::driver) moves both between it
//! and an [`Io`](edge::io::Io), of which there are three: io_uring, epoll, and the
//! simulator's kernel in the tests. [`Butler`] gives the driver its turns, on one
//! thread. [`ledger`] accounts for every byte on the way, [`limits`] has every bound
//! in one place. [`spool`] is how messages wait on disk. [`read`] gives back what
//! outputs have written. Nothing uses what stands above it: `tests/layers.rs` has
//! the order.
//!
//! An error says its own part; what caused it is its `source()`.
//!
//! # A butler in a program
//!
//! It runs on a thread of its own, beside whatever runtime the program has. A
//! job's own butler, with its output in memory:
//!
//! ```
//! use butler::Butler;
//! use butler::output::MemoryOutput;
//! use std::io::Write;
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let memory = MemoryOutput::default();
//! let handle = Butler::builder(memory.clone()).start()?;
//! let mut log = handle.stream("build/log").tag("step", "compile").open()?;
//! writeln!(log, "hello")?;
//! drop(log);
//! let report = handle.shutdown(Duration::from_secs(5)).wait()?;
//! assert!(report.is_complete());
//! assert_eq!(memory.stream_bytes("build/log"), b"hello\n");
//! # Ok(())
//! # }
//! ```
//!
//! `examples/` has more: a command captured, streams watched, a server that
//! drains, a butler in a tokio program. Every function of LogDog's Go package
//! `butler` has its counterpart, with the same meaning: of a [`Handle`], and of
//! a [`Butler`], which lives on the thread that made it.
//!
//! | Go | on a thread of its own | on the caller's |
//! |---|---|---|
//! | `New` | [`Butler::builder`], [`Builder::start`] | [`Butler::open`], or [`Butler::new`] for outputs that need not register |
//! | `Config.Validate` | [`Config::validate`]; a start calls it | the same |
//! | `AddStream` | [`Handle::attach`], with the descriptor back on an error; [`Handle::stream`] needs none | [`Butler::add_stream`] |
//! | `AddStreamServer` | [`Handle::listen`] | [`Butler::add_stream_server`] |
//! | `AddStreamRegistrationCallback`, with and without `wrap` | [`Handle::add_stream_registration_callback`]; [`Handle::watch`] for who looks from another thread | [`Butler::add_stream_registration_callback`] |
//! | `Activate` | [`Handle::activate`] | [`Butler::activate`] |
//! | `DrainNamespace` | [`Handle::drain`] | [`Butler::drain_namespace`] |
//! | `Streams` | [`Handle::streams`] | [`Butler::streams`] |
//! | `Wait` | [`Handle::wait`] | [`Butler::wait`] |
//! | to cancel the context | [`Handle::shutdown`], [`Handle::abort`] | [`Butler::shutdown`], [`Butler::abort`] |

mod api;
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
pub mod keys;
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
#[cfg(test)]
mod sources;
pub mod spool;
pub mod stats;
pub mod stream;
pub mod time;
pub mod units;
mod utf8;
mod watch;
pub mod wire;

pub use api::{
    Builder, DatagramWriter, Ended, Handle, NewStream, OpenStreamError, Reply, Selector,
    SendRegistrationCallback, StreamWriter, Watch, WatchEvent, Watcher,
};
pub use butler::{
    AddStreamError, AddStreamReason, Butler, ChunkCallback, Dropped, Error, Loss, Quantiles,
    RegistrationCallback, Report, SendConfig, SendReport, Sending, Snapshot, start, start_with,
};
pub use config::{Config, ConfigError};
pub use core::Users;
pub use delivery::gather::Gather;
pub use delivery::message::{BundleLimits, Identity, Message, MessageStream, StreamInfo, Ticket};
pub use delivery::outcome::{Outcome, Outcomes};
pub use delivery::stored::{Amount, Left, Run, SendProgress, Stored};
pub use delivery::window::Capacity;
pub use edge::listener::StreamServer;
pub use edge::runtime::{IoMode, UnknownIoMode};
pub use edge::source::UnfitSource;
pub use secret::Secret;
