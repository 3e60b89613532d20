//! The spool's directory: who owns it, and the files in it.

use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::SpoolError;
use crate::edge::files::Files;
use crate::limits::SPOOL_CORRUPT_MAX;

const LOCK: &str = "lock";
const CORRUPT: &str = "corrupt";
const SEGMENT: &str = ".segment";
/// What a file's name ends with that is not finished.
pub(super) const DRAFT: &str = ".new";
/// Numbers from here on are nobody's.
const NUMBER_END: u64 = u32::MAX as u64;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);
/// `NONBLOCK` only matters where somebody has put a FIFO.
const FILE: OFlags = OFlags::RDWR.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// See the module.
#[derive(Debug)]
pub(super) struct Place<D> {
    path: PathBuf,
    directory: D,
    /// It is ours for as long as this is open.
    _lock: D,
}

/// What a segment's file is called.
pub(super) fn segment_name(number: u32) -> String {
    format!("{number:016x}{SEGMENT}")
}

/// The number of the segment that has that name.
fn number_of(name: &OsStr) -> Option<u32> {
    let digits = name.to_str()?.strip_suffix(SEGMENT)?;
    let is_ours = digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u64::from_str_radix(digits, 16).ok()?;
    (is_ours && number < NUMBER_END).then_some(number as u32)
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
        let found = path.canonicalize().map_err(failed)?;
        let failed = |errno: Errno| failed(errno.into());
        let directory = io.open(&found, DIRECTORY, Mode::empty()).map_err(failed)?;
        let stat = io.stat(&directory).map_err(failed)?;
        if stat.st_uid != geteuid().as_raw() {
            // Who may put a segment there has it sent in our name.
            return Err(SpoolError::NotOurs { path: found });
        }
        if stat.st_mode & 0o7777 != 0o700 {
            io.set_mode(&directory, Mode::RWXU).map_err(failed)?;
        }
        let lock = lock(io, &directory, &found)?;
        Ok(Self {
            path: found,
            directory,
            _lock: lock,
        })
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
            if name.as_encoded_bytes().ends_with(DRAFT.as_bytes())
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
        let file = io.open_in(&self.directory, name.as_ref(), FILE, Mode::empty())?;
        let stat = io.stat(&file)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok((file, u64::try_from(stat.st_size).unwrap_or(0))),
            _ => Err(Errno::LOOP),
        }
    }

    /// Removes a file that may be there.
    pub fn remove<F: Files<Fd = D>>(&self, io: &mut F, name: &str) -> Result<(), Errno> {
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
}

fn lock<F: Files>(io: &mut F, directory: &F::Fd, path: &Path) -> Result<F::Fd, SpoolError> {
    let failed = |errno: Errno| SpoolError::Directory {
        path: path.join(LOCK),
        error: errno.into(),
    };
    let flags = FILE | OFlags::CREATE;
    let file = io.open_in(directory, LOCK.as_ref(), flags, FILE_MODE);
    let file = file.map_err(failed)?;
    match io.lock(&file) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut pid = [0; 20];
            let len = io.read_at(&file, &mut pid, 0).unwrap_or(0);
            let pid = std::str::from_utf8(&pid[..len]).unwrap_or_default();
            return Err(SpoolError::InUse {
                path: path.to_owned(),
                pid: pid.trim().parse().ok(),
            });
        }
        // Some network file systems have no locks.
        Err(errno) => log::warn!(
            "the spool {} can't be locked ({errno}): a second butler in it would go unnoticed",
            path.display()
        ),
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
    Ok(file)
}
