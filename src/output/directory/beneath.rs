//! Files and directories beneath one directory, whatever links are put there.
//!
//! Every call names one component and starts at a descriptor of the directory
//! that has it; none follows a link. So nothing is reached that is not
//! beneath the root, even while somebody exchanges directories for links.

use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, Stat};
use rustix::io::Errno;

use super::mark::{List, Mark, MarkError};
use crate::edge::files::Files;

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
pub(super) struct FileIdentity {
    device: u64,
    inode: u64,
}

impl FileIdentity {
    pub fn of<F: Files>(io: &mut F, file: &F::Fd) -> Result<(Self, Stat), Errno> {
        let stat = io.stat(file)?;
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
pub(super) struct Root<D> {
    /// Where it was found, without links.
    path: PathBuf,
    directory: D,
    /// Says that it is ours.
    mark: Mark<D>,
}

/// A directory: the root, or one beneath it.
#[derive(Debug)]
pub(super) enum Directory<'a, D> {
    Known(&'a D),
    Found(D),
}

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);
/// `APPEND`, so that a file that somebody truncates gets no hole. `NONBLOCK`
/// only matters where it is no regular file: a FIFO without a reader would hold
/// us up.
const FILE: OFlags = OFlags::WRONLY
    .union(OFlags::APPEND)
    .union(OFlags::NOCTTY)
    .union(OFlags::NONBLOCK);
const DIRECTORY_MODE: Mode = Mode::RWXU;
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// How often a name may be snatched from us before we wait.
const CREATE_ATTEMPTS: usize = 16;

impl<D: 'static> Root<D> {
    /// The directory at `path`, which may be a link; made, with what is above
    /// it, if it is not there. From then on it is marked as ours.
    pub fn open<F: Files<Fd = D>>(io: &mut F, path: &Path) -> std::io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let path = path.canonicalize()?;
        let directory = io.open(&path, DIRECTORY, Mode::empty())?;
        let mark = Mark::take(io, &Directory::Known(&directory), List::Whole)?;
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
    pub fn is_gone<F: Files<Fd = D>>(&self, io: &mut F) -> bool {
        is_gone(io, &self.directory)
    }

    /// Makes it again if it was removed, with what is above it, and marks it.
    /// It must be where it was: what was a directory on the way may be a link
    /// by now. `BUSY`: it is another butler's by now.
    pub fn restore<F: Files<Fd = D>>(&mut self, io: &mut F) -> Result<(), Errno> {
        let top = io.open(Path::new("/"), DIRECTORY, Mode::empty())?;
        let mut directory = Directory::Found(top);
        for component in self.path.components() {
            if let Component::Normal(name) = component {
                directory = directory
                    .make(io, name)
                    .map_err(|obstacle| match obstacle {
                        Obstacle::Taken => Errno::NOTDIR,
                        Obstacle::Error(errno) => errno,
                    })?;
            }
        }
        if let Directory::Found(directory) = directory
            && !self.is(io, &directory)?
        {
            self.mark = mark(io, &directory, List::Whole)?;
            self.directory = directory;
        }
        Ok(())
    }

    fn is<F: Files<Fd = D>>(&self, io: &mut F, directory: &D) -> Result<bool, Errno> {
        Ok(FileIdentity::of(io, &self.directory)?.0 == FileIdentity::of(io, directory)?.0)
    }

    /// Marks the stream at that path as one of this run.
    pub fn add<F: Files<Fd = D>>(&mut self, io: &mut F, path: &str) -> Result<(), Errno> {
        if self.mark.is_gone(io) {
            self.mark = mark(io, &self.directory, List::Incomplete)?;
        }
        self.mark.add(io, path)
    }

    /// Itself, as where a walk begins.
    pub fn directory(&self) -> Directory<'_, D> {
        Directory::Known(&self.directory)
    }
}

/// Marks it as ours while the butler runs.
fn mark<F: Files>(io: &mut F, directory: &F::Fd, list: List) -> Result<Mark<F::Fd>, Errno> {
    Mark::take(io, &Directory::Known(directory), list).map_err(|error| match error {
        MarkError::InUse(_) => Errno::BUSY,
        MarkError::Error(errno) => errno,
    })
}

/// Has somebody removed it? (Some file systems count no links of
/// directories; they find out when something is to be made in it.)
pub(super) fn is_gone<F: Files>(io: &mut F, directory: &F::Fd) -> bool {
    io.stat(directory).is_ok_and(|stat| stat.st_nlink == 0)
}

impl<D: 'static> Directory<'_, D> {
    fn fd(&self) -> &D {
        match self {
            Self::Known(directory) => directory,
            Self::Found(directory) => directory,
        }
    }

    /// Its own descriptor, unless it was known before.
    pub fn into_owned(self) -> Option<D> {
        match self {
            Self::Known(_) => None,
            Self::Found(directory) => Some(directory),
        }
    }

    /// Itself, opened once more.
    pub fn again<F: Files<Fd = D>>(&self, io: &mut F, flags: OFlags) -> Result<D, Errno> {
        io.open_in(self.fd(), ".".as_ref(), flags, Mode::empty())
    }

    /// The directory of that name in it.
    pub fn enter<F: Files<Fd = D>>(
        &self,
        io: &mut F,
        name: impl AsRef<OsStr>,
    ) -> Result<Directory<'static, D>, Obstacle> {
        match io.open_in(self.fd(), name.as_ref(), DIRECTORY, Mode::empty()) {
            Ok(directory) => Ok(Directory::Found(directory)),
            Err(Errno::NOTDIR | Errno::LOOP) => Err(Obstacle::Taken),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The same, made if it is not there.
    pub fn make<F: Files<Fd = D>>(
        &self,
        io: &mut F,
        name: impl AsRef<OsStr>,
    ) -> Result<Directory<'static, D>, Obstacle> {
        let name = name.as_ref();
        match self.enter(io, name) {
            Err(Obstacle::Error(Errno::NOENT)) => {}
            entered => return entered,
        }
        match io.make_in(self.fd(), name, DIRECTORY_MODE) {
            Ok(()) | Err(Errno::EXIST) => self.enter(io, name),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The file of that name, to be written anywhere in it; made if it is not
    /// there.
    pub fn open_or_create<F: Files<Fd = D>>(&self, io: &mut F, name: &str) -> Result<D, Errno> {
        let flags = FILE.difference(OFlags::APPEND) | OFlags::CREATE;
        io.open_in(self.fd(), name.as_ref(), flags, FILE_MODE)
    }

    /// The same to read it, if it is there.
    pub fn open_to_read<F: Files<Fd = D>>(&self, io: &mut F, name: &str) -> Result<D, Errno> {
        let flags = FILE.difference(OFlags::WRONLY | OFlags::APPEND);
        io.open_in(self.fd(), name.as_ref(), flags, Mode::empty())
    }

    /// Is what has that name still the same?
    pub fn is_still<F: Files<Fd = D>>(
        &self,
        io: &mut F,
        name: &str,
        known: FileIdentity,
    ) -> Result<bool, Errno> {
        match io.stat_in(self.fd(), name.as_ref()) {
            Ok(stat) => Ok(FileIdentity::of_stat(&stat) == known),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Has anything that name?
    pub fn has<F: Files<Fd = D>>(&self, io: &mut F, name: &str) -> Result<bool, Errno> {
        match io.stat_in(self.fd(), name.as_ref()) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// A new file of that name. A file, a link or whatever else has it is
    /// removed, but not a directory.
    pub fn create<F: Files<Fd = D>>(&self, io: &mut F, name: &str) -> Result<D, Obstacle> {
        let flags = FILE | OFlags::CREATE | OFlags::EXCL;
        for _ in 0..CREATE_ATTEMPTS {
            match io.open_in(self.fd(), name.as_ref(), flags, FILE_MODE) {
                Err(Errno::EXIST) => self.remove(io, name)?,
                opened => return Ok(opened?),
            }
        }
        Err(Errno::EXIST.into())
    }

    /// A file with that content, which nobody ever sees without it: it is
    /// written under the name of `draft`. Returns the content's length.
    pub fn put<F: Files<Fd = D>>(
        &self,
        io: &mut F,
        name: &str,
        draft: &str,
        content: &[u8],
    ) -> Result<u64, Obstacle> {
        let file = self.create(io, draft)?;
        write_all(io, &file, content)?;
        match io.rename_in(self.fd(), draft.as_ref(), name.as_ref()) {
            Ok(()) => Ok(content.len() as u64),
            Err(Errno::ISDIR | Errno::BUSY | Errno::PERM) => Err(Obstacle::Taken),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Removes what has that name, but not a directory.
    pub fn remove<F: Files<Fd = D>>(&self, io: &mut F, name: &str) -> Result<(), Obstacle> {
        match io.remove_in(self.fd(), name.as_ref()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            // A mount point, and a file of others in a sticky directory, are
            // as much in the way as a directory.
            Err(Errno::ISDIR | Errno::BUSY | Errno::PERM) => Err(Obstacle::Taken),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The file of that name, if it is the one that we know and still has
    /// what we wrote.
    pub fn reopen<F: Files<Fd = D>>(
        &self,
        io: &mut F,
        name: &str,
        known: FileIdentity,
        written: u64,
    ) -> Result<Option<D>, Errno> {
        let file = match io.open_in(self.fd(), name.as_ref(), FILE, Mode::empty()) {
            Ok(file) => file,
            // Nothing, a directory, a link, a FIFO or a socket.
            Err(Errno::NOENT | Errno::ISDIR | Errno::LOOP | Errno::NXIO) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        // Inode numbers are used again: a new file may have that of a removed
        // one, but hardly its size.
        let (found, stat) = FileIdentity::of(io, &file)?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        Ok((found == known && size >= written).then_some(file))
    }
}

fn write_all<F: Files>(io: &mut F, file: &F::Fd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match io.write(file, bytes) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
