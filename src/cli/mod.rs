//! The command line: what it says, and the subcommands that do it.

pub mod options;
pub mod pairs;
pub mod units;
