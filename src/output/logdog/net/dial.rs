//! Connecting to one server, again and again.
//!
//! Its name is looked up once, and again only after a connection could not be
//! made: addresses may have moved. Sockets are the runtime's own.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::net::sockopt;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::origin::Origin;
use super::resolve::resolve;
use super::tls::{self, Protocol};
use crate::limits::{CONNECT_TIMEOUT, TCP_KEEPALIVE_IDLE};
use crate::output::peer_text::PeerText;
use crate::output::tls::CertificateError;

/// A connection, with or without TLS.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Why there is no connection.
#[derive(Debug)]
pub struct DialError {
    to: String,
    problem: Problem,
}

#[derive(Debug)]
enum Problem {
    Resolve(io::Error),
    Connect(io::Error),
    Handshake(io::Error),
    Certificate(CertificateError),
}

impl DialError {
    /// Trying again does not help: the server is not who it should be.
    pub fn is_final(&self) -> bool {
        matches!(self.problem, Problem::Certificate(_))
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let to = &self.to;
        match &self.problem {
            Problem::Resolve(_) => write!(f, "can't find the address of {to}"),
            Problem::Connect(_) => write!(f, "can't connect to {to}"),
            Problem::Handshake(error) => write!(f, "no TLS with {to}: {}", PeerText::of(error)),
            Problem::Certificate(_) => write!(f, "no TLS with {to}"),
        }
    }
}

impl Error for DialError {
    /// That of a handshake is no source: a peer has a part in its words.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.problem {
            Problem::Resolve(error) | Problem::Connect(error) => Some(error),
            Problem::Certificate(error) => Some(error),
            Problem::Handshake(_) => None,
        }
    }
}

/// Connects to one server.
#[derive(Clone)]
pub struct Dialer {
    origin: Origin,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// Empty until they are looked up.
    addresses: Arc<Mutex<Vec<SocketAddr>>>,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dialer({})", self.origin)
    }
}

impl Dialer {
    /// Does not connect yet, but reads the certificates that TLS needs.
    pub fn new(origin: Origin, protocol: Protocol) -> io::Result<Self> {
        let tls = match origin.secure {
            false => None,
            true => {
                let name = ServerName::try_from(origin.host.clone()).map_err(io::Error::other)?;
                Some((TlsConnector::from(tls::client_config(protocol)?), name))
            }
        };
        Ok(Self {
            origin,
            tls,
            addresses: Arc::default(),
        })
    }

    /// Where it connects to.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Makes a connection.
    pub async fn dial(&self) -> Result<Box<dyn Duplex>, DialError> {
        self.try_dial().await.map_err(|problem| DialError {
            to: self.origin.authority(),
            problem,
        })
    }

    async fn try_dial(&self) -> Result<Box<dyn Duplex>, Problem> {
        let socket = self.connect().await?;
        let Some((connector, name)) = &self.tls else {
            return Ok(Box::new(socket));
        };
        let handshake = connector.connect(name.clone(), socket);
        match tokio::time::timeout(CONNECT_TIMEOUT, handshake).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) => Err(match CertificateError::of(&error) {
                Some(error) => Problem::Certificate(error),
                None => Problem::Handshake(error),
            }),
            Err(_) => Err(Problem::Handshake(io::ErrorKind::TimedOut.into())),
        }
    }

    /// Tries all addresses and fails as the last one did.
    async fn connect(&self) -> Result<TcpStream, Problem> {
        let mut last_error = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in self.resolve().await.map_err(Problem::Resolve)? {
            let connecting = TcpStream::connect(address);
            match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
                Ok(Ok(socket)) => match prepare(&socket) {
                    Ok(()) => return Ok(socket),
                    Err(error) => last_error = error,
                },
                Ok(Err(error)) => last_error = error,
                Err(_) => last_error = io::ErrorKind::TimedOut.into(),
            }
        }
        self.known().clear();
        Err(Problem::Connect(last_error))
    }

    async fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let known = self.known().clone();
        if !known.is_empty() {
            return Ok(known);
        }
        let found = resolve(&self.origin.host, self.origin.port).await?;
        self.known().clone_from(&found);
        Ok(found)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Vec<SocketAddr>> {
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, TCP_KEEPALIVE_IDLE)?;
    Ok(())
}
