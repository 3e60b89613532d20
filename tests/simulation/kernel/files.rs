//! Files: real ones, and those on the disk of this world, with errors and short
//! reads and writes in between.

use std::ffi::{OsStr, OsString};
use std::io::IoSlice;
use std::path::Path;

use butler::edge::files::Files;
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::{Fd, Kernel, What};
use crate::broken::Broken;
use crate::disk::{self, Open};
use crate::plan::Fault;

/// What the calls do when nothing is wrong.
struct Real;

impl Files for Real {
    type Fd = Fd;
}

impl Kernel {
    /// Does the call fail, and how?
    fn fault(&mut self, errnos: &[Errno]) -> Result<(), Errno> {
        let mut state = self.0.borrow_mut();
        if state.now_ns == 0 || !state.chance.happens(Fault::FileErrors, 12) {
            return Ok(());
        }
        let errno = state.chance.random.pick(errnos);
        state.trace.note(|| format!("a file: {errno}"));
        Err(errno)
    }

    /// What was opened takes a place.
    fn with_place(&mut self, fd: Fd) -> Result<Fd, Errno> {
        let mut state = self.0.borrow_mut();
        let _place = Some(state.place().ok_or(Errno::MFILE)?);
        Ok(Fd { _place, ..fd })
    }

    /// So much of that many bytes is written.
    fn short(&mut self, len: usize) -> usize {
        let mut state = self.0.borrow_mut();
        match state.chance.is_allowed(Fault::ShortWrites) && len > 0 {
            true => state.chance.random.size(1, len),
            false => len,
        }
    }
}

const OPEN: [Errno; 4] = [Errno::MFILE, Errno::ACCESS, Errno::IO, Errno::NOSPC];
const CHANGE: [Errno; 3] = [Errno::IO, Errno::NOSPC, Errno::ACCESS];

impl Files for Kernel {
    type Fd = Fd;

    fn open(&mut self, path: &Path, flags: OFlags, mode: Mode) -> Result<Fd, Errno> {
        self.fault(&OPEN)?;
        let disk = self.0.borrow().disk.clone();
        let fd = match disk.filter(|disk| disk.borrow().is_at(path)) {
            Some(disk) => on_disk(disk::open_root(&disk)),
            None => Real.open(path, flags, mode)?,
        };
        self.with_place(fd)
    }

    fn open_in(
        &mut self,
        directory: &Fd,
        name: &OsStr,
        flags: OFlags,
        mode: Mode,
    ) -> Result<Fd, Errno> {
        self.fault(&OPEN)?;
        let fd = match &directory.what {
            What::Disk(open) => {
                let create = flags.contains(OFlags::CREATE);
                on_disk(open.open_in(name, create, flags.contains(OFlags::EXCL))?)
            }
            _ => Real.open_in(directory, name, flags, mode)?,
        };
        self.with_place(fd)
    }

    fn make_in(&mut self, directory: &Fd, name: &OsStr, mode: Mode) -> Result<(), Errno> {
        self.fault(&CHANGE)?;
        match &directory.what {
            What::Disk(open) => open.make_in(name),
            _ => Real.make_in(directory, name, mode),
        }
    }

    fn remove_in(&mut self, directory: &Fd, name: &OsStr) -> Result<(), Errno> {
        self.fault(&CHANGE)?;
        match &directory.what {
            What::Disk(open) => open.remove_in(name),
            _ => Real.remove_in(directory, name),
        }
    }

    fn rename_in(&mut self, directory: &Fd, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
        self.fault(&CHANGE)?;
        match &directory.what {
            What::Disk(open) => open.move_to(from, open, to),
            _ => Real.rename_in(directory, from, to),
        }
    }

    fn move_to(
        &mut self,
        (from, name): (&Fd, &OsStr),
        (to, new_name): (&Fd, &OsStr),
    ) -> Result<(), Errno> {
        self.fault(&CHANGE)?;
        match (&from.what, &to.what) {
            (What::Disk(from), What::Disk(to)) => from.move_to(name, to, new_name),
            _ => Real.move_to((from, name), (to, new_name)),
        }
    }

    fn list(&mut self, directory: &Fd) -> Result<Vec<OsString>, Errno> {
        match &directory.what {
            What::Disk(open) => Ok(open.list()),
            _ => Real.list(directory),
        }
    }

    fn stat(&mut self, fd: &Fd) -> Result<Stat, Errno> {
        let mut stat = Real.stat(fd)?;
        if let What::Disk(open) = &fd.what {
            let (is_directory, mode, len, number) = open.stat();
            let kind = match is_directory {
                true => FileType::Directory,
                false => FileType::RegularFile,
            };
            stat.st_mode = kind.as_raw_mode() | mode;
            stat.st_size = len as i64;
            stat.st_ino = number as u64;
            stat.st_uid = rustix::process::geteuid().as_raw();
        }
        Ok(stat)
    }

    fn set_mode(&mut self, fd: &Fd, mode: Mode) -> Result<(), Errno> {
        match &fd.what {
            What::Disk(open) => {
                open.set_mode(mode.bits());
                Ok(())
            }
            _ => Real.set_mode(fd, mode),
        }
    }

    fn lock(&mut self, fd: &Fd) -> Result<(), Errno> {
        match &fd.what {
            What::Disk(open) => open.lock(),
            _ => Real.lock(fd),
        }
    }

    fn truncate(&mut self, fd: &Fd, len: u64) -> Result<(), Errno> {
        self.fault(&CHANGE)?;
        match &fd.what {
            What::Disk(open) => {
                open.truncate(len as usize);
                Ok(())
            }
            _ => Real.truncate(fd, len),
        }
    }

    fn read_at(&mut self, fd: &Fd, bytes: &mut [u8], at: u64) -> Result<usize, Errno> {
        match &fd.what {
            What::Disk(open) => {
                self.fault(&[Errno::IO])?;
                let len = self.short(bytes.len());
                Ok(open.read_at(&mut bytes[..len], at as usize))
            }
            _ => Real.read_at(fd, bytes, at),
        }
    }

    fn write_at(&mut self, fd: &Fd, slices: &[IoSlice<'_>], at: u64) -> Result<usize, Errno> {
        self.fault(&CHANGE)?;
        let mut all: Vec<_> = slices.iter().flat_map(|it| it.to_vec()).collect();
        all.truncate(self.short(all.len()));
        match &fd.what {
            What::Disk(open) => open.write_at(&all, at as usize),
            _ => Real.write_at(fd, &[IoSlice::new(&all)], at),
        }
    }

    fn write(&mut self, fd: &Fd, bytes: &[u8]) -> Result<usize, Errno> {
        self.fault(&CHANGE)?;
        let len = self.short(bytes.len());
        let lies = Broken::LiesAboutWrite;
        if len > 1 && self.0.borrow_mut().chance.breaks(lies) {
            Real.write(fd, &bytes[..len - 1])?;
            return Ok(len);
        }
        Real.write(fd, &bytes[..len])
    }

    fn spare_file(&mut self) -> Result<Fd, Errno> {
        self.fault(&[Errno::MFILE])?;
        let fd = Real.spare_file()?;
        self.with_place(fd)
    }
}

fn on_disk(open: Open) -> Fd {
    Fd {
        what: What::Disk(open),
        _place: None,
    }
}
