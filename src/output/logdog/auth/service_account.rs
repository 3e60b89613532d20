//! A service account with a key in a file: a signed assertion is exchanged
//! for a token (RFC 7523).

use std::fmt;
use std::path::Path;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Uri};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use super::{AccessToken, AuthError, SCOPES, token};
use crate::limits::CALL_TIMEOUT;
use crate::output::logdog::RegistrationError;
use crate::output::logdog::net::dial::Dialer;
use crate::output::logdog::net::http::call;
use crate::output::logdog::net::origin::Origin;
use crate::output::logdog::net::tls::Protocol;
use crate::output::logdog::secrets::HeldSecret;

/// How long an assertion is valid, in seconds: the longest that is allowed.
const ASSERTION_LIFETIME: u64 = 3600;
/// Our clock may be ahead of theirs by so many seconds.
const CLOCK_SKEW: u64 = 10;

pub struct ServiceAccount {
    email: String,
    key_id: Option<String>,
    key: RsaKeyPair,
    /// Its text, so that nobody quotes it.
    _key_held: HeldSecret,
    token_uri: String,
    path: Uri,
    dialer: Dialer,
}

impl fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceAccount({})", self.email)
    }
}

impl fmt::Display for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the service account {}", self.email)
    }
}

impl ServiceAccount {
    /// Reads the key file. What is wrong with it is told without what is in
    /// it.
    pub fn read(path: &Path) -> Result<Self, RegistrationError> {
        let refused = |reason| RegistrationError::KeyFile {
            path: path.to_owned(),
            reason,
        };
        let bytes = std::fs::read(path).map_err(|error| refused(error.into()))?;
        Self::parse(&bytes).map_err(|what| refused(what.into()))
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let json: Value = serde_json::from_slice(bytes).map_err(|error| {
            format!(
                "it is no JSON (line {}, column {})",
                error.line(),
                error.column()
            )
        })?;
        let field = |name: &str| json.get(name).and_then(Value::as_str);
        if let Some(kind) = field("type")
            && kind != "service_account"
        {
            return Err(format!(
                "it is of type {kind:?}; wanted is the key of a service account"
            ));
        }
        let required = |name: &str| {
            field(name)
                .filter(|value| !value.is_empty())
                .ok_or_else(|| format!("{name} is missing"))
        };
        let token_uri = required("token_uri")?;
        let uri: Uri = token_uri
            .parse()
            .map_err(|_| format!("token_uri {token_uri:?} is no URL"))?;
        let origin = Origin::of_uri(&uri)
            .map_err(|error| format!("token_uri {token_uri:?} is refused: {error}"))?;
        let path = uri
            .path_and_query()
            .cloned()
            .map_or_else(Uri::default, Uri::from);
        Ok(Self {
            email: required("client_email")?.to_owned(),
            key_id: field("private_key_id").map(str::to_owned),
            key: key(required("private_key")?)?,
            _key_held: HeldSecret::new(required("private_key")?),
            token_uri: token_uri.to_owned(),
            path,
            dialer: Dialer::new(origin, Protocol::Http1).map_err(|error| error.to_string())?,
        })
    }

    pub async fn fetch(&self) -> Result<AccessToken, AuthError> {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_err(|_| AuthError::Final("the clock stands before 1970".into()))?;
        let assertion = self.assertion(now.as_secs().saturating_sub(CLOCK_SKEW))?;
        // Whoever has it gets tokens for it.
        let _held = HeldSecret::new(&assertion);
        let body = format!(
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}"
        );
        let mut request = Request::new(Bytes::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.clone();
        request.headers_mut().insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        let answer = call(&self.dialer, request, CALL_TIMEOUT).await?;
        match answer.status.as_u16() {
            200 => AccessToken::of_oauth(&answer),
            _ => Err(token::refusal(&answer)),
        }
    }

    /// The signed JWT, issued at `now` (seconds since 1970).
    fn assertion(&self, now: u64) -> Result<String, AuthError> {
        let mut header = json!({"alg": "RS256", "typ": "JWT"});
        if let Some(id) = &self.key_id {
            header["kid"] = id.as_str().into();
        }
        let claims = json!({
            "iss": self.email,
            "scope": SCOPES.join(" "),
            "aud": self.token_uri,
            "iat": now,
            "exp": now + ASSERTION_LIFETIME,
        });
        let encode = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                signed.as_bytes(),
                &mut signature,
            )
            .map_err(|_| AuthError::Final("the key does not sign".into()))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

fn key(pem: &str) -> Result<RsaKeyPair, String> {
    let der = PrivateKeyDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| "private_key is no private key in PEM".to_owned())?;
    let key = match &der {
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        _ => return Err("private_key is no RSA key".into()),
    };
    key.map_err(|error| format!("private_key is refused: {error}"))
}

#[cfg(test)]
mod tests {
    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    use super::super::testing::key_file;
    use super::*;

    #[test]
    fn signs_what_it_claims() {
        let account = ServiceAccount::parse(key_file("http://127.0.0.1:1/token").as_bytes());
        let account = account.unwrap();
        assert_eq!(account.path, "/token");
        let assertion = account.assertion(1_700_000_000).unwrap();
        let parts: Vec<&str> = assertion.split('.').collect();
        let [header, claims, signature] = parts[..] else {
            panic!("{assertion}");
        };
        let json = |part: &str| -> Value {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
        };
        assert_eq!(
            json(header),
            json!({"alg": "RS256", "typ": "JWT", "kid": "key-1"})
        );
        let claims_json = json(claims);
        assert_eq!(claims_json["aud"], "http://127.0.0.1:1/token");
        assert_eq!(claims_json["exp"], 1_700_003_600);
        UnparsedPublicKey::new(
            &RSA_PKCS1_2048_8192_SHA256,
            account.key.public().as_ref().to_vec(),
        )
        .verify(
            format!("{header}.{claims}").as_bytes(),
            &URL_SAFE_NO_PAD.decode(signature).unwrap(),
        )
        .unwrap();
    }

    #[test]
    fn what_is_wrong_is_told_without_secrets() {
        let good: Value = serde_json::from_str(&key_file("https://x.y/token")).unwrap();
        for (field, value, says) in [
            ("type", "authorized_user", "the key of a service account"),
            ("client_email", "", "client_email is missing"),
            ("token_uri", "http://x.y/token", "loopback addresses only"),
            ("token_uri", "x y", "is no URL"),
            ("private_key", "hunter2", "no private key in PEM"),
        ] {
            let mut wrong = good.clone();
            wrong[field] = value.into();
            let error = ServiceAccount::parse(wrong.to_string().as_bytes()).unwrap_err();
            assert!(error.contains(says), "{error}");
            assert!(!error.contains("hunter2"));
        }
        let error = ServiceAccount::parse(b"{\"private_key\": hunter2").unwrap_err();
        assert!(error.starts_with("it is no JSON (line 1"), "{error}");
    }
}
