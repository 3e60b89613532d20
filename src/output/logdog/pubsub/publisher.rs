//! One message after another, or several at once, to one topic.

use std::fmt;
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
use crate::ledger::DropReason;
use crate::limits::{CALL_BACKOFF_FIRST, CALL_TIMEOUT, PUBLISH_MESSAGE_MAX};
use crate::output::backoff::Backoff;
use crate::output::health::Health;
use crate::output::logdog::auth::{AccessToken, AuthError, Tokens};
use crate::output::logdog::secrets::HeldSecret;
use crate::output::peer_text::PeerText;
use crate::proto::pubsub::{PublishRequest, PublishResponse, PubsubMessage};

const PUBLISH: &str = "/google.pubsub.v1.Publisher/Publish";

/// Publishes to one topic.
#[derive(Debug)]
pub struct Publisher {
    topic: Topic,
    /// `topic=…`, by which Google routes the call.
    params: MetadataValue<Ascii>,
    channel: Channel,
    /// `None`: an emulator, which wants none.
    tokens: Option<Rc<Tokens>>,
    /// Of the prefix: it is in every message, and nobody quotes it.
    _secret: HeldSecret,
    health: Health,
}

/// Why an attempt failed.
enum Failure {
    /// It is made again.
    Transient(String),
    /// It is made again, with another token.
    Unauthenticated(AccessToken, String),
    /// It is not.
    Final(String),
}

impl Publisher {
    pub fn new(
        topic: Topic,
        channel: Channel,
        tokens: Option<Rc<Tokens>>,
        secret: HeldSecret,
    ) -> Self {
        let params = format!("topic={}", topic.escaped());
        Self {
            params: MetadataValue::try_from(params).expect("a topic is ASCII"),
            health: Health::new(format!("output logdog ({})", topic.shown())),
            topic,
            channel,
            tokens,
            _secret: secret,
        }
    }

    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Publishes `message`, which has the entries of the streams that `what`
    /// names. What may work later is tried for ever, with the same bytes. An
    /// error is final.
    pub async fn publish(
        &self,
        message: Bytes,
        what: &impl fmt::Display,
    ) -> Result<u64, DropReason> {
        let len = message.len();
        if len > PUBLISH_MESSAGE_MAX {
            let why = format_args!(
                "a message of {len} bytes, more than {PUBLISH_MESSAGE_MAX}, is not sent ({what})"
            );
            self.health.failed_for_good(&why);
            return Err(DropReason::Refused);
        }
        let mut backoff = Backoff::starting_with(CALL_BACKOFF_FIRST);
        // The last answer was that the token is not accepted.
        let mut rejected = false;
        loop {
            match self.attempt(message.clone()).await {
                Ok(()) => {
                    self.health.worked();
                    return Ok(len as u64);
                }
                Err(Failure::Transient(why)) => {
                    rejected = false;
                    self.health.failed(&why);
                    tokio::time::sleep(backoff.wait(clock::mono_ns())).await;
                }
                Err(Failure::Unauthenticated(token, why)) if !rejected => {
                    rejected = true;
                    log::debug!("a token is not accepted, another is sought: {why}");
                    if let Some(tokens) = &self.tokens {
                        tokens.reject(&token).await;
                    }
                }
                Err(Failure::Unauthenticated(_, why) | Failure::Final(why)) => {
                    let why = format_args!("{why}; a message of {len} bytes is dropped ({what})");
                    self.health.failed_for_good(&why);
                    return Err(DropReason::Refused);
                }
            }
        }
    }

    async fn attempt(&self, data: Bytes) -> Result<(), Failure> {
        let mut request = Request::new(PublishRequest {
            topic: self.topic.as_str().to_owned(),
            messages: vec![PubsubMessage { data }],
        });
        request.set_timeout(CALL_TIMEOUT);
        let metadata = request.metadata_mut();
        metadata.insert("x-goog-request-params", self.params.clone());
        let mut used = None;
        if let Some(tokens) = &self.tokens {
            let token = match tokens.get().await {
                Ok(token) => token,
                Err(AuthError::Transient(why)) => return Err(Failure::Transient(why)),
                Err(AuthError::Final(why)) => return Err(Failure::Final(why)),
            };
            let value = token.header().to_str().ok();
            let mut value = value
                .and_then(|value| MetadataValue::try_from(value).ok())
                .ok_or_else(|| Failure::Final("the token is malformed".into()))?;
            value.set_sensitive(true);
            metadata.insert("authorization", value);
            used = Some(token);
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

fn failure(status: &Status, used: Option<AccessToken>) -> Failure {
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
        (Code::Unauthenticated, Some(token)) => Failure::Unauthenticated(token, why),
        _ => Failure::Final(why),
    }
}
