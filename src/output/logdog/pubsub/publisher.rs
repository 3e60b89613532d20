//! One message after another, or several at once.

use std::rc::Rc;

use bytes::Bytes;
use http::uri::PathAndQuery;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use super::channel;
use super::topic::Topic;
use crate::edge::clock;
use crate::limits::{CALL_BACKOFF_FIRST, CALL_TIMEOUT, PUBLISH_MESSAGE_MAX};
use crate::output::backoff::Backoff;
use crate::output::health::Health;
use crate::output::logdog::auth::{AccessToken, Accounts, AuthError, Tokens};
use crate::output::logdog::secrets::HeldSecret;
use crate::output::peer_text::PeerText;
use crate::proto::pubsub::{PublishRequest, PublishResponse, PubsubMessage};

const PUBLISH: &str = "/google.pubsub.v1.Publisher/Publish";

/// Where the messages of one run go.
#[derive(Debug)]
pub struct Destination {
    topic: Topic,
    /// `topic=…`, by which Google routes the call.
    params: MetadataValue<Ascii>,
    /// Of the prefix: it is in every message, and nobody quotes it.
    _secret: HeldSecret,
}

impl Destination {
    pub fn new(topic: Topic, secret: HeldSecret) -> Self {
        let params = format!("topic={}", topic.escaped());
        Self {
            params: MetadataValue::try_from(params).expect("a topic is ASCII"),
            topic,
            _secret: secret,
        }
    }
}

/// Publishes, to any topic.
#[derive(Debug)]
pub struct Publisher {
    channel: Channel,
    /// `None`: an emulator, which wants none.
    accounts: Option<Rc<Accounts>>,
    health: Health,
}

/// Why an attempt failed.
enum Failure {
    /// It is made again.
    Transient(String),
    /// It is made again, with another token.
    Unauthenticated(Rc<Tokens>, AccessToken, String),
    /// It is not.
    Final(Unsent),
}

/// Why a message is not published, and won't be.
#[derive(Debug)]
pub struct Unsent {
    pub why: String,
    /// It is the message's own fault, which nobody can send.
    pub is_its_own: bool,
}

impl Unsent {
    /// It would have been the same with any other.
    fn any(why: impl Into<String>) -> Failure {
        Failure::Final(Self {
            why: why.into(),
            is_its_own: false,
        })
    }
}

impl Publisher {
    /// `what` names it in messages.
    pub fn new(channel: Channel, accounts: Option<Rc<Accounts>>, what: String) -> Self {
        Self {
            channel,
            accounts,
            health: Health::new(what),
        }
    }

    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Publishes `message`, and returns its bytes. What may work later is tried
    /// for ever, with the same bytes. An error is final.
    pub async fn publish(&self, to: &Destination, message: Bytes) -> Result<u64, Unsent> {
        let len = message.len();
        if len > PUBLISH_MESSAGE_MAX {
            return Err(Unsent {
                why: format!("it is larger than {PUBLISH_MESSAGE_MAX} bytes"),
                is_its_own: true,
            });
        }
        let mut backoff = Backoff::starting_with(CALL_BACKOFF_FIRST);
        // The last answer was that the token is not accepted.
        let mut rejected = false;
        loop {
            match self.attempt(to, message.clone()).await {
                Ok(()) => {
                    self.health.worked();
                    return Ok(len as u64);
                }
                Err(Failure::Transient(why)) => {
                    rejected = false;
                    self.health.failed(&why);
                    tokio::time::sleep(backoff.wait(clock::mono_ns())).await;
                }
                Err(Failure::Unauthenticated(tokens, token, why)) if !rejected => {
                    rejected = true;
                    log::debug!("a token is not accepted, another is sought: {why}");
                    tokens.reject(&token).await;
                }
                Err(Failure::Unauthenticated(.., why)) => {
                    return Err(Unsent {
                        why,
                        is_its_own: false,
                    });
                }
                Err(Failure::Final(unsent)) => return Err(unsent),
            }
        }
    }

    async fn attempt(&self, to: &Destination, data: Bytes) -> Result<(), Failure> {
        let mut request = Request::new(PublishRequest {
            topic: to.topic.as_str().to_owned(),
            messages: vec![PubsubMessage { data }],
        });
        request.set_timeout(CALL_TIMEOUT);
        let metadata = request.metadata_mut();
        metadata.insert("x-goog-request-params", to.params.clone());
        let mut used = None;
        if let Some(accounts) = &self.accounts {
            let tokens = accounts.publishes();
            let token = match tokens.get().await {
                Ok(token) => token,
                Err(AuthError::Transient(why)) => return Err(Failure::Transient(why)),
                Err(AuthError::Final(why)) => return Err(Unsent::any(why)),
            };
            let value = token.header().to_str().ok();
            let mut value = value
                .and_then(|value| MetadataValue::try_from(value).ok())
                .ok_or_else(|| Unsent::any("the token is malformed"))?;
            value.set_sensitive(true);
            metadata.insert("authorization", value);
            used = Some((tokens, token));
        }
        match tokio::time::timeout(CALL_TIMEOUT, self.call(request)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(status)) => Err(failure(&status, used)),
            Err(_) => Err(Failure::Transient(format!(
                "no answer within {CALL_TIMEOUT:?}"
            ))),
        }
    }

    async fn call(&self, request: Request<PublishRequest>) -> Result<(), Status> {
        let mut client = tonic::client::Grpc::new(self.channel.clone());
        client
            .ready()
            .await
            .map_err(|error| Status::unavailable(channel::reason(&error).to_string()))?;
        let codec = ProstCodec::<PublishRequest, PublishResponse>::default();
        let path = PathAndQuery::from_static(PUBLISH);
        client.unary(request, path, codec).await?;
        Ok(())
    }
}

fn failure(status: &Status, used: Option<(Rc<Tokens>, AccessToken)>) -> Failure {
    let text = match std::error::Error::source(status) {
        // No answer: the connection broke, or there is none.
        Some(source) => channel::reason(source),
        None => PeerText::new(status.message()),
    };
    let why = format!("{:?}: {text}", status.code());
    match (status.code(), used) {
        (
            Code::Unavailable
            | Code::Internal
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Cancelled,
            _,
        ) => Failure::Transient(why),
        (Code::Unauthenticated, Some((tokens, token))) => {
            Failure::Unauthenticated(tokens, token, why)
        }
        (code, _) => Failure::Final(Unsent {
            why,
            is_its_own: matches!(code, Code::InvalidArgument | Code::OutOfRange),
        }),
    }
}
