//! The way without io_uring: an epoll set says who is ready, and plain calls
//! that never wait do the rest.
//!
//! A descriptor stays in the set, level-triggered, while it is read again and
//! again: that takes no call beyond the read itself. Only when it is ready and
//! nobody wants it (there is no room) is it taken out, until it is wanted
//! again. No readiness can be missed that way, whatever a read leaves behind.
//!
//! The set does not own descriptors: whoever asks for a completion finds them
//! by their token, and [`forget`](Epoll::forget) is told before one is closed.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ahash::AHashMap;
use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::io::{Errno, ReadWriteFlags};
use rustix::net::{RecvFlags, SocketFlags, accept_with, recv};

use super::io::{Completion, ReadBy, Token};
use crate::limits::READ_BUFFER_SIZE;

/// Descriptors that one call tells of. Of more the next call tells.
const EVENTS: usize = 256;
/// Connections that one event of a listener brings: others have a turn too.
const ACCEPTS: u32 = 64;
/// Stands for the eventfd; no token is as large.
const SIGNAL: u64 = u64::MAX;

/// The buffer, while somebody has it.
#[derive(Debug)]
pub(crate) struct Filled {
    len: usize,
}

impl Filled {
    pub fn len(&self) -> usize {
        self.len
    }
}

/// Whether the set tells when a descriptor is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watched {
    No,
    Yes,
    /// It can't be: it is a file that is always ready.
    Never,
}

/// Where an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wants {
    /// None is under way.
    Nothing,
    /// It waits until the descriptor is ready.
    Event,
    /// It is in the queue.
    Turn,
}

#[derive(Debug)]
struct Source {
    by: ReadBy,
    watched: Watched,
    wants: Wants,
}

/// What [`Epoll::next`] has to do.
#[derive(Debug)]
enum Due {
    Read(u64),
    Accept {
        number: u64,
        /// So many at most.
        left: u32,
    },
    /// It is ready, but not wanted.
    Unwatch(Token),
    /// The operation is over.
    Failed(Token, Errno),
}

/// See the module.
pub(super) struct Epoll {
    set: OwnedFd,
    /// In the set; its count is never read: every signal is an edge.
    eventfd: OwnedFd,
    /// By token.
    sources: AHashMap<u64, Source>,
    due: VecDeque<Due>,
    /// Memory that is reused.
    events: Vec<epoll::Event>,
    /// One is enough: what is read is handled before the next read.
    buffer: Box<[u8]>,
    /// Somebody has the buffer.
    lent: bool,
}

impl Epoll {
    pub fn new() -> io::Result<Self> {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(
            &set,
            &eventfd,
            epoll::EventData::new_u64(SIGNAL),
            epoll::EventFlags::IN | epoll::EventFlags::ET,
        )?;
        Ok(Self {
            set,
            eventfd,
            sources: AHashMap::new(),
            due: VecDeque::new(),
            events: Vec::with_capacity(EVENTS),
            buffer: vec![0; READ_BUFFER_SIZE].into(),
            lent: false,
        })
    }

    /// The set itself: it is readable while a descriptor in it is.
    pub fn wait_fd(&self) -> BorrowedFd<'_> {
        self.set.as_fd()
    }

    /// Makes the set readable.
    pub fn signal(&self) -> io::Result<()> {
        rustix::io::write(&self.eventfd, &1u64.to_ne_bytes())?;
        Ok(())
    }

    /// Reads once. An error comes as a completion: it is about this one alone.
    pub fn read(&mut self, number: u64, fd: BorrowedFd<'_>, by: ReadBy, ready: bool) {
        // What may block is only read once it is known not to.
        self.want(Token::Read(number), fd, by, ready && by == ReadBy::Recv);
    }

    /// Accepts until told otherwise.
    pub fn accept(&mut self, number: u64, fd: BorrowedFd<'_>) {
        // A client may be gone between the event and the call.
        match rustix::io::ioctl_fionbio(fd, true) {
            Ok(()) => self.want(Token::Accept(number), fd, ReadBy::Recv, false),
            Err(error) => self
                .due
                .push_back(Due::Failed(Token::Accept(number), error)),
        }
    }

    fn want(&mut self, token: Token, fd: BorrowedFd<'_>, by: ReadBy, at_once: bool) {
        let source = self.sources.entry(token.to_u64()).or_insert(Source {
            by,
            watched: Watched::No,
            wants: Wants::Nothing,
        });
        if !at_once && let Err(error) = source.watch(&self.set, token, fd) {
            self.due.push_back(Due::Failed(token, error));
            return;
        }
        if at_once || source.watched == Watched::Never {
            source.wants = Wants::Turn;
            self.due.push_back(Due::of(token));
        } else {
            source.wants = Wants::Event;
        }
    }

    /// Cancels what is under way: it completes with an error.
    pub fn cancel(&mut self, token: Token) {
        if let Some(source) = self.sources.get_mut(&token.to_u64())
            && source.wants != Wants::Nothing
        {
            source.wants = Wants::Nothing;
            self.due.push_back(Due::Failed(token, Errno::CANCELED));
        }
    }

    /// The descriptor is about to be closed. If others have it too, the set
    /// would keep it.
    pub fn forget(&mut self, token: Token, fd: BorrowedFd<'_>) {
        if let Some(mut source) = self.sources.remove(&token.to_u64()) {
            source.unwatch(&self.set, fd);
        }
    }

    /// Is there something to do, or has something come?
    pub fn has_work(&mut self) -> bool {
        if self.due.is_empty() {
            // What fails here fails in `enter` too.
            return self.enter().is_err() || !self.due.is_empty();
        }
        true
    }

    /// Sees who is ready.
    pub fn enter(&mut self) -> io::Result<()> {
        let mut events = std::mem::take(&mut self.events);
        let timeout = Timespec::default();
        let waited = epoll::wait(&self.set, spare_capacity(&mut events), Some(&timeout));
        for event in events.drain(..) {
            if event.data.u64() != SIGNAL {
                self.happened(Token::from_u64(event.data.u64()));
            }
        }
        self.events = events;
        match waited {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn happened(&mut self, token: Token) {
        let Some(source) = self.sources.get_mut(&token.to_u64()) else {
            return;
        };
        match source.wants {
            Wants::Nothing => self.due.push_back(Due::Unwatch(token)),
            Wants::Event => {
                source.wants = Wants::Turn;
                self.due.push_back(Due::of(token));
            }
            Wants::Turn => {}
        }
    }

    /// The next completion: does what is due until there is one.
    pub fn next<'a>(
        &mut self,
        find: impl Fn(Token) -> Option<BorrowedFd<'a>>,
    ) -> Option<Completion<Filled>> {
        loop {
            let completion = match self.due.pop_front()? {
                Due::Read(number) => {
                    let fd = find(Token::Read(number));
                    fd.and_then(|fd| self.try_read(number, fd))
                }
                Due::Accept { number, left } => {
                    let fd = find(Token::Accept(number));
                    fd.and_then(|fd| self.try_accept(number, fd, left))
                }
                Due::Unwatch(token) => {
                    if let Some(source) = self.sources.get_mut(&token.to_u64())
                        && source.wants == Wants::Nothing
                        && let Some(fd) = find(token)
                    {
                        source.unwatch(&self.set, fd);
                    }
                    None
                }
                Due::Failed(token, error) => failed(token, error),
            };
            if completion.is_some() {
                return completion;
            }
        }
    }

    /// `None`: it must wait, or is not wanted any more.
    fn try_read(&mut self, number: u64, fd: BorrowedFd<'_>) -> Option<Completion<Filled>> {
        let token = Token::Read(number);
        let source = self.sources.get_mut(&token.to_u64())?;
        if source.wants != Wants::Turn {
            return None;
        }
        source.wants = Wants::Nothing;
        if self.lent {
            return failed(token, Errno::NOBUFS);
        }
        let len = match source.read(fd, &mut self.buffer) {
            Ok(len) => len,
            Err(Errno::INTR) => {
                source.wants = Wants::Turn;
                self.due.push_front(Due::Read(number));
                return None;
            }
            Err(Errno::AGAIN) => {
                return match source.watch(&self.set, token, fd) {
                    Ok(()) if source.watched == Watched::Yes => {
                        source.wants = Wants::Event;
                        None
                    }
                    // Nobody would tell when it is ready.
                    Ok(()) => failed(token, Errno::AGAIN),
                    Err(error) => failed(token, error),
                };
            }
            Err(error) => return failed(token, error),
        };
        self.lent = len > 0;
        let full = source.by == ReadBy::Recv && len == self.buffer.len();
        Some(Completion::Read {
            number,
            result: Ok((len > 0).then_some(Filled { len })),
            more: full || source.watched == Watched::Never,
        })
    }

    /// `None`: nobody connects now, or it is not wanted any more.
    fn try_accept(
        &mut self,
        number: u64,
        fd: BorrowedFd<'_>,
        left: u32,
    ) -> Option<Completion<Filled>> {
        let token = Token::Accept(number);
        let source = self.sources.get_mut(&token.to_u64())?;
        if source.wants != Wants::Turn {
            return None;
        }
        source.wants = Wants::Event;
        match accept_with(fd, SocketFlags::CLOEXEC) {
            Ok(accepted) => {
                if left > 1 {
                    source.wants = Wants::Turn;
                    let left = left - 1;
                    self.due.push_back(Due::Accept { number, left });
                }
                Some(Completion::Accept {
                    number,
                    result: Ok(accepted),
                    armed: true,
                })
            }
            // The set tells again.
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => None,
            Err(error) => {
                source.wants = Wants::Nothing;
                failed(token, error)
            }
        }
    }

    /// What was read.
    pub fn bytes(&self, filled: &Filled) -> &[u8] {
        &self.buffer[..filled.len]
    }

    /// Gives the buffer back.
    pub fn recycle(&mut self, _: Filled) {
        self.lent = false;
    }
}

impl Due {
    fn of(token: Token) -> Self {
        match token {
            Token::Read(number) => Self::Read(number),
            Token::Accept(number) => Self::Accept {
                number,
                left: ACCEPTS,
            },
            Token::Cancel => unreachable!("it never waits"),
        }
    }
}

fn failed(token: Token, error: Errno) -> Option<Completion<Filled>> {
    match token {
        Token::Read(number) => Some(Completion::Read {
            number,
            result: Err(error.into()),
            more: false,
        }),
        Token::Accept(number) => Some(Completion::Accept {
            number,
            result: Err(error.into()),
            armed: false,
        }),
        Token::Cancel => None,
    }
}

impl Source {
    fn watch(&mut self, set: &OwnedFd, token: Token, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        if self.watched == Watched::No {
            let data = epoll::EventData::new_u64(token.to_u64());
            self.watched = match epoll::add(set, fd, data, epoll::EventFlags::IN) {
                Ok(()) => Watched::Yes,
                Err(Errno::PERM) => Watched::Never,
                Err(error) => return Err(error),
            };
        }
        Ok(())
    }

    fn unwatch(&mut self, set: &OwnedFd, fd: BorrowedFd<'_>) {
        if self.watched == Watched::Yes {
            // It is in the set and open, so this can't fail.
            let _ = epoll::delete(set, fd);
            self.watched = Watched::No;
        }
    }

    /// Reads without waiting: what can't be told so is ready.
    fn read(&self, fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
        if self.by == ReadBy::Recv {
            return recv(fd, buffer, RecvFlags::DONTWAIT).map(|(len, _)| len);
        }
        if self.watched == Watched::Yes {
            // Another reader may have been faster. Terminals and pipes of old
            // kernels know no such flag.
            let mut slices = [IoSliceMut::new(buffer)];
            match rustix::io::preadv2(fd, &mut slices, u64::MAX, ReadWriteFlags::NOWAIT) {
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
                result => return result,
            }
        }
        rustix::io::read(fd, buffer)
    }
}

#[cfg(test)]
mod tests;
