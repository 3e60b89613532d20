//! What was asked for and has not completed.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use butler::core::{ClientKey, ListenerKey};
use butler::edge::io::{Completion, Sync, Token, Wait};
use rustix::io::Errno;

use super::peer::Connection;
use super::{Fd, Filled, State, What};
use crate::broken::Broken;
use crate::disk::Syncing;
use crate::plan::Fault;

/// See the module.
#[derive(Debug)]
pub enum Operation {
    Read(ClientKey, usize),
    Readable(ClientKey, usize),
    Accept(ListenerKey),
    Wait(u32, Rc<Connection>, Wait),
    /// A host's addresses are known then.
    Resolve(u32, u64),
    /// A file is synced then.
    Sync(u32, u64, Option<(Syncing, Sync)>),
}

impl Operation {
    fn token(&self) -> Token {
        match self {
            Self::Read(client, _) | Self::Readable(client, _) => Token::Client(*client),
            Self::Accept(listener) => Token::Listener(*listener),
            Self::Wait(number, ..) | Self::Resolve(number, _) | Self::Sync(number, ..) => {
                Token::Output(*number)
            }
        }
    }

    /// It completes with that error.
    fn fails(self, error: io::Error) -> Completion<Fd, Filled> {
        match self {
            Self::Read(client, _) => Completion::Read {
                client,
                result: Err(error),
                more: false,
            },
            Self::Readable(client, _) => Completion::Readable {
                client,
                result: Err(error),
            },
            Self::Accept(listener) => Completion::Accepted {
                listener,
                result: Err(error),
                armed: false,
            },
            Self::Wait(number, ..) => Completion::Ready {
                number,
                result: Err(error),
            },
            Self::Resolve(number, _) => Completion::Resolved {
                number,
                result: Err(error),
            },
            Self::Sync(number, ..) => Completion::Synced {
                number,
                result: Err(error),
            },
        }
    }
}

impl State {
    /// # Panics
    ///
    /// If something is under way for its token.
    pub(super) fn ask(&mut self, operation: Operation) {
        let token = operation.token();
        assert!(!self.is_under_way(token), "{token:?} is asked for twice");
        self.is_asked = true;
        self.calls += 1;
        self.operations.push(operation);
    }

    pub(super) fn is_under_way(&self, token: Token) -> bool {
        self.operations.iter().any(|it| it.token() == token)
    }

    pub(super) fn cancel(&mut self, token: Token) {
        let at = self.operations.iter().position(|it| it.token() == token);
        if let Some(at) = at {
            let cancelled = self.operations.remove(at);
            let error = Errno::CANCELED.into();
            self.completed.push_back(cancelled.fails(error));
        }
    }

    /// Could something complete now?
    pub fn could_complete(&self) -> bool {
        !self.completed.is_empty() || self.operations.iter().any(|it| self.may_complete(it))
    }

    fn may_complete(&self, operation: &Operation) -> bool {
        match operation {
            Operation::Read(_, client) => {
                let socket = &self.sockets[*client];
                let at_end = socket.len() == 0 && self.chance.broken == Some(Broken::ForgetsEnd);
                socket.is_readable() && !at_end
            }
            Operation::Readable(_, client) => {
                self.sockets[*client].is_readable()
                    && self.chance.broken != Some(Broken::HidesReadiness)
            }
            Operation::Accept(_) => !self.queue.is_empty(),
            Operation::Wait(_, connection, wait) => {
                self.peer.is_ready(connection, *wait, self.now_ns)
            }
            Operation::Resolve(_, due_ns) | Operation::Sync(_, due_ns, _) => *due_ns <= self.now_ns,
        }
    }

    /// When something completes that can't now.
    pub fn due(&self) -> Option<u64> {
        let due = self.operations.iter().filter_map(|it| match it {
            Operation::Wait(_, connection, _) => self.peer.due_ns(connection, self.now_ns),
            Operation::Resolve(_, due_ns) | Operation::Sync(_, due_ns, _) => Some(*due_ns),
            _ => None,
        });
        due.filter(|due| *due > self.now_ns && *due < u64::MAX)
            .min()
    }

    /// Is what the client writes awaited?
    pub fn is_awaited(&self, client: usize) -> bool {
        self.operations.iter().any(|it| match it {
            Operation::Read(_, number) | Operation::Readable(_, number) => *number == client,
            _ => false,
        })
    }

    /// Completes what can be, some of it later than others.
    pub(super) fn work(&mut self) {
        let late = self.chance.is_allowed(Fault::LateReads);
        if late && !self.operations.is_empty() {
            let first = self.chance.random.size(0, self.operations.len() - 1);
            self.operations.rotate_left(first);
        }
        let mut at = 0;
        while at < self.operations.len() {
            let waits = late && self.chance.random.one_in(2);
            match self.may_complete(&self.operations[at]) && !waits {
                true => {
                    let operation = self.operations.remove(at);
                    self.complete(operation);
                }
                false => at += 1,
            }
        }
    }

    fn complete(&mut self, operation: Operation) {
        let completion = match operation {
            Operation::Read(client, number) => match self.read(number) {
                Err(error) => operation.fails(error),
                Ok(data) => Completion::Read {
                    client,
                    result: Ok(data),
                    more: self.sockets[number].len() > 0,
                },
            },
            Operation::Readable(..) if self.chance.happens(Fault::Interrupts, 10) => {
                operation.fails(Errno::INTR.into())
            }
            Operation::Readable(client, _) => Completion::Readable {
                client,
                result: Ok(()),
            },
            Operation::Accept(listener) => return self.accept_all(listener),
            Operation::Wait(number, ..) => Completion::Ready {
                number,
                result: Ok(()),
            },
            Operation::Resolve(number, _) => Completion::Resolved {
                number,
                result: self.resolved(),
            },
            Operation::Sync(number, _, syncing) => Completion::Synced {
                number,
                result: self.synced(syncing),
            },
        };
        self.completed.push_back(completion);
    }

    fn synced(&mut self, syncing: Option<(Syncing, Sync)>) -> io::Result<()> {
        let fails = self.chance.happens(Fault::FileErrors, 6);
        self.trace.note(|| format!("a sync; it fails: {fails}"));
        match syncing {
            Some((syncing, _)) if fails => {
                self.failed_syncs += 1;
                syncing.fail();
                Err(Errno::IO.into())
            }
            Some((syncing, what)) => {
                syncing.succeed(what == Sync::All);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn read(&mut self, number: usize) -> io::Result<Option<Filled>> {
        if self.chance.happens(Fault::Interrupts, 10) {
            return Err(self.chance.random.pick(&[Errno::INTR, Errno::AGAIN]).into());
        }
        if self.buffers == 0 {
            return Err(Errno::NOBUFS.into());
        }
        if self.chance.happens(Fault::ReadErrors, 40) {
            self.trace.note(|| format!("read of {number} fails"));
            self.sockets[number].failed = true;
            return Err(Errno::IO.into());
        }
        let data = self.read_or_mangle(number);
        self.trace
            .note(|| format!("read {} of {number}", data.len()));
        if data.is_empty() {
            return Ok(None);
        }
        self.buffers -= 1;
        Ok(Some(Filled(data)))
    }

    /// Reads, and does one thing wrong if this kernel does.
    fn read_or_mangle(&mut self, number: usize) -> Vec<u8> {
        let max = self.chance.read_len();
        let socket = &mut self.sockets[number];
        let is_data = socket.read >= socket.header && socket.len() > 8;
        if is_data && self.chance.breaks(Broken::LosesRead) {
            let lost = socket.read(max.min(socket.len() - 1));
            self.trace
                .note(|| format!("loses {} of {number}", lost.len()));
        }
        let others = self.sockets.iter().enumerate();
        let full = |(at, it): (usize, &super::Socket)| {
            (at != number && it.read >= it.header && it.len() > 8).then_some(at)
        };
        if is_data
            && let Some(other) = others.filter_map(full).next()
            && self.chance.breaks(Broken::MixesStreams)
        {
            return self.sockets[other].read(max);
        }
        let mut data = self.sockets[number].read(max);
        if is_data && data.len() > 8 {
            if self.chance.breaks(Broken::RepeatsRead) {
                data.extend_from_within(..);
            } else if self.chance.breaks(Broken::SwapsHalves) {
                let half = data.len() / 2;
                data.rotate_left(half);
            }
        }
        data
    }

    /// As many as there are descriptors for.
    fn accept_all(&mut self, listener: ListenerKey) {
        while !self.queue.is_empty() {
            if self.chance.happens(Fault::Interrupts, 10) {
                let gone = Operation::Accept(listener).fails(Errno::CONNABORTED.into());
                return self.completed.push_back(gone);
            }
            match self.accept_next() {
                Ok(fd) => self.completed.push_back(Completion::Accepted {
                    listener,
                    result: Ok(fd),
                    armed: true,
                }),
                Err(error) => {
                    let fails = Operation::Accept(listener).fails(error);
                    return self.completed.push_back(fails);
                }
            }
        }
        self.operations.push(Operation::Accept(listener));
    }

    pub(super) fn accept_next(&mut self) -> io::Result<Fd> {
        let next = *self.queue.front().expect("somebody waits");
        let Some(fd) = self.fd(What::Client(next)) else {
            self.trace.note(|| "no descriptor to accept with".into());
            return Err(Errno::MFILE.into());
        };
        self.queue.pop_front();
        self.sockets[next].accepted = true;
        self.trace.note(|| format!("accepted {next}"));
        Ok(fd)
    }

    fn resolved(&mut self) -> io::Result<Vec<SocketAddr>> {
        if self.chance.happens(Fault::Refusals, 3) {
            return Err(io::Error::other("no such host"));
        }
        let addresses = self.chance.random.within(1, 3);
        let address = |last| SocketAddr::from(([192, 0, 2, last as u8], 7));
        Ok((1..=addresses).map(address).collect())
    }
}
