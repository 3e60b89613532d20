//! One connection after another to the same address, each made without waiting.

use std::io;
use std::net::SocketAddr;
use std::vec;

use bytes::Bytes;

use super::Address;
use crate::edge::io::{Endpoint, Io, Token, Wait};
use crate::edge::transport::Completed;
use crate::edge::writer::io_slices;
use crate::limits::CONNECT_TIMEOUT;

/// Whether a step is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Done,
    /// It goes on when an operation has completed, or its time is over.
    Waits,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Link<D> {
    host: Host,
    state: State<D>,
    /// Of what the state waits for: each descriptor and each question has one of
    /// its own, so that what completes late is known as such.
    number: u32,
    /// An operation of that number is under way.
    is_waiting: bool,
}

#[derive(Debug)]
enum Host {
    Unix(Endpoint),
    Tcp { host: String, port: u16 },
}

#[derive(Debug)]
enum State<D> {
    None,
    /// The host's addresses are asked for.
    Resolving,
    /// They are known.
    Resolved(io::Result<Vec<SocketAddr>>),
    Connecting {
        fd: D,
        /// The addresses that are tried after this one.
        others: vec::IntoIter<SocketAddr>,
        /// Until when it may take; as long as it likes if there is none.
        until_ns: Option<u64>,
    },
    Open(D),
}

impl<D> Link<D> {
    pub fn new(address: &Address) -> Self {
        let host = match address {
            Address::Unix(path) => Host::Unix(Endpoint::Unix(path.clone())),
            Address::Tcp { host, port } => Host::Tcp {
                host: host.clone(),
                port: *port,
            },
        };
        Self {
            host,
            state: State::None,
            number: 0,
            is_waiting: false,
        }
    }

    /// The connection, if there is one.
    #[cfg(test)]
    pub fn open(&self) -> Option<&D> {
        match &self.state {
            State::Open(fd) => Some(fd),
            _ => None,
        }
    }

    /// Goes on until there is a connection.
    ///
    /// # Errors
    ///
    /// None of the addresses can be connected to: that of the last one.
    pub fn connect<I: Io<Fd = D>>(&mut self, io: &mut I, now_ns: u64) -> io::Result<Step> {
        loop {
            match std::mem::replace(&mut self.state, State::None) {
                State::Open(fd) => {
                    self.state = State::Open(fd);
                    return Ok(match self.is_waiting {
                        true => Step::Waits,
                        false => Step::Done,
                    });
                }
                State::None => self.begin(io)?,
                State::Resolving => {
                    self.state = State::Resolving;
                    return Ok(Step::Waits);
                }
                State::Resolved(found) => {
                    let none = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
                    self.try_next(io, now_ns, found?.into_iter(), none)?;
                }
                State::Connecting {
                    fd,
                    others,
                    until_ns,
                } => {
                    let is_late = until_ns.is_some_and(|until| until <= now_ns);
                    if self.is_waiting && !is_late {
                        self.state = State::Connecting {
                            fd,
                            others,
                            until_ns,
                        };
                        return Ok(Step::Waits);
                    }
                    match io.connected(&fd) {
                        Ok(()) => self.state = State::Open(fd),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock && !is_late => {
                            io.wait(self.number, &fd, Wait::Writable)?;
                            self.is_waiting = true;
                            self.state = State::Connecting {
                                fd,
                                others,
                                until_ns,
                            };
                        }
                        Err(error) => {
                            self.close(io, fd);
                            let error = match is_late {
                                true => io::ErrorKind::TimedOut.into(),
                                false => error,
                            };
                            self.try_next(io, now_ns, others, error)?;
                        }
                    }
                }
            }
        }
    }

    fn begin<I: Io<Fd = D>>(&mut self, io: &mut I) -> io::Result<()> {
        self.number = self.number.wrapping_add(1);
        match &self.host {
            Host::Unix(path) => {
                self.state = State::Connecting {
                    fd: io.connect(path)?,
                    others: Vec::new().into_iter(),
                    until_ns: None,
                };
            }
            Host::Tcp { host, port } => {
                io.resolve(self.number, host, *port)?;
                self.is_waiting = true;
                self.state = State::Resolving;
            }
        }
        Ok(())
    }

    /// Tries the addresses, until one is not refused at once. If all are it
    /// fails as the last one did.
    fn try_next<I: Io<Fd = D>>(
        &mut self,
        io: &mut I,
        now_ns: u64,
        mut others: vec::IntoIter<SocketAddr>,
        mut error: io::Error,
    ) -> io::Result<()> {
        while let Some(address) = others.next() {
            match io.connect(&Endpoint::Tcp(address)) {
                Ok(fd) => {
                    self.number = self.number.wrapping_add(1);
                    self.state = State::Connecting {
                        fd,
                        others,
                        until_ns: Some(now_ns + CONNECT_TIMEOUT.as_nanos() as u64),
                    };
                    return Ok(());
                }
                Err(refused) => error = refused,
            }
        }
        Err(error)
    }

    /// The operation of that number has completed.
    pub fn completed(&mut self, number: u32, what: Completed) {
        if number != self.number {
            return;
        }
        self.is_waiting = false;
        if let (State::Resolving, Completed::Resolved(found)) = (&self.state, what) {
            self.state = State::Resolved(found);
        }
    }

    /// When connecting has taken too long.
    pub fn due_ns(&self) -> Option<u64> {
        match &self.state {
            State::Connecting { until_ns, .. } => *until_ns,
            _ => None,
        }
    }

    /// Sends what the connection takes.
    pub fn send<I: Io<Fd = D>>(&mut self, io: &mut I, slices: &[Bytes]) -> io::Result<usize> {
        match &self.state {
            State::Open(fd) => io.send(fd, &io_slices(slices)),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// The connection takes nothing now.
    pub fn wait_writable<I: Io<Fd = D>>(&mut self, io: &mut I) -> io::Result<()> {
        self.wait(io, Wait::Writable)
    }

    fn wait<I: Io<Fd = D>>(&mut self, io: &mut I, wait: Wait) -> io::Result<()> {
        if let State::Open(fd) = &self.state
            && !self.is_waiting
        {
            io.wait(self.number, fd, wait)?;
            self.is_waiting = true;
        }
        Ok(())
    }

    /// Is the peer of the connection still there, if there is one?
    pub fn check<I: Io<Fd = D>>(&mut self, io: &mut I) -> io::Result<()> {
        match &self.state {
            State::Open(fd) => io.check(fd),
            _ => Ok(()),
        }
    }

    /// Nothing more is sent. `Waits`: a TCP peer reads the rest, and
    /// [`is_closed`](Self::is_closed) then. Of a Unix socket all that was written is
    /// with the peer already.
    pub fn finish<I: Io<Fd = D>>(&mut self, io: &mut I) -> io::Result<Step> {
        let State::Open(fd) = &self.state else {
            return Ok(Step::Done);
        };
        io.finish_sending(fd)?;
        match &self.host {
            Host::Tcp { .. } => Ok(Step::Waits),
            Host::Unix(_) => {
                // What we leave unread would reach the peer as an error.
                io.drain(fd)?;
                Ok(Step::Done)
            }
        }
    }

    /// Has the peer closed its half? If not, that is waited for.
    pub fn is_closed<I: Io<Fd = D>>(&mut self, io: &mut I) -> io::Result<bool> {
        let State::Open(fd) = &self.state else {
            return Ok(true);
        };
        if io.drain(fd)? {
            return Ok(true);
        }
        self.wait(io, Wait::Readable)?;
        Ok(false)
    }

    /// The connection, or the attempt to make one, is over.
    pub fn drop_connection<I: Io<Fd = D>>(&mut self, io: &mut I) {
        match std::mem::replace(&mut self.state, State::None) {
            State::Connecting { fd, .. } | State::Open(fd) => self.close(io, fd),
            _ => {}
        }
        // What completes from now on is of earlier.
        self.number = self.number.wrapping_add(1);
        self.is_waiting = false;
    }

    fn close<I: Io<Fd = D>>(&mut self, io: &mut I, fd: D) {
        let token = Token::Output(self.number);
        if std::mem::take(&mut self.is_waiting)
            && let Err(error) = io.cancel(token)
        {
            log::debug!("an output's operation can't be cancelled: {error}");
        }
        io.forget(token, &fd);
        drop(fd);
    }
}
