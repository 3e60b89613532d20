//! What goes to the disk, and when.

use std::sync::Arc;

use super::carried::What;
use super::{Spooled, Waiting};
use crate::chain::Chain;
use crate::delivery::message::{Message, Ticket};
use crate::delivery::outcome::Outcome;
use crate::edge::io::Io;
use crate::edge::transport::Now;
use crate::ledger::DropReason;
use crate::limits::SPOOL_PATIENCE;
use crate::output::spool::{AppendError, Full, When, manifest_of};

impl<I: Io> Spooled<I> {
    /// Brings to the disk what is to be there.
    pub(super) fn store(&mut self, now: &mut Now<'_, I>) {
        if self.full_at.is_some_and(|full| self.store.used() < full) {
            self.full_at = None;
            self.disk.try_now();
        }
        if !self.is_to_store(now.ns) || !self.disk.may_try(now.ns) {
            return;
        }
        match self.store_all(now) {
            Ok(()) => self.disk.worked(),
            Err(error) => {
                if matches!(error, AppendError::Full) {
                    self.full_at = Some(self.store.used());
                    self.drop_newest(now);
                }
                self.disk.failed(now.ns, &Chain(&error));
            }
        }
    }

    fn store_all(&mut self, now: &mut Now<'_, I>) -> Result<(), AppendError> {
        // What the carrier has is older than all that waits. When all of that is
        // stored at once, it is already.
        while let Some(message) = self.carried.first_in_memory() {
            let message = Arc::clone(message);
            let record = self.store.append(now.io, now.ns, &message, true)?;
            let ticket = message.ticket();
            self.carried.stored(ticket, record, manifest_of(&message));
            drop(message);
            now.outcomes.settle(Outcome::stored(ticket));
        }
        while let Some(Waiting { message, .. }) = self.waiting.front() {
            let goes_on = self.sends_fresh()
                && !self.retreats
                && !self.store.has_own()
                && self.carried.has_room_for_fresh();
            let record = self.store.append(now.io, now.ns, message, goes_on)?;
            let Some(Waiting { message, since_ns }) = self.waiting.pop_front() else {
                break;
            };
            match goes_on {
                true => self.give(now, message, since_ns, Some(record)),
                false => settle(now, message, Outcome::stored),
            }
        }
        Ok(())
    }

    /// The disk has no room: what is not to wait is lost.
    fn drop_newest(&mut self, now: &mut Now<'_, I>) {
        // At the end there is none for them any more.
        while (self.retreats || self.full == Full::DropNewest && self.is_pressed())
            && let Some(Waiting { message, .. }) = self.waiting.pop_back()
        {
            settle(now, message, |it| Outcome::lost(it, DropReason::SpoolFull));
        }
    }

    /// The carrier can't send a message that is in memory alone; but perhaps the next
    /// butler can.
    pub(super) fn save(&mut self, now: &mut Now<'_, I>, message: Arc<Message>, lost: DropReason) {
        // What is before it on disk would be given before it, and this is not given.
        let stored = match self.store.has_own() {
            true => false,
            false => self.store.append(now.io, now.ns, &message, true).is_ok(),
        };
        settle(now, message, |ticket| match stored {
            true => Outcome::stored(ticket),
            false => Outcome::lost(ticket, lost),
        });
    }

    /// Is there something in memory that should be on disk?
    pub(super) fn is_to_store(&self, now_ns: u64) -> bool {
        let is_stuck = !self.sends_fresh() && self.carried.oldest_in_memory_ns().is_some();
        let has_to = is_stuck || !self.waiting.is_empty() && self.stores_all();
        let is_late = || self.patience_ns().is_some_and(|until| until <= now_ns);
        has_to || self.is_pressed() || is_late()
    }

    /// It was given more than it takes, which is when memory fills up.
    fn is_pressed(&self) -> bool {
        let Some(last) = self.waiting.back() else {
            return false;
        };
        let (mut messages, mut bytes) = self.carried.fresh();
        messages += self.waiting.len();
        bytes += self
            .waiting
            .iter()
            .map(|it| it.message.memory)
            .sum::<usize>();
        let capacity = self.carried.capacity();
        messages > capacity.messages || bytes - last.message.memory >= capacity.bytes
    }

    pub(super) fn stores_all(&self) -> bool {
        self.needs_disk() || self.retreats || self.store.has_own()
    }

    /// Is no message to be in memory alone?
    pub(super) fn needs_disk(&self) -> bool {
        self.when == When::Always || !self.sends_fresh()
    }

    /// Until when what is in memory alone may stay there.
    pub(super) fn patience_ns(&self) -> Option<u64> {
        let carried = self.carried.oldest_in_memory_ns();
        let waiting = self.waiting.front().map(|it| it.since_ns);
        let since = carried.into_iter().chain(waiting).min()?;
        Some(since + SPOOL_PATIENCE.as_nanos() as u64)
    }
}

/// Lets go of a message, and tells what became of it.
fn settle<I>(now: &mut Now<'_, I>, message: Arc<Message>, outcome: impl Fn(Ticket) -> Outcome) {
    let ticket = message.ticket();
    drop(message);
    now.outcomes.settle(outcome(ticket));
}

/// The carrier has let go of a message that the disk has.
pub(super) fn keep<I>(now: &mut Now<'_, I>, what: What) {
    if let What::Fresh { message, .. } = what {
        settle(now, message, Outcome::stored);
    }
}
