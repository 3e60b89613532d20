//! The messages that a socket output has, in the order in which they go out.

use std::collections::VecDeque;

use crate::delivery::encode::{Compress, Encoded, Encoder};
use crate::delivery::message::{Message, Ticket};
use crate::delivery::outcome::{Outcome, Outcomes};
use crate::delivery::stored::Stored;
use crate::output::write::Progress;

/// Memory of messages that are over, which is kept for the next ones.
const SPARE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// First those that were sent over the connection that there is, and are not
/// settled; then those that are still to be sent, the first of them perhaps in
/// part. Each is kept as it is sent, so that it is the same every time.
#[derive(Debug)]
pub(super) struct Queue {
    encoder: Encoder,
    messages: VecDeque<Queued>,
    sent: usize,
    /// Of the first that is not sent.
    progress: Progress,
    /// Memory that is used again.
    spare: Vec<Encoded>,
    spare_bytes: usize,
}

#[derive(Debug)]
struct Queued {
    ticket: Ticket,
    message: Encoded,
}

impl Queue {
    pub fn new(compress: Compress) -> Self {
        Self {
            encoder: Encoder::new(compress),
            messages: VecDeque::new(),
            sent: 0,
            progress: Progress::default(),
            spare: Vec::new(),
            spare_bytes: 0,
        }
    }

    /// Adds a message that is over as soon as it is sent.
    pub fn push(&mut self, message: &Message) {
        self.prepare().encode(message);
        self.add(message.ticket());
    }

    /// Adds a message that is kept until it is acknowledged. If nothing of it is
    /// shared it says how many bytes of memory it takes instead.
    pub fn push_to_keep(&mut self, message: &Message) -> Option<usize> {
        let is_apart = self.prepare().encode_to_keep(message);
        let memory = self.add(message.ticket());
        is_apart.then_some(memory)
    }

    /// Adds a message that was stored.
    pub fn push_stored(&mut self, stored: &Stored) {
        self.prepare().encode_stored(stored);
        self.add(stored.ticket());
    }

    fn prepare(&mut self) -> &mut Encoder {
        if let Some(spare) = self.spare.pop() {
            self.spare_bytes -= spare.memory();
            self.encoder.reuse(spare);
        }
        &mut self.encoder
    }

    fn add(&mut self, ticket: Ticket) -> usize {
        let message = self.encoder.take();
        let memory = message.memory();
        self.messages.push_back(Queued { ticket, message });
        memory
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// How many wait to be settled.
    pub fn sent(&self) -> usize {
        self.sent
    }

    /// The first that is not sent, and how far it is.
    pub fn next(&mut self) -> Option<(&Encoded, &mut Progress)> {
        let next = self.messages.get(self.sent)?;
        Some((&next.message, &mut self.progress))
    }

    /// That one is sent.
    pub fn note_sent(&mut self) {
        self.sent += 1;
        self.progress = Progress::default();
    }

    /// The first `count` that were sent are delivered.
    pub fn settle(&mut self, count: usize, outcomes: &mut Outcomes) {
        assert!(count <= self.sent, "they were sent");
        self.sent -= count;
        for Queued { ticket, message } in self.messages.drain(..count) {
            let len = message.len();
            outcomes.settle(Outcome::delivered(ticket, len));
            let (spare, bytes) = (&mut self.spare, &mut self.spare_bytes);
            keep(message, spare, bytes);
        }
    }

    /// The connection is over: the next one gets all of them, from the first byte of
    /// the first.
    pub fn rewind(&mut self) {
        self.sent = 0;
        self.progress = Progress::default();
    }

    /// None of them is tried any more.
    pub fn clear(&mut self) {
        self.rewind();
        self.messages.clear();
    }
}

/// Keeps its memory, if there is not enough already.
fn keep(mut message: Encoded, spare: &mut Vec<Encoded>, bytes: &mut usize) {
    message.clear();
    let memory = message.memory();
    if *bytes + memory <= SPARE_BYTES_MAX {
        *bytes += memory;
        spare.push(message);
    }
}
