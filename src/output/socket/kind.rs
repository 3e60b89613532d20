//! What there is to know of the outputs that send over a connection.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::{Address, Socket};
use crate::edge::io::Io;
use crate::edge::transport::{Carrier, Transport};
use crate::limits;
use crate::output::kind::{Given, Kind, Need, Settings, UnfitOutput};
use crate::output::spec::{SpecError, compress, of};
use crate::output::{Compress, Output};

const KEYS: &[&str] = &["compress", "level"];

/// The settings of the output to a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnixOutput {
    /// The socket that somebody listens on.
    pub path: PathBuf,
    /// How bundles are compressed.
    pub compress: Compress,
}

/// The settings of the output over TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpOutput {
    /// A name or an address (IPv6 without brackets).
    pub host: String,
    /// The port.
    pub port: u16,
    /// How bundles are compressed.
    pub compress: Compress,
}

impl UnixOutput {
    /// Messages to whoever listens at that path, not compressed.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            compress: Compress::None,
        }
    }

    fn socket<D>(&self) -> Box<Socket<D>> {
        let address = Address::Unix(self.path.clone());
        Box::new(Socket::new(address, self.compress))
    }
}

impl TcpOutput {
    /// Messages to that port, not compressed.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            compress: Compress::None,
        }
    }

    fn socket<D>(&self) -> Box<Socket<D>> {
        let address = Address::Tcp {
            host: self.host.clone(),
            port: self.port,
        };
        Box::new(Socket::new(address, self.compress))
    }
}

impl Settings for UnixOutput {
    const KIND: &'static Kind = &Kind {
        has_address: true,
        is_remote: true,
        keys: KEYS,
        help: "  unix:PATH[,compress=none|zlib][,level=1..12]
                        send the same messages to a Unix socket
",
        ..Kind::new("unix", unix)
    };

    fn open<I: Io + 'static>(&self, _: &mut I) -> io::Result<Box<dyn Transport<I>>> {
        Ok(self.socket())
    }

    fn carrier<I: Io + 'static>(&self, _: &mut I) -> io::Result<Option<Box<dyn Carrier<I>>>> {
        Ok(Some(self.socket()))
    }

    fn check(&self) -> Result<(), UnfitOutput> {
        match self.path.as_os_str().len() {
            len if len > limits::SOCKET_PATH_MAX => Err(UnfitOutput::SocketPath(len)),
            _ => Ok(()),
        }
    }
    // Unix sockets are connected to without a right to their path.
}

impl Settings for TcpOutput {
    const KIND: &'static Kind = &Kind {
        has_address: true,
        is_remote: true,
        keys: KEYS,
        help: "  tcp:HOST:PORT[,compress=none|zlib][,level=1..12]
                        send the same messages over TCP; an IPv6 address stands
                        in brackets: tcp:[::1]:99
",
        ..Kind::new("tcp", tcp)
    };

    fn open<I: Io + 'static>(&self, _: &mut I) -> io::Result<Box<dyn Transport<I>>> {
        Ok(self.socket())
    }

    fn carrier<I: Io + 'static>(&self, _: &mut I) -> io::Result<Option<Box<dyn Carrier<I>>>> {
        Ok(Some(self.socket()))
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::Hosts, Need::Port(self.port)]
    }
}

fn unix(given: Given<'_>) -> Result<Output, SpecError> {
    let mut unix = UnixOutput::new(socket_path(given.address)?);
    unix.compress = compress(&given.pairs()?).map_err(of("unix"))?;
    Ok(unix.into())
}

fn socket_path(path: &OsStr) -> Result<&OsStr, SpecError> {
    match path.len() {
        0 => Err(SpecError::SocketPathEmpty),
        len if len > limits::SOCKET_PATH_MAX => Err(SpecError::SocketPathTooLong(len)),
        _ => Ok(path),
    }
}

fn tcp(given: Given<'_>) -> Result<Output, SpecError> {
    let address = String::from_utf8_lossy(given.address.as_bytes());
    let (host, port) =
        host_and_port(&address).ok_or_else(|| SpecError::Address(address.to_string()))?;
    let mut tcp = TcpOutput::new(host, port);
    tcp.compress = compress(&given.pairs()?).map_err(of("tcp"))?;
    Ok(tcp.into())
}

fn host_and_port(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let in_brackets = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    // Without brackets nobody could tell where an IPv6 address ends.
    let host = match in_brackets {
        Some(host) => host,
        None if host.contains([':', '[', ']', '\u{fffd}']) => return None,
        None => host,
    };
    let all_digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port: u16 = port.parse().ok().filter(|&port| port > 0 && all_digits)?;
    (!host.is_empty()).then_some((host, port))
}
