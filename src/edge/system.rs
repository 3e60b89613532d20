//! What the edge asks of the kernel, and the two ways to have it done: a
//! [`Ring`] of io_uring, or [`Epoll`] and plain calls. Both are asked the same
//! and answer the same, so that nothing else knows which one it is.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use super::buffers;
use super::epoll::{self, Epoll};
use super::ring::Ring;

/// What an operation was for, and comes back with its completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Token {
    /// A read of the connection with that number, which has 56 bits.
    Read(u64),
    /// An accept on the listener with that number.
    Accept(u64),
    /// A cancellation, whose own completion says nothing.
    Cancel,
}

impl Token {
    const NUMBER: u64 = (1 << 56) - 1;

    pub fn to_u64(self) -> u64 {
        let (tag, number) = match self {
            Self::Read(number) => (1, number),
            Self::Accept(number) => (2, number),
            Self::Cancel => (3, 0),
        };
        assert!(number <= Self::NUMBER);
        tag << 56 | number
    }

    pub fn from_u64(user_data: u64) -> Self {
        let number = user_data & Self::NUMBER;
        match user_data >> 56 {
            1 => Self::Read(number),
            2 => Self::Accept(number),
            3 => Self::Cancel,
            tag => unreachable!("no operation has the tag {tag}"),
        }
    }
}

/// An operation has completed.
#[derive(Debug)]
pub(super) enum Completion<F = Filled> {
    /// A read: data, or `None` at the end. `more`: there is data left in the
    /// socket.
    Read {
        number: u64,
        result: io::Result<Option<F>>,
        more: bool,
    },
    /// An accept. `armed`: more may follow without being asked for.
    Accept {
        number: u64,
        result: io::Result<OwnedFd>,
        armed: bool,
    },
}

impl<F> Completion<F> {
    fn map<G>(self, wrap: impl FnOnce(F) -> G) -> Completion<G> {
        match self {
            Self::Read {
                number,
                result,
                more,
            } => Completion::Read {
                number,
                result: result.map(|filled| filled.map(wrap)),
                more,
            },
            Self::Accept {
                number,
                result,
                armed,
            } => Completion::Accept {
                number,
                result,
                armed,
            },
        }
    }
}

/// How a descriptor is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadBy {
    /// A stream socket.
    Recv,
    /// A stream socket over which descriptors may be passed: it is looked at
    /// before it is read.
    Look,
    /// Anything else: pipe, terminal, file.
    Read,
}

/// What was read, in a buffer that must be given back. It can't be copied, so
/// that happens once.
#[derive(Debug)]
pub(crate) enum Filled {
    Ring(buffers::Filled),
    Epoll(epoll::Filled),
}

impl Filled {
    pub fn len(&self) -> usize {
        match self {
            Self::Ring(filled) => filled.len(),
            Self::Epoll(filled) => filled.len(),
        }
    }
}

/// See the module.
pub(super) enum Io {
    Ring(Box<Ring>),
    Epoll(Epoll),
}

impl Io {
    /// Becomes readable when there is work for [`enter`](Self::enter).
    pub fn wait_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Ring(ring) => ring.eventfd(),
            Self::Epoll(epoll) => epoll.wait_fd(),
        }
    }

    /// Makes that descriptor readable.
    pub fn signal(&self) -> io::Result<()> {
        match self {
            Self::Ring(ring) => ring.signal(),
            Self::Epoll(epoll) => epoll.signal(),
        }
    }

    /// Reads once from `fd`, which must stay open until the completion comes.
    /// `ready`: there is data in it already.
    pub fn read(
        &mut self,
        number: u64,
        fd: BorrowedFd<'_>,
        by: ReadBy,
        ready: bool,
    ) -> io::Result<()> {
        match self {
            Self::Ring(ring) => ring.read(number, fd, by, ready),
            Self::Epoll(epoll) => {
                epoll.read(number, fd, by, ready);
                Ok(())
            }
        }
    }

    /// Accepts from `fd`, which must stay open, until a completion says that
    /// it is no longer armed.
    pub fn accept(&mut self, number: u64, fd: BorrowedFd<'_>) -> io::Result<()> {
        match self {
            Self::Ring(ring) => ring.accept(number, fd),
            Self::Epoll(epoll) => {
                epoll.accept(number, fd);
                Ok(())
            }
        }
    }

    /// Cancels the read of that number, if it has not completed.
    pub fn cancel_read(&mut self, number: u64) -> io::Result<()> {
        match self {
            Self::Ring(ring) => ring.cancel_read(number),
            Self::Epoll(epoll) => {
                epoll.cancel(Token::Read(number));
                Ok(())
            }
        }
    }

    /// Cancels the accept of that number.
    pub fn cancel_accept(&mut self, number: u64) -> io::Result<()> {
        match self {
            Self::Ring(ring) => ring.cancel_accept(number),
            Self::Epoll(epoll) => {
                epoll.cancel(Token::Accept(number));
                Ok(())
            }
        }
    }

    /// `fd`, which nothing is under way for, is about to be closed.
    pub fn forget(&mut self, token: Token, fd: BorrowedFd<'_>) {
        match self {
            Self::Ring(_) => {}
            Self::Epoll(epoll) => epoll.forget(token, fd),
        }
    }

    /// Is there anything that [`enter`](Self::enter) would do?
    pub fn has_work(&mut self) -> bool {
        match self {
            Self::Ring(ring) => ring.has_work(),
            Self::Epoll(epoll) => epoll.has_work(),
        }
    }

    /// Lets the kernel work on what was asked for.
    pub fn enter(&mut self) -> io::Result<()> {
        match self {
            Self::Ring(ring) => ring.enter(),
            Self::Epoll(epoll) => epoll.enter(),
        }
    }

    /// The next completion. `find` knows the descriptors of all operations.
    pub fn next<'a>(
        &mut self,
        find: impl Fn(Token) -> Option<BorrowedFd<'a>>,
    ) -> Option<Completion> {
        match self {
            Self::Ring(ring) => Some(ring.next()?.map(Filled::Ring)),
            Self::Epoll(epoll) => Some(epoll.next(find)?.map(Filled::Epoll)),
        }
    }

    /// What was read.
    pub fn bytes(&self, filled: &Filled) -> &[u8] {
        match (self, filled) {
            (Self::Ring(ring), Filled::Ring(filled)) => ring.bytes(filled),
            (Self::Epoll(epoll), Filled::Epoll(filled)) => epoll.bytes(filled),
            _ => unreachable!("it was read here"),
        }
    }

    /// Gives a buffer back.
    pub fn recycle(&mut self, filled: Filled) {
        match (self, filled) {
            (Self::Ring(ring), Filled::Ring(filled)) => ring.recycle(filled),
            (Self::Epoll(epoll), Filled::Epoll(filled)) => epoll.recycle(filled),
            _ => unreachable!("it was read here"),
        }
    }
}
