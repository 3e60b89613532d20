//! Opening the file that messages are appended to.

use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags, Stat, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use super::Target;
use super::fifo::Fifo;
use super::regular::Regular;
use crate::edge::io::Io;

pub(super) fn target<I: Io>(io: &mut I, path: &Path) -> io::Result<Target<I::Fd>> {
    // Opening a FIFO for writing waits for its reader, and opening it for
    // both makes us its reader: it has a way of its own.
    let there = io.stat_at(path).ok().map(|found| kind(&found));
    match there {
        Some(FileType::Fifo) => return Ok(Target::Fifo(Fifo::new(io, path))),
        Some(FileType::Socket) => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is a socket: the unix output connects to one",
            ));
        }
        _ => {}
    }
    // A device need not be readable. Appending, so that what is truncated
    // meanwhile gets no hole.
    let is_device = matches!(
        there,
        Some(FileType::CharacterDevice | FileType::BlockDevice)
    );
    let mut flags = OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::APPEND;
    flags |= match is_device {
        true => OFlags::WRONLY,
        false => OFlags::RDWR | OFlags::CREATE,
    };
    let file = io.open(path, flags, Mode::RUSR | Mode::WUSR)?;
    let found = io.stat(&file)?;
    match kind(&found) {
        // It took the place of what was there a moment ago.
        FileType::Fifo => Ok(Target::Fifo(Fifo::new(io, path))),
        FileType::RegularFile => {
            // The kernel waits for the disk all the same.
            fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
            lock(io, &file, path)?;
            Ok(Target::Regular(Regular::new(io, path, file, &found)?))
        }
        _ => Ok(Target::Device(file)),
    }
}

pub(super) fn kind(found: &Stat) -> FileType {
    FileType::from_raw_mode(found.st_mode)
}

/// How long a writer that was killed may still have the file: the kernel takes
/// its rings apart, and what they hold, only after it has gone.
const LOCK_TRIES: u32 = 100;
const LOCK_WAIT: Duration = Duration::from_millis(10);

fn lock<I: Io>(io: &mut I, file: &I::Fd, path: &Path) -> io::Result<()> {
    let mut locked = io.lock(file);
    for _ in 1..LOCK_TRIES {
        if locked != Err(Errno::WOULDBLOCK) {
            break;
        }
        thread::sleep(LOCK_WAIT);
        locked = io.lock(file);
    }
    match locked {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            "another process writes to it",
        )),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
            log::warn!(
                "{}: it can't be locked there; no other butler may write to it",
                path.display()
            );
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
