//! Messages that are published, several at once.
//!
//! Each is published by a task of its own on the butler's thread, which tells
//! when it has ended. The futures are tonic's; what is to be done and what came
//! of it is here.

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::{Id, JoinSet};

use super::pubsub::Publisher;
use crate::delivery::encode::{Compress, Encoder};
use crate::delivery::message::{Message, Ticket};
use crate::delivery::outcome::Outcome;
use crate::delivery::window::Capacity;
use crate::edge::io::Io;
use crate::edge::transport::{Now, Transport};
use crate::ledger::DropReason;
use crate::limits::{PUBLISHES_BYTES_MAX, PUBLISHES_MAX};
use crate::wire::name::StreamName;

/// gRPC copies what is published once more while it is sent.
const COPIES: usize = 2;

/// See the module.
#[derive(Debug)]
pub(crate) struct Publishing {
    encoder: Encoder,
    publisher: Rc<Publisher>,
    capacity: Capacity,
    publishes: JoinSet<Result<u64, DropReason>>,
    tickets: HashMap<Id, Ticket>,
    /// Is given when one of them has ended.
    ended: Arc<Notify>,
}

impl Publishing {
    /// Takes less than half of the `buffered_max` bytes that may be buffered.
    pub fn new(publisher: Publisher, buffered_max: u64) -> Self {
        let bytes = PUBLISHES_BYTES_MAX.min(buffered_max / 4);
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        Self {
            encoder: Encoder::new(Compress::ZLIB),
            publisher: Rc::new(publisher),
            capacity: Capacity::of(PUBLISHES_MAX, bytes.saturating_mul(COPIES)),
            publishes: JoinSet::new(),
            tickets: HashMap::new(),
            ended: Arc::default(),
        }
    }

    /// Publishes what is in the encoder.
    fn begin<I>(&mut self, now: &mut Now<'_, I>, ticket: Ticket, streams: StreamNames) {
        let bytes: Bytes = match self.encoder.pieces() {
            [whole] => whole.clone(),
            pieces => pieces.concat().into(),
        };
        self.encoder.clear();
        now.outcomes.encoded(ticket, COPIES * bytes.len());
        let publisher = Rc::clone(&self.publisher);
        let ended = Ended(Arc::clone(&self.ended));
        let publish = self.publishes.spawn_local(async move {
            let _ended = ended;
            publisher.publish(bytes, &streams).await
        });
        self.tickets.insert(publish.id(), ticket);
    }
}

impl<I: Io> Transport<I> for Publishing {
    fn start(&mut self, now: &mut Now<'_, I>, message: Arc<Message>) {
        self.encoder.encode(&message);
        let (ticket, streams) = (message.ticket(), StreamNames::of(&message));
        drop(message);
        self.begin(now, ticket, streams);
    }

    fn poll(&mut self, now: &mut Now<'_, I>) {
        while let Some(ended) = self.publishes.try_join_next_with_id() {
            let (id, result) = match ended {
                Ok(ended) => ended,
                // It panicked, which has been told.
                Err(error) => (error.id(), Err(DropReason::Undelivered)),
            };
            if let Some(ticket) = self.tickets.remove(&id) {
                now.outcomes.settle(match result {
                    Ok(bytes_out) => Outcome::delivered(ticket, bytes_out),
                    Err(reason) => Outcome::lost(ticket, reason),
                });
            }
        }
    }

    fn alarm(&self) -> Option<Arc<Notify>> {
        Some(Arc::clone(&self.ended))
    }

    fn finish(&mut self, _: &mut Now<'_, I>) {}

    fn is_finished(&self) -> bool {
        self.tickets.is_empty()
    }

    fn give_up(&mut self, _: &mut Now<'_, I>) {
        self.publishes = JoinSet::new();
        self.tickets.clear();
    }

    fn capacity(&self) -> Capacity {
        self.capacity
    }

    fn errors(&self) -> u64 {
        self.publisher.health().errors()
    }
}

/// Tells that a publish has ended, however it did.
struct Ended(Arc<Notify>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// The streams of a message, for the log.
#[derive(Debug)]
struct StreamNames {
    first: Option<StreamName>,
    others: usize,
}

impl StreamNames {
    fn of(message: &Message) -> Self {
        Self {
            first: message.streams.first().map(|one| one.info.name.clone()),
            others: message.streams.len().saturating_sub(1),
        }
    }
}

impl fmt::Display for StreamNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.first, self.others) {
            (None, _) => f.write_str("no stream"),
            (Some(first), 0) => write!(f, "of stream {first}"),
            (Some(first), others) => write!(f, "of stream {first} and {others} others"),
        }
    }
}
