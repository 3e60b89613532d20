//! A FIFO, which may have no reader at times, or a pipe that has its last one.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::open::kind;
use super::{Failure, WRITABLE, write_ready};
use crate::edge::io::{Io, Token};
use crate::output::write::Progress;

/// How many links lead from a path to a descriptor at most, such as the one of
/// `/dev/stdout` to `/proc/self/fd/1`.
const LINKS_MAX: usize = 8;

#[derive(Debug)]
pub(super) struct Fifo<D> {
    path: PathBuf,
    readers: Readers,
    /// Open while there is a reader.
    file: Option<D>,
}

/// Who reads a FIFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readers {
    /// Whoever opens it: when one has gone, another may come.
    Any,
    /// Those that have it already.
    Present,
}

impl<D> Fifo<D> {
    pub fn new<I: Io<Fd = D>>(io: &mut I, path: &Path) -> Self {
        let path = path.to_owned();
        match is_descriptor(&path) {
            false => Self {
                path,
                readers: Readers::Any,
                file: None,
            },
            true => Self {
                readers: Readers::Present,
                // Should that fail, the first write tells.
                file: open(io, &path).ok(),
                path,
            },
        }
    }

    /// Writes what is left of the message to a reader. One that leaves has it
    /// cut, and the next gets it whole.
    pub fn write<I: Io<Fd = D>>(
        &mut self,
        io: &mut I,
        pieces: &[Bytes],
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        let error = match self.write_on(io, pieces, progress) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if let Some(Errno::PIPE | Errno::NXIO) = Errno::from_io_error(&error) {
            if self.readers == Readers::Present {
                return Err(Failure::Gone(error));
            }
            if let Some(file) = self.file.take() {
                io.forget(Token::Output(WRITABLE), &file);
            }
            *progress = Progress::default();
        }
        Err(error.into())
    }

    fn write_on<I: Io<Fd = D>>(
        &mut self,
        io: &mut I,
        pieces: &[Bytes],
        progress: &mut Progress,
    ) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => open(io, &self.path)?,
        };
        write_ready(io, self.file.insert(file), pieces, progress)
    }

    /// What is open while there is a reader.
    pub fn reader(&self) -> Option<&D> {
        self.file.as_ref()
    }
}

/// Is the path that of a FIFO that is opened whenever a reader comes?
pub(crate) fn is_reopened(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo()) && !is_descriptor(path)
}

/// Does the path stand for a descriptor of a process, as `/dev/stdout` does?
/// What is behind it may have no name by which a new reader could open it, and
/// whoever started us so has decided who reads.
fn is_descriptor(path: &Path) -> bool {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let above = path.parent().unwrap_or(Path::new("/"));
        let above = match above.as_os_str().is_empty() {
            true => Path::new("."),
            false => above,
        };
        if above
            .canonicalize()
            .is_ok_and(|above| above.starts_with("/proc") && above.ends_with("fd"))
        {
            return true;
        }
        let Ok(target) = path.read_link() else {
            return false;
        };
        path = above.join(target);
    }
    false
}

/// Opens it if it has a reader: `ENXIO` otherwise.
fn open<I: Io>(io: &mut I, path: &Path) -> io::Result<I::Fd> {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = io.open(path, flags, Mode::empty())?;
    match kind(&io.stat(&file)?) {
        FileType::Fifo => Ok(file),
        _ => Err(io::Error::other("it is no FIFO any more")),
    }
}
