//! Registration of prefixes with their Coordinators.

mod host;
mod prpc;

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::Mutex;
use tokio::time::Instant;

pub(super) use host::CoordinatorHost;
use prpc::{Code, RpcClient, RpcRefusal};

use super::RegistrationError;
use super::auth::{Accounts, AuthError, Tokens};
use super::pubsub::topic::Topic;
use super::secrets::HeldSecret;
use crate::chain::Chain;
use crate::delivery::message::Identity;
use crate::delivery::stored::Registration;
use crate::edge::clock;
use crate::limits::{
    CALL_BACKOFF_FIRST, NONCE_LEN, REGISTRATION_TIMEOUT, RETRY_AFTER_MAX, SECRET_LEN,
};
use crate::output::backoff::Backoff;
use crate::output::health::Health;
use crate::proto::registration::{RegisterPrefixRequest, RegisterPrefixResponse};
use crate::secret::Secret;

/// The prefix is ours.
#[derive(Debug)]
pub struct Grant {
    /// What our bundles prove themselves with.
    pub secret: HeldSecret,
    /// Where they go.
    pub topic: Topic,
}

/// How long a Coordinator is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Somebody waits for it.
    Limited,
    /// For ever, and as seldom as it likes.
    Endless,
}

/// A nonce for a new registration.
pub fn nonce() -> Result<Secret, RegistrationError> {
    let mut nonce = vec![0; NONCE_LEN];
    SystemRandom::new()
        .fill(&mut nonce)
        .map_err(|_| RegistrationError::Failed("the kernel gives no random bytes".into()))?;
    Ok(Secret::new(nonce))
}

/// A Coordinator, for all who ask it.
#[derive(Debug)]
pub struct Coordinator {
    client: RpcClient,
    health: Health,
    /// Whose turn it is has this: it is asked one question at a time, however
    /// many there are, and none while it is left alone after it failed.
    turn: Mutex<Backoff>,
}

impl Coordinator {
    pub fn new(host: &CoordinatorHost) -> Result<Self, RegistrationError> {
        let client = RpcClient::new(host)?;
        Ok(Self {
            health: Health::new(format!("registration with {}", client.host())),
            client,
            turn: Mutex::new(Backoff::starting_with(CALL_BACKOFF_FIRST)),
        })
    }

    pub fn host(&self) -> &str {
        self.client.host()
    }

    pub fn health(&self) -> &Health {
        &self.health
    }
}

/// The registration of one prefix: the same over all attempts.
pub struct Registrar {
    coordinator: Rc<Coordinator>,
    request: RegisterPrefixRequest,
    /// Whoever knows it can register as us, and gets our secret.
    _nonce: HeldSecret,
}

impl Registrar {
    /// Whose prefix it is, and how it is registered.
    pub fn new(
        coordinator: Rc<Coordinator>,
        identity: &Identity,
        registration: &Registration,
    ) -> Self {
        let request = RegisterPrefixRequest {
            project: identity.project.clone(),
            prefix: identity.prefix.clone(),
            source_info: vec![
                "LogDog Butler".into(),
                concat!("VERSION=", env!("CARGO_PKG_VERSION")).into(),
                format!("ARCH={}", std::env::consts::ARCH),
                format!("OS={}", std::env::consts::OS),
            ],
            op_nonce: registration.nonce.expose().clone(),
            realm: registration.realm.clone(),
            expiration: registration.expiration.map(duration),
        };
        Self {
            coordinator,
            request,
            _nonce: HeldSecret::new(registration.nonce.expose()),
        }
    }

    /// Asks until there is an answer that is final: with the second account, if
    /// the first one may not. That one then publishes too.
    pub async fn register(
        &self,
        accounts: Option<&Accounts>,
        patience: Patience,
    ) -> Result<Grant, RegistrationError> {
        let Some(accounts) = accounts else {
            return self.ask(None, patience).await;
        };
        let denied = match self.ask(Some(&accounts.registers), patience).await {
            Err(denied @ RegistrationError::Denied { .. }) => denied,
            result => return result,
        };
        let Some(second) = &accounts.second else {
            return Err(denied);
        };
        log::warn!("{}; trying with {}", Chain(&denied), second.account());
        let grant = self.ask(Some(second), patience).await?;
        accounts.publish_with(second);
        Ok(grant)
    }

    async fn ask(
        &self,
        tokens: Option<&Tokens>,
        patience: Patience,
    ) -> Result<Grant, RegistrationError> {
        let health = &self.coordinator.health;
        let deadline = Instant::now() + REGISTRATION_TIMEOUT;
        let mut renewed = false;
        loop {
            let mut turn = self.coordinator.turn.lock().await;
            let again = match self.attempt(tokens, &mut renewed).await {
                Ok(grant) => {
                    turn.reset();
                    health.worked();
                    return Ok(grant);
                }
                Err(Attempt::Renew) => continue,
                Err(Attempt::Again(again)) => again,
                Err(Attempt::Refused(refusal)) => match patience {
                    Patience::Endless if refusal.code.may_change() => Again::after(&refusal),
                    _ => return Err(self.explain(refusal, tokens)),
                },
                Err(Attempt::Final(failure)) => return Err(failure),
            };
            let mut wait = turn.wait(clock::mono_ns());
            match patience {
                Patience::Endless => wait = wait.max(again.not_before.min(RETRY_AFTER_MAX)),
                Patience::Limited if Instant::now() + wait > deadline => {
                    let why = again.why;
                    return Err(format!("{why}; tried for {REGISTRATION_TIMEOUT:?}").into());
                }
                Patience::Limited => {}
            }
            health.failed(&again.why);
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt(&self, tokens: Option<&Tokens>, renewed: &mut bool) -> Result<Grant, Attempt> {
        let token = match tokens {
            None => None,
            Some(tokens) => match tokens.get().await {
                Ok(token) => Some((tokens, token)),
                Err(AuthError::Transient(why)) => {
                    let not_before = Duration::ZERO;
                    return Err(Attempt::Again(Again { why, not_before }));
                }
                Err(AuthError::Final(why)) => return Err(Attempt::Final(why.into())),
            },
        };
        let body = Bytes::from(self.request.encode_to_vec());
        let call = self
            .coordinator
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
            true => Attempt::Again(Again::after(&refusal)),
            false => Attempt::Refused(refusal),
        })
    }

    fn accept(&self, body: &[u8]) -> Result<Grant, RegistrationError> {
        let host = self.coordinator.host();
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
        Ok(Grant { secret, topic })
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
    Again(Again),
    /// To be made again with another token.
    Renew,
    /// The Coordinator says no.
    Refused(RpcRefusal),
    /// None follows.
    Final(RegistrationError),
}

/// Why an attempt is to be made again, and how much later at least.
struct Again {
    why: String,
    not_before: Duration,
}

impl Again {
    fn after(refusal: &RpcRefusal) -> Self {
        Self {
            why: refusal.to_string(),
            not_before: refusal.retry_after,
        }
    }
}

fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: duration.subsec_nanos() as i32,
    }
}
