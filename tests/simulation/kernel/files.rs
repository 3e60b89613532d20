//! Files: real ones, with errors and short writes in between.

use std::ffi::OsStr;
use std::io::IoSlice;
use std::path::Path;

use butler::edge::files::Files;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{Fd, Kernel};
use crate::broken::Broken;
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
        let fd = Real.open(path, flags, mode)?;
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
        let fd = Real.open_in(directory, name, flags, mode)?;
        self.with_place(fd)
    }

    fn make_in(&mut self, directory: &Fd, name: &OsStr, mode: Mode) -> Result<(), Errno> {
        self.fault(&CHANGE)?;
        Real.make_in(directory, name, mode)
    }

    fn remove_in(&mut self, directory: &Fd, name: &OsStr) -> Result<(), Errno> {
        self.fault(&CHANGE)?;
        Real.remove_in(directory, name)
    }

    fn rename_in(&mut self, directory: &Fd, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
        self.fault(&CHANGE)?;
        Real.rename_in(directory, from, to)
    }

    fn truncate(&mut self, fd: &Fd, len: u64) -> Result<(), Errno> {
        self.fault(&CHANGE)?;
        Real.truncate(fd, len)
    }

    fn write_at(&mut self, fd: &Fd, slices: &[IoSlice<'_>], at: u64) -> Result<usize, Errno> {
        self.fault(&CHANGE)?;
        let mut all: Vec<_> = slices.iter().flat_map(|it| it.to_vec()).collect();
        all.truncate(self.short(all.len()));
        Real.write_at(fd, &[IoSlice::new(&all)], at)
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
