//! One HTTP call, over a connection of its own: the few that are made are
//! minutes apart.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::rt::TokioIo;

use super::dial::{DialError, Dialer};
use crate::limits::HTTP_ANSWER_MAX;
use crate::output::peer_text::PeerText;

/// A whole answer.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// It may hold secrets: for people there is [`complaint`](Self::complaint).
    pub body: Bytes,
}

impl Answer {
    /// What the server says of a call that failed. The body of a success is
    /// what was asked for, which here is a secret.
    pub fn complaint(&self) -> PeerText {
        match self.status.is_success() {
            true => PeerText::new(""),
            false => PeerText::new(&self.body),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There is no connection.
    #[error(transparent)]
    Dial(DialError),
    /// It did not come in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The connection broke.
    #[error("the connection broke: {error}", error = PeerText::of(.0))]
    Broken(hyper::Error),
    /// It is larger than any real one.
    #[error("the answer has more than {HTTP_ANSWER_MAX} bytes")]
    TooLarge,
}

impl CallError {
    /// Trying again does not help.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Dial(error) => error.is_final(),
            Self::Timeout(_) | Self::Broken(_) => false,
            Self::TooLarge => true,
        }
    }
}

/// Sends `request`, whose URI has only a path, and waits for the answer.
pub async fn call(
    dialer: &Dialer,
    request: Request<Bytes>,
    timeout: Duration,
) -> Result<Answer, CallError> {
    match tokio::time::timeout(timeout, exchange(dialer, request)).await {
        Ok(result) => result,
        Err(_) => Err(CallError::Timeout(timeout)),
    }
}

async fn exchange(dialer: &Dialer, request: Request<Bytes>) -> Result<Answer, CallError> {
    let mut request = request.map(Full::new);
    let headers = request.headers_mut();
    if !headers.contains_key(HOST)
        && let Ok(host) = HeaderValue::try_from(dialer.origin().authority())
    {
        headers.insert(HOST, host);
    }
    headers.insert(CONNECTION, HeaderValue::from_static("close"));

    let stream = dialer.dial().await.map_err(CallError::Dial)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(CallError::Broken)?;
    let exchange = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(CallError::Broken)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, HTTP_ANSWER_MAX).collect().await;
        let body = match body {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return Err(CallError::TooLarge),
            Err(error) => match error.downcast::<hyper::Error>() {
                Ok(error) => return Err(CallError::Broken(*error)),
                Err(_) => return Err(CallError::TooLarge),
            },
        };
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body,
        })
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => return answer,
        // What it failed with, the exchange fails with too.
        _ = connection => {}
    }
    exchange.await
}
