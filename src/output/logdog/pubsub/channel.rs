//! The connection to Pub/Sub: HTTP/2 over our own sockets, made again when it
//! breaks.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint as Settings};
use tower_service::Service;

use crate::chain::Chain;
use crate::limits::{PUBSUB_PING_INTERVAL, PUBSUB_PING_TIMEOUT};
use crate::output::logdog::RegistrationError;
use crate::output::logdog::net::dial::{DialError, Dialer, Duplex};
use crate::output::logdog::net::origin::Origin;
use crate::output::logdog::net::tls::Protocol;
use crate::output::peer_text::PeerText;

/// Which Pub/Sub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// Google's, wherever it is reached.
    Google(Origin),
    /// An emulator: plain, without credentials.
    Emulator(Origin),
}

impl Endpoint {
    /// The global one.
    pub fn global() -> Self {
        Self::Google(Origin {
            secure: true,
            host: "pubsub.googleapis.com".into(),
            port: 443,
        })
    }

    pub fn origin(&self) -> &Origin {
        match self {
            Self::Google(origin) | Self::Emulator(origin) => origin,
        }
    }
}

/// Connects within `wait`, and fails only when it is no use to try again: whoever is
/// not there yet is sought again with each publish.
pub async fn open(endpoint: &Endpoint, wait: Duration) -> Result<Channel, RegistrationError> {
    let origin = endpoint.origin();
    let settings = Settings::from_shared(origin.to_string())
        .and_then(|settings| settings.user_agent(concat!("butler/", env!("CARGO_PKG_VERSION"))))
        .map_err(|error| format!("the endpoint of Pub/Sub: {error}"))?
        .http2_keep_alive_interval(PUBSUB_PING_INTERVAL)
        .keep_alive_timeout(PUBSUB_PING_TIMEOUT)
        .keep_alive_while_idle(true);
    let dialer = Dialer::new(origin.clone(), Protocol::Http2)?;
    let connector = Connector(dialer);
    if wait.is_zero() {
        return Ok(settings.connect_with_connector_lazy(connector));
    }
    let connecting = settings.connect_with_connector(connector.clone());
    match tokio::time::timeout(wait, connecting).await {
        Ok(Ok(channel)) => return Ok(channel),
        Ok(Err(error)) => match dial_error(&error) {
            Some(error) if error.is_final() => {
                return Err(format!("Pub/Sub: {}", Chain(error)).into());
            }
            _ => log::warn!("Pub/Sub: {}; it is tried again", reason(&error)),
        },
        Err(_) => log::warn!("Pub/Sub: no connection within {wait:?}; it is tried again"),
    }
    Ok(settings.connect_with_connector_lazy(connector))
}

fn dial_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a DialError> {
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(error) = error.downcast_ref() {
            return Some(error);
        }
        at = error.source();
    }
    None
}

/// The innermost error, which is the one that tells something.
pub(super) fn reason(error: &(dyn std::error::Error + 'static)) -> PeerText {
    if let Some(error) = dial_error(error) {
        return PeerText::of(&Chain(error));
    }
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    // A GOAWAY, for one, has words of the peer.
    PeerText::of(error)
}

#[derive(Clone)]
struct Connector(Dialer);

impl Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Duplex>>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let dialer = self.0.clone();
        Box::pin(async move { dialer.dial().await.map(TokioIo::new) })
    }
}
