//! `butler run`: a command, captured.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::pin::Pin;
use std::process::{ExitCode, ExitStatus, Stdio};

use rustix::process::{Pid, kill_process};
use serde_json::json;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::notify::{self, Notifier};
use super::options::{Common, RunOptions, StreamFlags};
use super::passed::Passed;
use super::sandbox::Needs;
use super::session::{self, EXIT_FAILED, Failure};
use crate::output::Output;
use crate::reactor::ignored::Ignored;
use crate::{Butler, Report};

/// The command can't be executed.
const EXIT_CANNOT_EXECUTE: u8 = 126;
/// There is no such command.
const EXIT_NOT_FOUND: u8 = 127;
/// What a pipe from the child holds: large writes wait less often.
const PIPE_SIZE: usize = 256 * 1024;

pub(super) async fn run(common: Common, options: RunOptions, passed: Passed) -> ExitCode {
    match run_command(&common, &options, passed).await {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.tell(),
    }
}

async fn run_command(common: &Common, options: &RunOptions, passed: Passed) -> Result<u8, Failure> {
    if let Some(directory) = &options.chdir
        && !directory.is_dir()
    {
        return Err(format!("--chdir: {} is no directory", directory.display()).into());
    }
    let ignored = Ignored::as_found();
    let mut signals = ChildSignals::new().map_err(|error| format!("signals: {error}"))?;
    let server = session::listen(common, passed)?;
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
    // Only now: the child keeps the limit that we were started with.
    session::raise_descriptor_limit();
    // Nor are these bounds for the child.
    needs.of_child().give_up_the_rest();
    notifier.ready();

    let status = signals
        .wait_for(&mut child, &butler)
        .await
        .map_err(|error| format!("waiting for the command: {error}"))?;
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

/// A copy being shown.
type Shown = Pin<Box<dyn Future<Output = ()>>>;

/// Makes a pipe into a stream; the child gets its other end.
fn capture<F: AsFd>(
    butler: &Butler,
    flags: &StreamFlags,
    copy_to: Option<F>,
    shown: &mut Vec<Shown>,
) -> Result<PipeWriter, String> {
    let properties = flags.properties().ok_or("a captured stream has no name")?;
    let (reader, writer) = pipe().map_err(|error| format!("a pipe for the command: {error}"))?;
    let reader = OwnedFd::from(reader);
    match copy_to {
        None => butler
            .add_stream(reader, &properties)
            .map_err(|error| error.to_string())?,
        Some(copy_to) => {
            let copy_to = copy_to
                .as_fd()
                .try_clone_to_owned()
                .map_err(|error| format!("--tee: {error}"))?;
            let copy = butler
                .add_stream_with_copy(reader, &properties, copy_to)
                .map_err(|error| error.to_string())?;
            shown.push(Box::pin(copy));
        }
    }
    Ok(writer)
}

fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    // A user may only have so much in large pipes: then it stays small.
    if let Err(error) = rustix::pipe::fcntl_setpipe_size(&reader, PIPE_SIZE) {
        log::debug!("a pipe stays at its default size: {error}");
    }
    Ok((reader, writer))
}

fn absolute_uri(path: &Path) -> Result<String, String> {
    let path = std::path::absolute(path).map_err(|error| format!("the socket's path: {error}"))?;
    Ok(format!("unix:{}", path.display()))
}

/// What the child finds in its environment besides ours; `None` takes away
/// what another butler around us has set and does not hold for our streams.
fn environment(
    common: &Common,
    uri: String,
) -> Result<[(&'static str, Option<String>); 4], String> {
    let config = &common.config;
    let carried = || {
        (
            Some(config.prefix.to_string()),
            Some(config.project.to_string()),
        )
    };
    let (host, (prefix, project)) = match &config.output {
        Output::Null => (None, (Some("null".into()), Some("null".into()))),
        Output::Log { .. } => (None, (None, None)),
        Output::Directory { path } => {
            let path = std::path::absolute(path)
                .map_err(|error| format!("the output's directory: {error}"))?;
            (Some(format!("file://{}", path.display())), (None, None))
        }
        Output::File { .. } | Output::Unix { .. } | Output::Tcp { .. } | Output::Memory(_) => {
            (common.coordinator_host.clone(), carried())
        }
        #[cfg(feature = "logdog")]
        Output::Logdog(_) => (common.coordinator_host.clone(), carried()),
    };
    Ok([
        ("LOGDOG_STREAM_SERVER_PATH", Some(uri)),
        ("LOGDOG_COORDINATOR_HOST", host),
        ("LOGDOG_STREAM_PREFIX", prefix),
        ("LOGDOG_STREAM_PROJECT", project),
    ])
}

/// The child's own, or 128 and the signal that killed it.
fn exit_code(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code as u8,
        (None, Some(signal)) => 128u8.wrapping_add(signal as u8),
        (None, None) => EXIT_FAILED,
    }
}

fn write_result(path: &Path, options: &RunOptions, code: u8, delivered: bool) {
    let command: Vec<_> = options
        .command
        .iter()
        .map(|part| part.to_string_lossy())
        .collect();
    let result = json!({
        "return_code": code,
        "command": command,
        "delivered": delivered,
    });
    if let Err(error) = std::fs::write(path, format!("{result}\n")) {
        log::error!("can't write the result to {}: {error}", path.display());
    }
}

/// The signals that a child is to get instead of us.
struct ChildSignals {
    signals: [(rustix::process::Signal, Signal); 6],
    /// Kept so that its handler is there.
    _file_limit: Signal,
    /// The same. If we were started with SIGCHLD ignored, the kernel would
    /// tell nobody how the child ended.
    _child: Signal,
    /// SIGTERM and SIGINT so far.
    ends: u32,
}

impl ChildSignals {
    fn new() -> io::Result<Self> {
        use rustix::process::Signal as Number;
        let listen = |number: Number| {
            signal(SignalKind::from_raw(number.as_raw())).map(|signal| (number, signal))
        };
        Ok(Self {
            signals: [
                listen(Number::TERM)?,
                listen(Number::INT)?,
                listen(Number::HUP)?,
                listen(Number::QUIT)?,
                listen(Number::USR1)?,
                listen(Number::USR2)?,
            ],
            _file_limit: session::survive_file_limit()?,
            _child: signal(SignalKind::child())?,
            ends: 0,
        })
    }

    /// Opens the butler, unless a signal comes that asks for the end.
    async fn open(&mut self, common: &Common) -> Result<Butler, Failure> {
        session::keep_secrets(common);
        let mut opening = std::pin::pin!(Butler::open(common.config.clone()));
        loop {
            tokio::select! {
                opened = &mut opening => return opened.map_err(Failure::from),
                number = self.next() => {
                    if number != rustix::process::Signal::USR1
                        && number != rustix::process::Signal::USR2
                    {
                        return Err(Failure::Interrupted);
                    }
                }
            }
        }
    }

    /// The next signal; counts those that ask for the end.
    async fn next(&mut self) -> rustix::process::Signal {
        let number = std::future::poll_fn(|cx| {
            for (number, signal) in &mut self.signals {
                if signal.poll_recv(cx).is_ready() {
                    return std::task::Poll::Ready(*number);
                }
            }
            std::task::Poll::Pending
        })
        .await;
        if matches!(
            number,
            rustix::process::Signal::TERM | rustix::process::Signal::INT
        ) {
            self.ends += 1;
        }
        number
    }

    /// Waits for the child, and hands it the signals that come. The second
    /// SIGTERM or SIGINT ends both of us at once.
    async fn wait_for(&mut self, child: &mut Child, butler: &Butler) -> io::Result<ExitStatus> {
        let pid = child.id().and_then(|id| Pid::from_raw(id as i32));
        loop {
            let number = tokio::select! {
                status = child.wait() => return status,
                number = self.next() => number,
            };
            if self.ends >= 2 {
                butler.abort();
                child.start_kill()?;
                return child.wait().await;
            }
            if let Some(pid) = pid
                && let Err(error) = kill_process(pid, number)
            {
                log::warn!("can't pass a signal on: {error}");
            }
        }
    }

    /// Waits for the butler's end once the child has ended.
    async fn wait_for_end(&mut self, butler: &Butler) -> Result<Report, crate::Error> {
        let mut ended = std::pin::pin!(butler.wait());
        loop {
            tokio::select! {
                result = &mut ended => return result,
                number = self.next() => match number {
                    rustix::process::Signal::USR1 => session::log_statistics(butler),
                    rustix::process::Signal::TERM | rustix::process::Signal::INT
                        if self.ends >= 2 => {
                            butler.abort();
                        }
                    _ => {}
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes() {
        assert_eq!(exit_code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(exit_code(ExitStatus::from_raw(9)), 137);
    }
}
