//! Marks a directory as ours: writes and locks [the mark](crate::layout::mark).

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, FlockOperation, flock, fstat, ftruncate};
use rustix::io::{Errno, pread, pwrite};
use serde_json::{Value, json};

use super::beneath::{Directory, Identity, Obstacle};
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
pub(super) struct Mark {
    file: OwnedFd,
    /// What is not written yet: a full disk is no reason not to begin.
    head: String,
    /// Bytes that are written. A line that was cut is written over.
    len: u64,
}

impl Mark {
    /// Marks the directory as ours, and begins a new list.
    pub fn take(directory: &Directory<'_>, list: List) -> Result<Self, MarkError> {
        for _ in 0..ATTEMPTS {
            let file = match directory.open_or_create(MARK) {
                // A link, a FIFO or whatever else somebody put there.
                Err(Errno::LOOP | Errno::NXIO) => {
                    remove(directory)?;
                    continue;
                }
                opened => opened?,
            };
            let (identity, stat) = Identity::of(&file)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                remove(directory)?;
                continue;
            }
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Err(MarkError::InUse(pid_in(directory))),
                // Some network file systems have no locks.
                Err(errno) => log::warn!(
                    "the directory can't be locked ({errno}): a second butler in it would go \
                     unnoticed"
                ),
            }
            // If it was removed before we had the lock, another butler may
            // have made and locked a new one.
            if directory.is_still(MARK, identity)? {
                if fstat(&file)?.st_size > 0 {
                    ftruncate(&file, 0)?;
                }
                return Ok(Self::new(file, list));
            }
        }
        Err(Errno::EXIST.into())
    }

    fn new(file: OwnedFd, list: List) -> Self {
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
        if let Err(errno) = mark.put_head() {
            log::debug!("{MARK} is not written yet: {errno}");
        }
        mark
    }

    /// Has somebody removed it?
    pub fn is_gone(&self) -> bool {
        Identity::of(&self.file).is_ok_and(|(_, stat)| stat.st_nlink == 0)
    }

    /// From now on the stream at that path is one of this run.
    pub fn add(&mut self, path: &str) -> Result<(), Errno> {
        self.put_head()?;
        self.put(format!("{path}\n").as_bytes())
    }

    fn put_head(&mut self) -> Result<(), Errno> {
        let head = std::mem::take(&mut self.head);
        let written = self.put(head.as_bytes());
        if written.is_err() {
            self.head = head;
        }
        written
    }

    fn put(&mut self, line: &[u8]) -> Result<(), Errno> {
        let mut done = 0;
        while done < line.len() {
            match pwrite(&self.file, &line[done..], self.len + done as u64) {
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

fn remove(directory: &Directory<'_>) -> Result<(), Errno> {
    match directory.remove(MARK) {
        Ok(()) => Ok(()),
        Err(Obstacle::Taken) => Err(Errno::EXIST),
        Err(Obstacle::Error(errno)) => Err(errno),
    }
}

/// Whose mark is there, if that is written already and may be read.
fn pid_in(directory: &Directory<'_>) -> Option<u64> {
    let file = directory.open_to_read(MARK).ok()?;
    let mut head = [0; HEAD_MAX];
    let len = pread(file, &mut head[..], 0).ok()?;
    let line = head[..len].split(|byte| *byte == b'\n').next()?;
    serde_json::from_slice::<Value>(line).ok()?["pid"].as_u64()
}
