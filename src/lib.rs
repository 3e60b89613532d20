//! The LogDog butler.

mod bundle;
mod bundler;
pub mod cli;
mod config;
pub mod core;
pub mod ledger;
pub mod limits;
pub mod output;
pub mod proto;
pub mod stats;
pub mod stream;
pub mod time;
mod watch;
pub mod wire;

pub use bundle::{Bundle, BundleLimits, BundleStream, Gather, Identity, StreamInfo};
pub use config::{Config, ConfigError};
