//! TLS with the roots that this machine trusts.

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;

use crate::output::tls;

/// What is spoken inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

/// A client's configuration.
pub fn client_config(protocol: Protocol) -> io::Result<Arc<ClientConfig>> {
    let mut config = tls::client(tls::roots_of_machine()?)?.with_no_client_auth();
    config.alpn_protocols = vec![protocol.alpn().to_vec()];
    Ok(Arc::new(config))
}
