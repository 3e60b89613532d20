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

mod source;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ahash::AHashMap;
use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

use self::source::{Source, Wants, Watched};
use super::system::{Completion, ReadBy, Token};
use crate::limits::{READ_BUFFER_SIZE, READ_BUFFERS};

/// Descriptors that one call tells of. Of more the next call tells.
const EVENTS: usize = 256;
/// Connections that one event of a listener brings: others have a turn too.
const ACCEPTS: u32 = 64;
/// About so many bytes are read until [`Epoll::enter`] is called again: the
/// output has a turn in between, while they are in the cache.
const ROUND: usize = READ_BUFFERS as usize * READ_BUFFER_SIZE;
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

/// What [`Epoll::next`] has to do besides reading.
#[derive(Debug)]
enum Due {
    Accept {
        number: u64,
        /// So many at most.
        left: u32,
    },
    /// It is ready, but not wanted now.
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
    /// Those that are ready and wanted, in the order of their turns.
    reads: VecDeque<u64>,
    /// Bytes that may still be read in this round.
    left: usize,
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
            reads: VecDeque::new(),
            left: ROUND,
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
        self.want(Token::Read(number), fd, by, ready && by != ReadBy::Read);
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
            self.queue(token);
        } else {
            source.wants = Wants::Event;
        }
    }

    fn queue(&mut self, token: Token) {
        if let Some(source) = self.sources.get_mut(&token.to_u64()) {
            source.wants = Wants::Turn;
        }
        match token {
            Token::Read(number) => self.reads.push_back(number),
            Token::Accept(number) => self.due.push_back(Due::Accept {
                number,
                left: ACCEPTS,
            }),
            Token::Cancel => {}
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
        // What fails here fails in `enter` too.
        self.is_due() || self.enter().is_err() || self.is_due()
    }

    fn is_due(&self) -> bool {
        !self.due.is_empty() || (!self.lent && !self.reads.is_empty())
    }

    /// Sees who is ready.
    pub fn enter(&mut self) -> io::Result<()> {
        self.left = ROUND;
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
        let wanted = source.wants != Wants::Nothing;
        if source.wants == Wants::Event {
            self.queue(token);
        }
        // While nobody can be read, those who could must not hide the others.
        let hides = self.lent && matches!(token, Token::Read(_));
        if !wanted || hides {
            self.due.push_back(Due::Unwatch(token));
        }
    }

    /// The next completion: does what is due until there is one.
    pub fn next<'a>(
        &mut self,
        find: impl Fn(Token) -> Option<BorrowedFd<'a>>,
    ) -> Option<Completion<Filled>> {
        loop {
            let completion = match self.due.pop_front() {
                None => {
                    // They keep their turns meanwhile.
                    if self.lent || self.left == 0 {
                        return None;
                    }
                    let number = self.reads.pop_front()?;
                    let fd = find(Token::Read(number));
                    fd.and_then(|fd| self.try_read(number, fd))
                }
                Some(Due::Accept { number, left }) => {
                    let fd = find(Token::Accept(number));
                    fd.and_then(|fd| self.try_accept(number, fd, left))
                }
                Some(Due::Unwatch(token)) => {
                    if let Some(source) = self.sources.get_mut(&token.to_u64())
                        && source.wants != Wants::Event
                        && let Some(fd) = find(token)
                    {
                        source.unwatch(&self.set, fd);
                    }
                    None
                }
                Some(Due::Failed(token, error)) => failed(token, error),
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
        let read = source.read(fd, &mut self.buffer);
        let error = read.as_ref().err().and_then(Errno::from_io_error);
        let len = match (read, error) {
            (Ok(len), _) => len,
            (_, Some(Errno::INTR)) => {
                source.wants = Wants::Turn;
                self.reads.push_front(number);
                return None;
            }
            (_, Some(Errno::AGAIN)) => {
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
            (Err(error), _) => return failed(token, error),
        };
        self.lent = len > 0;
        self.left = self.left.saturating_sub(len);
        Some(Completion::Read {
            number,
            result: Ok((len > 0).then_some(Filled { len })),
            // Of others the set tells.
            more: source.watched == Watched::Never,
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

fn failed(token: Token, error: impl Into<io::Error>) -> Option<Completion<Filled>> {
    let error = error.into();
    match token {
        Token::Read(number) => Some(Completion::Read {
            number,
            result: Err(error),
            more: false,
        }),
        Token::Accept(number) => Some(Completion::Accept {
            number,
            result: Err(error),
            armed: false,
        }),
        Token::Cancel => None,
    }
}

#[cfg(test)]
mod tests;
