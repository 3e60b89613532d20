//! What was read, checked against the subcommand and filled with defaults.

use std::path::{Path, PathBuf};

use log::Level;

use super::option::Given;
use super::{CommandLine, Problem};
use crate::cli::options::{
    CatOptions, Invocation, Remark, RunOptions, SendOptions, StreamOptions, Wiring,
};
use crate::cli::table::Subcommand;
use crate::cli::{flags, help, values};
#[cfg(feature = "logdog")]
use crate::output::logdog::{Credentials, Realm};
use crate::output::{Controls, Output};
use crate::{ConfigError, SendConfig};

impl CommandLine {
    pub(super) fn finish(mut self) -> Result<Invocation, Problem> {
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
        self.finish_logdog(subcommand)?;
        self.finish_raw(subcommand)?;
        self.common.config.prefix = self
            .prefix
            .take()
            .unwrap_or_else(|| values::default_prefix(std::env::var_os("USER")));
        if subcommand == Subcommand::Send {
            return self.finish_send();
        }
        if self.common.config.spool.is_some() && self.common.runs.is_some() {
            return Err(Problem::SpoolAlone);
        }
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
    fn finish_logdog(
        &mut self,
        #[cfg_attr(not(feature = "logdog"), allow(unused_variables))] subcommand: Subcommand,
    ) -> Result<(), Problem> {
        #[cfg(feature = "logdog")]
        if let Output::Logdog(settings) = &mut self.common.config.output {
            let host = self.common.coordinator_host.clone().unwrap_or_default();
            // Messages that wait know both.
            let is_known = subcommand == Subcommand::Send;
            let needed = [
                ("project", is_known || self.project_given),
                ("coordinator-host", is_known || !host.is_empty()),
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
                settings.realm = realm.parsed(str::parse::<Realm>)?;
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
            Output::Log(log) => {
                log.controls = Controls::Raw;
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
            false => [Wiring::Discarded, Wiring::Discarded],
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
            given.add_to(&mut stream)?;
        }
        let mut stream = stream.unwrap_or_default();
        if stream.name.is_none() {
            let path = self.source.as_deref().unwrap_or(Path::new("stdin"));
            let name = values::name_of_file(path).map_err(|error| {
                let reason = format!("it makes no stream name ({error}); give --stream name=NAME");
                let (option, value) = ("source", path.into());
                Given { option, value }.refused(reason)
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

    fn finish_send(self) -> Result<Invocation, Problem> {
        if self.words.is_empty() {
            return Err(Problem::NoSpool);
        }
        if self.common.runs.is_some() {
            return Err(Problem::NoOutput);
        }
        SendConfig::check(&self.common.config.output).map_err(|error| match error {
            ConfigError::Spool => Problem::NotElsewhere,
            error => Problem::Config(error),
        })?;
        let options = SendOptions {
            spools: self.words.into_iter().map(PathBuf::from).collect(),
            keep: self.keep,
        };
        Ok(Invocation::Send(self.common, options))
    }

    fn finish_cat(self) -> Result<Invocation, Problem> {
        let stream = match self.streams.last() {
            Some(stream) => Some(stream.text()?.to_owned()),
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
