//! Marks a directory as ours: writes and locks [the mark](crate::layout::mark).

use std::fmt;
use std::io;

use rustix::fs::FileType;
use rustix::io::Errno;
use serde_json::{Value, json};

use super::beneath::{Directory, FileIdentity, Obstacle};
use crate::edge::files::Files;
use crate::layout::MARK;

/// How often the mark may be taken from us before we can lock it.
const ATTEMPTS: usize = 16;
/// The first line at most.
const HEAD_MAX: usize = 256;

/// What the list of a mark is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    /// What is not in it is of an earlier run.
    Whole,
    /// Somebody removed an earlier one of this run: it can't tell.
    Incomplete,
}

/// Why a directory can't be marked as ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MarkError {
    /// A butler writes there, by the number of its process, if it is known.
    InUse(Option<u64>),
    /// The kernel says no.
    Error(Errno),
}

impl From<Errno> for MarkError {
    fn from(errno: Errno) -> Self {
        Self::Error(errno)
    }
}

impl fmt::Display for MarkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(Some(pid)) => write!(f, "another butler writes there (process {pid})"),
            Self::InUse(None) => f.write_str("another butler writes there"),
            Self::Error(errno) => write!(f, "its file {MARK}: {errno}"),
        }
    }
}

impl From<MarkError> for io::Error {
    fn from(error: MarkError) -> Self {
        match error {
            MarkError::InUse(_) => Self::new(
                io::ErrorKind::ResourceBusy,
                format!("{error}; give this one a directory of its own"),
            ),
            MarkError::Error(errno) => Self::new(Self::from(errno).kind(), error.to_string()),
        }
    }
}

/// Our mark, locked.
#[derive(Debug)]
pub(super) struct Mark<D> {
    file: D,
    /// What is not written yet: a full disk is no reason not to begin.
    head: String,
    /// Bytes that are written. A line that was cut is written over.
    len: u64,
}

impl<D: 'static> Mark<D> {
    /// Marks the directory as ours, and begins a new list.
    pub fn take<F: Files<Fd = D>>(
        io: &mut F,
        directory: &Directory<'_, D>,
        list: List,
    ) -> Result<Self, MarkError> {
        for _ in 0..ATTEMPTS {
            let file = match directory.open_or_create(io, MARK) {
                // A link, a FIFO or whatever else somebody put there.
                Err(Errno::LOOP | Errno::NXIO) => {
                    remove(io, directory)?;
                    continue;
                }
                opened => opened?,
            };
            let (identity, stat) = FileIdentity::of(io, &file)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                remove(io, directory)?;
                continue;
            }
            match io.lock(&file) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Err(MarkError::InUse(pid_in(io, directory))),
                // Some network file systems have no locks.
                Err(errno) => log::warn!(
                    "the directory can't be locked ({errno}): a second butler in it would go \
                     unnoticed"
                ),
            }
            // If it was removed before we had the lock, another butler may
            // have made and locked a new one.
            if directory.is_still(io, MARK, identity)? {
                if io.stat(&file)?.st_size > 0 {
                    io.truncate(&file, 0)?;
                }
                return Ok(Self::new(io, file, list));
            }
        }
        Err(Errno::EXIST.into())
    }

    fn new<F: Files<Fd = D>>(io: &mut F, file: D, list: List) -> Self {
        let mut head = json!({
            "run": &crate::random::segment()[..16],
            "pid": std::process::id(),
        });
        if list == List::Incomplete {
            head["incomplete"] = true.into();
        }
        let mut mark = Self {
            file,
            head: format!("{head}\n"),
            len: 0,
        };
        if let Err(errno) = mark.put_head(io) {
            log::debug!("{MARK} is not written yet: {errno}");
        }
        mark
    }

    /// Has somebody removed it?
    pub fn is_gone<F: Files<Fd = D>>(&self, io: &mut F) -> bool {
        FileIdentity::of(io, &self.file).is_ok_and(|(_, stat)| stat.st_nlink == 0)
    }

    /// From now on the stream at that path is one of this run.
    pub fn add<F: Files<Fd = D>>(&mut self, io: &mut F, path: &str) -> Result<(), Errno> {
        self.put_head(io)?;
        self.put(io, format!("{path}\n").as_bytes())
    }

    fn put_head<F: Files<Fd = D>>(&mut self, io: &mut F) -> Result<(), Errno> {
        let head = std::mem::take(&mut self.head);
        let written = self.put(io, head.as_bytes());
        if written.is_err() {
            self.head = head;
        }
        written
    }

    fn put<F: Files<Fd = D>>(&mut self, io: &mut F, line: &[u8]) -> Result<(), Errno> {
        let mut done = 0;
        while done < line.len() {
            let rest = [io::IoSlice::new(&line[done..])];
            match io.write_at(&self.file, &rest, self.len + done as u64) {
                Ok(0) => return Err(Errno::IO),
                Ok(written) => done += written,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        self.len += line.len() as u64;
        Ok(())
    }
}

fn remove<F: Files>(io: &mut F, directory: &Directory<'_, F::Fd>) -> Result<(), Errno> {
    match directory.remove(io, MARK) {
        Ok(()) => Ok(()),
        Err(Obstacle::Taken) => Err(Errno::EXIST),
        Err(Obstacle::Error(errno)) => Err(errno),
    }
}

/// Whose mark is there, if that is written already and may be read.
fn pid_in<F: Files>(io: &mut F, directory: &Directory<'_, F::Fd>) -> Option<u64> {
    let file = directory.open_to_read(io, MARK).ok()?;
    let mut head = [0; HEAD_MAX];
    let len = io.read_at(&file, &mut head, 0).ok()?;
    let line = head[..len].split(|byte| *byte == b'\n').next()?;
    serde_json::from_slice::<Value>(line).ok()?["pid"].as_u64()
}
