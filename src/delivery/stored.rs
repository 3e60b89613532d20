//! A message that was kept on disk, and comes back to be sent.
//!
//! What is kept is its *body*: the bundle without fields 4 to 6, which say whose
//! it is. Those are the same for all messages of a [`Run`], and its secret may
//! come to be known later than the messages.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::message::{Identity, Ticket};
use crate::secret::Secret;
use crate::wire::name::StreamName;

/// One butler, from its start to its end: whose messages are whose.
#[derive(Debug)]
pub struct Run {
    /// What its bundles carry.
    pub identity: Identity,
    /// Fields 4 to 6 of them.
    fields: Secret,
    /// The Pub/Sub topic that its registration gave.
    pub topic: Option<String>,
    /// Its prefix is not registered, and that is how it can be.
    pub registration: Option<Registration>,
}

impl Run {
    /// One whose bundles carry that, and go to that topic, if to any.
    pub fn new(identity: Identity, topic: Option<String>) -> Self {
        Self {
            fields: identity.encode(),
            identity,
            topic,
            registration: None,
        }
    }

    /// One whose prefix is not registered yet.
    pub fn unregistered(identity: Identity, registration: Registration) -> Self {
        Self {
            registration: Some(registration),
            ..Self::new(identity, None)
        }
    }
}

/// How the prefix of a run is registered, by whichever butler does it: the same
/// registration over all attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The Coordinator, `HOST` or `HOST:PORT`.
    pub coordinator: String,
    /// One of its services; empty: none.
    pub service: String,
    /// Without the project; empty: none.
    pub realm: String,
    /// By which the Coordinator knows that it is the same registration.
    pub nonce: Secret,
    /// How long the prefix is to be open, if not as the Coordinator likes it.
    pub expiration: Option<Duration>,
}

/// What is known of whether a run's messages can be sent: after its prefix was to
/// be registered, or when it turned out that they can't.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It is registered: the run's bundles carry this secret, and go there.
    Registered {
        /// The Coordinator's, for the prefix.
        secret: Secret,
        /// A Pub/Sub topic.
        topic: String,
    },
    /// It never will be: nobody can send the run's messages. Those that are carried
    /// are refused.
    Refused,
    /// Not by us, such as we are. Perhaps another butler can, so the run's
    /// messages stay where they are.
    Denied,
}

/// What waits in a spool, of all runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Left {
    /// Where.
    pub path: PathBuf,
    /// Streams that something is there of.
    pub streams: u64,
    /// Messages.
    pub messages: u64,
    /// Their clients' bytes.
    pub bytes: u64,
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            streams,
            bytes,
            ..
        } = self;
        let s = if *streams == 1 { "" } else { "s" };
        write!(
            f,
            "{streams} stream{s}, {bytes} bytes wait in {}",
            path.display()
        )
    }
}

/// Messages, and what is in them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many they are.
    pub messages: u64,
    /// Their clients' bytes.
    pub bytes: u64,
}

impl std::ops::AddAssign for Amount {
    fn add_assign(&mut self, more: Self) {
        self.messages += more.messages;
        self.bytes += more.bytes;
    }
}

/// How far it has come to send what waits in a spool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SendProgress {
    /// What waited at the beginning.
    pub total: Amount,
    /// Of that, what is delivered.
    pub delivered: Amount,
    /// And what the far end does not want, and never will.
    pub refused: Amount,
    /// Places in the spool where something is damaged, or can't be read.
    pub damaged: u64,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Stored {
    ticket: Ticket,
    pub(super) body: Bytes,
    run: Arc<Run>,
    streams: (StreamName, usize),
}

impl Stored {
    /// One of `run`, whose first stream is that, besides so many others.
    ///
    /// `ticket` must be none that a fresh message may have.
    pub fn new(ticket: Ticket, run: Arc<Run>, body: Bytes, streams: (StreamName, usize)) -> Self {
        Self {
            ticket,
            body,
            run,
            streams,
        }
    }

    /// By which its outcome is told.
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Whose it is.
    pub fn run(&self) -> &Arc<Run> {
        &self.run
    }

    /// The first of its streams, and how many others there are.
    pub fn streams(&self) -> (&StreamName, usize) {
        (&self.streams.0, self.streams.1)
    }

    /// Bytes of the `ButlerLogBundle`.
    pub fn len(&self) -> usize {
        self.body.len() + self.identity().len()
    }

    /// A message always has a stream.
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// Fields 4 to 6 of its bundle.
    pub(super) fn identity(&self) -> &Bytes {
        self.run.fields.expose()
    }
}
