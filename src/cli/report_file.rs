//! A file that tells of one run: `--stats-path` and `--result-path`.
//!
//! What an earlier run left there is gone from the start on, so that nobody
//! takes it for this one's. A regular file is written beside its place and
//! moved there at the end: it is there wholly or not at all, whatever a job has
//! put there meanwhile. What is no regular file (a FIFO, a terminal, `/dev/fd/5`)
//! is opened at the start, and at the end it takes the report at once or not at
//! all: nobody holds us up.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, OFlags, accessat, fstat};
use rustix::io::Errno;

use super::session::current_directory_is_gone;

/// The mode of directories in which others may make files, and not remove ours.
const STICKY: u32 = 0o1000;

/// See the module.
#[derive(Debug)]
pub(super) struct ReportFile {
    /// The option that names it, for messages.
    option: &'static str,
    path: PathBuf,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// A regular file is to be made at this path, without links.
    Replaced {
        target: PathBuf,
        /// Of the file that was there.
        mode: Option<u32>,
    },
    /// A regular file that stays: its directory is not ours to change, or it
    /// is mounted, or others could put a file of theirs in its place.
    Emptied,
    /// Something else, open.
    Open(File),
    /// A FIFO that nobody reads yet.
    Unread,
}

impl ReportFile {
    /// Makes way for the report.
    ///
    /// # Errors
    ///
    /// If nothing can be written there. That the directory is missing is told
    /// only: the job may make it.
    pub fn prepare(option: &'static str, path: &Path) -> Result<Self, String> {
        let place = Place::prepare(path).map_err(|error| told(option, path, &error))?;
        if let Place::Replaced { target, .. } = &place
            && let Err(error) = fs::metadata(directory(target))
        {
            let told = told(option, path, &error);
            log::warn!("{told}, unless the directory is made meanwhile");
        }
        let path = path.to_owned();
        Ok(Self {
            option,
            path,
            place,
        })
    }

    /// Where files are to be made or written to at the end.
    pub fn path(&self) -> &Path {
        match &self.place {
            Place::Replaced { target, .. } => target,
            Place::Emptied | Place::Open(_) | Place::Unread => &self.path,
        }
    }

    /// Writes the report, and tells if that can't be.
    pub fn write(self, report: &serde_json::Value) {
        let line = format!("{report}\n");
        if let Err(error) = self.try_write(line.as_bytes()) {
            log::error!("{}", told(self.option, &self.path, &error));
        }
    }

    fn try_write(&self, line: &[u8]) -> io::Result<()> {
        match &self.place {
            Place::Replaced { target, mode } => replace(target, *mode, line),
            Place::Emptied => open(&self.path, OFlags::TRUNC)?.write_all(line),
            Place::Open(file) => (&*file).write_all(line),
            Place::Unread => open(&self.path, OFlags::empty())?.write_all(line),
        }
    }
}

impl Place {
    fn prepare(path: &Path) -> io::Result<Self> {
        if path.is_relative() && current_directory_is_gone() {
            return Err(io::ErrorKind::NotFound.into());
        }
        if names_a_descriptor(path) {
            return open(path, OFlags::APPEND).map(Self::Open);
        }
        let found = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::new(path),
            found => found?,
        };
        let kind = found.file_type();
        if kind.is_file() {
            return Self::of_file(path, found.mode() & 0o777);
        }
        match open(path, OFlags::empty()) {
            Ok(file) => Ok(Self::Open(file)),
            Err(error) if kind.is_fifo() && Errno::from_io_error(&error) == Some(Errno::NXIO) => {
                Ok(Self::Unread)
            }
            Err(error) => Err(error),
        }
    }

    /// A file is there, maybe an earlier run's.
    fn of_file(path: &Path, mode: u32) -> io::Result<Self> {
        let target = real(path);
        let emptied = || open(path, OFlags::TRUNC).map(|_| Self::Emptied);
        if fs::metadata(directory(&target))?.mode() & STICKY != 0 {
            return emptied();
        }
        match fs::remove_file(&target) {
            Ok(()) => Ok(Self::Replaced {
                target,
                mode: Some(mode),
            }),
            Err(error) => emptied().map_err(|_| error),
        }
    }

    /// Nothing is there yet.
    fn new(path: &Path) -> io::Result<Self> {
        let target = real(path);
        let access = Access::WRITE_OK | Access::EXEC_OK;
        match accessat(CWD, directory(&target), access, AtFlags::EACCESS) {
            Err(error @ (Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::NOTDIR)) => {
                Err(error.into())
            }
            _ => Ok(Self::Replaced { target, mode: None }),
        }
    }
}

/// Is it one of our descriptors by another name, or the file that our stdout or
/// stderr goes to? That is appended to: it is not ours to empty.
fn names_a_descriptor(path: &Path) -> bool {
    let prefixes = ["/dev/fd", "/proc/self/fd"];
    let names = ["/dev/stdout", "/dev/stderr"];
    if prefixes.iter().any(|prefix| path.starts_with(prefix))
        || names.iter().any(|name| path == Path::new(name))
    {
        return true;
    }
    let Ok(found) = fs::metadata(path) else {
        return false;
    };
    let is = |fd: &dyn AsFd| {
        fstat(fd.as_fd()).is_ok_and(|stat| (stat.st_dev, stat.st_ino) == (found.dev(), found.ino()))
    };
    is(&io::stdout()) || is(&io::stderr())
}

/// Where the file is that a link leads to, if it is one: not the link is
/// replaced, but what it leads to.
fn real(path: &Path) -> PathBuf {
    if let Ok(real) = fs::canonicalize(path) {
        return real;
    }
    match fs::read_link(path) {
        Ok(target) => directory(path).join(target),
        Err(_) => path.to_owned(),
    }
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        Some(_) => Path::new("."),
        None => path,
    }
}

/// Writes a file beside `path` and moves it there.
fn replace(path: &Path, mode: Option<u32>, line: &[u8]) -> io::Result<()> {
    let name = crate::random::segment();
    let beside = directory(path).join(format!(".butler-{}", &name[..16]));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&beside)?;
    let written = match mode {
        Some(mode) => file.set_permissions(Permissions::from_mode(mode)),
        None => Ok(()),
    };
    let moved = written
        .and_then(|()| file.write_all(line))
        .and_then(|()| fs::rename(&beside, path));
    if moved.is_err() {
        // The error of writing is the one to tell.
        let _ = fs::remove_file(&beside);
    }
    moved
}

/// Opens it without waiting for anybody.
fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY;
    OpenOptions::new()
        .write(true)
        .custom_flags(flags.bits() as i32)
        .open(path)
}

/// What went wrong, in words that name the path.
fn told(option: &str, path: &Path, error: &io::Error) -> String {
    let why = match Errno::from_io_error(error) {
        _ if path.is_relative() && current_directory_is_gone() => {
            "the current directory is gone".into()
        }
        Some(Errno::NXIO) if is_socket(path) => "it is a socket".into(),
        Some(Errno::NXIO) => "nobody reads it".into(),
        Some(Errno::AGAIN) => "its reader takes nothing".into(),
        Some(Errno::ISDIR) => "it is a directory".into(),
        _ => error.to_string(),
    };
    format!("--{option}: can't write to {}: {why}", path.display())
}

fn is_socket(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.file_type().is_socket())
}
