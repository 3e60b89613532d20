//! The command line: what it says, and the subcommands that do it.

pub mod cat;
pub mod options;
