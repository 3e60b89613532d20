//! Why a command can't be run, in words that name what is wrong. The kernel has
//! one number for many reasons: "no such file" may be the program, the
//! interpreter in its first line, or the loader that it was linked for.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::io::Errno;

use super::program::is_executable;
use crate::cli::session::current_directory_is_gone;

/// The command can't be executed.
const EXIT_CANNOT_EXECUTE: u8 = 126;
/// There is no such command.
const EXIT_NOT_FOUND: u8 = 127;

/// What the kernel reads of a file to see how it is run (BINPRM_BUF_SIZE).
const HEAD: usize = 256;

/// A command that was not run.
#[derive(Debug)]
pub(super) struct Refusal {
    /// What butler exits with.
    pub exit_code: u8,
    what: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Refusal {
    fn new(exit_code: u8, name: &OsStr, why: impl fmt::Display) -> Self {
        Self {
            exit_code,
            what: format!("can't run {}: {why}", name.display()),
        }
    }

    /// No directory of PATH has it.
    pub fn not_in_path(name: &OsStr) -> Self {
        if name.is_empty() {
            return Self::new(EXIT_NOT_FOUND, OsStr::new("\"\""), "its name is empty");
        }
        Self::new(EXIT_NOT_FOUND, name, "no directory of PATH has it")
    }

    /// A directory of PATH has it, and it may not be executed.
    pub fn not_executable(name: &OsStr, found: &Path) -> Self {
        let why = format_args!("{} is no file that may be executed", found.display()).to_string();
        Self::new(EXIT_CANNOT_EXECUTE, name, why)
    }

    /// The kernel refused to execute `path`, which is `file` from where we
    /// are.
    pub fn of_file(path: &Path, file: &Path, args: &[OsString], error: &io::Error) -> Self {
        let exists = file.exists();
        let code = match error.kind() {
            io::ErrorKind::NotFound if !exists => EXIT_NOT_FOUND,
            _ => EXIT_CANNOT_EXECUTE,
        };
        let why = reason(file, args, error).unwrap_or_else(|| error.to_string());
        Self::new(code, path.as_os_str(), why)
    }
}

/// More than the error says, if more can be found out.
fn reason(file: &Path, args: &[OsString], error: &io::Error) -> Option<String> {
    match Errno::from_io_error(error)? {
        Errno::NOENT if !file.exists() => match file.is_relative() && current_directory_is_gone() {
            true => Some("the current directory is gone".into()),
            false => None,
        },
        Errno::NOENT => missing_interpreter(file),
        Errno::ACCESS if file.is_dir() => Some("it is a directory".into()),
        Errno::ACCESS if !is_executable(file) => Some(format!("it is not executable ({error})")),
        Errno::ACCESS => forbidden_interpreter(file),
        Errno::TOOBIG => {
            let bytes: usize = args.iter().map(|arg| arg.len() + 1).sum();
            Some(format!(
                "its arguments, {} with {bytes} bytes, and its environment are more than the \
                 kernel takes ({error})",
                args.len(),
            ))
        }
        Errno::TXTBSY => Some(format!("somebody has it open for writing ({error})")),
        Errno::AGAIN => Some(format!("there may be no more processes ({error})")),
        _ => None,
    }
}

/// What the first line of a script names, or the kind of file that it is.
enum Head {
    Interpreter(OsString),
    Elf,
    Other,
}

fn head(file: &Path) -> io::Result<Head> {
    let mut head = Vec::new();
    File::open(file)?.take(HEAD as u64).read_to_end(&mut head)?;
    if head.starts_with(b"\x7fELF") {
        return Ok(Head::Elf);
    }
    let Some(line) = head.strip_prefix(b"#!") else {
        return Ok(Head::Other);
    };
    let words = line.split(|byte| *byte == b'\n').next().unwrap_or(line);
    let name = words
        .split(|byte| matches!(byte, b' ' | b'\t' | 0))
        .find(|word| !word.is_empty());
    Ok(Head::Interpreter(
        OsStr::from_bytes(name.unwrap_or_default()).to_owned(),
    ))
}

fn missing_interpreter(file: &Path) -> Option<String> {
    match head(file).ok()? {
        Head::Interpreter(name) if name.as_bytes().ends_with(b"\r") => Some(format!(
            "its first line ends in CRLF, so that its interpreter is {:?}, which is not there",
            name
        )),
        Head::Interpreter(name) => {
            Some(format!("its interpreter, {}, is not there", name.display()))
        }
        Head::Elf => Some("the loader that it was linked for is not there".into()),
        Head::Other => None,
    }
}

fn forbidden_interpreter(file: &Path) -> Option<String> {
    match head(file).ok()? {
        Head::Interpreter(name) => Some(format!(
            "its interpreter, {}, may not be executed",
            name.display()
        )),
        Head::Elf | Head::Other => None,
    }
}
