//! TLS with the roots that this machine trusts.

use std::io;
use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, RootCertStore};

use crate::output::logdog::peer_text::PeerText;

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

/// A client's configuration. Certificates are read once for all of them:
/// from `SSL_CERT_FILE` or `SSL_CERT_DIR`, or else from where the system has
/// them.
pub fn client_config(protocol: Protocol) -> io::Result<Arc<ClientConfig>> {
    static ROOTS: OnceLock<Result<Arc<RootCertStore>, String>> = OnceLock::new();
    let roots = ROOTS.get_or_init(load_roots).clone();
    let roots = roots.map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.alpn().to_vec()];
    Ok(Arc::new(config))
}

fn load_roots() -> Result<Arc<RootCertStore>, String> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        log::warn!("certificates of this machine: {error}");
    }
    let mut roots = RootCertStore::empty();
    let (added, ignored) = roots.add_parsable_certificates(found.certs);
    log::debug!("certificates of this machine: {added} are trusted, {ignored} can't be read");
    match added {
        0 => Err(
            "this machine trusts no certificates: none was found in its store \
                  (SSL_CERT_FILE may name another)"
                .into(),
        ),
        _ => Ok(Arc::new(roots)),
    }
}

/// The server is not who it should be. Trying again does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server's certificate is refused: {0}")]
pub struct CertificateError(String);

impl CertificateError {
    /// What a failed handshake says of the server's certificate, if it was
    /// about that.
    pub fn of(error: &io::Error) -> Option<Self> {
        use rustls::CertificateError as Reason;
        let inner = error.get_ref()?.downcast_ref::<rustls::Error>()?;
        let rustls::Error::InvalidCertificate(reason) = inner else {
            return None;
        };
        Some(Self(match reason {
            Reason::Expired | Reason::ExpiredContext { .. } => "it has expired".into(),
            Reason::NotValidYet | Reason::NotValidYetContext { .. } => "it is not valid yet".into(),
            Reason::NotValidForName | Reason::NotValidForNameContext { .. } => {
                "it is for another name".into()
            }
            Reason::UnknownIssuer | Reason::BadSignature => {
                "nobody whom this machine trusts has issued it".into()
            }
            other => PeerText::of(other).to_string(),
        }))
    }
}
