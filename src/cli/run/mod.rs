//! `butler run`: a command, captured.

mod capture;
mod environment;
mod result;
mod signals;
mod summary;

use std::io;
use std::process::{ExitCode, Stdio};
use std::time::Instant;

use tokio::process::Command;

use super::logger;
use super::notify::{self, Notifier};
use super::options::{Common, RunOptions};
use super::passed::Passed;
use super::sandbox::Needs;
use super::session::{self, EXIT_FAILED, Failure};
use crate::Report;
use crate::reactor::ignored::Ignored;
use capture::{Shown, capture};
use environment::{absolute_uri, environment};
use result::{exit_code, write_result};
use signals::ChildSignals;
use summary::summary;

/// The command can't be executed.
const EXIT_CANNOT_EXECUTE: u8 = 126;
/// There is no such command.
const EXIT_NOT_FOUND: u8 = 127;

pub(super) async fn run(mut common: Common, options: RunOptions, passed: Passed) -> ExitCode {
    match run_command(&mut common, &options, passed).await {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.tell(),
    }
}

async fn run_command(
    common: &mut Common,
    options: &RunOptions,
    passed: Passed,
) -> Result<u8, Failure> {
    if let Some(directory) = &options.chdir
        && !directory.is_dir()
    {
        return Err(format!("--chdir: {} is no directory", directory.display()).into());
    }
    let ignored = Ignored::as_found();
    let mut signals = ChildSignals::new().map_err(|error| format!("signals: {error}"))?;
    let server = session::listen(common, passed)?;
    let mut directory = session::give_directory(common)?;
    let common = &*common;
    let needs = Needs::of(common)
        .of_server(&server)
        .of_result(options.result_path.as_deref())
        .of_copies(options.tee);
    let notifier = Notifier::from_environment();
    let uri = absolute_uri(server.path())?;
    let butler = signals.open(common).await?;
    butler.add_stream_server(server);

    let mut command = Command::new(&options.command[0]);
    command.args(&options.command[1..]);
    if let Some(directory) = &options.chdir {
        command.current_dir(directory);
    }
    for (name, value) in environment(common, uri)? {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    for name in notify::VARIABLES {
        command.env_remove(name);
    }
    ignored.hand_on(&mut command);
    if !options.forward_stdin {
        command.stdin(Stdio::null());
    }
    let mut shown: Vec<Shown> = Vec::new();
    if let Some(flags) = &options.stdout {
        command.stdout(capture(
            &butler,
            flags,
            options.tee.then(io::stdout),
            &mut shown,
        )?);
    }
    if let Some(flags) = &options.stderr {
        command.stderr(capture(
            &butler,
            flags,
            options.tee.then(io::stderr),
            &mut shown,
        )?);
    }
    let begun = Instant::now();
    let spawned = command.spawn();
    // Our ends of the child's pipes close with it.
    drop(command);
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            let name = options.command[0].display();
            log::error!("can't run {name}: {error}");
            butler.abort();
            if let Ok(report) = butler.wait().await {
                session::conclude(common, &report);
            }
            return Ok(match error.kind() {
                io::ErrorKind::NotFound => EXIT_NOT_FOUND,
                _ => EXIT_CANNOT_EXECUTE,
            });
        }
    };
    if let Some(directory) = &mut directory {
        directory.begin();
    }
    // Only now: the child keeps the limit that we were started with.
    session::raise_descriptor_limit();
    // Nor are these bounds for the child.
    needs.of_child().give_up_the_rest();
    notifier.ready();

    let status = signals
        .wait_for(&mut child, &butler)
        .await
        .map_err(|error| format!("waiting for the command: {error}"))?;
    let took = begun.elapsed();
    notifier.stopping();
    butler.shutdown(common.drain_timeout);
    let report = signals.wait_for_end(&butler).await;
    for copy in shown {
        // A copy that nobody takes is not waited for without end.
        let _ = tokio::time::timeout(common.drain_timeout, copy).await;
    }
    let delivered = match &report {
        Ok(report) => {
            session::conclude(common, report);
            report.is_complete()
        }
        Err(error) => {
            log::error!("{error}");
            false
        }
    };
    if let Some(directory) = &directory
        && common.gives_hints()
    {
        logger::tell(&summary(status, took, &directory.path()));
    }
    let code = exit_code(status);
    if let Some(path) = &options.result_path {
        write_result(path, options, code, delivered);
    }
    Ok(match report {
        Ok(Report { .. }) if !delivered && common.fail_on_loss => EXIT_FAILED,
        Err(_) if common.fail_on_loss => EXIT_FAILED,
        _ => code,
    })
}
