//! A FIFO, which may have no reader at times, or a pipe that has its last one.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::{Unplaced, Writing};
use crate::edge::writer::Writer;
use crate::output::write::Unwritten;

/// How many links lead from a path to a descriptor at most, such as the one of
/// `/dev/stdout` to `/proc/self/fd/1`.
const LINKS_MAX: usize = 8;

#[derive(Debug)]
pub(super) struct Fifo {
    path: PathBuf,
    readers: Readers,
    /// Open while there is a reader.
    file: Option<Unplaced>,
}

/// Who reads a FIFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readers {
    /// Whoever opens it: when one has gone, another may come.
    Any,
    /// Those that have it already.
    Present,
}

impl Fifo {
    pub fn new(path: &Path) -> Self {
        if !is_descriptor(path) {
            return Self {
                path: path.to_owned(),
                readers: Readers::Any,
                file: None,
            };
        }
        Self {
            path: path.to_owned(),
            readers: Readers::Present,
            // Should that fail, the first write tells.
            file: open(path).ok(),
        }
    }

    /// Writes the message wholly to a reader. Waits for one if another may
    /// come; else an error says that there is none any more.
    pub async fn write(&mut self, pieces: &[Bytes], writer: &mut Writing) -> io::Result<()> {
        let mut unwritten = Unwritten::new(pieces);
        loop {
            let error = match self.write_on(&mut unwritten, writer).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if let Some(Errno::PIPE | Errno::NXIO) = Errno::from_io_error(&error) {
                if self.readers == Readers::Present {
                    return Err(error);
                }
                self.file = None;
                unwritten = Unwritten::new(pieces);
            }
            writer.attempts.failed(&error).await;
        }
    }

    async fn write_on(
        &mut self,
        unwritten: &mut Unwritten<'_>,
        writer: &mut Writing,
    ) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => open(&self.path)?,
        };
        self.file.insert(file).write_on(unwritten, writer).await
    }
}

/// Is the path that of a FIFO that is opened whenever a reader comes?
#[cfg(feature = "cli")]
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
fn open(path: &Path) -> io::Result<Unplaced> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new()
        .write(true)
        .custom_flags(flags.bits() as i32)
        .open(path)?;
    if !file.metadata()?.file_type().is_fifo() {
        return Err(io::Error::other("it is no FIFO any more"));
    }
    Ok(Unplaced(Writer::own(file)?))
}
