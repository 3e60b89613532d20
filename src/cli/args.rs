//! The command line's arguments, read into an [`Invocation`].
//!
//! First [`normalise`](table::normalise) makes one spelling of those that are
//! accepted, then all options are collected wherever they stand, and at last,
//! with the subcommand known, they are checked against it and defaults are
//! filled in.

mod finish;
pub(super) mod option;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use lexopt::Arg;
use log::LevelFilter;

use self::option::{Given, Opt, Takes};
use super::help;
use super::options::{Common, Invocation, Sandbox, StreamFlags};
use super::runs::RUNS;
use super::table::{self, Subcommand};
use super::usage::{Problem, UsageError};
use super::values;
use crate::limits;
use crate::output::DirectoryOutput;
use crate::wire::name::StreamName;
use crate::{Config, IoMode, Users};

/// Reads a command line, without the name of the program. Looks at the
/// environment for the user's name and the current directory, and reads the
/// file of `--json-args-path`.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Invocation, UsageError> {
    let parser = lexopt::Parser::from_args(table::normalise(args));
    let mut line = CommandLine::new();
    let read = line.read(parser);
    let subcommand = line.subcommand;
    match read.and_then(|()| line.finish().map_err(Stop::Problem)) {
        Ok(invocation) => Ok(invocation),
        Err(Stop::Help(text)) => Ok(Invocation::Help(text)),
        Err(Stop::Version) => Ok(Invocation::Version),
        Err(Stop::Problem(problem)) => Err(UsageError {
            problem,
            subcommand,
        }),
    }
}

/// Why reading ends before the end of the command line.
pub(super) enum Stop {
    Problem(Problem),
    Help(String),
    Version,
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// What has been read.
pub(super) struct CommandLine {
    subcommand: Option<Subcommand>,
    /// What follows the subcommand and is no option.
    words: Vec<OsString>,
    seen: Vec<&'static Opt>,

    common: Common,
    prefix: Option<StreamName>,
    service_account: Option<OsString>,
    realm: Option<Given>,
    project_given: bool,

    stdout: Option<StreamFlags>,
    stderr: Option<StreamFlags>,
    attach: bool,
    tee: Option<bool>,
    forward_stdin: bool,
    chdir: Option<PathBuf>,
    result_path: Option<PathBuf>,
    json_args_path: Option<PathBuf>,

    keep: bool,

    source: Option<PathBuf>,
    /// Flags for `stream`, a name or a glob for `cat`.
    streams: Vec<Given>,

    list: bool,
    timestamps: bool,
    json: bool,
    follow: bool,
    raw: bool,
}

impl CommandLine {
    fn new() -> Self {
        Self {
            subcommand: None,
            words: Vec::new(),
            seen: Vec::new(),
            common: Common {
                config: Config::new(DirectoryOutput::new(RUNS)),
                runs: Some(RUNS.into()),
                stream_server: None,
                io: IoMode::Auto,
                drain_timeout: limits::DRAIN_TIMEOUT,
                stats_path: None,
                log_level: LevelFilter::Warn,
                quiet: false,
                fail_on_loss: false,
                users: Users::default(),
                sandbox: Sandbox::default(),
                coordinator_host: None,
                remarks: Vec::new(),
            },
            prefix: None,
            service_account: None,
            realm: None,
            project_given: false,
            stdout: None,
            stderr: None,
            attach: true,
            tee: None,
            forward_stdin: false,
            chdir: None,
            result_path: None,
            json_args_path: None,
            keep: false,
            source: None,
            streams: Vec::new(),
            list: false,
            timestamps: false,
            json: false,
            follow: false,
            raw: false,
        }
    }

    fn read(&mut self, mut parser: lexopt::Parser) -> Result<(), Stop> {
        loop {
            let option = match parser.next().map_err(syntax)? {
                None => return Ok(()),
                Some(Arg::Short('h')) => return Err(Stop::Help(help::text(self.subcommand))),
                Some(Arg::Short('V')) => return Err(Stop::Version),
                Some(Arg::Short(letter)) => {
                    return Err(self.unknown_option(&letter.to_string()).into());
                }
                Some(Arg::Value(word)) => {
                    self.word(word)?;
                    continue;
                }
                Some(Arg::Long(name)) => {
                    option::find(name).ok_or_else(|| self.unknown_option(name))?
                }
            };
            self.seen.push(option);
            match option.takes {
                Takes::Value(set) => {
                    let option = option.name;
                    let missing = |_| Problem::MissingValue { option };
                    let value = parser.value().map_err(missing)?;
                    set(self, Given { option, value })?;
                }
                Takes::Switch(set) => set(self, is_on(option, &mut parser)?),
                Takes::Answer(stop) if is_on(option, &mut parser)? => return Err(stop(self)),
                Takes::Answer(_) => {}
            }
        }
    }

    fn unknown_option(&self, name: &str) -> Problem {
        Problem::unknown_option(name.to_owned(), self.subcommand)
    }

    fn word(&mut self, word: OsString) -> Result<(), Problem> {
        match self.subcommand {
            None => self.subcommand = Some(subcommand(&word)?),
            Some(subcommand @ Subcommand::Version) => {
                let given = word.to_string_lossy().into_owned();
                return Err(Problem::Argument { given, subcommand });
            }
            Some(_) => self.words.push(word),
        }
        Ok(())
    }
}

/// Is the switch on? It is, but for `=false`.
fn is_on(option: &Opt, parser: &mut lexopt::Parser) -> Result<bool, Problem> {
    let Some(value) = parser.optional_value() else {
        return Ok(true);
    };
    let option = option.name;
    values::boolean(&value).map_err(|reason| Given { option, value }.refused(reason))
}

fn subcommand(word: &OsStr) -> Result<Subcommand, Problem> {
    let name = word.to_string_lossy();
    Subcommand::from_name(&name).ok_or_else(|| Problem::unknown_subcommand(name.into()))
}

/// After [`table::normalise`], and with every value taken, lexopt has nothing
/// to refuse; should it find something, its own words are clear.
fn syntax(error: lexopt::Error) -> Problem {
    Problem::Syntax(error.to_string())
}

#[cfg(test)]
mod refusal_tests;
#[cfg(test)]
mod tests;
