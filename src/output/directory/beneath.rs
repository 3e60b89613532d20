//! Files and directories beneath one directory, whatever links are put there.
//!
//! Every call names one component and starts at a descriptor of the directory
//! that has it; none follows a link. So nothing is reached that is not
//! beneath the root, even while somebody exchanges directories for links.

use std::fs::DirBuilder;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, Mode, OFlags, ResolveFlags, Stat, fstat, mkdirat, open, openat, openat2, renameat,
    statat, unlinkat,
};
use rustix::io::{Errno, write};
use rustix::path::Arg;

use super::mark::{List, Mark, MarkError};

/// Why something can't be made or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// Something stands in its place that is not ours to remove.
    Taken,
    /// The kernel says no; it may work later.
    Error(Errno),
}

impl From<Errno> for Obstacle {
    fn from(errno: Errno) -> Self {
        Self::Error(errno)
    }
}

/// Tells a file from one that took its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub fn of(file: &OwnedFd) -> Result<(Self, Stat), Errno> {
        let stat = fstat(file)?;
        Ok((Self::of_stat(&stat), stat))
    }

    fn of_stat(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
        }
    }
}

/// The directory that everything is beneath.
#[derive(Debug)]
pub(super) struct Root {
    /// Where it was found, without links.
    path: PathBuf,
    directory: OwnedFd,
    /// Says that it is ours.
    mark: Mark,
}

/// A directory: the root, or one beneath it.
#[derive(Debug)]
pub(super) enum Directory<'a> {
    Known(BorrowedFd<'a>),
    Found(OwnedFd),
}

impl AsFd for Directory<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Known(directory) => directory.as_fd(),
            Self::Found(directory) => directory.as_fd(),
        }
    }
}

const DIRECTORY: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
/// `APPEND`, so that a file that somebody truncates gets no hole. `NONBLOCK`
/// only matters where it is no regular file: a FIFO without a reader would hold
/// us up.
const FILE: OFlags = OFlags::WRONLY
    .union(OFlags::APPEND)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NOCTTY)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);
const DIRECTORY_MODE: Mode = Mode::RWXU;
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// How often a name may be snatched from us before we wait.
const CREATE_ATTEMPTS: usize = 16;

impl Root {
    /// The directory at `path`, which may be a link; made, with what is above
    /// it, if it is not there. From then on it is marked as ours.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let path = path.canonicalize()?;
        let directory = open(&path, DIRECTORY.difference(OFlags::NOFOLLOW), Mode::empty())?;
        let mark = Mark::take(&Directory::Known(directory.as_fd()), List::Whole)?;
        Ok(Self {
            path,
            directory,
            mark,
        })
    }

    /// Where it was found.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Has somebody removed it?
    pub fn is_gone(&self) -> bool {
        is_gone(&self.directory)
    }

    /// Makes it again if it was removed, with what is above it, and marks it.
    /// It must be where it was: what was a directory on the way may be a link
    /// by now. `BUSY`: it is another butler's by now.
    pub fn restore(&mut self) -> Result<(), Errno> {
        let top = open("/", DIRECTORY, Mode::empty())?;
        let mut directory = Directory::Found(top);
        for component in self.path.components() {
            if let Component::Normal(name) = component {
                directory = directory.make(name).map_err(|obstacle| match obstacle {
                    Obstacle::Taken => Errno::NOTDIR,
                    Obstacle::Error(errno) => errno,
                })?;
            }
        }
        if let Directory::Found(directory) = directory
            && !self.is(&directory)?
        {
            self.mark = mark(directory.as_fd(), List::Whole)?;
            self.directory = directory;
        }
        Ok(())
    }

    fn is(&self, directory: &OwnedFd) -> Result<bool, Errno> {
        Ok(Identity::of(&self.directory)?.0 == Identity::of(directory)?.0)
    }

    /// Marks the stream at that path as one of this run.
    pub fn add(&mut self, path: &str) -> Result<(), Errno> {
        if self.mark.is_gone() {
            self.mark = mark(self.directory.as_fd(), List::Incomplete)?;
        }
        self.mark.add(path)
    }

    /// Itself, as where a walk begins.
    pub fn directory(&self) -> Directory<'_> {
        Directory::Known(self.directory.as_fd())
    }
}

/// Marks it as ours while the butler runs.
fn mark(directory: BorrowedFd<'_>, list: List) -> Result<Mark, Errno> {
    Mark::take(&Directory::Known(directory), list).map_err(|error| match error {
        MarkError::InUse(_) => Errno::BUSY,
        MarkError::Error(errno) => errno,
    })
}

/// Has somebody removed it? (Some file systems count no links of
/// directories; they find out when something is to be made in it.)
pub(super) fn is_gone(directory: &OwnedFd) -> bool {
    fstat(directory).is_ok_and(|stat| stat.st_nlink == 0)
}

impl Directory<'_> {
    /// Its own descriptor, unless it was known before.
    pub fn into_owned(self) -> Option<OwnedFd> {
        match self {
            Self::Known(_) => None,
            Self::Found(directory) => Some(directory),
        }
    }

    /// The directory of that name in it.
    pub fn enter(&self, name: impl Arg + Copy) -> Result<Directory<'static>, Obstacle> {
        match open_component(self.as_fd(), name, DIRECTORY, Mode::empty()) {
            Ok(directory) => Ok(Directory::Found(directory)),
            Err(Errno::NOTDIR | Errno::LOOP) => Err(Obstacle::Taken),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The same, made if it is not there.
    pub fn make(&self, name: impl Arg + Copy) -> Result<Directory<'static>, Obstacle> {
        match self.enter(name) {
            Err(Obstacle::Error(Errno::NOENT)) => {}
            entered => return entered,
        }
        match mkdirat(self, name, DIRECTORY_MODE) {
            Ok(()) | Err(Errno::EXIST) => self.enter(name),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The file of that name, to be written anywhere in it; made if it is not
    /// there.
    pub fn open_or_create(&self, name: &str) -> Result<OwnedFd, Errno> {
        let flags = FILE.difference(OFlags::APPEND) | OFlags::CREATE;
        open_component(self.as_fd(), name, flags, FILE_MODE)
    }

    /// The same to read it, if it is there.
    pub fn open_to_read(&self, name: &str) -> Result<OwnedFd, Errno> {
        let flags = FILE.difference(OFlags::WRONLY | OFlags::APPEND);
        open_component(self.as_fd(), name, flags, Mode::empty())
    }

    /// Is what has that name still the same?
    pub fn is_still(&self, name: &str, known: Identity) -> Result<bool, Errno> {
        match statat(self, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Identity::of_stat(&stat) == known),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Has anything that name?
    pub fn has(&self, name: &str) -> Result<bool, Errno> {
        match statat(self, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// A new file of that name. A file, a link or whatever else has it is
    /// removed, but not a directory.
    pub fn create(&self, name: &str) -> Result<OwnedFd, Obstacle> {
        let flags = FILE | OFlags::CREATE | OFlags::EXCL;
        for _ in 0..CREATE_ATTEMPTS {
            match open_component(self.as_fd(), name, flags, FILE_MODE) {
                Err(Errno::EXIST) => self.remove(name)?,
                opened => return Ok(opened?),
            }
        }
        Err(Errno::EXIST.into())
    }

    /// A file with that content, which nobody ever sees without it: it is
    /// written under the name of `draft`. Returns the content's length.
    pub fn put(&self, name: &str, draft: &str, content: &[u8]) -> Result<u64, Obstacle> {
        write_all(&self.create(draft)?, content)?;
        match renameat(self, draft, self, name) {
            Ok(()) => Ok(content.len() as u64),
            Err(Errno::ISDIR | Errno::BUSY | Errno::PERM) => Err(Obstacle::Taken),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Removes what has that name, but not a directory.
    pub fn remove(&self, name: &str) -> Result<(), Obstacle> {
        match unlinkat(self, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            // A mount point, and a file of others in a sticky directory, are
            // as much in the way as a directory.
            Err(Errno::ISDIR | Errno::BUSY | Errno::PERM) => Err(Obstacle::Taken),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The file of that name, if it is the one that we know and still has
    /// what we wrote.
    pub fn reopen(
        &self,
        name: &str,
        known: Identity,
        written: u64,
    ) -> Result<Option<OwnedFd>, Errno> {
        let file = match open_component(self.as_fd(), name, FILE, Mode::empty()) {
            Ok(file) => file,
            // Nothing, a directory, a link, a FIFO or a socket.
            Err(Errno::NOENT | Errno::ISDIR | Errno::LOOP | Errno::NXIO) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        // Inode numbers are used again: a new file may have that of a removed
        // one, but hardly its size.
        let (found, stat) = Identity::of(&file)?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        Ok((found == known && size >= written).then_some(file))
    }
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match write(file, bytes) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Opens one component without following it if it is a link.
fn open_component(
    directory: BorrowedFd<'_>,
    name: impl Arg + Copy,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(directory, name, flags, mode, resolve) {
        // A kernel older than 5.6, or a filter that does not know the call.
        // This is as good for a single component, with `NOFOLLOW`.
        Err(Errno::NOSYS | Errno::PERM) => openat(directory, name, flags, mode),
        opened => opened,
    }
}
