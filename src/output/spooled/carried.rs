//! What the carrier has, and what else is known of it.

use std::sync::Arc;

use crate::delivery::message::{Message, Ticket};
use crate::delivery::outcome::{Fate, Later, Outcome, Outcomes};
use crate::delivery::window::Capacity;
use crate::ledger::DropReason;
use crate::output::spool::RecordId;
use crate::spool::{Manifest, Part};

/// Tickets from here on are of messages that were stored.
const STORED: u64 = 1 << 63;

/// A message that the carrier has.
#[derive(Debug)]
pub(super) enum What {
    /// It has never been on disk alone: the core waits for its outcome.
    Fresh {
        message: Arc<Message>,
        /// The disk has it too.
        record: Option<RecordId>,
    },
    /// Ours, and stored.
    Own { record: RecordId, streams: Manifest },
    /// An earlier butler's, with so many bytes of its clients.
    Earlier { record: RecordId, bytes: u64 },
}

impl What {
    /// Where the disk has it.
    pub fn record(&self) -> Option<RecordId> {
        match self {
            Self::Fresh { record, .. } => *record,
            Self::Own { record, .. } | Self::Earlier { record, .. } => Some(*record),
        }
    }

    /// The carrier is done with it.
    pub fn tell(self, outcomes: &mut Outcomes, outcome: Outcome) {
        match self {
            Self::Fresh { message, .. } => {
                drop(message);
                outcomes.settle(outcome);
            }
            Self::Own { streams, .. } => {
                outcomes.add_bytes_out(outcome.bytes_out());
                fetched(outcomes, &streams.streams, outcome.loss());
            }
            Self::Earlier { .. } => outcomes.add_bytes_out(outcome.bytes_out()),
        }
    }
}

/// What was stored of these streams is delivered now, or lost.
pub(super) fn fetched(outcomes: &mut Outcomes, streams: &[Part], lost: Option<DropReason>) {
    for stream in streams {
        outcomes.later(Later {
            stream: stream.name.clone(),
            bytes: stream.bytes,
            with_end: stream.terminal.is_some(),
            fate: Fate::Fetched(lost),
        });
    }
}

#[derive(Debug)]
struct Item {
    ticket: Ticket,
    /// Bytes of memory.
    memory: usize,
    /// Since when it is in memory.
    since_ns: u64,
    what: What,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Carried {
    capacity: Capacity,
    /// Bytes of memory that fresh ones may take.
    fresh_max: usize,
    /// In the order in which the carrier got them.
    items: Vec<Item>,
    /// Of the next message that comes from disk.
    next: u64,
}

impl Carried {
    pub fn new(capacity: Capacity, fresh_max: usize) -> Self {
        Self {
            fresh_max: fresh_max.min(capacity.bytes),
            capacity,
            items: Vec::new(),
            next: STORED,
        }
    }

    /// What is taken of fresh messages: one more than the carrier has, which waits;
    /// and all, when memory fills up.
    pub fn capacity(&self) -> Capacity {
        Capacity {
            messages: self.capacity.messages.saturating_add(1),
            bytes: self.fresh_max,
            overflows: true,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Messages whose outcome the core waits for, and the memory that they take.
    pub fn fresh(&self) -> (usize, usize) {
        let items = self.items.iter();
        let fresh = items.filter(|it| matches!(it.what, What::Fresh { .. }));
        fresh.fold((0, 0), |(count, memory), it| {
            (count + 1, memory + it.memory)
        })
    }

    /// Does the carrier take one more?
    pub fn has_room(&self) -> bool {
        let memory: usize = self.items.iter().map(|it| it.memory).sum();
        self.items.len() < self.capacity.messages && memory < self.capacity.bytes
    }

    /// Does it take one from memory? Whose memory is not free before it is settled.
    pub fn has_room_for_fresh(&self) -> bool {
        self.has_room() && self.fresh().1 < self.fresh_max
    }

    pub fn next_ticket(&mut self) -> Ticket {
        self.next += 1;
        Ticket(self.next)
    }

    /// The carrier gets a message.
    pub fn begin(&mut self, ticket: Ticket, memory: usize, since_ns: u64, what: What) {
        self.items.push(Item {
            ticket,
            memory,
            since_ns,
            what,
        });
    }

    /// The carrier is done with it.
    pub fn take(&mut self, ticket: Ticket) -> Option<What> {
        let at = self.items.iter().position(|it| it.ticket == ticket)?;
        Some(self.items.remove(at).what)
    }

    /// The one that the carrier got first.
    pub fn take_first(&mut self) -> Option<What> {
        (!self.items.is_empty()).then(|| self.items.remove(0).what)
    }

    /// The first that is in memory alone.
    pub fn first_in_memory(&self) -> Option<&Arc<Message>> {
        self.items.iter().find_map(|it| match &it.what {
            What::Fresh {
                message,
                record: None,
            } => Some(message),
            _ => None,
        })
    }

    /// Since when that is so of one.
    pub fn oldest_in_memory_ns(&self) -> Option<u64> {
        let alone = |it: &&Item| matches!(it.what, What::Fresh { record: None, .. });
        self.items.iter().find(alone).map(|it| it.since_ns)
    }

    /// The disk has that message now, and the core is told so.
    pub fn stored(&mut self, ticket: Ticket, record: RecordId, streams: Manifest) {
        if let Some(item) = self.items.iter_mut().find(|it| it.ticket == ticket) {
            item.what = What::Own { record, streams };
        }
    }
}
