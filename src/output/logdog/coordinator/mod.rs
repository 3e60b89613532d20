//! Registration of the prefix with the Coordinator.

mod host;
mod prpc;

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::Instant;

pub(super) use host::CoordinatorHost;
use prpc::{Code, RpcClient, RpcRefusal};

use super::RegistrationError;
use super::auth::{AuthError, Tokens};
use super::pubsub::topic::Topic;
use super::secrets::HeldSecret;
use super::settings::LogdogOutput;
use crate::edge::clock;
use crate::limits::{CALL_BACKOFF_FIRST, NONCE_LEN, REGISTRATION_TIMEOUT, SECRET_LEN};
use crate::output::backoff::Backoff;
use crate::output::health::Health;
use crate::proto::registration::{RegisterPrefixRequest, RegisterPrefixResponse};

/// The prefix is ours.
#[derive(Debug)]
pub struct Registration {
    /// What our bundles prove themselves with.
    pub secret: HeldSecret,
    /// Where they go.
    pub topic: Topic,
}

/// The registration of one prefix: the same over all attempts.
pub struct Registrar {
    client: RpcClient,
    request: RegisterPrefixRequest,
    /// Whoever knows it can register as us, and gets our secret.
    _nonce: HeldSecret,
}

impl Registrar {
    /// `realm` is without its project; empty, it is none.
    pub fn new(
        settings: &LogdogOutput,
        host: &CoordinatorHost,
        project: &str,
        prefix: &str,
        realm: &str,
    ) -> Result<Self, RegistrationError> {
        let mut nonce = vec![0; NONCE_LEN];
        SystemRandom::new()
            .fill(&mut nonce)
            .map_err(|_| RegistrationError::Failed("the kernel gives no random bytes".into()))?;
        let held = HeldSecret::new(&nonce);
        let request = RegisterPrefixRequest {
            project: project.into(),
            prefix: prefix.into(),
            source_info: vec![
                "LogDog Butler".into(),
                concat!("VERSION=", env!("CARGO_PKG_VERSION")).into(),
                format!("ARCH={}", std::env::consts::ARCH),
                format!("OS={}", std::env::consts::OS),
            ],
            op_nonce: nonce.into(),
            realm: realm.into(),
            expiration: settings.prefix_expiration.map(duration),
        };
        let client = RpcClient::new(host)?;
        Ok(Self {
            client,
            request,
            _nonce: held,
        })
    }

    /// Asks until there is an answer that is final.
    pub async fn register(
        &self,
        tokens: Option<&Tokens>,
    ) -> Result<Registration, RegistrationError> {
        let health = Health::new(format!("registration with {}", self.client.host()));
        let mut backoff = Backoff::starting_with(CALL_BACKOFF_FIRST);
        let deadline = Instant::now() + REGISTRATION_TIMEOUT;
        let mut renewed = false;
        loop {
            let why = match self.attempt(tokens, &mut renewed).await {
                Ok(registration) => {
                    health.worked();
                    return Ok(registration);
                }
                Err(Attempt::Final(failure)) => return Err(failure),
                Err(Attempt::Renew) => continue,
                Err(Attempt::Again(why)) => why,
            };
            let wait = backoff.wait(clock::mono_ns());
            if Instant::now() + wait > deadline {
                return Err(format!("{why}; tried for {REGISTRATION_TIMEOUT:?}").into());
            }
            health.failed(&why);
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt(
        &self,
        tokens: Option<&Tokens>,
        renewed: &mut bool,
    ) -> Result<Registration, Attempt> {
        let token = match tokens {
            None => None,
            Some(tokens) => match tokens.get().await {
                Ok(token) => Some((tokens, token)),
                Err(AuthError::Transient(why)) => return Err(Attempt::Again(why)),
                Err(AuthError::Final(why)) => return Err(Attempt::Final(why.into())),
            },
        };
        let body = Bytes::from(self.request.encode_to_vec());
        let call = self
            .client
            .register_prefix(token.as_ref().map(|(_, token)| token), body);
        let refusal = match call.await {
            Ok(body) => return self.accept(&body).map_err(Attempt::Final),
            Err(refusal) => refusal,
        };
        if let (Code::Unauthenticated, Some((tokens, token))) = (refusal.code, &token)
            && !std::mem::replace(renewed, true)
        {
            tokens.reject(token).await;
            return Err(Attempt::Renew);
        }
        Err(match refusal.code.is_transient() {
            true => Attempt::Again(refusal.to_string()),
            false => Attempt::Final(self.explain(refusal, tokens)),
        })
    }

    fn accept(&self, body: &[u8]) -> Result<Registration, RegistrationError> {
        let host = self.client.host();
        let other =
            |what: String| RegistrationError::from(format!("the Coordinator {host} {what}"));
        let response = RegisterPrefixResponse::decode(body)
            .map_err(|_| other("gives an answer that does not decode".into()))?;
        let len = response.secret.len();
        if len != SECRET_LEN {
            return Err(other(format!(
                "gives a secret of {len} bytes instead of {SECRET_LEN}"
            )));
        }
        // From here on nobody quotes it, not even the topic beside it.
        let secret = HeldSecret::new(&response.secret);
        let topic = response
            .log_bundle_topic
            .parse()
            .map_err(|error| other(format!("gives no valid topic: {error}")))?;
        Ok(Registration { secret, topic })
    }

    fn explain(&self, refusal: RpcRefusal, tokens: Option<&Tokens>) -> RegistrationError {
        let RegisterPrefixRequest {
            project,
            prefix,
            realm,
            ..
        } = &self.request;
        match (refusal.code, tokens) {
            (Code::AlreadyExists, _) => RegistrationError::PrefixTaken {
                prefix: prefix.clone(),
                project: project.clone(),
                reason: refusal.into(),
            },
            (Code::PermissionDenied, _) => RegistrationError::Denied {
                account: tokens.map_or("a butler without an account".into(), Tokens::account),
                place: match &**realm {
                    "" => format!("the project {project}"),
                    realm => format!("the realm {project}:{realm}"),
                },
                reason: refusal.into(),
            },
            (Code::Unauthenticated, None) => RegistrationError::AccountWanted(refusal.into()),
            (Code::Unauthenticated, Some(tokens)) => {
                let account = tokens.account();
                format!("the Coordinator does not accept tokens of {account}: {refusal}").into()
            }
            _ => format!("the prefix {prefix} is refused: {refusal}").into(),
        }
    }
}

/// What came of an attempt that did not succeed.
enum Attempt {
    /// To be made again later.
    Again(String),
    /// To be made again with another token.
    Renew,
    /// None follows.
    Final(RegistrationError),
}

fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: duration.subsec_nanos() as i32,
    }
}
