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

mod connection;

use std::fmt;
use std::io;
use std::path::PathBuf;

use bytes::Bytes;

use self::connection::Connection;
use super::Sink;
use super::attempts::Attempts;
use super::compress::{Compress, Encoder};
use super::health::Health;
use super::write::Unwritten;
use crate::delivery::message::Message;
use crate::ledger::DropReason;
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
pub(crate) struct SocketSink {
    address: Address,
    /// One that has carried whole messages only.
    connection: Option<Connection>,
    encoder: Encoder,
    /// Memory that is reused.
    slices: Vec<Bytes>,
    attempts: Attempts,
}

impl SocketSink {
    /// Connects when the first bundle comes.
    pub fn new(address: Address, compress: Compress) -> Self {
        Self {
            connection: None,
            encoder: Encoder::new(compress),
            slices: Vec::new(),
            attempts: Attempts::new(format!("output {address}")),
            address,
        }
    }

    /// The connection that the next message may go over, which is taken out:
    /// it is put back once the message is whole.
    async fn connection(&mut self) -> io::Result<Connection> {
        if let Some(connection) = self.connection.take() {
            match connection.check() {
                Ok(()) => return Ok(connection),
                Err(error) => log::debug!("output {}: {error}", self.address),
            }
        }
        Connection::open(&self.address).await
    }

    /// Sends the encoded message wholly over one connection.
    async fn send(&mut self) -> io::Result<()> {
        let connection = self.connection().await?;
        let mut unwritten = Unwritten::new(self.encoder.pieces());
        let write = async |slices, _| connection.writev(slices).await;
        unwritten.write(&mut self.slices, write).await?;
        self.connection = Some(connection);
        Ok(())
    }
}

impl Sink for SocketSink {
    /// Never gives up.
    async fn deliver(&mut self, bundle: &Message) -> Result<u64, DropReason> {
        self.encoder.encode(bundle);
        while let Err(error) = self.send().await {
            // This waits also after a connection was made: a peer that takes
            // them only to close them must not keep us busy.
            self.attempts.failed(&error).await;
        }
        self.attempts.worked();
        let len = self.encoder.len();
        self.encoder.clear();
        Ok(len)
    }

    async fn finish(&mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        match tokio::time::timeout(CLOSE_TIMEOUT, connection.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => log::warn!(
                "output {}: {error} at the end; its peer may not have read all",
                self.address
            ),
            Err(_) => log::info!(
                "output {}: its peer does not close; it may not have read all",
                self.address
            ),
        }
    }

    fn health(&self) -> &Health {
        self.attempts.health()
    }
}

#[cfg(test)]
mod tests;
