//! The command line: what it says, and the subcommands that do it.

pub mod args;
mod flags;
pub mod help;
pub mod options;
pub mod pairs;
pub mod table;
pub mod units;
pub mod usage;
mod values;
