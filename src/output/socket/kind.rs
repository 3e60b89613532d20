//! What there is to know of the outputs that send over a connection.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::{Address, Socket};
use crate::delivery::message::BundleLimits;
use crate::edge::io::Io;
use crate::edge::transport::{Carrier, Transport};
use crate::limits;
use crate::output::kind::{self, Given, Kind, Need, Settings, UnfitOutput};
use crate::output::spec::{SpecError, compress, of};
use crate::output::{Compress, Output};
use crate::pairs::{PairError, Pairs};

/// The settings of the output to a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnixOutput {
    /// The socket that somebody listens on.
    pub path: PathBuf,
    /// How bundles are compressed.
    pub compress: Compress,
    /// Whoever listens acknowledges messages.
    pub ack: bool,
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
    /// Whoever listens acknowledges messages.
    pub ack: bool,
    /// Connections are encrypted, which takes the feature `tls`.
    pub tls: Option<Tls>,
}

/// How connections are encrypted. The files are read when the output is opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// A PEM file with the certificates to trust; `None`: those that this machine
    /// trusts.
    pub ca: Option<PathBuf>,
    /// PEM files with our own certificate, and those that it hangs on, and with its
    /// key; `None`: we have none.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// What the server's certificate must be for, if not the host.
    pub server_name: Option<String>,
}

impl UnixOutput {
    /// Messages to whoever listens at that path, not compressed and not
    /// acknowledged.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            compress: Compress::None,
            ack: false,
        }
    }

    fn socket<D>(&self) -> Box<Socket<D>> {
        let address = Address::Unix(self.path.clone());
        Box::new(Socket::new(address, self.compress, self.ack))
    }
}

impl TcpOutput {
    /// Messages to that port, not compressed, acknowledged or encrypted.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            compress: Compress::None,
            ack: false,
            tls: None,
        }
    }

    fn socket<D>(&self) -> io::Result<Box<Socket<D>>> {
        let address = Address::Tcp {
            host: self.host.clone(),
            port: self.port,
        };
        let socket = Socket::new(address, self.compress, self.ack);
        Ok(Box::new(match &self.tls {
            Some(tls) => socket.encrypted(tls)?,
            None => socket,
        }))
    }
}

impl Settings for UnixOutput {
    const KIND: &'static Kind = &Kind {
        has_address: true,
        is_remote: true,
        keys: &["compress", "level", "ack"],
        help: "  unix:PATH[,compress=none|zlib][,level=1..12][,ack=yes]
                        send the same messages to a Unix socket; with ack=yes
                        what the far end does not acknowledge is sent again
",
        ..Kind::new("unix", unix)
    };

    fn open<I: Io + 'static>(&self, _: &mut I) -> io::Result<Box<dyn Transport<I>>> {
        Ok(self.socket())
    }

    fn bundle_limits(&self) -> BundleLimits {
        kind::bundle_limits(self.compress)
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
        keys: &[
            "compress",
            "level",
            "ack",
            "tls",
            "ca",
            "cert",
            "key",
            "server-name",
        ],
        help: "  tcp:HOST:PORT[,compress=none|zlib][,level=1..12][,ack=yes]
      [,tls=yes[,ca=FILE][,cert=FILE,key=FILE][,server-name=NAME]]
                        the same over TCP; an IPv6 address stands in brackets:
                        tcp:[::1]:99. With tls=yes it is encrypted: the server
                        has a certificate for HOST, or NAME, of somebody whom
                        this machine trusts, or ca; ours, if it asks for one, is
                        cert. All files are PEM
",
        ..Kind::new("tcp", tcp)
    };

    fn open<I: Io + 'static>(&self, _: &mut I) -> io::Result<Box<dyn Transport<I>>> {
        Ok(self.socket()?)
    }

    fn bundle_limits(&self) -> BundleLimits {
        kind::bundle_limits(self.compress)
    }

    fn carrier<I: Io + 'static>(&self, _: &mut I) -> io::Result<Option<Box<dyn Carrier<I>>>> {
        Ok(Some(self.socket()?))
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::Hosts, Need::Port(self.port)]
    }

    fn has_secrets(&self) -> bool {
        self.tls.as_ref().is_some_and(|it| it.certificate.is_some())
    }
}

fn unix(given: Given<'_>) -> Result<Output, SpecError> {
    let mut unix = UnixOutput::new(socket_path(given.address)?);
    let pairs = given.pairs()?;
    unix.compress = compress(&pairs).map_err(of("unix"))?;
    unix.ack = flag(&pairs, "ack").map_err(of("unix"))?;
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
    let pairs = given.pairs()?;
    tcp.compress = compress(&pairs).map_err(of("tcp"))?;
    tcp.ack = flag(&pairs, "ack").map_err(of("tcp"))?;
    tcp.tls = tls(&pairs).map_err(of("tcp"))?;
    Ok(tcp.into())
}

/// Is that said to be so?
fn flag(pairs: &Pairs, key: &str) -> Result<bool, PairError> {
    match pairs.text(key)? {
        None | Some("no") => Ok(false),
        Some("yes") => Ok(true),
        Some(other) => Err(pairs.value_error(key, OsStr::new(other), "it must be yes or no")),
    }
}

fn tls(pairs: &Pairs) -> Result<Option<Tls>, PairError> {
    if !flag(pairs, "tls")? {
        let mut of_tls = ["ca", "cert", "key", "server-name"].into_iter();
        return match of_tls.find_map(|key| Some((key, pairs.get(key)?))) {
            None => Ok(None),
            Some((key, given)) => Err(pairs.value_error(key, given, "it goes with tls=yes")),
        };
    }
    if !cfg!(feature = "tls") {
        let reason = "this butler was built without the feature tls";
        return Err(pairs.value_error("tls", OsStr::new("yes"), reason));
    }
    let path = |key| match pairs.get(key) {
        None => Ok(None),
        Some(_) => pairs.required_path(key).map(Some),
    };
    let alone = |key, given: &PathBuf, other| {
        let reason = format!("it goes with {other}=FILE");
        Err(pairs.value_error(key, given.as_os_str(), reason))
    };
    let certificate = match (path("cert")?, path("key")?) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (Some(given), None) => return alone("cert", &given, "key"),
        (None, Some(given)) => return alone("key", &given, "cert"),
    };
    let server_name = pairs.text("server-name")?;
    if server_name == Some("") {
        return Err(pairs.value_error("server-name", OsStr::new(""), "it is empty"));
    }
    Ok(Some(Tls {
        ca: path("ca")?,
        certificate,
        server_name: server_name.map(str::to_owned),
    }))
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
