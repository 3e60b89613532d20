//! Where to listen or connect: `unix:PATH` or `tcp:HOST:PORT`.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::str::FromStr;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// A TCP socket. When listening, port 0 is any.
    Tcp(String),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("unix", path)) => Ok(Self::Unix(path.into())),
            Some(("tcp", address)) => Ok(Self::Tcp(address.into())),
            _ => Err(format!("{text:?} is neither unix:PATH nor tcp:HOST:PORT")),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

impl Address {
    /// A nonblocking listener, and where it is.
    pub fn listen(&self) -> io::Result<(OwnedFd, Self)> {
        match self {
            Self::Unix(path) => {
                let listener = UnixListener::bind(path)?;
                listener.set_nonblocking(true)?;
                // The standard library's backlog of 128 would make thousands
                // of clients wait in line.
                rustix::net::listen(&listener, 4096)?;
                Ok((listener.into(), self.clone()))
            }
            Self::Tcp(address) => {
                let listener = TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                let at: SocketAddr = listener.local_addr()?;
                Ok((listener.into(), Self::Tcp(at.to_string())))
            }
        }
    }

    /// A blocking connection.
    pub fn connect(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Unix(path) => Ok(UnixStream::connect(path)?.into()),
            Self::Tcp(address) => Ok(TcpStream::connect(address)?.into()),
        }
    }
}
