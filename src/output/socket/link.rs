//! One connection after another to the same address, each made without waiting.

use std::io;
use std::net::SocketAddr;
use std::vec;

use bytes::Bytes;

use super::Address;
use super::channel::Channel;
use super::session::Client;
use crate::edge::io::{Endpoint, Io, Token, Wait};
use crate::edge::transport::Completed;
use crate::limits::{CONNECT_TIMEOUT, TLS_REFUSAL_WAIT};

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
    /// Of what is waited for: each descriptor, each question and each wait has one
    /// of its own, so that what completes late is known as such.
    number: u32,
    /// What the operation of that number, which is under way, waits for.
    waiting: Option<Wait>,
    /// It was told that others can listen in.
    has_warned: bool,
}

#[derive(Debug)]
enum Host {
    Unix(Endpoint),
    Tcp {
        host: String,
        port: u16,
        tls: Option<Encryption>,
    },
}

/// How connections are encrypted.
#[derive(Debug, Clone)]
pub(super) struct Encryption {
    pub client: Client,
    /// We have a certificate, which the server may refuse.
    pub has_certificate: bool,
}

#[derive(Debug)]
enum State<D> {
    None,
    /// The host's addresses are asked for.
    Resolving,
    /// They are known.
    Resolved(io::Result<Vec<SocketAddr>>),
    Connecting(Connecting<D>),
    /// Each gets to know who the other is.
    Greeting(Greeting<D>),
    Open(Channel<D>),
}

#[derive(Debug)]
struct Connecting<D> {
    fd: D,
    /// Where, if it is over TCP.
    address: Option<SocketAddr>,
    /// The addresses that are tried after this one.
    others: vec::IntoIter<SocketAddr>,
    /// Until when it may take; as long as it likes if there is none.
    until_ns: Option<u64>,
}

#[derive(Debug)]
struct Greeting<D> {
    channel: Channel<D>,
    /// The handshake is over, but for what the server says of our certificate.
    is_known: bool,
    until_ns: u64,
}

impl<D> Link<D> {
    pub fn new(address: &Address) -> Self {
        let host = match address {
            Address::Unix(path) => Host::Unix(Endpoint::Unix(path.clone())),
            Address::Tcp { host, port } => Host::Tcp {
                host: host.clone(),
                port: *port,
                tls: None,
            },
        };
        Self {
            host,
            state: State::None,
            number: 0,
            waiting: None,
            has_warned: false,
        }
    }

    /// Its connections are encrypted, if they are over TCP.
    pub fn encrypt(&mut self, encryption: Encryption) {
        if let Host::Tcp { tls, .. } = &mut self.host {
            *tls = Some(encryption);
        }
    }

    /// The connection, if there is one.
    #[cfg(test)]
    pub fn open(&self) -> Option<&D> {
        match &self.state {
            State::Open(channel) => Some(&channel.fd),
            _ => None,
        }
    }

    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Goes on until there is a connection.
    ///
    /// # Errors
    ///
    /// None of the addresses can be connected to: that of the last one.
    pub fn connect<I: Io<Fd = D>>(&mut self, io: &mut I, now_ns: u64) -> io::Result<Step> {
        loop {
            match std::mem::replace(&mut self.state, State::None) {
                State::Open(channel) => {
                    self.state = State::Open(channel);
                    return Ok(Step::Done);
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
                State::Connecting(connecting) => {
                    if self.go_on_connecting(io, now_ns, connecting)? == Step::Waits {
                        return Ok(Step::Waits);
                    }
                }
                State::Greeting(greeting) => {
                    if self.go_on_greeting(io, now_ns, greeting)? == Step::Waits {
                        return Ok(Step::Waits);
                    }
                }
            }
        }
    }

    fn begin<I: Io<Fd = D>>(&mut self, io: &mut I) -> io::Result<()> {
        self.number = self.number.wrapping_add(1);
        match &self.host {
            Host::Unix(path) => {
                self.state = State::Connecting(Connecting {
                    fd: io.connect(path)?,
                    address: None,
                    others: Vec::new().into_iter(),
                    until_ns: None,
                });
            }
            Host::Tcp { host, port, .. } => {
                io.resolve(self.number, host, *port)?;
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
                    self.state = State::Connecting(Connecting {
                        fd,
                        address: Some(address),
                        others,
                        until_ns: Some(now_ns + CONNECT_TIMEOUT.as_nanos() as u64),
                    });
                    return Ok(());
                }
                Err(refused) => error = refused,
            }
        }
        Err(error)
    }

    fn go_on_connecting<I: Io<Fd = D>>(
        &mut self,
        io: &mut I,
        now_ns: u64,
        connecting: Connecting<D>,
    ) -> io::Result<Step> {
        let is_late = connecting.until_ns.is_some_and(|until| until <= now_ns);
        if self.waiting.is_some() && !is_late {
            self.state = State::Connecting(connecting);
            return Ok(Step::Waits);
        }
        match io.connected(&connecting.fd) {
            Ok(()) => self.connected(now_ns, connecting).map(|()| Step::Done),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !is_late => {
                io.wait(self.number, &connecting.fd, Wait::Writable)?;
                self.waiting = Some(Wait::Writable);
                self.state = State::Connecting(connecting);
                Ok(Step::Waits)
            }
            Err(error) => {
                self.close(io, connecting.fd);
                let error = match is_late {
                    true => io::ErrorKind::TimedOut.into(),
                    false => error,
                };
                self.try_next(io, now_ns, connecting.others, error)?;
                Ok(Step::Done)
            }
        }
    }

    fn connected(&mut self, now_ns: u64, connecting: Connecting<D>) -> io::Result<()> {
        let Connecting { fd, address, .. } = connecting;
        let Host::Tcp { host, port, tls } = &self.host else {
            self.state = State::Open(Channel { fd, session: None });
            return Ok(());
        };
        let Some(encryption) = tls else {
            let is_far = address.is_some_and(|address| !address.ip().to_canonical().is_loopback());
            if is_far && !std::mem::replace(&mut self.has_warned, true) {
                log::warn!(
                    "output tcp:{host}:{port} is not encrypted: whoever is on the way can read \
                     and change what it sends (tls=yes prevents that)"
                );
            }
            self.state = State::Open(Channel { fd, session: None });
            return Ok(());
        };
        let session = Some(encryption.client.session()?);
        self.state = State::Greeting(Greeting {
            channel: Channel { fd, session },
            is_known: false,
            until_ns: now_ns + CONNECT_TIMEOUT.as_nanos() as u64,
        });
        Ok(())
    }

    fn go_on_greeting<I: Io<Fd = D>>(
        &mut self,
        io: &mut I,
        now_ns: u64,
        mut greeting: Greeting<D>,
    ) -> io::Result<Step> {
        let is_late = greeting.until_ns <= now_ns;
        if self.waiting.is_some() && !is_late {
            self.state = State::Greeting(greeting);
            return Ok(Step::Waits);
        }
        match self.greet(io, now_ns, &mut greeting) {
            // Who has nothing against us need not say so.
            Ok(wait) if wait.is_none() || is_late && greeting.is_known => {
                self.state = State::Open(greeting.channel);
                self.stop_waiting(io);
                Ok(Step::Done)
            }
            Ok(Some(wait)) if !is_late => {
                let waits = io.wait(self.number, &greeting.channel.fd, wait);
                self.waiting = waits.is_ok().then_some(wait);
                self.state = State::Greeting(greeting);
                waits.map(|()| Step::Waits)
            }
            failed => {
                self.close(io, greeting.channel.fd);
                failed?;
                let late = "no TLS: the server has not answered in time";
                Err(io::Error::new(io::ErrorKind::TimedOut, late))
            }
        }
    }

    /// What the handshake waits for, if it is not over.
    fn greet<I: Io<Fd = D>>(
        &self,
        io: &mut I,
        now_ns: u64,
        greeting: &mut Greeting<D>,
    ) -> io::Result<Option<Wait>> {
        let Channel { fd, session } = &mut greeting.channel;
        let Some(session) = session else {
            return Ok(None);
        };
        if !greeting.is_known {
            if let Some(wait) = session.shake_hands(io, fd)? {
                return Ok(Some(wait));
            }
            let has_certificate = match &self.host {
                Host::Tcp { tls: Some(tls), .. } => tls.has_certificate,
                _ => false,
            };
            if !has_certificate || !session.may_be_refused() {
                return Ok(None);
            }
            greeting.is_known = true;
            greeting.until_ns = now_ns + TLS_REFUSAL_WAIT.as_nanos() as u64;
        }
        Ok((!session.hear(io, fd)?).then_some(Wait::Readable))
    }

    /// The operation of that number has completed.
    pub fn completed(&mut self, number: u32, what: Completed) {
        if number != self.number {
            return;
        }
        self.waiting = None;
        if let (State::Resolving, Completed::Resolved(found)) = (&self.state, what) {
            self.state = State::Resolved(found);
        }
    }

    /// When connecting has taken too long.
    pub fn due_ns(&self) -> Option<u64> {
        match &self.state {
            State::Connecting(connecting) => connecting.until_ns,
            State::Greeting(greeting) => Some(greeting.until_ns),
            _ => None,
        }
    }

    /// Sends what the connection takes.
    pub fn send<I: Io<Fd = D>>(&mut self, io: &mut I, slices: &[Bytes]) -> io::Result<usize> {
        self.channel()?.send(io, slices)
    }

    /// The kernel takes all that was sent.
    pub fn flush<I: Io<Fd = D>>(&mut self, io: &mut I) -> io::Result<()> {
        self.channel()?.flush(io)
    }

    /// Reads what the peer has sent; 0 at its end.
    pub fn receive<I: Io<Fd = D>>(&mut self, io: &mut I, into: &mut [u8]) -> io::Result<usize> {
        self.channel()?.receive(io, into)
    }

    fn channel(&mut self) -> io::Result<&mut Channel<D>> {
        match &mut self.state {
            State::Open(channel) => Ok(channel),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// The connection took nothing more, and has not said that it takes more.
    pub fn is_full(&self) -> bool {
        matches!(self.waiting, Some(Wait::Writable | Wait::Either))
    }

    /// Nothing was to be read, and it has not said that there is something.
    pub fn is_silent(&self) -> bool {
        matches!(self.waiting, Some(Wait::Readable | Wait::Either))
    }

    /// Waits for the connection, and no longer for something else of it.
    pub fn wait<I: Io<Fd = D>>(&mut self, io: &mut I, wait: Wait) -> io::Result<()> {
        if self.waiting == Some(wait) {
            return Ok(());
        }
        self.stop_waiting(io);
        if let State::Open(channel) = &self.state {
            io.wait(self.number, &channel.fd, wait)?;
            self.waiting = Some(wait);
        }
        Ok(())
    }

    fn stop_waiting<I: Io<Fd = D>>(&mut self, io: &mut I) {
        if self.waiting.take().is_some() {
            if let Err(error) = io.cancel(Token::Output(self.number)) {
                log::debug!("an output's operation can't be cancelled: {error}");
            }
            self.number = self.number.wrapping_add(1);
        }
    }

    /// Is the peer of the connection still there, if there is one?
    pub fn check<I: Io<Fd = D>>(&mut self, io: &mut I) -> io::Result<()> {
        match &mut self.state {
            State::Open(channel) => channel.check(io),
            _ => Ok(()),
        }
    }

    /// Nothing more is sent. `Waits`: a TCP peer reads the rest, and
    /// [`is_closed`](Self::is_closed) then. Of a Unix socket all that was written is
    /// with the peer already.
    pub fn finish<I: Io<Fd = D>>(&mut self, io: &mut I) -> io::Result<Step> {
        let State::Open(channel) = &mut self.state else {
            return Ok(Step::Done);
        };
        channel.finish_sending(io)?;
        match &self.host {
            Host::Tcp { .. } => Ok(Step::Waits),
            Host::Unix(_) => {
                // What we leave unread would reach the peer as an error.
                channel.drain(io)?;
                Ok(Step::Done)
            }
        }
    }

    /// Has the peer closed its half? If not, that is waited for.
    pub fn is_closed<I: Io<Fd = D>>(&mut self, io: &mut I) -> io::Result<bool> {
        let State::Open(channel) = &mut self.state else {
            return Ok(true);
        };
        if channel.drain(io)? {
            return Ok(true);
        }
        self.wait(io, Wait::Readable)?;
        Ok(false)
    }

    /// The connection, or the attempt to make one, is over.
    pub fn drop_connection<I: Io<Fd = D>>(&mut self, io: &mut I) {
        match std::mem::replace(&mut self.state, State::None) {
            State::Connecting(Connecting { fd, .. }) => self.close(io, fd),
            State::Greeting(Greeting { channel, .. }) | State::Open(channel) => {
                self.close(io, channel.fd);
            }
            _ => {}
        }
        // What completes from now on is of earlier.
        self.number = self.number.wrapping_add(1);
        self.waiting = None;
    }

    fn close<I: Io<Fd = D>>(&mut self, io: &mut I, fd: D) {
        let token = Token::Output(self.number);
        if self.waiting.take().is_some()
            && let Err(error) = io.cancel(token)
        {
            log::debug!("an output's operation can't be cancelled: {error}");
        }
        io.forget(token, &fd);
        drop(fd);
    }
}
