//! The command line's arguments, read into an [`Invocation`].
//!
//! First [`normalise`](table::normalise) makes one spelling of those that are
//! accepted, then all options are collected wherever they stand, and at last,
//! with the subcommand known, checked against it and filled with defaults.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use lexopt::Arg;
use log::{Level, LevelFilter};

use super::flags;
use super::help;
use super::options::{
    CatOptions, Common, Invocation, Outlet, Remark, RunOptions, Sandbox, StreamFlags, StreamOptions,
};
use super::runs::RUNS;
use super::table::{self, Opt, Subcommand, Switch, Takes, Valued};
use super::usage::{Problem, UsageError};
use super::values;
use crate::limits;
#[cfg(feature = "logdog")]
use crate::output::logdog::{Credentials, Realm};
use crate::output::{Controls, Output};
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

    fn finish(mut self) -> Result<Invocation, Problem> {
        let subcommand = self.subcommand.unwrap_or(Subcommand::Serve);
        match subcommand {
            Subcommand::Help => return self.finish_help(),
            Subcommand::Version => return Ok(Invocation::Version),
            _ => {}
        }
        let alien = self.seen.iter().find(|seen| !seen.of.contains(&subcommand));
        if let Some(alien) = alien {
            return Err(Problem::OtherSubcommand {
                option: alien.name,
                of: alien.of,
                given: subcommand,
            });
        }
        if matches!(subcommand, Subcommand::Serve | Subcommand::Stream) {
            self.ignore_words(subcommand);
        }
        self.finish_logdog()?;
        self.finish_raw(subcommand)?;
        self.common.config.prefix = self
            .prefix
            .take()
            .unwrap_or_else(|| values::default_prefix(std::env::var_os("USER")));
        self.common.config.validate().map_err(Problem::Config)?;
        match subcommand {
            Subcommand::Run => self.finish_run(),
            Subcommand::Stream => self.finish_stream(),
            Subcommand::Cat => self.finish_cat(),
            _ => Ok(Invocation::Serve(self.common)),
        }
    }

    /// Words that the subcommand has no use for are no error, as in the
    /// reference.
    fn ignore_words(&mut self, subcommand: Subcommand) {
        let words: Vec<_> = self
            .words
            .iter()
            .map(|word| word.to_string_lossy())
            .collect();
        if words.is_empty() {
            return;
        }
        let hint = match subcommand {
            Subcommand::Stream => "; a file is named with --source FILE",
            _ => "; a command is run by butler run -- COMMAND",
        };
        self.remark(
            Level::Warn,
            format!(
                "{} takes no arguments, and ignores: {}{hint}",
                subcommand.as_str(),
                words.join(" ")
            ),
        );
    }

    fn remark(&mut self, level: Level, text: String) {
        self.common.remarks.push(Remark { level, text });
    }

    /// What the logdog output needs, and it alone.
    fn finish_logdog(&mut self) -> Result<(), Problem> {
        #[cfg(feature = "logdog")]
        if let Output::Logdog(settings) = &mut self.common.config.output {
            let host = self.common.coordinator_host.clone().unwrap_or_default();
            let needed = [
                ("project", self.project_given),
                ("coordinator-host", !host.is_empty()),
            ];
            let missing = needed.iter().filter(|(_, given)| !given);
            let options: Vec<_> = missing.map(|(option, _)| *option).collect();
            if !options.is_empty() {
                let by = "logdog";
                return Err(Problem::Needed { options, by });
            }
            settings.coordinator_host = host;
            settings.credentials = match self.service_account.take() {
                None => Credentials::Ambient,
                Some(gce) if gce == ":gce" => Credentials::Gce,
                Some(path) => Credentials::KeyFile(path.into()),
            };
            if let Some(realm) = &self.realm {
                settings.realm = parsed("realm", realm, Realm::from_str)?;
            }
            return Ok(());
        }
        for (option, is_given) in [
            ("service-account-json", self.service_account.is_some()),
            ("realm", self.realm.is_some()),
        ] {
            if is_given {
                let text = format!("--{option} is for the logdog output, and has no effect");
                self.remark(Level::Info, text);
            }
        }
        Ok(())
    }

    /// Of the outputs one alone prints for people.
    fn finish_raw(&mut self, subcommand: Subcommand) -> Result<(), Problem> {
        if !self.raw || subcommand == Subcommand::Cat {
            return Ok(());
        }
        match &mut self.common.config.output {
            Output::Log { controls, .. } => {
                *controls = Controls::Raw;
                Ok(())
            }
            _ => Err(Problem::OtherOutput {
                option: "raw",
                of: "log",
            }),
        }
    }

    fn finish_help(self) -> Result<Invocation, Problem> {
        match self.words.as_slice() {
            [] => Ok(Invocation::Help(help::text(None))),
            [topic] => {
                let name = topic.to_string_lossy();
                let text = help::named(&name).ok_or_else(|| Problem::unknown_topic(name.into()))?;
                Ok(Invocation::Help(text))
            }
            [_, more, ..] => Err(Problem::Argument {
                given: more.to_string_lossy().into_owned(),
                subcommand: Subcommand::Help,
            }),
        }
    }

    fn finish_run(self) -> Result<Invocation, Problem> {
        let command = match self.json_args_path {
            Some(_) if !self.words.is_empty() => return Err(Problem::TwoCommands),
            Some(path) => values::command_of_json(&path).map_err(|reason| Problem::JsonArgs {
                path: path.to_string_lossy().into_owned(),
                reason,
            })?,
            None => self.words,
        };
        if command.is_empty() {
            return Err(Problem::NoCommand);
        }
        let output = &self.common.config.output;
        let [stdout, stderr] = match self.attach {
            true => flags::outlets(self.stdout, self.stderr, self.tee, output),
            false => [Outlet::Discarded, Outlet::Discarded],
        };
        if let (Some(name), true) = (stdout.name(), stdout.name() == stderr.name()) {
            return Err(Problem::SameName(name.to_string()));
        }
        let options = RunOptions {
            stdout,
            stderr,
            forward_stdin: self.forward_stdin,
            chdir: self.chdir,
            result_path: self.result_path,
            command,
        };
        Ok(Invocation::Run(self.common, options))
    }

    fn finish_stream(self) -> Result<Invocation, Problem> {
        let mut stream = None;
        for given in &self.streams {
            add_flags("stream", &mut stream, given)?;
        }
        let mut stream = stream.unwrap_or_default();
        if stream.name.is_none() {
            let path = self.source.as_deref().unwrap_or(Path::new("stdin"));
            let name = values::name_of_file(path).map_err(|error| {
                let reason = format!("it makes no stream name ({error}); give --stream name=NAME");
                refused("source", path.as_os_str(), reason)
            })?;
            stream.name = Some(name);
        }
        let about_delivery = self.seen.iter().map(|seen| seen.name);
        let options = StreamOptions {
            source: self.source,
            stream,
            about_delivery: about_delivery.filter(|it| !is_for_clients(it)).collect(),
        };
        Ok(Invocation::Stream(self.common, options))
    }

    fn finish_cat(self) -> Result<Invocation, Problem> {
        let stream = match self.streams.last() {
            Some(stream) => Some(text("stream", stream)?.to_owned()),
            None => None,
        };
        Ok(Invocation::Cat(CatOptions {
            paths: self.words.into_iter().map(PathBuf::from).collect(),
            stream,
            list: self.list,
            timestamps: self.timestamps,
            json: self.json,
            follow: self.follow,
            raw: self.raw,
            log_level: self.common.log_level,
        }))
    }
}

/// Does the option mean something to `stream` when another butler delivers?
fn is_for_clients(option: &str) -> bool {
    matches!(
        option,
        "stream-server"
            | "streamserver-uri"
            | "source"
            | "stream"
            | "tag"
            | "drain-timeout"
            | "flush-timeout"
            | "io"
            | "log-level"
            | "quiet"
            | "sandbox"
    )
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
