//! A job with a butler of its own: its logs go to a directory, a file each.
//!
//! ```sh
//! cargo run --example job -- /tmp/logs ls -l
//! cat /tmp/logs/stdout
//! ```

use std::error::Error;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use butler::output::DirectoryOutput;
use butler::{Butler, Report};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(directory), Some(program)) = (arguments.next(), arguments.next()) else {
        return Err("wanted: a directory for the logs, and a command".into());
    };
    let mut command = Command::new(program);
    command.args(arguments);
    let (status, report) = run(directory.as_ref(), command)?;
    println!("{status}; {} bytes logged", report.snapshot.bytes_in);
    Ok(())
}

/// Runs `command`, with its output and notes of ours in `directory`.
pub fn run(directory: &Path, mut command: Command) -> Result<(ExitStatus, Report), Box<dyn Error>> {
    let path = directory.to_owned();
    let handle = Butler::builder(DirectoryOutput::new(path)).start()?;

    // A stream is written to as anything else is,
    let mut notes = handle.stream("notes").tag("kind", "job").open()?;
    writeln!(notes, "running {command:?}")?;
    // or given away: it ends when the last process that has it is gone.
    command.stdout(OwnedFd::from(handle.stream("stdout").open()?));
    command.stderr(OwnedFd::from(handle.stream("stderr").open()?));
    let status = command.status()?;
    // It has the streams too, to be run once more.
    drop(command);
    writeln!(notes, "{status}")?;
    drop(notes);

    // What the command has left behind may write for five more seconds.
    let report = handle.shutdown(Duration::from_secs(5)).wait()?;
    for loss in &report.losses {
        eprintln!("{loss}");
    }
    Ok((status, report))
}
