//! Access tokens.

use std::fmt;
use std::time::{Duration, SystemTime};

use http::{HeaderValue, StatusCode};
use serde_json::Value;
use tokio::time::Instant;

use super::AuthError;
use crate::chain::Chain;
use crate::limits::{TOKEN_MARGIN, TOKEN_MAX};
use crate::output::logdog::net::http::{Answer, CallError};
use crate::output::logdog::secrets::HeldSecret;
use crate::output::peer_text::PeerText;

/// An access token. It is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// `Bearer …`, marked as sensitive.
    header: HeaderValue,
    /// Its text, so that nobody quotes it.
    _held: HeldSecret,
    expires: Instant,
    /// From here on another one is sought.
    renew: Instant,
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken")
    }
}

impl AccessToken {
    fn new(text: &str, lifetime: Duration) -> Result<Self, AuthError> {
        let header = match text.len() {
            1..=TOKEN_MAX => HeaderValue::try_from(format!("Bearer {text}")).ok(),
            _ => None,
        };
        let mut header = header
            .ok_or_else(|| AuthError::Final("the token is empty, too long or malformed".into()))?;
        header.set_sensitive(true);
        let now = Instant::now();
        // A day is longer than any token lives; more could overflow.
        let lifetime = lifetime.min(Duration::from_secs(86_400));
        Ok(Self {
            header,
            _held: HeldSecret::new(text),
            expires: now + lifetime,
            renew: now + lifetime.saturating_sub(TOKEN_MARGIN.min(lifetime / 2)),
        })
    }

    /// The value of `authorization`.
    pub fn header(&self) -> &HeaderValue {
        &self.header
    }

    pub(super) fn is_fresh(&self) -> bool {
        Instant::now() < self.renew
    }

    pub(super) fn is_valid(&self) -> bool {
        Instant::now() < self.expires
    }

    /// Of `{"access_token":…,"expires_in":…}`, as OAuth has it.
    pub(super) fn of_oauth(answer: &Answer) -> Result<Self, AuthError> {
        let json = json(answer)?;
        let text = access_token(&json)?;
        let seconds = json.get("expires_in").and_then(Value::as_f64);
        let lifetime = seconds
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .ok_or_else(|| AuthError::Final("the answer has no expires_in".into()))?;
        Self::new(text, lifetime)
    }

    /// Of `{"access_token":…,"expiry":…}`, in seconds since 1970.
    pub(super) fn of_luci(json: &Value) -> Result<Self, AuthError> {
        let text = access_token(json)?;
        let since = json
            .get("expiry")
            .and_then(Value::as_f64)
            .and_then(|expiry| Duration::try_from_secs_f64(expiry).ok())
            .ok_or_else(|| AuthError::Final("the answer has no expiry".into()))?;
        let expiry = SystemTime::UNIX_EPOCH.checked_add(since);
        let lifetime = expiry
            .and_then(|expiry| expiry.duration_since(SystemTime::now()).ok())
            .unwrap_or_default();
        Self::new(text, lifetime)
    }
}

fn access_token(json: &Value) -> Result<&str, AuthError> {
    json.get("access_token")
        .and_then(Value::as_str)
        .ok_or_else(|| AuthError::Final("the answer has no access_token".into()))
}

/// The JSON of an answer, which may hold a token, and is not in the error.
pub(super) fn json(answer: &Answer) -> Result<Value, AuthError> {
    serde_json::from_slice(&answer.body)
        .map_err(|_| AuthError::Transient("the answer is no JSON".into()))
}

/// An answer that is not 200.
pub(super) fn refusal(answer: &Answer) -> AuthError {
    let status = answer.status;
    let what = match serde_json::from_slice::<Value>(&answer.body) {
        Ok(json) => {
            let text = |name: &str| json.get(name).and_then(Value::as_str);
            let said = [text("error"), text("error_description")];
            PeerText::new(said.into_iter().flatten().collect::<Vec<_>>().join(": "))
        }
        Err(_) => answer.complaint(),
    };
    let text = match what.is_empty() {
        true => format!("HTTP {}", status.as_u16()),
        false => format!("HTTP {}: {what}", status.as_u16()),
    };
    let transient = status.is_server_error()
        || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status);
    match transient {
        true => AuthError::Transient(text),
        false => AuthError::Final(text),
    }
}

impl From<CallError> for AuthError {
    fn from(error: CallError) -> Self {
        let text = Chain(&error).to_string();
        match error.is_final() {
            true => Self::Final(text),
            false => Self::Transient(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: http::HeaderMap::new(),
            body: body.to_owned().into(),
        }
    }

    #[test]
    fn tokens_are_renewed_before_they_expire() {
        let token = AccessToken::of_oauth(&answer(
            200,
            r#"{"access_token":"hunter2","expires_in":3600}"#,
        ));
        let token = token.unwrap();
        assert!(token.is_fresh() && token.is_valid());
        assert!(!format!("{token:?} {:?}", token.header()).contains("hunter2"));
        assert_eq!(token.header(), "Bearer hunter2");
        assert_eq!(token.expires - token.renew, TOKEN_MARGIN);
        let short = AccessToken::new("x", Duration::from_secs(10)).unwrap();
        assert_eq!(short.expires - short.renew, Duration::from_secs(5));
        let old = serde_json::json!({"access_token": "x", "expiry": 1000});
        let old = AccessToken::of_luci(&old).unwrap();
        assert!(!old.is_fresh() && !old.is_valid());
    }

    #[test]
    fn answers_that_are_no_token() {
        let long = "a".repeat(TOKEN_MAX + 1);
        for body in [
            &format!(r#"{{"access_token":"{long}","expires_in":1}}"#),
            r#"{"access_token":"","expires_in":1}"#,
            r#"{"access_token":"a\nb","expires_in":1}"#,
            r#"{"access_token":"a"}"#,
            r#"{"access_token":"a","expires_in":-1}"#,
            r#"{"expires_in":1}"#,
            "hunter2",
        ] {
            let error = AccessToken::of_oauth(&answer(200, body)).unwrap_err();
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn refusals() {
        let denied = refusal(&answer(
            400,
            r#"{"error":"invalid_grant","error_description":"Account not found"}"#,
        ));
        let expected = "HTTP 400: invalid_grant: Account not found";
        assert_eq!(denied, AuthError::Final(expected.into()));
        for status in [408, 429, 500, 503] {
            assert!(matches!(
                refusal(&answer(status, "x")),
                AuthError::Transient(_)
            ));
        }
    }
}
