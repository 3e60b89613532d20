//! `butler run`: a command, captured.

mod capture;
mod environment;
mod program;
mod refusal;
mod relay;
mod result;
mod signals;
mod summary;

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use rustix::fs::{Access, CWD, accessat};
use tokio::process::{Child, Command};

use super::logger;
use super::notify::Notifier;
use super::options::{Common, RunOptions};
use super::passed::Passed;
use super::report_file::ReportFile;
use super::runs::RunDirectory;
use super::sandbox::Needs;
use super::session::{self, Delivery, EXIT_FAILED, SessionError};
use crate::process::passed::Inherited;
use crate::{Butler, Report};
use capture::{ChildIo, Shown};
use environment::{absolute_uri, environment};
use program::Program;
use refusal::Refusal;
use result::{Ending, exit_code};
use signals::ChildSignals;
pub(super) use signals::Prepared;
use summary::summary;

pub(super) async fn run(
    common: Common,
    options: RunOptions,
    passed: Passed,
    inherited: Inherited,
    prepared: Prepared,
) -> ExitCode {
    let result_path = options.result_path.as_deref();
    let statistics = session::prepare_statistics(&common);
    let result = session::prepare_report(&common, "result-path", result_path);
    let (statistics, result) = match (statistics, result) {
        (Ok(statistics), Ok(result)) => (statistics, result),
        (Err(why), _) | (_, Err(why)) => return session::fail(why),
    };
    let mut run = Run {
        common,
        options: &options,
        directory: None,
        executed: options.command[0].clone(),
        inherited,
        statistics,
        result,
    };
    let ending = match run.run(passed, prepared).await {
        Ok(ending) => ending,
        Err(failure) => {
            failure.tell();
            Ending::failed(&failure)
        }
    };
    if let Some(file) = run.result {
        file.write(&ending.to_json(&options, &run.executed));
    }
    ExitCode::from(ending.exit_code)
}

/// One run of a command.
struct Run<'a> {
    common: Common,
    options: &'a RunOptions,
    /// Where its logs go, if nobody has said.
    directory: Option<RunDirectory>,
    /// The file that is executed; before that is known, what was asked for.
    executed: OsString,
    inherited: Inherited,
    statistics: Option<ReportFile>,
    result: Option<ReportFile>,
}

/// The command runs, and its butler.
struct Running {
    butler: Butler,
    signals: ChildSignals,
    notifier: Notifier,
    child: Child,
    begun: Instant,
    shown: Shown,
}

impl Run<'_> {
    async fn run(&mut self, passed: Passed, prepared: Prepared) -> Result<Ending, SessionError> {
        let options = self.options;
        let mut signals =
            ChildSignals::new(prepared).map_err(|error| format!("signals: {error}"))?;
        if let Some(directory) = &options.chdir {
            check_directory(directory)?;
        }
        let server = session::listen(&self.common, passed)?;
        self.directory = session::give_directory(&mut self.common)?;
        let needs = Needs::of(&self.common)
            .of_server(&server)
            .of_report(self.statistics.as_ref())
            .of_report(self.result.as_ref());
        let notifier = Notifier::from_environment();
        let uri = absolute_uri("unix:", server.path())?;
        let environment = environment(&self.common, uri)?;
        let butler = signals.open(&self.common).await?;
        butler.add_stream_server(server);

        let (child_io, shown) = ChildIo::open(options, &butler)?;
        signals.begin()?;
        let begun = Instant::now();
        let spawned = self.spawn(|command| {
            if let Some(directory) = &options.chdir {
                command.current_dir(directory);
            }
            environment.give_to(command);
            signals.hand_on_ignored(command);
            child_io.give_to(command)
        });
        // Our ends of the child's pipes: it has its own.
        drop(child_io);
        let child = match spawned {
            Ok(child) => child,
            Err(refusal) => return Ok(self.refused(&butler, &refusal).await),
        };
        signals.begun(&child);
        self.close_pipes();
        if let Some(directory) = &mut self.directory {
            directory.begin();
        }
        // Only now: the child keeps the limit that we were started with.
        session::raise_descriptor_limit();
        // Nor are these bounds for the child.
        needs.of_child().give_up_the_rest();
        notifier.ready();
        let running = Running {
            butler,
            signals,
            notifier,
            child,
            begun,
            shown,
        };
        self.wait(running).await
    }

    /// Waits for the command's end, and then for the butler's.
    async fn wait(&mut self, running: Running) -> Result<Ending, SessionError> {
        let Running {
            butler,
            mut signals,
            notifier,
            mut child,
            begun,
            mut shown,
        } = running;
        let drain_timeout = self.common.drain_timeout;
        let status = signals
            .wait_for(&mut child, &butler)
            .await
            .map_err(|error| format!("waiting for the command: {error}"))?;
        let took = begun.elapsed();
        notifier.stopping();
        shown.command_ended();
        butler.shutdown(drain_timeout);
        let report = signals.wait_for_end(&butler).await;
        signals
            .wait_until_shown(&butler, &mut shown, drain_timeout)
            .await;
        if let Ok(report) = &report {
            let why = " (a process that it has left behind has them open)";
            session::tell_cut(report, drain_timeout, "the command's end", why);
        }
        let ending = self.ended(&butler, exit_code(status), report);
        if let Some(directory) = &self.directory
            && self.common.gives_hints()
        {
            logger::tell(&summary(status, took, &directory.path()));
        }
        Ok(ending)
    }

    /// Finds the command's program and executes it.
    fn spawn(
        &mut self,
        set_up: impl Fn(&mut Command) -> std::io::Result<()>,
    ) -> Result<Child, Refusal> {
        let command = &self.options.command;
        let program = Program::find(&command[0], self.options.chdir.as_deref())?;
        self.executed = program.path.clone().into();
        program.spawn(&command[1..], set_up)
    }

    /// The command has what we inherited for it; but what we write to by a name
    /// of its own, such as `/dev/fd/5`, we still need.
    fn close_pipes(&mut self) {
        let output = self.common.config.output.file();
        let reports = [&self.statistics, &self.result];
        let reports = reports.into_iter().flatten().map(ReportFile::path);
        let kept: Vec<_> = output
            .into_iter()
            .chain(reports)
            .filter_map(|path| fs::metadata(path).ok())
            .map(|found| (found.dev(), found.ino()))
            .collect();
        self.inherited.close_pipes(|file| kept.contains(&file));
    }

    /// The command could not be run.
    async fn refused(&mut self, butler: &Butler, refusal: &Refusal) -> Ending {
        log::error!("{refusal}");
        butler.abort();
        let report = butler.wait().await;
        Ending {
            error: Some(refusal.to_string()),
            ..self.ended(butler, refusal.exit_code, report)
        }
    }

    /// The command has ended, or could not begin, and so has the butler.
    fn ended(
        &mut self,
        butler: &Butler,
        return_code: u8,
        report: Result<Report, crate::Error>,
    ) -> Ending {
        let (delivered, error) = session::conclude(butler, self.statistics.take(), report);
        let fails = self.common.fail_on_loss && delivered == Delivery::Lossy;
        Ending {
            exit_code: if fails { EXIT_FAILED } else { return_code },
            return_code,
            delivered,
            error,
        }
    }
}

/// Can the command begin in that directory?
fn check_directory(directory: &Path) -> Result<(), String> {
    let shown = directory.display();
    if !directory.is_dir() {
        return Err(format!("--chdir: {shown} is no directory"));
    }
    accessat(
        CWD,
        directory,
        Access::EXEC_OK,
        rustix::fs::AtFlags::EACCESS,
    )
    .map_err(|error| format!("--chdir: can't enter {shown}: {error}"))
}
