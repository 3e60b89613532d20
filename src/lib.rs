//! The LogDog butler.

pub mod cli;
mod config;
pub mod limits;
pub mod output;
pub mod proto;
pub mod wire;

pub use config::{Config, ConfigError};
