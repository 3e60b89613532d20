//! The command's stdin, stdout and stderr.

use std::fs::OpenOptions;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;

use tokio::process::Command;

use crate::Butler;
use crate::cli::options::{Outlet, RunOptions, StreamFlags};

/// What a pipe from the child holds: large writes wait less often.
const PIPE_SIZE: usize = 256 * 1024;

const NULL: &str = "/dev/null";

/// A copy being shown.
pub(super) type Shown = Pin<Box<dyn Future<Output = ()>>>;

/// The command's ends; `None`: it has ours.
#[derive(Debug)]
pub(super) struct ChildIo {
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

impl ChildIo {
    /// Opens what the options say, and makes streams of what is captured.
    pub fn open(
        options: &RunOptions,
        butler: &Butler,
        shown: &mut Vec<Shown>,
    ) -> Result<Self, String> {
        let stdin = match options.forward_stdin {
            true => None,
            false => Some(null()?),
        };
        Ok(Self {
            stdin,
            stdout: open(&options.stdout, io::stdout(), butler, shown)?,
            stderr: open(&options.stderr, io::stderr(), butler, shown)?,
        })
    }

    /// Gives them to a command that is about to be run.
    pub fn give_to(&self, command: &mut Command) -> io::Result<()> {
        if let Some(stdin) = &self.stdin {
            command.stdin(stdin.try_clone()?);
        }
        if let Some(stdout) = &self.stdout {
            command.stdout(stdout.try_clone()?);
        }
        if let Some(stderr) = &self.stderr {
            command.stderr(stderr.try_clone()?);
        }
        Ok(())
    }
}

fn open(
    outlet: &Outlet,
    ours: impl AsFd,
    butler: &Butler,
    shown: &mut Vec<Shown>,
) -> Result<Option<OwnedFd>, String> {
    match outlet {
        Outlet::Inherited => Ok(None),
        Outlet::Discarded => null().map(Some),
        Outlet::Captured { flags, shown: copy } => {
            capture(butler, flags, copy.then_some(ours), shown).map(|writer| Some(writer.into()))
        }
    }
}

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

fn null() -> Result<OwnedFd, String> {
    let opened = OpenOptions::new().read(true).write(true).open(NULL);
    opened
        .map(OwnedFd::from)
        .map_err(|error| format!("the command needs {NULL}: {error}"))
}
