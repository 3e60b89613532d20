//! The outputs that send messages over a connection, Unix or TCP.
//!
//! Nobody is asked for before there is something to send; whoever is not
//! there is asked again, with longer and longer waits. A message goes wholly
//! over one connection: when that breaks inside it, the next connection gets
//! it from its first byte, so that a reader finds a cut message only at the
//! end of a connection, where it is to be thrown away.
//!
//! Without `ack=yes` the protocol has no answers. What is *delivered* was taken by
//! the kernel, on a connection that was not known to be broken: a reader that dies
//! with messages unread loses them. Before a message is begun on a connection that
//! was used before, it is looked whether the peer has gone; a peer of a TCP
//! connection that closes only its own direction is taken for gone, as the
//! two look the same. At the end the peer of a TCP connection gets
//! [`CLOSE_TIMEOUT`] to read the rest and close. What a peer sends is thrown
//! away.
//!
//! With it the far end answers with [frames](crate::wire::ack): so many whole
//! messages of this connection are safe. A message is *delivered* when that is
//! said of it. Several are under way at once, up to [`ACK_WINDOW_MESSAGES`] and
//! [`ACK_WINDOW_BYTES`]; they are kept as they are sent, and when a connection is
//! over the next one begins with the first that is not acknowledged, and has all
//! that follow in the same order, with the same bytes. So the far end may have a
//! message twice. A frame that counts back or beyond what was sent, one that is
//! none, one that has an error, an end of the connection before all is
//! acknowledged, and [`ACK_TIMEOUT`] in which nothing is taken or acknowledged: all
//! of these end the connection, are told, and the next one is tried as after any
//! error. An end while nothing is under way is none.
//!
//! ```text
//! queue     messages as they are sent, in order: sent, being sent, to be sent
//! acks      what the far end says
//! link      making connections, and waiting for them
//! channel   a connection that is made, in a TLS session or not
//! ```

mod acks;
mod channel;
mod kind;
mod link;
mod queue;
#[cfg_attr(not(feature = "tls"), path = "no_session.rs")]
mod session;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use self::acks::{AckProblem, Acks};
pub use self::kind::{TcpOutput, Tls, UnixOutput};
use self::link::{Encryption, Link, Step};
use self::queue::Queue;
use self::session::Client;
use super::attempts::Attempts;
use crate::delivery::encode::Compress;
use crate::delivery::message::Message;
use crate::delivery::stored::Stored;
use crate::delivery::window::Capacity;
use crate::edge::io::{Io, Wait};
use crate::edge::transport::{Carrier, Completed, Now, Transport};
#[cfg(doc)]
use crate::limits::ACK_TIMEOUT;
use crate::limits::{ACK_WINDOW_BYTES, ACK_WINDOW_MESSAGES, CLOSE_TIMEOUT};

/// How often in a row the far end is listened to: others have a turn too.
const HEARD_AT_ONCE: usize = 16;

/// Where somebody listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Unix(PathBuf),
    Tcp {
        /// A name or an address (IPv6 without brackets).
        host: String,
        port: u16,
    },
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp:[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp:{host}:{port}"),
        }
    }
}

/// Sends messages to one address.
#[derive(Debug)]
pub(crate) struct Socket<D> {
    address: Address,
    /// Carries whole messages, and at its end perhaps the beginning of one.
    link: Link<D>,
    queue: Queue,
    /// What the far end says, if it acknowledges.
    acks: Option<Acks>,
    attempts: Attempts,
    ending: Ending,
}

/// What is left to do after the last message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// It is not said yet that nothing follows.
    NotYet,
    /// The peer of a TCP connection has until then to close its half.
    Closing {
        until_ns: u64,
    },
    Over,
}

impl<D> Socket<D> {
    /// Connects when the first message comes. `ack`: the far end acknowledges
    /// messages.
    pub fn new(address: Address, compress: Compress, ack: bool) -> Self {
        Self {
            link: Link::new(&address),
            queue: Queue::new(compress),
            acks: ack.then(Acks::default),
            attempts: Attempts::new(format!("output {address}")),
            ending: Ending::NotYet,
            address,
        }
    }

    /// Its connections over TCP are encrypted.
    ///
    /// # Errors
    ///
    /// A file can't be read, or is not what it should be.
    pub fn encrypted(mut self, tls: &Tls) -> io::Result<Self> {
        if let Address::Tcp { host, .. } = &self.address {
            let client = Client::new(tls, host).map_err(|error| {
                let what = format!("{}: {error}", self.address);
                io::Error::new(error.kind(), what)
            })?;
            self.link.encrypt(Encryption {
                client,
                has_certificate: tls.certificate.is_some(),
            });
        }
        Ok(self)
    }

    /// Hears what the far end says, sends what there is, over a connection that is
    /// made if there is none, and waits for what is missing.
    fn go_on<I: Io<Fd = D>>(&mut self, now: &mut Now<'_, I>) -> io::Result<()> {
        if self.link.is_open() && !self.link.is_silent() {
            self.hear(now)?;
        }
        if !self.queue.is_empty() {
            if !self.link.is_open() {
                if self.link.connect(now.io, now.ns)? == Step::Waits {
                    return Ok(());
                }
                if let Some(acks) = &mut self.acks {
                    acks.begin(now.ns);
                }
            }
            if !self.link.is_full() {
                self.send(now)?;
            }
        }
        self.expect(now)
    }

    /// Waits for what the far end says, if it acknowledges, and not for ever.
    fn expect<I: Io<Fd = D>>(&mut self, now: &mut Now<'_, I>) -> io::Result<()> {
        let now_ns = now.ns;
        let is_late = |it: &Self| {
            let due = it.acks.as_ref().map(Acks::due_ns);
            !it.queue.is_empty() && due.is_some_and(|due| due <= now_ns)
        };
        if self.acks.is_none() || !self.link.is_open() {
            return Ok(());
        }
        if is_late(self) {
            // It may be us who did not run.
            self.hear(now)?;
            if is_late(self) {
                return Err(io::Error::other(AckProblem::Silent));
            }
        }
        match self.link.is_full() {
            true => Ok(()),
            false => self.link.wait(now.io, Wait::Readable),
        }
    }

    /// Sends until the connection takes nothing more, or all is sent.
    fn send<I: Io<Fd = D>>(&mut self, now: &mut Now<'_, I>) -> io::Result<()> {
        let link = &mut self.link;
        while let Some((message, progress)) = self.queue.next() {
            let before = progress.done();
            let sent = progress
                .write(message.pieces(), |slices, _| link.send(now.io, slices))
                .and_then(|()| link.flush(now.io));
            if let Some(acks) = &mut self.acks
                && progress.done() > before
            {
                acks.note_taken(now.ns);
            }
            match sent {
                Ok(()) => self.queue.note_sent(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return link.wait(
                        now.io,
                        match self.acks {
                            Some(_) => Wait::Either,
                            None => Wait::Writable,
                        },
                    );
                }
                Err(error) => return Err(error),
            }
            if self.acks.is_none() {
                self.attempts.worked();
                self.queue.settle(1, now.outcomes);
            }
        }
        Ok(())
    }

    /// Hears what the far end says of the messages that it was sent.
    fn hear<I: Io<Fd = D>>(&mut self, now: &mut Now<'_, I>) -> io::Result<()> {
        let Some(acks) = &mut self.acks else {
            return Ok(());
        };
        for _ in 0..HEARD_AT_ONCE {
            let space = acks.space();
            let room = space.len();
            let len = match self.link.receive(now.io, space) {
                Ok(0) if self.queue.is_empty() => {
                    log::debug!(
                        "output {}: the far end has closed the connection",
                        self.address
                    );
                    self.link.drop_connection(now.io);
                    return Ok(());
                }
                Ok(0) => {
                    let waiting = self.queue.sent();
                    return Err(io::Error::other(AckProblem::Closed(waiting)));
                }
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            acks.filled(len);
            while let Some(said) = acks
                .next_said(now.ns, self.queue.sent())
                .map_err(io::Error::other)?
            {
                if said.safe > 0 {
                    self.attempts.worked();
                    self.queue.settle(said.safe, now.outcomes);
                }
                if let Some(problem) = said.refused {
                    return Err(io::Error::other(problem));
                }
            }
            if len < room {
                break;
            }
        }
        Ok(())
    }

    /// Before a message is added to none: whoever has gone meanwhile has missed
    /// nothing, and that is no error.
    fn look<I: Io<Fd = D>>(&mut self, now: &mut Now<'_, I>) {
        if !self.queue.is_empty() || !self.link.is_open() {
            return;
        }
        if self.acks.is_some() {
            if let Err(error) = self.hear(now) {
                self.fail(now, &error);
            }
        } else if let Err(error) = self.link.check(now.io) {
            log::debug!("output {}: {error}", self.address);
            self.link.drop_connection(now.io);
        }
    }

    /// The connection, if there is one, is over. The next one gets what is not
    /// settled.
    fn fail<I: Io<Fd = D>>(&mut self, now: &mut Now<'_, I>, error: &io::Error) {
        self.queue.rewind();
        self.link.drop_connection(now.io);
        // This waits also after a connection was made: a peer that takes
        // them only to close them must not keep us busy.
        self.attempts.failed(now.ns, error);
    }

    /// The peer of a TCP connection reads the rest and closes.
    fn close<I: Io<Fd = D>>(&mut self, now: &mut Now<'_, I>, until_ns: u64) {
        match self.link.is_closed(now.io) {
            Ok(false) if now.ns < until_ns => return,
            Ok(true) => {}
            Ok(false) => log::info!(
                "output {}: its peer does not close; it may not have read all",
                self.address
            ),
            Err(error) => log::warn!(
                "output {}: {error} at the end; its peer may not have read all",
                self.address
            ),
        }
        self.over(now);
    }

    fn over<I: Io<Fd = D>>(&mut self, now: &mut Now<'_, I>) {
        self.link.drop_connection(now.io);
        self.ending = Ending::Over;
    }
}

impl<I: Io> Transport<I> for Socket<I::Fd> {
    fn start(&mut self, now: &mut Now<'_, I>, message: Arc<Message>) {
        self.look(now);
        let ticket = message.ticket();
        let memory = match self.acks {
            Some(_) => self.queue.push_to_keep(&message),
            None => {
                self.queue.push(&message);
                None
            }
        };
        drop(message);
        if let Some(memory) = memory {
            now.outcomes.encoded(ticket, memory);
        }
        self.poll(now);
    }

    fn poll(&mut self, now: &mut Now<'_, I>) {
        if let Ending::Closing { until_ns } = self.ending {
            return self.close(now, until_ns);
        }
        if !self.attempts.may_try(now.ns) {
            return;
        }
        if let Err(error) = self.go_on(now) {
            self.fail(now, &error);
        }
    }

    fn completed(&mut self, _: &mut Now<'_, I>, number: u32, what: Completed) {
        self.link.completed(number, what);
    }

    fn due_ns(&self) -> Option<u64> {
        if let Ending::Closing { until_ns } = self.ending {
            return Some(until_ns);
        }
        if self.queue.is_empty() {
            return None;
        }
        let attempt = self.attempts.due_ns().or(self.link.due_ns());
        attempt.or_else(|| {
            let acks = self.acks.as_ref().filter(|_| self.link.is_open());
            acks.map(Acks::due_ns)
        })
    }

    fn finish(&mut self, now: &mut Now<'_, I>) {
        match self.link.finish(now.io) {
            // What is acknowledged has been read.
            Ok(_) if self.acks.is_some() => self.over(now),
            Ok(Step::Waits) => {
                let until_ns = now.ns + CLOSE_TIMEOUT.as_nanos() as u64;
                self.ending = Ending::Closing { until_ns };
                self.close(now, until_ns);
            }
            Ok(Step::Done) => self.over(now),
            Err(error) if self.acks.is_some() => {
                log::debug!("output {}: {error} at the end", self.address);
                self.over(now);
            }
            Err(error) => {
                log::warn!(
                    "output {}: {error} at the end; its peer may not have read all",
                    self.address
                );
                self.over(now);
            }
        }
    }

    fn is_finished(&self) -> bool {
        self.ending == Ending::Over
    }

    /// What is under way is cut.
    fn give_up(&mut self, now: &mut Now<'_, I>) {
        self.queue.clear();
        self.over(now);
    }

    fn capacity(&self) -> Capacity {
        match self.acks {
            None => Capacity::ONE,
            Some(_) => Capacity {
                messages: ACK_WINDOW_MESSAGES,
                bytes: ACK_WINDOW_BYTES,
                overflows: false,
            },
        }
    }

    fn errors(&self) -> u64 {
        self.attempts.health().errors()
    }
}

impl<I: Io> Carrier<I> for Socket<I::Fd> {
    fn carry(&mut self, now: &mut Now<'_, I>, stored: Stored) {
        self.look(now);
        self.queue.push_stored(&stored);
        drop(stored);
        self.poll(now);
    }
}

#[cfg(test)]
mod tests;
