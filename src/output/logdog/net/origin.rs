//! Where a server is: scheme, host and port.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Uri;

/// A server. It is plain HTTP only where nobody can listen in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// With TLS.
    pub secure: bool,
    /// A name or an address (IPv6 without brackets).
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Why text is no [`Origin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OriginError {
    /// It is not `http://HOST[:PORT]` or `https://HOST[:PORT]`.
    #[error("wanted is https://HOST or https://HOST:PORT")]
    Syntax,
    /// It is plain HTTP to another machine.
    #[error("plain http is for localhost and loopback addresses only")]
    Insecure,
}

impl Origin {
    /// Of `HOST` or `HOST:PORT`: plain HTTP if that is this very machine.
    pub fn of_host(authority: &str) -> Result<Self, OriginError> {
        let (host, port) = split(authority)?;
        let secure = !is_loopback(&host);
        let port = port.unwrap_or(if secure { 443 } else { 80 });
        Ok(Self { secure, host, port })
    }

    /// Plain HTTP to `HOST` or `HOST:PORT`, wherever that is.
    pub fn plain(authority: &str, port: u16) -> Result<Self, OriginError> {
        let (host, given) = split(authority)?;
        Ok(Self {
            secure: false,
            host,
            port: given.unwrap_or(port),
        })
    }

    /// The server of a URL.
    pub fn of_uri(uri: &Uri) -> Result<Self, OriginError> {
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(OriginError::Syntax),
        };
        let authority = uri.authority().ok_or(OriginError::Syntax)?;
        let (host, port) = split(authority.as_str())?;
        if !secure && !is_loopback(&host) {
            return Err(OriginError::Insecure);
        }
        let port = port.unwrap_or(if secure { 443 } else { 80 });
        Ok(Self { secure, host, port })
    }

    /// `HOST:PORT`, as a URL has it.
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let uri: Uri = text.parse().map_err(|_| OriginError::Syntax)?;
        match uri.path_and_query() {
            Some(rest) if rest.as_str() != "/" => Err(OriginError::Syntax),
            _ => Self::of_uri(&uri),
        }
    }
}

/// Is it this machine, by a name or an address that says so?
pub fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn split(authority: &str) -> Result<(String, Option<u16>), OriginError> {
    if authority.contains('@') {
        return Err(OriginError::Syntax);
    }
    let parsed: http::uri::Authority = authority.parse().map_err(|_| OriginError::Syntax)?;
    let host = parsed.host();
    let rest = &authority[host.len()..];
    let port = match rest.strip_prefix(':') {
        Some(port) => Some(
            port.parse()
                .ok()
                .filter(|port| *port > 0)
                .ok_or(OriginError::Syntax)?,
        ),
        None if rest.is_empty() => None,
        None => return Err(OriginError::Syntax),
    };
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    match host.is_empty() {
        true => Err(OriginError::Syntax),
        false => Ok((host.to_owned(), port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (given, origin) in [
            ("logs.example.com", "https://logs.example.com:443"),
            ("logs.example.com:8443", "https://logs.example.com:8443"),
            ("localhost", "http://localhost:80"),
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("[::1]:8080", "http://[::1]:8080"),
            ("10.0.0.1:8080", "https://10.0.0.1:8080"),
        ] {
            assert_eq!(Origin::of_host(given).unwrap().to_string(), origin);
        }
        for wrong in [
            "",
            "a b",
            "a/b",
            "a:x",
            "a:0",
            "u@a",
            ":80",
            "a:",
            "https://a",
        ] {
            assert_eq!(Origin::of_host(wrong), Err(OriginError::Syntax), "{wrong}");
        }
    }

    #[test]
    fn urls() {
        for (given, origin) in [
            ("https://localhost:1", "https://localhost:1"),
            ("https://a.b/", "https://a.b:443"),
            ("http://[::1]:9", "http://[::1]:9"),
        ] {
            assert_eq!(given.parse::<Origin>().unwrap().to_string(), origin);
        }
        let insecure = "http://a.b".parse::<Origin>();
        assert_eq!(insecure, Err(OriginError::Insecure));
        for wrong in ["a.b", "ftp://a.b", "https://", "https://a.b/c", ""] {
            assert_eq!(wrong.parse::<Origin>(), Err(OriginError::Syntax), "{wrong}");
        }
    }
}
