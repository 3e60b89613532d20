//! What became of a message at its output: of each stream how much is
//! delivered, and why the rest is not.

use std::sync::Arc;

use super::message::Ticket;
use super::stored::{Admission, Run};
use crate::ledger::{Account, DropReason};
use crate::wire::name::StreamName;

/// See the module.
///
/// An output that delivers stream by stream notes here what it has done as it
/// goes on, so that this is known also when it is stopped in the middle. One
/// that sends whole messages only says whether it could.
#[derive(Debug)]
pub struct Outcome {
    ticket: Ticket,
    /// Bytes that the output took, as it counts them.
    bytes_out: u64,
    /// What became of what nobody noted.
    rest: Rest,
    /// What is noted of the message's streams, by their position in it. Those
    /// behind its end have nothing noted.
    parts: Vec<Part>,
    /// The output has no mark of a stream's end, so none can be lost.
    without_ends: bool,
}

/// What became of all of a message that has no note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    Delivered,
    /// It is kept where it outlives the butler.
    Stored,
    Lost(DropReason),
}

/// What an output has to tell: of messages, and of what it held.
#[derive(Debug, Default)]
pub struct Outcomes {
    /// Messages that the output has made something else of, and the bytes of
    /// memory which that takes.
    encoded: Vec<(Ticket, usize)>,
    settled: Vec<Outcome>,
    /// What became of bytes of messages that were settled before.
    later: Vec<Later>,
    /// Bytes that the output took besides those of the messages.
    bytes_out: u64,
    /// What is known of runs.
    admissions: Vec<(Arc<Run>, Admission)>,
}

/// What is noted of one stream of the message, in bytes of its client.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Part {
    /// They are where they should be.
    pub delivered: u64,
    /// The output keeps them: what becomes of them is told later.
    pub held: u64,
    /// The output keeps them where they outlive the butler.
    pub stored: u64,
    /// Why the others are lost, if not for the reason that all have.
    pub dropped: Option<DropReason>,
}

/// What became of bytes after the outcome of their message was told.
#[derive(Debug, Clone)]
pub(crate) struct Later {
    pub stream: StreamName,
    pub bytes: u64,
    /// The mark of the stream's end shares their fate.
    pub with_end: bool,
    pub fate: Fate,
}

/// See [`Later`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// They were held, and are delivered now.
    Delivered,
    /// They were held, and are lost.
    Dropped(DropReason),
    /// They were stored, and are delivered now, or (`Some`) lost.
    Fetched(Option<DropReason>),
    /// They were delivered, and somebody has removed them while their stream
    /// was still written.
    Removed,
}

/// What of a stream's bytes goes into which column of its account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Split {
    pub delivered: u64,
    pub stored: u64,
    pub dropped: u64,
    /// Of those dropped.
    pub reason: Option<DropReason>,
    /// The mark of the stream's end would be lost.
    pub end_lost: bool,
}

impl Split {
    /// Moves the bytes in the account of their stream, or of all.
    pub fn book(&self, account: &mut Account) {
        account.deliver(self.delivered);
        account.store(self.stored);
        if let Some(reason) = self.reason {
            account.drop(reason, self.dropped);
        }
    }
}

impl Outcome {
    fn new(ticket: Ticket, bytes_out: u64, rest: Rest) -> Self {
        Self {
            ticket,
            bytes_out,
            rest,
            parts: Vec::new(),
            without_ends: false,
        }
    }

    /// All of the message is delivered, as `bytes_out` bytes.
    pub fn delivered(ticket: Ticket, bytes_out: u64) -> Self {
        Self::new(ticket, bytes_out, Rest::Delivered)
    }

    /// None of it is, and won't be.
    pub fn lost(ticket: Ticket, reason: DropReason) -> Self {
        Self::new(ticket, 0, Rest::Lost(reason))
    }

    /// All of it is kept where it outlives the butler, and may be delivered yet.
    pub(crate) fn stored(ticket: Ticket) -> Self {
        Self::new(ticket, 0, Rest::Stored)
    }

    /// Nothing of it is delivered yet.
    pub(crate) fn begin(ticket: Ticket) -> Self {
        Self::lost(ticket, DropReason::Undelivered)
    }

    /// The output has no mark of a stream's end.
    pub(crate) fn without_ends(mut self) -> Self {
        self.without_ends = true;
        self
    }

    /// The message that this is the outcome of.
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// The output is done with the message: what has no note is delivered, or
    /// lost for that reason.
    pub(crate) fn end(&mut self, result: Result<u64, DropReason>) {
        match result {
            Ok(bytes_out) => {
                self.bytes_out += bytes_out;
                self.rest = Rest::Delivered;
            }
            Err(reason) => self.rest = Rest::Lost(reason),
        }
    }

    /// Why what has no note is lost, if it is.
    pub(crate) fn loss(&self) -> Option<DropReason> {
        match self.rest {
            Rest::Lost(reason) => Some(reason),
            Rest::Delivered | Rest::Stored => None,
        }
    }

    /// What has no note is kept where it outlives the butler.
    pub(crate) fn is_stored(&self) -> bool {
        self.rest == Rest::Stored
    }

    /// The bytes that it took, or why what has no note is lost.
    #[cfg(test)]
    pub(crate) fn result(&self) -> Result<u64, DropReason> {
        self.loss().map_or(Ok(self.bytes_out), Err)
    }

    /// The bytes that the output took of it, as it counts them.
    pub(crate) fn bytes_out(&self) -> u64 {
        self.bytes_out
    }

    /// The note of the stream at that position.
    pub(crate) fn part(&mut self, at: usize) -> &mut Part {
        if self.parts.len() <= at {
            self.parts.resize(at + 1, Part::default());
        }
        &mut self.parts[at]
    }

    /// What becomes of the `bytes` that the message has of the stream at that
    /// position.
    pub(crate) fn split(&self, at: usize, bytes: u64) -> Split {
        let part = self.parts.get(at).copied().unwrap_or_default();
        let stored = match self.rest {
            Rest::Stored => bytes,
            Rest::Delivered | Rest::Lost(_) => part.stored.min(bytes),
        };
        let rest = bytes - stored - part.held.min(bytes - stored);
        let reason = part.dropped.or(self.loss());
        let delivered = match reason {
            None => rest,
            Some(_) => part.delivered.min(rest),
        };
        Split {
            delivered,
            stored,
            dropped: rest - delivered,
            reason,
            end_lost: self.loss().is_some() && !self.without_ends,
        }
    }
}

impl Outcomes {
    /// The output has made of the message what it sends, which takes `memory`
    /// bytes until its outcome is told, and has let go of it.
    pub fn encoded(&mut self, ticket: Ticket, memory: usize) {
        self.encoded.push((ticket, memory));
    }

    /// The output is done with a message.
    pub fn settle(&mut self, outcome: Outcome) {
        self.settled.push(outcome);
    }

    /// Something became of bytes of an earlier message.
    pub(crate) fn later(&mut self, later: Later) {
        if later.bytes > 0 || later.with_end {
            self.later.push(later);
        }
    }

    /// The output took so many bytes.
    pub(crate) fn add_bytes_out(&mut self, bytes: u64) {
        self.bytes_out += bytes;
    }

    /// What is known of the run now.
    pub fn admit(&mut self, run: Arc<Run>, admission: Admission) {
        self.admissions.push((run, admission));
    }

    /// There is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.encoded.is_empty()
            && self.settled.is_empty()
            && self.later.is_empty()
            && self.bytes_out == 0
            && self.admissions.is_empty()
    }

    /// The messages that take another number of bytes now.
    pub(crate) fn take_encoded(&mut self) -> std::vec::Drain<'_, (Ticket, usize)> {
        self.encoded.drain(..)
    }

    /// The messages that the output is done with, in the order in which it was.
    pub(crate) fn take_settled(&mut self) -> std::vec::Drain<'_, Outcome> {
        self.settled.drain(..)
    }

    /// What became of bytes of earlier messages, in order.
    pub(crate) fn take_later(&mut self) -> std::vec::Drain<'_, Later> {
        self.later.drain(..)
    }

    /// What is known of runs: who has a spool asks for it.
    pub(crate) fn take_admissions(&mut self) -> std::vec::Drain<'_, (Arc<Run>, Admission)> {
        self.admissions.drain(..)
    }

    /// The bytes that the output took since this was asked last.
    pub(crate) fn take_bytes_out(&mut self) -> u64 {
        std::mem::take(&mut self.bytes_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(outcome: &Outcome, at: usize) -> (u64, u64, Option<DropReason>) {
        let split = outcome.split(at, 10);
        (split.delivered, split.dropped, split.reason)
    }

    #[test]
    fn whole_bundles() {
        assert_eq!(split(&Outcome::delivered(Ticket(1), 77), 3), (10, 0, None));
        let refused = Some(DropReason::Refused);
        let outcome = Outcome::lost(Ticket(1), DropReason::Refused);
        assert_eq!(split(&outcome, 3), (0, 10, refused));
        assert!(outcome.split(0, 0).end_lost);
        assert!(!outcome.without_ends().split(0, 0).end_lost);
    }

    #[test]
    fn stream_by_stream() {
        let mut outcome = Outcome::begin(Ticket(1));
        outcome.part(1).delivered += 4;
        *outcome.part(2) = Part {
            delivered: 3,
            held: 2,
            stored: 0,
            dropped: Some(DropReason::Refused),
        };
        // It is stopped here.
        let undelivered = Some(DropReason::Undelivered);
        let refused = Some(DropReason::Refused);
        assert_eq!(split(&outcome, 0), (0, 10, undelivered));
        assert_eq!(split(&outcome, 1), (4, 6, undelivered));
        assert_eq!(split(&outcome, 2), (3, 5, refused));
        // Or comes to its end.
        outcome.end(Ok(9));
        assert_eq!(split(&outcome, 0), (10, 0, None));
        assert_eq!(split(&outcome, 2), (3, 5, refused));
        // What is stored is neither delivered nor dropped.
        outcome.part(4).stored = 6;
        assert_eq!(
            (outcome.split(4, 10).stored, split(&outcome, 4)),
            (6, (4, 0, None))
        );
        // What our own words take is not the client's.
        outcome.part(3).dropped = refused;
        outcome.part(3).delivered = 50;
        assert_eq!(split(&outcome, 3), (10, 0, refused));
    }
}
