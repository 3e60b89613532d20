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
use super::io::{Completion, ReadBy, Token, Wait};
use crate::core::{ClientKey, ListenerKey};
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

/// As one number of 64 bits, to go through the kernel and back.
fn to_u64(token: Token) -> u64 {
    let (tag, number) = match token {
        Token::Client(client) => (1, client.to_u64()),
        Token::Listener(listener) => (2, listener.to_u64()),
        Token::Output(number) => (3, number.into()),
    };
    tag << 56 | number
}

/// What [`to_u64`] made a number of.
fn from_u64(data: u64) -> Token {
    let number = data & ((1 << 56) - 1);
    match data >> 56 {
        1 => Token::Client(ClientKey::from_u64(number)),
        2 => Token::Listener(ListenerKey::from_u64(number)),
        3 => Token::Output(number as u32),
        tag => unreachable!("nothing has the tag {tag}"),
    }
}

/// The buffer, while somebody has it.
#[derive(Debug)]
pub struct Filled {
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
        listener: ListenerKey,
        /// So many at most.
        left: u32,
    },
    /// It can be read, and that is all that is wanted.
    Readable(ClientKey),
    /// What the output waits for has come.
    Ready(u32),
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
    reads: VecDeque<ClientKey>,
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

    /// What makes the set readable.
    pub fn eventfd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }

    /// Reads once. An error comes as a completion: it is about this one alone.
    pub fn read(&mut self, client: ClientKey, fd: BorrowedFd<'_>, by: ReadBy, ready: bool) {
        // What may block is only read once it is known not to.
        let at_once = ready && by != ReadBy::Read;
        let wants = match at_once {
            true => Wants::Turn,
            false => Wants::Event,
        };
        self.want(Token::Client(client), fd, by, wants);
    }

    /// Waits until it can be read.
    pub fn readable(&mut self, client: ClientKey, fd: BorrowedFd<'_>, by: ReadBy) {
        self.want(Token::Client(client), fd, by, Wants::Told);
    }

    /// Accepts until told otherwise.
    pub fn accept(&mut self, listener: ListenerKey, fd: BorrowedFd<'_>) {
        let token = Token::Listener(listener);
        // A client may be gone between the event and the call.
        match rustix::io::ioctl_fionbio(fd, true) {
            Ok(()) => self.want(token, fd, ReadBy::Recv, Wants::Event),
            Err(error) => self.due.push_back(Due::Failed(token, error)),
        }
    }

    /// Waits for a descriptor of the output, once.
    pub fn wait(&mut self, number: u32, fd: BorrowedFd<'_>, wait: Wait) -> io::Result<()> {
        let events = epoll::EventFlags::ONESHOT
            | match wait {
                Wait::Readable => epoll::EventFlags::IN | epoll::EventFlags::RDHUP,
                Wait::Writable => epoll::EventFlags::OUT,
                Wait::Either => {
                    epoll::EventFlags::IN | epoll::EventFlags::RDHUP | epoll::EventFlags::OUT
                }
            };
        let data = epoll::EventData::new_u64(to_u64(Token::Output(number)));
        match epoll::add(&self.set, fd, data, events) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => Ok(epoll::modify(&self.set, fd, data, events)?),
            // It is a file that is always ready.
            Err(Errno::PERM) => {
                self.due.push_back(Due::Ready(number));
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn want(&mut self, token: Token, fd: BorrowedFd<'_>, by: ReadBy, wants: Wants) {
        let source = self.sources.entry(to_u64(token)).or_insert(Source {
            by,
            watched: Watched::No,
            wants: Wants::Nothing,
        });
        if wants != Wants::Turn
            && let Err(error) = source.watch(&self.set, to_u64(token), fd)
        {
            self.due.push_back(Due::Failed(token, error));
            return;
        }
        source.wants = wants;
        if wants == Wants::Turn || source.watched == Watched::Never {
            self.queue(token);
        }
    }

    /// It is ready, and wanted.
    fn queue(&mut self, token: Token) {
        let Some(source) = self.sources.get_mut(&to_u64(token)) else {
            return;
        };
        match token {
            Token::Client(client) if source.wants == Wants::Told => {
                source.wants = Wants::Nothing;
                self.due.push_back(Due::Readable(client));
            }
            Token::Client(client) => {
                source.wants = Wants::Turn;
                self.reads.push_back(client);
            }
            Token::Listener(listener) => {
                source.wants = Wants::Turn;
                let left = ACCEPTS;
                self.due.push_back(Due::Accept { listener, left });
            }
            Token::Output(_) => {}
        }
    }

    /// Cancels what is under way: it completes with an error.
    pub fn cancel(&mut self, token: Token) {
        if let Some(source) = self.sources.get_mut(&to_u64(token))
            && source.wants != Wants::Nothing
        {
            source.wants = Wants::Nothing;
            self.due.push_back(Due::Failed(token, Errno::CANCELED));
        }
    }

    /// The descriptor is about to be closed. If others have it too, the set
    /// would keep it.
    pub fn forget(&mut self, token: Token, fd: BorrowedFd<'_>) {
        if let Some(mut source) = self.sources.remove(&to_u64(token)) {
            source.unwatch(&self.set, fd);
        } else if matches!(token, Token::Output(_)) {
            // It may never have been waited for.
            let _ = epoll::delete(&self.set, fd);
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
                self.happened(from_u64(event.data.u64()));
            }
        }
        self.events = events;
        match waited {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn happened(&mut self, token: Token) {
        if let Token::Output(number) = token {
            self.due.push_back(Due::Ready(number));
            return;
        }
        let Some(source) = self.sources.get_mut(&to_u64(token)) else {
            return;
        };
        let wanted = source.wants != Wants::Nothing;
        if matches!(source.wants, Wants::Event | Wants::Told) {
            self.queue(token);
        }
        // While nobody can be read, those who could must not hide the others.
        let hides = self.lent && matches!(token, Token::Client(_));
        if !wanted || hides {
            self.due.push_back(Due::Unwatch(token));
        }
    }

    /// The next completion: does what is due until there is one.
    pub fn next<'a>(
        &mut self,
        find: impl Fn(Token) -> Option<&'a OwnedFd>,
    ) -> Option<Completion<OwnedFd, Filled>> {
        let find = |token| Some(find(token)?.as_fd());
        loop {
            let completion = match self.due.pop_front() {
                None => {
                    // They keep their turns meanwhile.
                    if self.lent || self.left == 0 {
                        return None;
                    }
                    let client = self.reads.pop_front()?;
                    let fd = find(Token::Client(client));
                    fd.and_then(|fd| self.try_read(client, fd))
                }
                Some(Due::Accept { listener, left }) => {
                    let fd = find(Token::Listener(listener));
                    fd.and_then(|fd| self.try_accept(listener, fd, left))
                }
                Some(Due::Readable(client)) => Some(Completion::Readable {
                    client,
                    result: Ok(()),
                }),
                Some(Due::Ready(number)) => Some(Completion::Ready {
                    number,
                    result: Ok(()),
                }),
                Some(Due::Unwatch(token)) => {
                    if let Some(source) = self.sources.get_mut(&to_u64(token))
                        && !matches!(source.wants, Wants::Event | Wants::Told)
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
    fn try_read(
        &mut self,
        client: ClientKey,
        fd: BorrowedFd<'_>,
    ) -> Option<Completion<OwnedFd, Filled>> {
        let token = Token::Client(client);
        let source = self.sources.get_mut(&to_u64(token))?;
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
                self.reads.push_front(client);
                return None;
            }
            (_, Some(Errno::AGAIN)) => {
                return match source.watch(&self.set, to_u64(token), fd) {
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
            client,
            result: Ok((len > 0).then_some(Filled { len })),
            // Of others the set tells.
            more: source.watched == Watched::Never,
        })
    }

    /// `None`: nobody connects now, or it is not wanted any more.
    fn try_accept(
        &mut self,
        listener: ListenerKey,
        fd: BorrowedFd<'_>,
        left: u32,
    ) -> Option<Completion<OwnedFd, Filled>> {
        let token = Token::Listener(listener);
        let source = self.sources.get_mut(&to_u64(token))?;
        if source.wants != Wants::Turn {
            return None;
        }
        source.wants = Wants::Event;
        match accept_with(fd, SocketFlags::CLOEXEC) {
            Ok(accepted) => {
                if left > 1 {
                    source.wants = Wants::Turn;
                    let left = left - 1;
                    self.due.push_back(Due::Accept { listener, left });
                }
                Some(Completion::Accepted {
                    listener,
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

fn failed(token: Token, error: impl Into<io::Error>) -> Option<Completion<OwnedFd, Filled>> {
    let error = error.into();
    Some(match token {
        Token::Client(client) => Completion::Read {
            client,
            result: Err(error),
            more: false,
        },
        Token::Listener(listener) => Completion::Accepted {
            listener,
            result: Err(error),
            armed: false,
        },
        Token::Output(number) => Completion::Ready {
            number,
            result: Err(error),
        },
    })
}

#[cfg(test)]
mod tests;
