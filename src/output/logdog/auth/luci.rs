//! An account of a LUCI task, from the server on this machine that
//! `LUCI_CONTEXT` names.

use std::fmt;
use std::io;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request};
use serde_json::{Value, json};

use super::{AccessToken, AuthError, SCOPES, token};
use crate::limits::CALL_TIMEOUT;
use crate::output::logdog::luci_context::LocalAuth;
use crate::output::logdog::net::dial::Dialer;
use crate::output::logdog::net::http::call;
use crate::output::logdog::net::origin::Origin;
use crate::output::logdog::net::tls::Protocol;
use crate::output::logdog::secrets::HeldSecret;
use crate::output::peer_text::PeerText;

const PATH: &str = "/rpc/LuciLocalAuthService.GetOAuthToken";

pub struct LuciAccount {
    id: String,
    secret: HeldSecret,
    dialer: Dialer,
}

impl fmt::Debug for LuciAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LuciAccount({})", self.id)
    }
}

impl fmt::Display for LuciAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the account {:?} of LUCI_CONTEXT", self.id)
    }
}

impl LuciAccount {
    pub fn new(auth: &LocalAuth, id: &str) -> io::Result<Self> {
        let origin = Origin {
            secure: false,
            host: "127.0.0.1".into(),
            port: auth.rpc_port,
        };
        let dialer = Dialer::new(origin, Protocol::Http1)?;
        Ok(Self {
            id: id.to_owned(),
            secret: auth.secret.clone(),
            dialer,
        })
    }

    pub async fn fetch(&self) -> Result<AccessToken, AuthError> {
        let body = json!({
            "scopes": SCOPES,
            "secret": String::from_utf8_lossy(self.secret.expose()),
            "account_id": self.id,
        });
        let mut request = Request::new(Bytes::from(body.to_string()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = http::Uri::from_static(PATH);
        request
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let answer = call(&self.dialer, request, CALL_TIMEOUT).await?;
        if answer.status != http::StatusCode::OK {
            return Err(token::refusal(&answer));
        }
        let json = token::json(&answer)?;
        let code = json.get("error_code").and_then(Value::as_i64).unwrap_or(0);
        let message = json.get("error_message").and_then(Value::as_str);
        match (code, message.unwrap_or("")) {
            (0, "") => AccessToken::of_luci(&json),
            (code, message) => Err(AuthError::Final(format!(
                "error {code}: {}",
                PeerText::new(message)
            ))),
        }
    }
}
