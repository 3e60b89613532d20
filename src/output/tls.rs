//! TLS: whom we trust, and why somebody else is refused.

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::WantsClientCert;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

use super::peer_text::PeerText;

/// A client's configuration that trusts those certificates.
pub fn client(
    roots: Arc<RootCertStore>,
) -> io::Result<ConfigBuilder<ClientConfig, WantsClientCert>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(builder.with_root_certificates(roots))
}

/// The certificates that this machine trusts. They are read once: from
/// `SSL_CERT_FILE` or `SSL_CERT_DIR`, or else from where the system has them.
pub fn roots_of_machine() -> io::Result<Arc<RootCertStore>> {
    static ROOTS: OnceLock<Result<Arc<RootCertStore>, String>> = OnceLock::new();
    let roots = ROOTS.get_or_init(load_roots).clone();
    roots.map_err(io::Error::other)
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

/// The certificates of a file, which are trusted instead.
pub fn roots_of(path: &Path) -> io::Result<Arc<RootCertStore>> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| unfit(path, &error))?;
    }
    Ok(Arc::new(roots))
}

/// All certificates of a file, in their order; there is at least one.
pub fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found: Vec<_> = found.map_err(|error| unfit(path, &error))?;
    match found.is_empty() {
        true => Err(unfit(path, &"there is no certificate in it")),
        false => Ok(found),
    }
}

/// A file can't be used. What is in it is not told: it may be a key.
pub fn unfit(path: &Path, why: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {why}", path.display()))
}

/// The server is not who it should be.
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
