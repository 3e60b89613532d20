//! What the carrier gets, and from where.

use std::sync::Arc;

use super::carried::What;
use super::{Spooled, Stage, Waiting};
use crate::delivery::message::Message;
use crate::edge::io::Io;
use crate::edge::transport::Now;
use crate::output::spool::RecordId;

/// Messages that the carrier is given in one turn.
const AT_ONCE: usize = 16;

impl<I: Io> Spooled<I> {
    /// Would [`feed`](Self::feed) do something?
    pub(super) fn can_feed(&self) -> bool {
        let has_earlier = self.is_time_for_earlier() && self.store.offers_earlier();
        let has_fresh = !self.store.has_own() && self.can_give();
        let has_one = has_earlier || has_fresh || self.store.offers_own();
        !self.retreats && self.carried.has_room() && has_one
    }

    /// Can the carrier have the first of those that wait, from memory?
    fn can_give(&self) -> bool {
        let has_room = self.carried.has_room_for_fresh();
        !self.waiting.is_empty() && self.sends_fresh() && has_room
    }

    /// Gives the carrier what it takes.
    pub(super) fn feed(&mut self, now: &mut Now<'_, I>) {
        for _ in 0..AT_ONCE {
            if self.retreats || !self.carried.has_room() {
                return;
            }
            let takes_earlier = self.is_time_for_earlier() && self.store.has_earlier();
            let fed = match takes_earlier && std::mem::take(&mut self.earlier_is_next) {
                true => self.feed_earlier(now) || self.feed_own(now),
                false => self.feed_own(now) || takes_earlier && self.feed_earlier(now),
            };
            if !fed {
                return;
            }
        }
    }

    /// What an earlier butler has left is sent while messages come, unless there is
    /// nothing else to do.
    fn is_time_for_earlier(&self) -> bool {
        match &self.sending {
            None => self.stage == Stage::Open,
            Some(sending) => !sending.is_stopped() && self.stage <= Stage::Emptying,
        }
    }

    fn feed_earlier(&mut self, now: &mut Now<'_, I>) -> bool {
        let ticket = self.carried.next_ticket();
        let Some(read) = self.store.next_earlier(now.io, now.ns, ticket) else {
            return false;
        };
        let what = What::Earlier {
            record: read.record,
            bytes: read.manifest.bytes(),
        };
        self.carried.begin(ticket, read.stored.len(), now.ns, what);
        self.call(now, |carrier, now| carrier.carry(now, read.stored));
        true
    }

    fn feed_own(&mut self, now: &mut Now<'_, I>) -> bool {
        self.earlier_is_next = true;
        if self.store.has_own() {
            let ticket = self.carried.next_ticket();
            let Some(read) = self.store.next_own(now.io, now.ns, ticket) else {
                return false;
            };
            let what = What::Own {
                record: read.record,
                streams: read.manifest,
            };
            self.carried.begin(ticket, read.stored.len(), now.ns, what);
            self.call(now, |carrier, now| carrier.carry(now, read.stored));
            return true;
        }
        if !self.can_give() {
            return false;
        }
        let Some(Waiting { message, since_ns }) = self.waiting.pop_front() else {
            return false;
        };
        self.give(now, message, since_ns, None);
        true
    }

    /// Gives the carrier a fresh message.
    pub(super) fn give(
        &mut self,
        now: &mut Now<'_, I>,
        message: Arc<Message>,
        since_ns: u64,
        record: Option<RecordId>,
    ) {
        let what = What::Fresh {
            message: Arc::clone(&message),
            record,
        };
        let (ticket, memory) = (message.ticket(), message.memory);
        self.carried.begin(ticket, memory, since_ns, what);
        self.call(now, |carrier, now| carrier.start(now, message));
    }
}
