//! The account of the machine itself, from GCE's metadata server.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::Request;

use super::{AccessToken, AuthError, SCOPES, token};
use crate::limits::CALL_TIMEOUT;
use crate::output::logdog::RegistrationError;
use crate::output::logdog::net::dial::Dialer;
use crate::output::logdog::net::http::{CallError, call};
use crate::output::logdog::net::origin::Origin;
use crate::output::logdog::net::tls::Protocol;

/// Where it is on every machine of Google's. It never leaves the machine's
/// host, so that plain HTTP is what it speaks.
const ADDRESS: &str = "169.254.169.254";

#[derive(Debug)]
pub struct Metadata {
    dialer: Dialer,
}

impl fmt::Display for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the machine's account (metadata server {})",
            self.dialer.origin().authority()
        )
    }
}

impl Metadata {
    /// `host` is `GCE_METADATA_HOST`, if that is set.
    pub fn new(host: Option<&str>) -> Result<Self, RegistrationError> {
        let host = host.unwrap_or(ADDRESS);
        let origin = Origin::plain(host, 80).map_err(|_| RegistrationError::Host {
            variable: "GCE_METADATA_HOST",
            given: host.to_owned(),
            problem: "neither HOST nor HOST:PORT",
        })?;
        let dialer = Dialer::new(origin, Protocol::Http1)?;
        Ok(Self { dialer })
    }

    pub async fn fetch(&self) -> Result<AccessToken, AuthError> {
        match self.fetch_within(CALL_TIMEOUT).await {
            Ok(result) => result,
            Err(error) => Err(error.into()),
        }
    }

    /// The outer error: nobody answers.
    pub async fn fetch_within(
        &self,
        timeout: Duration,
    ) -> Result<Result<AccessToken, AuthError>, CallError> {
        let path = format!(
            "/computeMetadata/v1/instance/service-accounts/default/token?scopes={}",
            SCOPES.join(",")
        );
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = path.parse().expect("it is a valid path");
        request
            .headers_mut()
            .insert("metadata-flavor", http::HeaderValue::from_static("Google"));
        let answer = call(&self.dialer, request, timeout).await?;
        Ok(match answer.status.as_u16() {
            200 => AccessToken::of_oauth(&answer),
            _ => Err(token::refusal(&answer)),
        })
    }
}
