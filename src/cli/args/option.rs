//! Every option: its name, the subcommands that know it, and what it sets.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;

use super::{CommandLine, Stop};
use crate::chain::Chain;
use crate::cli::options::StreamFlags;
use crate::cli::table::Subcommand::{self, Cat, Run, Send, Serve, Stream};
use crate::cli::usage::Problem;
use crate::cli::{help, values};
use crate::output::Output;
use crate::output::spool::SpoolSettings;
use crate::wire::name::StreamName;
use crate::{IoMode, pairs, units};

/// An option.
#[derive(Debug)]
pub(in crate::cli) struct Opt {
    /// Its name, without dashes.
    pub name: &'static str,
    /// The subcommands that know it.
    pub of: &'static [Subcommand],
    /// What may follow.
    pub takes: Takes,
}

/// What may follow an option, and what that sets.
#[derive(Debug)]
pub(in crate::cli) enum Takes {
    /// A value, after `=` or as the next argument. Of an option that is given
    /// again the last value counts, as in the reference.
    Value(fn(&mut CommandLine, Given) -> Result<(), Stop>),
    /// Nothing, or a boolean after `=`.
    Switch(fn(&mut CommandLine, bool)),
    /// The same; on, it ends the reading.
    Answer(fn(&CommandLine) -> Stop),
}

/// The value of an option.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Given {
    pub option: &'static str,
    pub value: OsString,
}

impl Given {
    pub fn refused(&self, reason: impl fmt::Display) -> Problem {
        Problem::Value {
            option: self.option,
            given: self.value.to_string_lossy().into_owned(),
            reason: reason.to_string(),
        }
    }

    pub fn text(&self) -> Result<&str, Problem> {
        let text = std::str::from_utf8(self.value.as_bytes());
        text.map_err(|_| self.refused("it is not valid UTF-8"))
    }

    pub fn parsed<T, E: fmt::Display>(
        &self,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<T, Problem> {
        parse(self.text()?).map_err(|reason| self.refused(reason))
    }

    pub fn add_to(&self, flags: &mut Option<StreamFlags>) -> Result<(), Problem> {
        let added = flags.get_or_insert_default().add(&self.value);
        added.map_err(|error| Problem::Pairs {
            option: self.option,
            error,
        })
    }

    /// Scripts pass on variables that are not set.
    fn unless_empty(self) -> Option<Self> {
        Some(self).filter(|it| !it.value.is_empty())
    }
}

/// An option with a value; the expression may fail.
macro_rules! value {
    ($name:literal, $of:expr, |$line:ident, $given:ident| $set:expr) => {
        Opt {
            name: $name,
            of: $of,
            takes: Takes::Value(|$line, $given| {
                $set;
                Ok(())
            }),
        }
    };
}

const fn switch(
    name: &'static str,
    of: &'static [Subcommand],
    set: fn(&mut CommandLine, bool),
) -> Opt {
    let takes = Takes::Switch(set);
    Opt { name, of, takes }
}

const fn answer(name: &'static str, stop: fn(&CommandLine) -> Stop) -> Opt {
    Opt {
        name,
        of: &Subcommand::ALL,
        takes: Takes::Answer(stop),
    }
}

const COMMON: &[Subcommand] = &[Serve, Run, Stream];
const DELIVERY: &[Subcommand] = &[Serve, Run, Stream, Send];
const LOGGING: &[Subcommand] = &[Serve, Run, Stream, Send, Cat];
const RAW: &[Subcommand] = &[Serve, Run, Stream, Cat];
const RUN: &[Subcommand] = &[Run];
const STREAM: &[Subcommand] = &[Stream];
const CAT: &[Subcommand] = &[Cat];

/// Every option, an alias as one of its own.
pub(in crate::cli) static OPTIONS: [Opt; 41] = [
    answer("help", |line| Stop::Help(help::text(line.subcommand))),
    answer("version", |_| Stop::Version),
    value!("stream-server", COMMON, |line, it| listen_at(line, it)?),
    value!("streamserver-uri", COMMON, |line, it| listen_at(line, it)?),
    value!("output", DELIVERY, |line, it| deliver_to(line, it)?),
    value!("spool", COMMON, |line, it| {
        let spool =
            SpoolSettings::from_spec(&it.value).map_err(|error| it.refused(Chain(&error)))?;
        line.common.config.spool = Some(spool);
    }),
    value!("project", COMMON, |line, it| {
        line.common.config.project = it.parsed(values::project)?;
        line.project_given = true;
    }),
    value!("prefix", COMMON, |line, it| {
        line.prefix = Some(it.parsed(StreamName::from_str)?);
    }),
    value!("coordinator-host", DELIVERY, |line, it| {
        let host = it.text()?;
        line.common.coordinator_host = (!host.is_empty()).then(|| host.into());
    }),
    value!("tag", COMMON, |line, it| {
        let tags = &mut line.common.config.global_tags;
        values::add_tag(tags, it.text()?).map_err(|reason| it.refused(reason))?;
    }),
    value!("output-max-buffer-age", COMMON, |line, it| {
        line.common.config.max_buffer_age = it.parsed(units::duration_or_zero)?;
    }),
    switch("output-no-buffer", COMMON, |line, on| {
        line.common.config.buffer_logs = !on
    }),
    value!("drain-timeout", COMMON, |line, it| {
        line.common.drain_timeout = it.parsed(units::duration)?;
    }),
    value!("flush-timeout", DELIVERY, |line, it| {
        line.common.config.flush_timeout = it.parsed(units::duration)?;
    }),
    value!("max-buffered", COMMON, |line, it| {
        line.common.config.max_buffered = it.parsed(units::size)?;
    }),
    value!("max-stream-size", COMMON, |line, it| {
        line.common.config.max_stream_size = it.parsed(units::size)?;
    }),
    value!("stats-path", DELIVERY, |line, it| {
        line.common.stats_path = values::path(it.value);
    }),
    value!("io", DELIVERY, |line, it| {
        line.common.io = it.parsed(IoMode::from_str)?;
    }),
    value!("log-level", LOGGING, |line, it| {
        line.common.log_level = it.parsed(values::log_level)?;
    }),
    value!("service-account-json", DELIVERY, |line, it| {
        line.service_account = it.unless_empty().map(|it| it.value);
    }),
    value!("realm", DELIVERY, |line, it| line.realm = it.unless_empty()),
    value!("allow-uid", COMMON, |line, it| {
        let uid = it.parsed(values::uid)?;
        line.common.users = std::mem::take(&mut line.common.users).and([uid]);
    }),
    value!("sandbox", DELIVERY, |line, it| {
        line.common.sandbox = it.parsed(values::sandbox)?;
    }),
    switch("fail-on-loss", COMMON, |line, on| {
        line.common.fail_on_loss = on
    }),
    value!("stdout", RUN, |line, it| it.add_to(&mut line.stdout)?),
    value!("stderr", RUN, |line, it| it.add_to(&mut line.stderr)?),
    switch("tee", RUN, |line, on| line.tee = Some(on)),
    switch("attach", RUN, |line, on| line.attach = on),
    switch("forward-stdin", RUN, |line, on| line.forward_stdin = on),
    value!("chdir", RUN, |line, it| line.chdir = values::path(it.value)),
    value!("result-path", RUN, |line, it| {
        line.result_path = values::path(it.value);
    }),
    value!("json-args-path", RUN, |line, it| {
        line.json_args_path = values::path(it.value);
    }),
    switch("keep", &[Send], |line, on| line.keep = on),
    value!("source", STREAM, |line, it| {
        if it.value.is_empty() {
            return Err(it.refused("it must be a file, or - for stdin").into());
        }
        line.source = (it.value != "-").then(|| it.value.into());
    }),
    value!("stream", &[Stream, Cat], |line, it| line.streams.push(it)),
    switch("list", CAT, |line, on| line.list = on),
    switch("timestamps", CAT, |line, on| line.timestamps = on),
    switch("json", CAT, |line, on| line.json = on),
    switch("follow", CAT, |line, on| line.follow = on),
    switch("raw", RAW, |line, on| line.raw = on),
    switch("quiet", DELIVERY, |line, on| line.common.quiet = on),
];

/// The option of that name.
pub(in crate::cli) fn find(name: &str) -> Option<&'static Opt> {
    OPTIONS.iter().find(|option| option.name == name)
}

fn listen_at(line: &mut CommandLine, given: Given) -> Result<(), Problem> {
    line.common.stream_server = match given.unless_empty() {
        None => None,
        Some(it) => Some(values::stream_server(&it.value).map_err(|reason| it.refused(reason))?),
    };
    Ok(())
}

/// `help`, or `help,OUTPUT` as the reference has it, asks what there is.
fn deliver_to(line: &mut CommandLine, given: Given) -> Result<(), Stop> {
    let items = pairs::items(&given.value);
    if items.first().is_some_and(|name| name == "help") {
        return Err(Stop::Help(help::outputs()));
    }
    line.common.config.output = Output::from_spec(&given.value).map_err(Problem::Output)?;
    line.common.runs = None;
    Ok(())
}
