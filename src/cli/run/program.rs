//! The command's program: found and executed as execvp(3) does it, but once
//! for all, so that it is known what is executed, and that what is wrong can be
//! told.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;
use tokio::process::{Child, Command};

use super::refusal::Refusal;

/// Where programs are if the environment has no PATH (execvp(3)).
const PATH_DEFAULT: &str = "/bin:/usr/bin";

/// What runs a file that the kernel does not know how to run.
const SHELL: &str = "/bin/sh";

/// A file to be executed.
#[derive(Debug)]
pub(super) struct Program {
    /// The file, as it is given to the kernel.
    pub path: PathBuf,
    /// What it is told that it is called.
    name: OsString,
    /// The directory in which it will run, if that is not ours.
    directory: PathBuf,
}

impl Program {
    /// The program that `name` means in `directory`, if that is given, or else
    /// in the current one.
    pub fn find(name: &OsStr, directory: Option<&Path>) -> Result<Self, Refusal> {
        let directory = directory.unwrap_or(Path::new("")).to_owned();
        let path = match name.as_encoded_bytes().contains(&b'/') {
            true => name.into(),
            false => in_path(name, &directory)?,
        };
        let name = name.to_owned();
        Ok(Self {
            path,
            name,
            directory,
        })
    }

    /// Executes it, set up by `set_up`. What is no program for the kernel is a
    /// script without `#!`, which a shell runs.
    pub fn spawn(
        &self,
        args: &[OsString],
        set_up: impl Fn(&mut Command) -> io::Result<()>,
    ) -> Result<Child, Refusal> {
        let mut command = Command::new(&self.path);
        command.arg0(&self.name).args(args);
        let mut spawned = spawn(&mut command, &set_up);
        if let Err(error) = &spawned
            && Errno::from_io_error(error) == Some(Errno::NOEXEC)
        {
            let mut shell = Command::new(SHELL);
            shell.arg(&self.path).args(args);
            spawned = spawn(&mut shell, &set_up);
        }
        spawned.map_err(|error| {
            Refusal::of_file(&self.path, &self.directory.join(&self.path), args, &error)
        })
    }
}

fn spawn(
    command: &mut Command,
    set_up: impl Fn(&mut Command) -> io::Result<()>,
) -> io::Result<Child> {
    set_up(command)?;
    command.spawn()
}

/// The first file of that name in a directory of PATH that may be executed.
fn in_path(name: &OsStr, directory: &Path) -> Result<PathBuf, Refusal> {
    let path = env::var_os("PATH").unwrap_or_else(|| PATH_DEFAULT.into());
    let mut forbidden = None;
    if name.is_empty() {
        return Err(Refusal::not_in_path(name));
    }
    for element in env::split_paths(&path) {
        // An empty one is the current directory.
        let element = match element.as_os_str().is_empty() {
            true => PathBuf::from("."),
            false => element,
        };
        let found = element.join(name);
        let file = directory.join(&found);
        match fs::metadata(&file) {
            Ok(there) if there.is_file() && is_executable(&file) => return Ok(found),
            Ok(_) => forbidden.get_or_insert(found),
            Err(_) => continue,
        };
    }
    Err(match forbidden {
        Some(found) => Refusal::not_executable(name, &found),
        None => Refusal::not_in_path(name),
    })
}

/// May we execute it, as far as its mode and its file system say?
pub(super) fn is_executable(file: &Path) -> bool {
    match accessat(CWD, file, Access::EXEC_OK, AtFlags::EACCESS) {
        // What can't be asked is tried.
        Ok(()) | Err(Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP) => true,
        Err(_) => false,
    }
}
