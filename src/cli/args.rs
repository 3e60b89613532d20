//! The command line's arguments, read into an [`Invocation`].
//!
//! First [`normalise`](table::normalise) makes one spelling of those that are
//! accepted, then all options are collected wherever they stand, and at last,
//! with the subcommand known, they are checked against it and defaults are
//! filled in.

mod finish;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::str::FromStr;

use lexopt::Arg;
use log::LevelFilter;

use super::help;
use super::options::{Common, Invocation, Sandbox, StreamFlags};
use super::runs::RUNS;
use super::table::{self, Opt, Subcommand, Switch, Takes, Valued};
use super::usage::{Problem, UsageError};
use super::values;
use crate::limits;
use crate::output::Output;
use crate::wire::name::StreamName;
use crate::{Config, IoMode, Users};
use crate::{pairs, units};

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
enum Stop {
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
struct CommandLine {
    subcommand: Option<Subcommand>,
    /// What follows the subcommand and is no option.
    words: Vec<OsString>,
    seen: Vec<&'static Opt>,

    common: Common,
    prefix: Option<StreamName>,
    service_account: Option<OsString>,
    realm: Option<OsString>,
    project_given: bool,

    stdout: Option<StreamFlags>,
    stderr: Option<StreamFlags>,
    attach: bool,
    tee: Option<bool>,
    forward_stdin: bool,
    chdir: Option<PathBuf>,
    result_path: Option<PathBuf>,
    json_args_path: Option<PathBuf>,

    source: Option<PathBuf>,
    /// Flags for `stream`, a name or a glob for `cat`.
    streams: Vec<OsString>,

    list: bool,
    timestamps: bool,
    json: bool,
    follow: bool,
    raw: bool,
}

impl CommandLine {
    fn new() -> Self {
        let output = Output::Directory { path: RUNS.into() };
        Self {
            subcommand: None,
            words: Vec::new(),
            seen: Vec::new(),
            common: Common {
                config: Config::new(output),
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
                Some(Arg::Short('h')) => return Err(self.help()),
                Some(Arg::Short('V')) => return Err(Stop::Version),
                Some(Arg::Short(letter)) => {
                    return Err(self.unknown_option(&letter.to_string()).into());
                }
                Some(Arg::Value(word)) => {
                    self.word(word)?;
                    continue;
                }
                Some(Arg::Long(name)) => {
                    table::find(name).ok_or_else(|| self.unknown_option(name))?
                }
            };
            self.seen.push(option);
            match option.takes {
                Takes::Value(which) => {
                    let missing = |_| Problem::MissingValue {
                        option: option.name,
                    };
                    let value = parser.value().map_err(missing)?;
                    self.set(option.name, which, value)?;
                }
                Takes::Switch(which) => {
                    let on = match parser.optional_value() {
                        None => true,
                        Some(value) => values::boolean(&value)
                            .map_err(|reason| refused(option.name, &value, reason))?,
                    };
                    self.switch(which, on)?;
                }
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

    /// Sets an option that has a value. Of one that is given again the last
    /// value counts, as in the reference.
    fn set(&mut self, option: &'static str, which: Valued, value: OsString) -> Result<(), Stop> {
        let common = &mut self.common;
        let config = &mut common.config;
        match which {
            Valued::StreamServer if value.is_empty() => common.stream_server = None,
            Valued::StreamServer => {
                let path = values::stream_server(&value)
                    .map_err(|reason| refused(option, &value, reason))?;
                common.stream_server = Some(path);
            }
            Valued::Output if asks_for_help(&value) => return Err(Stop::Help(help::outputs())),
            Valued::Output => {
                config.output = Output::from_spec(&value).map_err(Problem::Output)?;
                common.runs = None;
            }
            Valued::Project => {
                config.project = parsed(option, &value, values::project)?;
                self.project_given = true;
            }
            Valued::Prefix => self.prefix = Some(parsed(option, &value, StreamName::from_str)?),
            Valued::CoordinatorHost => {
                let host = text(option, &value)?;
                common.coordinator_host = (!host.is_empty()).then(|| host.into());
            }
            Valued::Tag => values::add_tag(&mut config.global_tags, text(option, &value)?)
                .map_err(|reason| refused(option, &value, reason))?,
            Valued::MaxBufferAge => {
                config.max_buffer_age = parsed(option, &value, units::duration_or_zero)?;
            }
            Valued::DrainTimeout => {
                common.drain_timeout = parsed(option, &value, units::duration)?;
            }
            Valued::FlushTimeout => {
                config.flush_timeout = parsed(option, &value, units::duration)?;
            }
            Valued::MaxBuffered => config.max_buffered = parsed(option, &value, units::size)?,
            Valued::MaxStreamSize => config.max_stream_size = parsed(option, &value, units::size)?,
            Valued::StatsPath => common.stats_path = values::path(value),
            Valued::Io => common.io = parsed(option, &value, IoMode::from_str)?,
            Valued::LogLevel => common.log_level = parsed(option, &value, values::log_level)?,
            Valued::ServiceAccount => {
                self.service_account = (!value.is_empty()).then_some(value);
            }
            Valued::Realm => self.realm = (!value.is_empty()).then_some(value),
            Valued::AllowUid => {
                let uid = parsed(option, &value, values::uid)?;
                common.users = std::mem::take(&mut common.users).and([uid]);
            }
            Valued::Sandbox => common.sandbox = parsed(option, &value, values::sandbox)?,
            Valued::Stdout => add_flags(option, &mut self.stdout, &value)?,
            Valued::Stderr => add_flags(option, &mut self.stderr, &value)?,
            Valued::Chdir => self.chdir = values::path(value),
            Valued::ResultPath => self.result_path = values::path(value),
            Valued::JsonArgsPath => self.json_args_path = values::path(value),
            Valued::Source if value.is_empty() => {
                return Err(refused(option, &value, "it must be a file, or - for stdin").into());
            }
            Valued::Source => self.source = (value != "-").then(|| value.into()),
            Valued::Stream => self.streams.push(value),
        }
        Ok(())
    }

    fn switch(&mut self, which: Switch, on: bool) -> Result<(), Stop> {
        match which {
            Switch::Help if on => return Err(self.help()),
            Switch::Version if on => return Err(Stop::Version),
            Switch::Help | Switch::Version => {}
            Switch::NoBuffer => self.common.config.buffer_logs = !on,
            Switch::FailOnLoss => self.common.fail_on_loss = on,
            Switch::Tee => self.tee = Some(on),
            Switch::Attach => self.attach = on,
            Switch::ForwardStdin => self.forward_stdin = on,
            Switch::List => self.list = on,
            Switch::Timestamps => self.timestamps = on,
            Switch::Json => self.json = on,
            Switch::Follow => self.follow = on,
            Switch::Raw => self.raw = on,
            Switch::Quiet => self.common.quiet = on,
        }
        Ok(())
    }

    fn help(&self) -> Stop {
        Stop::Help(help::text(self.subcommand))
    }
}

fn subcommand(word: &OsStr) -> Result<Subcommand, Problem> {
    let name = word.to_string_lossy();
    Subcommand::from_name(&name).ok_or_else(|| Problem::unknown_subcommand(name.into()))
}

/// `help`, or `help,OUTPUT` as the reference has it.
fn asks_for_help(spec: &OsStr) -> bool {
    pairs::items(spec)
        .first()
        .is_some_and(|name| name == "help")
}

fn add_flags(
    option: &'static str,
    flags: &mut Option<StreamFlags>,
    value: &OsStr,
) -> Result<(), Problem> {
    flags
        .get_or_insert_default()
        .add(value)
        .map_err(|error| Problem::Pairs { option, error })
}

fn parsed<T, E: fmt::Display>(
    option: &'static str,
    value: &OsStr,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<T, Problem> {
    parse(text(option, value)?).map_err(|reason| refused(option, value, reason))
}

fn text<'a>(option: &'static str, value: &'a OsStr) -> Result<&'a str, Problem> {
    let not_utf8 = |_| refused(option, value, "it is not valid UTF-8");
    std::str::from_utf8(value.as_bytes()).map_err(not_utf8)
}

fn refused(option: &'static str, given: &OsStr, reason: impl fmt::Display) -> Problem {
    Problem::Value {
        option,
        given: given.to_string_lossy().into_owned(),
        reason: reason.to_string(),
    }
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
