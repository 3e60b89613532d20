//! The spool's directory: who owns it, and the files in it.

use std::ffi::{OsStr, OsString};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::SpoolError;
use super::acks::NAME as ACKS;
use crate::edge::files::Files;
use crate::limits::SPOOL_CORRUPT_MAX;
pub(super) use crate::spool::segment_name;
use crate::spool::segment_number as number_of;

const LOCK: &str = "lock";
const CORRUPT: &str = "corrupt";
/// What a file's name ends with that is not finished.
pub(super) const DRAFT: &str = ".new";

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);
/// `NONBLOCK` only matters where somebody has put a FIFO.
const FILE: OFlags = OFlags::RDWR.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
const LOOKED_AT: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// See the module.
#[derive(Debug)]
pub(super) struct Place<D> {
    path: PathBuf,
    directory: D,
    /// It is ours for as long as this is open. What is looked at only may lack it.
    _lock: Option<D>,
    keeps: bool,
}

impl<D: 'static> Place<D> {
    /// Makes the directory if it is not there, and keeps others out.
    pub fn open<F: Files<Fd = D>>(io: &mut F, path: &Path) -> Result<Self, SpoolError> {
        let failed = |error: io::Error| SpoolError::Directory {
            path: path.to_owned(),
            error,
        };
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(path).map_err(failed)?;
        let mut place = Self::find(io, path)?;
        place.own(io)?;
        Ok(place)
    }

    /// One that is there, to send what is in it. With `keeps` nothing in it is ever
    /// changed, which is so too of an empty directory.
    pub fn open_there<F: Files<Fd = D>>(
        io: &mut F,
        path: &Path,
        keeps: bool,
    ) -> Result<Self, SpoolError> {
        let mut place = Self::find(io, path)?;
        let names = io.list(&place.directory);
        let names = names.map_err(|errno| place.failed(errno))?;
        // Any other directory, such as somebody's home, is left as it is.
        let beside = |name: &OsString| [LOCK, ACKS, CORRUPT].iter().any(|it| name == it);
        let has_segments = names.iter().any(|name| number_of(name).is_some());
        if !has_segments && !names.iter().all(beside) {
            return Err(SpoolError::NoSpool { path: place.path });
        }
        place.keeps = keeps || names.is_empty();
        place.own(io)?;
        Ok(place)
    }

    /// Finds it, without touching it.
    fn find<F: Files<Fd = D>>(io: &mut F, path: &Path) -> Result<Self, SpoolError> {
        let failed = |error: io::Error| SpoolError::Directory {
            path: path.to_owned(),
            error,
        };
        let found = path.canonicalize().map_err(failed)?;
        let failed = |errno: Errno| failed(errno.into());
        let directory = io.open(&found, DIRECTORY, Mode::empty()).map_err(failed)?;
        let stat = io.stat(&directory).map_err(failed)?;
        if stat.st_uid != geteuid().as_raw() {
            // Who may put a segment there has it sent in our name.
            return Err(SpoolError::NotOurs { path: found });
        }
        Ok(Self {
            path: found,
            directory,
            _lock: None,
            keeps: false,
        })
    }

    /// Keeps others out.
    fn own<F: Files<Fd = D>>(&mut self, io: &mut F) -> Result<(), SpoolError> {
        if !self.keeps {
            let stat = io.stat(&self.directory);
            let stat = stat.map_err(|errno| self.failed(errno))?;
            if stat.st_mode & 0o7777 != 0o700 {
                let set = io.set_mode(&self.directory, Mode::RWXU);
                set.map_err(|errno| self.failed(errno))?;
            }
        }
        self._lock = self.lock(io)?;
        Ok(())
    }

    fn failed(&self, errno: Errno) -> SpoolError {
        SpoolError::Directory {
            path: self.path.clone(),
            error: errno.into(),
        }
    }

    /// Nothing in it is changed.
    pub fn keeps(&self) -> bool {
        self.keeps
    }

    /// Where it is, without links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Itself, to be synced.
    pub fn directory(&self) -> &D {
        &self.directory
    }

    /// The numbers of its segments, in order. Drafts are removed.
    pub fn segments<F: Files<Fd = D>>(&self, io: &mut F) -> Result<Vec<u32>, Errno> {
        let names = io.list(&self.directory)?;
        for name in &names {
            if !self.keeps
                && name.as_encoded_bytes().ends_with(DRAFT.as_bytes())
                && let Err(errno) = io.remove_in(&self.directory, name)
            {
                log::debug!("spool: {} stays: {errno}", name.display());
            }
        }
        let mut numbers: Vec<_> = names.iter().filter_map(|name| number_of(name)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The largest number of a segment that was put away.
    pub fn last_put_away<F: Files<Fd = D>>(&self, io: &mut F) -> u32 {
        let Ok(corrupt) = self.corrupt(io, false) else {
            return 0;
        };
        let names = io.list(&corrupt).unwrap_or_default();
        let numbers = names.iter().filter_map(|name| number_of(name));
        numbers.max().unwrap_or(0)
    }

    /// A new file, to be written and read. `EXIST`: it is there.
    pub fn create<F: Files<Fd = D>>(&self, io: &mut F, name: &str) -> Result<D, Errno> {
        let flags = FILE | OFlags::CREATE | OFlags::EXCL;
        io.open_in(&self.directory, name.as_ref(), flags, FILE_MODE)
    }

    /// A file that is there, and its length. What is no regular file is `LOOP`.
    pub fn open_file<F: Files<Fd = D>>(&self, io: &mut F, name: &str) -> Result<(D, u64), Errno> {
        let flags = if self.keeps { LOOKED_AT } else { FILE };
        let file = io.open_in(&self.directory, name.as_ref(), flags, Mode::empty())?;
        let stat = io.stat(&file)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok((file, u64::try_from(stat.st_size).unwrap_or(0))),
            _ => Err(Errno::LOOP),
        }
    }

    /// Removes a file that may be there.
    pub fn remove<F: Files<Fd = D>>(&self, io: &mut F, name: &str) -> Result<(), Errno> {
        if self.keeps {
            return Ok(());
        }
        match io.remove_in(&self.directory, name.as_ref()) {
            Err(Errno::NOENT) => Ok(()),
            removed => removed,
        }
    }

    /// Puts a draft in the place of what has its name.
    pub fn finish_draft<F: Files<Fd = D>>(&self, io: &mut F, name: &str) -> Result<(), Errno> {
        let draft = format!("{name}{DRAFT}");
        io.rename_in(&self.directory, draft.as_ref(), name.as_ref())
    }

    /// Puts a segment away that can't be read, or not to its end. Of those that
    /// were put away before, the oldest make room.
    pub fn put_away<F: Files<Fd = D>>(&self, io: &mut F, number: u32) -> Result<(), Errno> {
        if self.keeps {
            return Ok(());
        }
        let corrupt = self.corrupt(io, true)?;
        let mut others = io.list(&corrupt)?;
        others.retain(|name| number_of(name).is_some());
        others.sort_unstable();
        let surplus = (others.len() + 1).saturating_sub(SPOOL_CORRUPT_MAX);
        for name in others.iter().take(surplus) {
            io.remove_in(&corrupt, name)?;
        }
        let name = segment_name(number);
        let name = OsStr::new(&name);
        io.move_to((&self.directory, name), (&corrupt, name))
    }

    fn corrupt<F: Files<Fd = D>>(&self, io: &mut F, make: bool) -> Result<D, Errno> {
        let name = OsStr::new(CORRUPT);
        match io.open_in(&self.directory, name, DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT) if make => {
                io.make_in(&self.directory, name, Mode::RWXU)?;
                io.open_in(&self.directory, name, DIRECTORY, Mode::empty())
            }
            opened => opened,
        }
    }

    /// `None`: nothing is there that could be locked, and nothing is made.
    fn lock<F: Files<Fd = D>>(&self, io: &mut F) -> Result<Option<D>, SpoolError> {
        let (flags, mode) = match self.keeps {
            true => (LOOKED_AT, Mode::empty()),
            false => (FILE | OFlags::CREATE, FILE_MODE),
        };
        let file = match io.open_in(&self.directory, LOCK.as_ref(), flags, mode) {
            Err(Errno::NOENT) if self.keeps => return Ok(None),
            file => file.map_err(|errno| SpoolError::Directory {
                path: self.path.join(LOCK),
                error: errno.into(),
            })?,
        };
        match io.lock(&file) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut pid = [0; 20];
                let len = io.read_at(&file, &mut pid, 0).unwrap_or(0);
                let pid = std::str::from_utf8(&pid[..len]).unwrap_or_default();
                return Err(SpoolError::InUse {
                    path: self.path.clone(),
                    pid: pid.trim().parse().ok(),
                });
            }
            // Some network file systems have no locks.
            Err(errno) => log::warn!(
                "the spool {} can't be locked ({errno}): a second butler in it would go unnoticed",
                self.path.display()
            ),
        }
        if self.keeps {
            return Ok(Some(file));
        }
        let pid = format!("{}\n", std::process::id());
        let written = io
            .truncate(&file, 0)
            .and_then(|()| io.write_at(&file, &[io::IoSlice::new(pid.as_bytes())], 0));
        if let Err(errno) = written {
            // It is only for those who find it locked. A full disk is no reason not
            // to send what is there.
            log::debug!("spool: {LOCK} is not written: {errno}");
        }
        Ok(Some(file))
    }
}
