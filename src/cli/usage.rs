//! What can be wrong with a command line.

use std::fmt;

use super::advice::told;
use super::help;
use super::table::{self, Subcommand};
use crate::ConfigError;
use crate::output::UnfitOutput;
use crate::output::spec::SpecError;
use crate::pairs::PairError;

/// A command line that is refused. Its text says which part, and what would be
/// right, and where to read on.
#[derive(Debug)]
pub struct UsageError {
    /// What is wrong.
    pub problem: Problem,
    /// The subcommand whose help explains it, if that is known.
    pub subcommand: Option<Subcommand>,
}

/// Why a command line is refused. Options are named without their dashes.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// No such option.
    #[error("{}", unknown_option(option, suggestions))]
    UnknownOption {
        /// As given.
        option: String,
        /// Options that may be meant.
        suggestions: Vec<&'static str>,
    },
    /// An option of the reference that this butler does not have.
    #[error("the option --{option} is not supported by this butler")]
    NotSupported {
        /// The option.
        option: String,
    },
    /// An option of other subcommands.
    #[error("the option --{option} is for {}, not for {}", list(of), given.as_str())]
    OtherSubcommand {
        /// The option.
        option: &'static str,
        /// The subcommands that know it.
        of: &'static [Subcommand],
        /// The one that was given.
        given: Subcommand,
    },
    /// An option for an output other than the one given.
    #[error("the option --{option} is for the {of} output only")]
    OtherOutput {
        /// The option.
        option: &'static str,
        /// The output that it is for.
        of: &'static str,
    },
    /// Options that the output needs are not given.
    #[cfg(feature = "logdog")]
    #[error(
        "the {by} output needs the option{} {}",
        if options.len() == 1 { "" } else { "s" },
        listed(options, "and")
    )]
    Needed {
        /// All of them.
        options: Vec<&'static str>,
        /// The output that needs it.
        by: &'static str,
    },
    /// An option lacks its value.
    #[error("the option --{option} needs a value: --{option} VALUE")]
    MissingValue {
        /// The option.
        option: &'static str,
    },
    /// The value of an option is not allowed.
    #[error("--{option} {given:?} is not allowed: {reason}")]
    Value {
        /// The option.
        option: &'static str,
        /// The value.
        given: String,
        /// What is wrong, or what would be right.
        reason: String,
    },
    /// The parts of an option's value are not allowed.
    #[error("--{option}: {}", told(error))]
    Pairs {
        /// The option.
        option: &'static str,
        /// What is wrong.
        error: PairError,
    },
    /// The SPEC of `--output` is not allowed.
    #[error("--output: {}", told(.0))]
    Output(SpecError),
    /// The options together make no valid configuration.
    #[error("--{}: {}", config_option(.0), told(.0))]
    Config(ConfigError),
    /// No such subcommand.
    #[error(
        "there is no subcommand {name:?}; {}",
        or_else(*suggestion, "to capture a command: butler run -- COMMAND".into())
    )]
    UnknownSubcommand {
        /// As given.
        name: String,
        /// A subcommand of a similar name.
        suggestion: Option<&'static str>,
    },
    /// `help` knows no such subcommand or topic.
    #[error("help has nothing about {name:?}; {}", or_else(*suggestion, all_topics()))]
    UnknownTopic {
        /// As given.
        name: String,
        /// One of a similar name.
        suggestion: Option<&'static str>,
    },
    /// A subcommand of the reference that is about logins.
    #[error(
        "{name}: butler does not manage logins; give the logdog output a service account with \
         --service-account-json PATH (or :gce), or run in a task with LUCI_CONTEXT"
    )]
    Login {
        /// The subcommand.
        name: String,
    },
    /// An argument that the subcommand does not take.
    #[error("{} takes no argument {given:?}", subcommand.as_str())]
    Argument {
        /// The argument.
        given: String,
        /// The subcommand.
        subcommand: Subcommand,
    },
    /// The arguments can't be taken apart.
    #[error("{0}")]
    Syntax(String),
    /// `run` without a command.
    #[error("run needs a command: butler run -- COMMAND [ARG...], or --json-args-path FILE")]
    NoCommand,
    /// `send` without a spool.
    #[error("send needs a spool: butler send DIR... --output SPEC")]
    NoSpool,
    /// `send` without an output.
    #[error("send needs --output: where what waits in the spool goes to")]
    NoOutput,
    /// `send` with an output on this machine.
    #[error("--output: send delivers to unix, tcp and logdog")]
    NotElsewhere,
    /// `--spool` without `--output`.
    #[error(
        "--spool needs --output, and there unix, tcp or logdog: without it logs go to a directory \
         on this machine"
    )]
    SpoolAlone,
    /// A command and `--json-args-path`.
    #[error("--json-args-path gives the command, so that none may stand on the command line")]
    TwoCommands,
    /// `--stdout` and `--stderr` give the same name.
    #[error("--stdout and --stderr both name their stream {0:?}: a name may be used once")]
    SameName(String),
    /// The file of `--json-args-path` can't be used.
    #[error("--json-args-path {path:?} can't be used: {reason}; wanted is a JSON array of strings")]
    JsonArgs {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
}

impl Problem {
    /// There is no such option: by accident, or on purpose. `subcommand` is
    /// the one that it was given to, if that is known yet.
    pub fn unknown_option(option: String, subcommand: Option<Subcommand>) -> Self {
        if table::NOT_SUPPORTED.contains(&option.as_str()) {
            return Self::NotSupported { option };
        }
        let suggestions = table::meant(&option, subcommand);
        Self::UnknownOption {
            option,
            suggestions,
        }
    }

    /// `help` was asked for what it does not know.
    pub fn unknown_topic(name: String) -> Self {
        let suggestion = table::nearest(&name, help::names());
        Self::UnknownTopic { name, suggestion }
    }

    /// There is no such subcommand: by accident, or on purpose.
    pub fn unknown_subcommand(name: String) -> Self {
        if matches!(&*name, "auth-login" | "auth-logout" | "auth-info") {
            return Self::Login { name };
        }
        let names = Subcommand::ALL.into_iter().map(Subcommand::as_str);
        let suggestion = table::nearest(&name, names);
        Self::UnknownSubcommand { name, suggestion }
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.problem)?;
        match self.subcommand {
            None | Some(Subcommand::Help | Subcommand::Version) => f.write_str("see 'butler help'"),
            Some(one) => write!(f, "see 'butler help {}'", one.as_str()),
        }
    }
}

impl std::error::Error for UsageError {}

fn unknown_option(option: &str, suggestions: &[&str]) -> String {
    let is_letter = option.chars().count() == 1;
    let dashes = if is_letter { "-" } else { "--" };
    let meant = match suggestions {
        [] if is_letter => "; the only ones of one letter are -h and -V".into(),
        [] => String::new(),
        some => format!("; did you mean {}?", listed(some, "or")),
    };
    format!("unknown option {dashes}{option}{meant}")
}

fn or_else(suggestion: Option<&str>, otherwise: String) -> String {
    match suggestion {
        Some(one) => format!("did you mean {one}?"),
        None => otherwise,
    }
}

fn all_topics() -> String {
    let names: Vec<_> = help::names().collect();
    format!("it has {}", names.join(", "))
}

/// The option that sets what `error` is about.
fn config_option(error: &ConfigError) -> &'static str {
    match error {
        ConfigError::MaxBuffered(_) => "max-buffered",
        ConfigError::MaxStreamSize => "max-stream-size",
        ConfigError::Output(UnfitOutput::CoordinatorHost(_)) => "coordinator-host",
        ConfigError::Output(_) => "output",
        ConfigError::Spool => "spool",
    }
}

fn list(of: &[Subcommand]) -> String {
    let names: Vec<_> = of.iter().map(|one| one.as_str()).collect();
    joined(&names, "and")
}

/// Options, with their dashes.
fn listed(options: &[&str], word: &str) -> String {
    let options: Vec<_> = options.iter().map(|one| format!("--{one}")).collect();
    joined(&options, word)
}

/// `a, b and c`, with `word` before the last.
fn joined<S: AsRef<str>>(names: &[S], word: &str) -> String {
    let names: Vec<_> = names.iter().map(AsRef::as_ref).collect();
    match names.as_slice() {
        [most @ .., last] if !most.is_empty() => format!("{} {word} {last}", most.join(", ")),
        names => names.concat(),
    }
}
