//! The outputs that send messages over a connection, Unix or TCP.
//!
//! Nobody is asked for before there is something to send; whoever is not
//! there is asked again, with longer and longer waits. A message goes wholly
//! over one connection: when that breaks inside it, the next connection gets
//! it from its first byte, so that a reader finds a cut message only at the
//! end of a connection, where it is to be thrown away.
//!
//! The protocol has no answers. What is *delivered* was taken by the kernel,
//! on a connection that was not known to be broken: a reader that dies with
//! messages unread loses them. Before a message is begun on a connection that
//! was used before, it is looked whether the peer has gone; a peer of a TCP
//! connection that closes only its own direction is taken for gone, as the
//! two look the same. At the end the peer of a TCP connection gets
//! [`CLOSE_TIMEOUT`] to read the rest and close. What a peer sends is thrown
//! away.

mod kind;
mod link;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

pub use self::kind::{TcpOutput, UnixOutput};
use self::link::{Link, Step};
use super::attempts::Attempts;
use super::write::Progress;
use crate::delivery::encode::{Compress, Encoder};
use crate::delivery::message::{Message, Ticket};
use crate::delivery::outcome::Outcome;
use crate::delivery::stored::Stored;
use crate::edge::io::Io;
use crate::edge::transport::{Carrier, Completed, Now, Transport};
use crate::limits::CLOSE_TIMEOUT;

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
    sending: Option<Sending>,
    encoder: Encoder,
    attempts: Attempts,
    ending: Ending,
}

/// The message that is in the encoder.
#[derive(Debug)]
struct Sending {
    ticket: Ticket,
    progress: Progress,
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
    /// Connects when the first message comes.
    pub fn new(address: Address, compress: Compress) -> Self {
        Self {
            link: Link::new(&address),
            sending: None,
            encoder: Encoder::new(compress),
            attempts: Attempts::new(format!("output {address}")),
            ending: Ending::NotYet,
            address,
        }
    }

    /// Sends what is left of the message, over a connection that is made if
    /// there is none. False: it waits for something.
    fn send<I: Io<Fd = D>>(&mut self, now: &mut Now<'_, I>) -> io::Result<bool> {
        let Some(sending) = &mut self.sending else {
            return Ok(false);
        };
        if self.link.connect(now.io, now.ns)? == Step::Waits {
            return Ok(false);
        }
        let link = &mut self.link;
        let sent = sending
            .progress
            .write(self.encoder.pieces(), |slices, _| link.send(now.io, slices));
        match sent {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.link.wait_writable(now.io)?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Begins to send what is in the encoder.
    fn begin<I: Io<Fd = D>>(&mut self, now: &mut Now<'_, I>, ticket: Ticket) {
        self.sending = Some(Sending {
            ticket,
            progress: Progress::default(),
        });
        if let Err(error) = self.link.check(now.io) {
            log::debug!("output {}: {error}", self.address);
            self.link.drop_connection(now.io);
        }
        self.poll(now);
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
        self.encoder.encode(&message);
        let ticket = message.ticket();
        drop(message);
        self.begin(now, ticket);
    }

    fn poll(&mut self, now: &mut Now<'_, I>) {
        if let Ending::Closing { until_ns } = self.ending {
            return self.close(now, until_ns);
        }
        if !self.attempts.may_try(now.ns) {
            return;
        }
        match self.send(now) {
            Ok(false) => {}
            Ok(true) => {
                self.attempts.worked();
                if let Some(sending) = self.sending.take() {
                    let outcome = Outcome::delivered(sending.ticket, self.encoder.len());
                    self.encoder.clear();
                    now.outcomes.settle(outcome);
                }
            }
            Err(error) => {
                // The next connection gets it from its first byte.
                if let Some(sending) = &mut self.sending {
                    sending.progress = Progress::default();
                }
                self.link.drop_connection(now.io);
                // This waits also after a connection was made: a peer that takes
                // them only to close them must not keep us busy.
                self.attempts.failed(now.ns, &error);
            }
        }
    }

    fn completed(&mut self, _: &mut Now<'_, I>, number: u32, what: Completed) {
        self.link.completed(number, what);
    }

    fn due_ns(&self) -> Option<u64> {
        let closing = match self.ending {
            Ending::Closing { until_ns } => Some(until_ns),
            _ => None,
        };
        let sending = self.sending.as_ref().and_then(|_| {
            let attempt = self.attempts.due_ns();
            attempt.or(self.link.due_ns())
        });
        closing.or(sending)
    }

    fn finish(&mut self, now: &mut Now<'_, I>) {
        match self.link.finish(now.io) {
            Ok(Step::Waits) => {
                let until_ns = now.ns + CLOSE_TIMEOUT.as_nanos() as u64;
                self.ending = Ending::Closing { until_ns };
                self.close(now, until_ns);
            }
            Ok(Step::Done) => self.over(now),
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
        self.sending = None;
        self.encoder.clear();
        self.over(now);
    }

    fn errors(&self) -> u64 {
        self.attempts.health().errors()
    }
}

impl<I: Io> Carrier<I> for Socket<I::Fd> {
    fn carry(&mut self, now: &mut Now<'_, I>, stored: Stored) {
        self.encoder.encode_stored(&stored);
        self.begin(now, stored.ticket());
    }
}

#[cfg(test)]
mod tests;
