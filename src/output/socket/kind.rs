//! What there is to know of the outputs that send over a connection.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::limits;
use crate::output::Output;
use crate::output::kind::{Given, Kind, Need};
use crate::output::spec::{SpecError, compress, of};

const KEYS: &[&str] = &["compress", "level"];

pub(crate) static UNIX: Kind = Kind {
    has_address: true,
    keys: KEYS,
    // Unix sockets are connected to without a right to their path.
    help: "  unix:PATH[,compress=none|zlib][,level=1..12]
                        send the same messages to a Unix socket
",
    ..Kind::new("unix", unix)
};

pub(crate) static TCP: Kind = Kind {
    has_address: true,
    keys: KEYS,
    needs: |output| match output {
        Output::Tcp { port, .. } => vec![Need::Hosts, Need::Port(*port)],
        _ => Vec::new(),
    },
    help: "  tcp:HOST:PORT[,compress=none|zlib][,level=1..12]
                        send the same messages over TCP; an IPv6 address stands
                        in brackets: tcp:[::1]:99
",
    ..Kind::new("tcp", tcp)
};

fn unix(given: Given<'_>) -> Result<Output, SpecError> {
    let path = socket_path(given.address)?.into();
    let pairs = given.pairs()?;
    Ok(Output::Unix {
        path,
        compress: compress(&pairs).map_err(of("unix"))?,
    })
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
    let host = host.to_owned();
    let pairs = given.pairs()?;
    Ok(Output::Tcp {
        host,
        port,
        compress: compress(&pairs).map_err(of("tcp"))?,
    })
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
