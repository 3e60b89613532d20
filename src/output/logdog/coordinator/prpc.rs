//! pRPC: a protobuf message over an HTTP POST.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use tonic::Code as GrpcCode;

use super::CoordinatorHost;
use crate::chain::Chain;
use crate::limits::CALL_TIMEOUT;
use crate::output::logdog::RegistrationError;
use crate::output::logdog::auth::AccessToken;
use crate::output::logdog::net::dial::Dialer;
use crate::output::logdog::net::http::{Answer, call};
use crate::output::logdog::net::tls::Protocol;

const REGISTER_PREFIX: &str = "/prpc/logdog.Registration/RegisterPrefix";
const BINARY: &str = "application/prpc; encoding=binary";
const CODE_HEADER: &str = "x-prpc-grpc-code";
const TIMEOUT_HEADER: &str = "x-prpc-grpc-timeout";

/// How a call ended, as far as we tell cases apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    AlreadyExists,
    PermissionDenied,
    Unauthenticated,
    /// It may work later.
    Transient(GrpcCode),
    /// It won't.
    Final(GrpcCode),
    /// No connection, now.
    Broken,
    /// No connection, ever.
    Impossible,
}

impl From<GrpcCode> for Code {
    fn from(code: GrpcCode) -> Self {
        match code {
            GrpcCode::AlreadyExists => Self::AlreadyExists,
            GrpcCode::PermissionDenied => Self::PermissionDenied,
            GrpcCode::Unauthenticated => Self::Unauthenticated,
            GrpcCode::Internal
            | GrpcCode::Unknown
            | GrpcCode::Unavailable
            | GrpcCode::DeadlineExceeded => Self::Transient(code),
            _ => Self::Final(code),
        }
    }
}

impl Code {
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Transient(_) | Self::Broken)
    }

    /// Although it is final for who waits for it, another answer may follow
    /// later.
    pub fn may_change(self) -> bool {
        matches!(
            self,
            Self::Final(GrpcCode::ResourceExhausted | GrpcCode::Aborted | GrpcCode::Cancelled)
        )
    }
}

/// A call that did not succeed.
#[derive(Debug)]
pub struct RpcRefusal {
    pub code: Code,
    /// The server wants to be left alone for so long.
    pub retry_after: Duration,
    text: String,
}

impl fmt::Display for RpcRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Code::Transient(code) | Code::Final(code) => write!(f, "{code:?}: {}", self.text),
            Code::Broken | Code::Impossible => f.write_str(&self.text),
            code => write!(f, "{code:?}: {}", self.text),
        }
    }
}

impl std::error::Error for RpcRefusal {}

#[derive(Debug)]
pub struct RpcClient {
    dialer: Dialer,
    host: String,
    host_header: HeaderValue,
}

impl RpcClient {
    pub fn new(host: &CoordinatorHost) -> Result<Self, RegistrationError> {
        Ok(Self {
            dialer: Dialer::new(host.origin.clone(), Protocol::Http1)?,
            host_header: HeaderValue::try_from(&host.name)
                .map_err(|error| RegistrationError::Failed(error.into()))?,
            host: host.name.clone(),
        })
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the response, encoded as the request is.
    pub async fn register_prefix(
        &self,
        token: Option<&AccessToken>,
        body: Bytes,
    ) -> Result<Bytes, RpcRefusal> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static(REGISTER_PREFIX);
        let headers = request.headers_mut();
        headers.insert(HOST, self.host_header.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(BINARY));
        headers.insert(ACCEPT, HeaderValue::from_static(BINARY));
        if let Some(token) = token {
            headers.insert(AUTHORIZATION, token.header().clone());
        }
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("butler/", env!("CARGO_PKG_VERSION"))),
        );
        let timeout = format!("{}u", CALL_TIMEOUT.as_micros());
        if let Ok(timeout) = HeaderValue::try_from(timeout) {
            headers.insert(TIMEOUT_HEADER, timeout);
        }
        let answer = match call(&self.dialer, request, CALL_TIMEOUT).await {
            Ok(answer) => answer,
            Err(error) => {
                return Err(RpcRefusal {
                    code: match error.is_final() {
                        true => Code::Impossible,
                        false => Code::Broken,
                    },
                    retry_after: Duration::ZERO,
                    text: Chain(&error).to_string(),
                });
            }
        };
        match code(&answer.headers, answer.status) {
            GrpcCode::Ok => Ok(answer.body),
            code => Err(RpcRefusal {
                code: code.into(),
                retry_after: retry_after(&answer.headers),
                text: text(&answer),
            }),
        }
    }
}

/// In whole seconds; a date is none that we follow.
fn retry_after(headers: &HeaderMap) -> Duration {
    let value = headers.get(RETRY_AFTER).and_then(|it| it.to_str().ok());
    let seconds = value.and_then(|value| value.trim().parse().ok());
    Duration::from_secs(seconds.unwrap_or(0))
}

fn text(answer: &Answer) -> String {
    let status = answer.status.as_u16();
    let complaint = answer.complaint();
    if !answer.headers.contains_key(CODE_HEADER) && answer.status.is_success() {
        format!("HTTP {status} without {CODE_HEADER}")
    } else if complaint.is_empty() || is_response(&answer.headers) {
        // Whatever the code says, it may be a response, with the secret.
        format!("HTTP {status}")
    } else {
        complaint.to_string()
    }
}

/// Is the body in the encoding that was asked for? Errors are plain text.
fn is_response(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    content_type.is_some_and(|value| value.starts_with(b"application/prpc"))
}

/// The result code: what the header says, or else what the HTTP status means
/// when something between us and the Coordinator has answered.
fn code(headers: &HeaderMap, status: StatusCode) -> GrpcCode {
    match headers.get(CODE_HEADER) {
        Some(value) => value
            .to_str()
            .ok()
            .and_then(|value| value.trim().parse::<i32>().ok())
            .map_or(GrpcCode::Internal, GrpcCode::from_i32),
        None => match status {
            StatusCode::UNAUTHORIZED => GrpcCode::Unauthenticated,
            StatusCode::FORBIDDEN => GrpcCode::PermissionDenied,
            StatusCode::SERVICE_UNAVAILABLE => GrpcCode::Unavailable,
            _ => GrpcCode::Internal,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        for (header, status, expected) in [
            (Some("0"), 200, GrpcCode::Ok),
            (Some("6"), 409, GrpcCode::AlreadyExists),
            (Some("14"), 200, GrpcCode::Unavailable),
            (Some("99"), 200, GrpcCode::Unknown),
            (Some("x"), 200, GrpcCode::Internal),
            (None, 200, GrpcCode::Internal),
            (None, 401, GrpcCode::Unauthenticated),
            (None, 403, GrpcCode::PermissionDenied),
            (None, 404, GrpcCode::Internal),
            (None, 503, GrpcCode::Unavailable),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(header) = header {
                headers.insert(CODE_HEADER, HeaderValue::from_static(header));
            }
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(code(&headers, status), expected, "{header:?} {status}");
        }
    }

    #[test]
    fn how_long_to_wait() {
        for (value, seconds) in [(None, 0), (Some("7"), 7), (Some(" 8 "), 8), (Some("-1"), 0)] {
            let value = value.map(HeaderValue::from_static);
            let headers = value
                .into_iter()
                .map(|value| (RETRY_AFTER, value))
                .collect();
            assert_eq!(retry_after(&headers), Duration::from_secs(seconds));
        }
        let date = HeaderValue::from_static("Wed, 21 Oct 2015 07:28:00 GMT");
        let headers = std::iter::once((RETRY_AFTER, date)).collect();
        assert_eq!(retry_after(&headers), Duration::ZERO);
    }

    #[test]
    fn what_is_tried_again() {
        for code in (0..=16).map(GrpcCode::from_i32) {
            let transient = matches!(
                code,
                GrpcCode::Internal
                    | GrpcCode::Unknown
                    | GrpcCode::Unavailable
                    | GrpcCode::DeadlineExceeded
            );
            assert_eq!(Code::from(code).is_transient(), transient, "{code:?}");
        }
    }
}
