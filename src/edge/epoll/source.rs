//! One descriptor: whether the set has it, and reading it.

use std::io::{self, IoSliceMut};
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::epoll;
use rustix::io::{Errno, ReadWriteFlags};
use rustix::net::{RecvFlags, recv};

use super::super::io::ReadBy;
use super::super::rights;

/// Whether the set tells when a descriptor is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watched {
    No,
    Yes,
    /// It can't be: it is a file that is always ready.
    Never,
}

/// Where an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    /// None is under way.
    Nothing,
    /// It waits until the descriptor is ready.
    Event,
    /// The same, and then it is done.
    Told,
    /// It is in the queue.
    Turn,
}

/// A descriptor that is read, or accepted from, now and then.
#[derive(Debug)]
pub(super) struct Source {
    pub by: ReadBy,
    pub watched: Watched,
    pub wants: Wants,
}

impl Source {
    /// From now on the set tells of it, if it can.
    pub fn watch(&mut self, set: &OwnedFd, data: u64, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        if self.watched == Watched::No {
            let data = epoll::EventData::new_u64(data);
            self.watched = match epoll::add(set, fd, data, epoll::EventFlags::IN) {
                Ok(()) => Watched::Yes,
                Err(Errno::PERM) => Watched::Never,
                Err(error) => return Err(error),
            };
        }
        Ok(())
    }

    /// The set does not tell of it any more.
    pub fn unwatch(&mut self, set: &OwnedFd, fd: BorrowedFd<'_>) {
        if self.watched == Watched::Yes {
            // It is in the set and open, so this can't fail.
            let _ = epoll::delete(set, fd);
            self.watched = Watched::No;
        }
    }

    /// Reads without waiting: what can't be told so is ready.
    pub fn read(&self, fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        match self.by {
            ReadBy::Recv => return Ok(recv(fd, buffer, RecvFlags::DONTWAIT)?.0),
            ReadBy::Look => return rights::read(fd, buffer),
            ReadBy::Read => {}
        }
        if self.watched == Watched::Yes {
            // Another reader may have been faster. Terminals and pipes of old
            // kernels know no such flag.
            let mut slices = [IoSliceMut::new(buffer)];
            match rustix::io::preadv2(fd, &mut slices, u64::MAX, ReadWriteFlags::NOWAIT) {
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
                result => return Ok(result?),
            }
        }
        Ok(rustix::io::read(fd, buffer)?)
    }
}
