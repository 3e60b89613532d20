//! What goes to the output, and what becomes of it.

use std::sync::Arc;

use super::{Core, IN_FLIGHT, OPEN};
use crate::delivery::message::{Message, Ticket};
use crate::delivery::outcome::{Fate, Later, Outcome, Outcomes};
use crate::delivery::window::Capacity;
use crate::ledger::{Account, DropReason};
use crate::time::Moment;
use crate::wire::name::StreamName;

impl Core {
    /// What the output takes before it tells the outcome of any of it;
    /// without this, all.
    pub fn set_capacity(&mut self, capacity: Capacity) {
        self.window.capacity = capacity;
    }

    /// See [`set_capacity`](Self::set_capacity).
    pub fn capacity(&self) -> Capacity {
        self.window.capacity
    }

    /// Would [`poll_message`](Self::poll_message) have one, as far as is known?
    pub fn offers_message(&self, now: &Moment) -> bool {
        self.has_room() && self.has_message(now)
    }

    /// Is a bundle cut that the output has room for?
    pub fn has_cut(&self) -> bool {
        self.bundler.has_sealed() && self.has_room()
    }

    /// May the output have one more message?
    fn has_room(&self) -> bool {
        let overflows = self.window.capacity.overflows && self.is_filling_up();
        self.window.has_room() || overflows
    }

    /// The next message for the output, if that has room for one: a bundle
    /// that is full, or that has waited for the maximum age, or any when memory
    /// is short or all is flushed. It is in flight until its outcome is told,
    /// by [`settle`](Self::settle) or one of its kind.
    pub fn poll_message(&mut self, now: &Moment) -> Option<Arc<Message>> {
        if !self.has_room() {
            return None;
        }
        if !self.bundler.has_sealed() && self.has_message(now) {
            // Short of memory and nothing else to send: unfinished lines are
            // what holds it, the oldest go first.
            while !self.may_read()
                && !self.bundler.has_sealed()
                && let Some(key) = self.oldest
            {
                self.expire(now, key);
            }
            if !self.bundler.has_sealed() {
                self.bundler.seal();
            }
        }
        let message = self.bundler.pop()?;
        self.window.begin(&message);
        Some(message)
    }

    /// The output has made of the message what it sends, which takes `memory`
    /// bytes until its outcome is told, and has let go of it. Its entries are
    /// gone.
    ///
    /// # Panics
    ///
    /// If it is not in flight.
    pub fn encoded(&mut self, ticket: Ticket, memory: usize) {
        let message = self.window.get_mut(ticket).expect(IN_FLIGHT);
        self.bundler.release(message, memory);
        self.note_peak();
    }

    /// The output has taken the message, as `bytes_out` bytes.
    ///
    /// # Panics
    ///
    /// If it is not in flight.
    pub fn delivered(&mut self, now: &Moment, ticket: Ticket, bytes_out: u64) {
        self.settle(now, &Outcome::delivered(ticket, bytes_out));
    }

    /// The message will not be delivered.
    ///
    /// # Panics
    ///
    /// If it is not in flight.
    pub fn lost(&mut self, now: &Moment, ticket: Ticket, reason: DropReason) {
        self.settle(now, &Outcome::lost(ticket, reason));
    }

    /// The output is given up: what is in flight is lost.
    pub fn give_up(&mut self, now: &Moment) {
        while let Some(ticket) = self.window.oldest() {
            self.lost(now, ticket, DropReason::Undelivered);
        }
    }

    /// The output is done with a message, and that became of it. It has let go
    /// of it, so that its memory can be used again.
    ///
    /// # Panics
    ///
    /// If the message is not in flight.
    pub fn settle(&mut self, now: &Moment, outcome: &Outcome) {
        let message = self.window.end(outcome.ticket()).expect(IN_FLIGHT);
        match self.account_for(&message, outcome) {
            true if outcome.is_stored() => self.stats.bundles_stored += 1,
            true => self.stats.delivered(now, &message),
            false => self.stats.bundles_lost += 1,
        }
        self.stats.bytes_out += outcome.bytes_out();
        self.bundler.recycle(message);
    }

    /// All that the output has to tell. True if a message was settled.
    ///
    /// # Panics
    ///
    /// If one of the messages is not in flight.
    pub fn take(&mut self, now: &Moment, outcomes: &mut Outcomes) -> bool {
        for (ticket, memory) in outcomes.take_encoded() {
            self.encoded(ticket, memory);
        }
        let mut settled = false;
        for outcome in outcomes.take_settled() {
            self.settle(now, &outcome);
            settled = true;
        }
        for later in outcomes.take_later() {
            self.account_later(&later);
        }
        self.stats.bytes_out += outcomes.take_bytes_out();
        settled
    }

    /// True if nothing of the message is lost.
    pub(super) fn account_for(&mut self, message: &Message, outcome: &Outcome) -> bool {
        let mut whole = true;
        for (at, stream) in message.streams.iter().enumerate() {
            let name = &stream.info.name;
            let split = outcome.split(at, stream.client_bytes);
            split.book(&mut self.total);
            match self.streams.get_mut(stream.info.key) {
                Some(open) if Arc::ptr_eq(&open.info, &stream.info) => {
                    open.progress.slot.messages -= 1;
                    split.book(&mut open.account);
                }
                _ => {
                    let forgotten = self.registry.settle(name, |it| split.book(it));
                    self.bundler.forget(forgotten);
                }
            }
            let Some(reason) = split.reason else {
                continue;
            };
            self.note_loss(name, reason, split.dropped);
            let end_lost = split.end_lost && stream.terminal.is_some();
            if end_lost {
                self.ends_lost.insert(name.clone(), reason);
            }
            whole &= split.dropped == 0 && !end_lost;
        }
        whole
    }

    /// Something became of bytes of a message that was settled before.
    pub(super) fn account_later(&mut self, later: &Later) {
        let Later {
            stream,
            bytes,
            with_end,
            fate,
        } = later;
        let book = |account: &mut Account| match fate {
            Fate::Delivered => account.deliver(*bytes),
            Fate::Dropped(reason) => account.drop(*reason, *bytes),
            Fate::Fetched(lost) => account.fetch(*bytes, *lost),
            Fate::Removed => account.withdraw(*bytes),
        };
        book(&mut self.total);
        match self.registry.find(stream.as_str()) {
            Some(key) => book(&mut self.streams.get_mut(key).expect(OPEN).account),
            None => self.registry.book(stream, book),
        }
        let lost = match fate {
            Fate::Delivered | Fate::Fetched(None) => return,
            Fate::Dropped(reason) | Fate::Fetched(Some(reason)) => *reason,
            Fate::Removed => DropReason::Removed,
        };
        self.note_loss(stream, lost, *bytes);
        if *with_end {
            self.ends_lost.insert(stream.clone(), lost);
        }
    }

    pub(super) fn note_loss(&mut self, stream: &StreamName, reason: DropReason, bytes: u64) {
        if bytes > 0 {
            let losses = self.losses.entry(stream.clone()).or_default();
            losses.drop(reason, bytes);
        }
    }
}
