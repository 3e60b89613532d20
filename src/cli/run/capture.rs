//! The command's stdin, stdout and stderr.

use std::fs::OpenOptions;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use rustix::fs::fstat;
use tokio::process::Command;
use tokio::task::{JoinHandle, spawn_local};

use crate::Butler;
use crate::cli::advice::told;
use crate::cli::options::{RunOptions, Wiring};
use crate::edge::tee::Screen;

/// What a pipe from the child holds: large writes wait less often.
const PIPE_SIZE: usize = 256 * 1024;

const NULL: &str = "/dev/null";

/// The command's ends; `None`: it has ours.
#[derive(Debug)]
pub(super) struct ChildIo {
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

impl ChildIo {
    /// Opens what the options say, makes streams of what is captured, and
    /// begins to show what is to be shown.
    pub fn open(options: &RunOptions, butler: &Butler) -> Result<(Self, Shown), String> {
        let stdin = match options.forward_stdin {
            true => None,
            false => Some(null()?),
        };
        let mut screens = vec![butler.screen()];
        let stdout = open(&options.stdout, io::stdout(), butler, &screens[0])?;
        // What goes to one place is shown in an order that makes sense there.
        if !lead_to_one_place(io::stdout(), io::stderr()) {
            screens.insert(0, butler.screen());
        }
        let stderr = open(&options.stderr, io::stderr(), butler, &screens[0])?;
        let child_io = Self {
            stdin,
            stdout,
            stderr,
        };
        Ok((child_io, Shown::begin(screens)))
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
    outlet: &Wiring,
    ours: impl AsFd,
    butler: &Butler,
    screen: &Rc<Screen>,
) -> Result<Option<OwnedFd>, String> {
    let (flags, shown) = match outlet {
        Wiring::Inherited => return Ok(None),
        Wiring::Discarded => return null().map(Some),
        Wiring::Captured { flags, shown } => (flags, shown),
    };
    let properties = flags.properties().ok_or("a captured stream has no name")?;
    let tee = match shown {
        false => None,
        true => {
            let copied_to = ours.as_fd().try_clone_to_owned();
            let tee = copied_to.and_then(|fd| screen.add(properties.name.as_str(), fd));
            tee.inspect_err(|error| log::warn!("{} is not shown: {error}", properties.name))
                .ok()
        }
    };
    let (reader, writer) = pipe().map_err(|error| format!("a pipe for the command: {error}"))?;
    butler
        .add(reader.into(), &properties, tee)
        .map_err(|error| told(&error))?;
    Ok(Some(writer.into()))
}

/// Is it the same terminal, pipe or file?
fn lead_to_one_place(one: impl AsFd, other: impl AsFd) -> bool {
    match (fstat(one), fstat(other)) {
        (Ok(one), Ok(other)) => (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino),
        _ => false,
    }
}

/// What is being shown of the command's output.
#[derive(Debug)]
pub(super) struct Shown {
    screens: Vec<Rc<Screen>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Shown {
    fn begin(screens: Vec<Rc<Screen>>) -> Self {
        let show = |screen: &Rc<Screen>| spawn_local(Rc::clone(screen).show());
        let tasks = screens.iter().map(show).collect();
        Self { screens, tasks }
    }

    /// The command has ended.
    pub fn command_ended(&self) {
        self.screens.iter().for_each(|it| it.command_ended());
    }

    /// Waits until all is shown: as long as whoever looks at it likes.
    pub async fn wait(&mut self) {
        while let Some(task) = self.tasks.last_mut() {
            // That it panicked has been told on stderr.
            let _ = task.await;
            self.tasks.pop();
        }
    }

    /// From now on it is not waited for when nothing is taken for so long.
    pub fn lose_patience(&self, patience: Duration) {
        self.screens
            .iter()
            .for_each(|it| it.lose_patience(patience));
    }

    /// Ends it now, and tells what is not shown.
    pub fn give_up(&self) {
        self.screens.iter().for_each(|it| it.give_up());
    }
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
