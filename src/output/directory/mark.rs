//! The mark of a run: the file `.butler-run` in its directory.
//!
//! It is locked for as long as the butler lives that writes there, so that no
//! second one begins: two would replace each other's files. The kernel takes
//! the lock away however that butler ends.
//!
//! And it lists what this run has written, so that a reader can tell that from
//! what earlier runs have left:
//!
//! ```text
//! {"run":"1f8e7c32a9b04d56","pid":4711}
//! stdout
//! a~/b
//! ```
//!
//! The first line says which run it is. Each of the others is a stream's path
//! on disk: `a~/b` is the stream that `a~/.meta.b` describes. A butler that is
//! killed may leave a last line without its end, which is none.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, Read};
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, FlockOperation, flock, fstat, ftruncate};
use rustix::io::{Errno, pread, pwrite};
use serde_json::{Value, json};

use super::beneath::{Directory, Identity, Obstacle};
use crate::limits::{RUN_MARK_MAX, RUN_MARK_STREAMS_MAX};

/// The mark's name, which no file of a stream has.
pub(crate) const MARK: &str = ".butler-run";

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
            "run": &crate::config::random_segment()[..16],
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

/// What a mark says to a reader.
#[derive(Debug, Default)]
pub(crate) struct Marked {
    /// Hashes of the paths of the last run's streams, which take less room;
    /// `None`: the mark can't tell.
    paths: Option<HashSet<u64>>,
    hasher: RandomState,
}

impl Marked {
    /// Reads a mark.
    ///
    /// # Errors
    ///
    /// Those of reading, and if it is too long to be kept in memory.
    pub fn read(file: File) -> io::Result<Self> {
        let mut lines = io::BufReader::new(file.take(RUN_MARK_MAX));
        let mut line = String::new();
        let mut next = || {
            line.clear();
            lines.read_line(&mut line)?;
            io::Result::Ok(line.strip_suffix('\n').map(Box::<str>::from))
        };
        let head = next()?.and_then(|head| serde_json::from_str::<Value>(&head).ok());
        if head.is_some_and(|head| head["incomplete"] == true) {
            return Ok(Self::default());
        }
        let hasher = RandomState::new();
        let mut paths = HashSet::new();
        while let Some(path) = next()? {
            paths.insert(hasher.hash_one(&*path));
            if paths.len() > RUN_MARK_STREAMS_MAX {
                return Err(io::Error::other(format!(
                    "it has more than {RUN_MARK_STREAMS_MAX} streams"
                )));
            }
        }
        if lines.into_inner().limit() == 0 {
            return Err(io::Error::other(format!(
                "it has more than {RUN_MARK_MAX} bytes"
            )));
        }
        let paths = Some(paths);
        Ok(Self { paths, hasher })
    }

    /// Was the stream at that path written by an earlier run than the last?
    pub fn is_earlier(&self, path: &str) -> bool {
        self.paths
            .as_ref()
            .is_some_and(|paths| !paths.contains(&self.hasher.hash_one(path)))
    }
}
