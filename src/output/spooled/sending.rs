//! Only what earlier butlers have left is sent: there is no run of our own. All of
//! it is delivered before the end, unless nobody takes any of it for too long.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::{Spooled, Stage};
use crate::delivery::stored::{Amount, Run, SendProgress};
use crate::edge::io::Io;
use crate::ledger::DropReason;
use crate::output::spool::{Loss, Why};

/// What those see and say who want the spool sent.
#[derive(Debug, Default)]
pub(crate) struct SendState {
    progress: Cell<SendProgress>,
    stopped: Cell<bool>,
}

impl SendState {
    /// How far it is.
    pub fn progress(&self) -> SendProgress {
        self.progress.get()
    }

    /// Nothing more is sent but what is under way. The transport is to be polled
    /// then.
    pub fn stop(&self) {
        self.stopped.set(true);
    }

    fn change(&self, change: impl FnOnce(&mut SendProgress)) {
        let mut progress = self.progress.get();
        change(&mut progress);
        self.progress.set(progress);
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct SendOnly {
    shared: Rc<SendState>,
    /// Runs whose prefix is being registered.
    registering: Vec<Arc<Run>>,
    patience_ns: u64,
    /// When it went on last.
    since_ns: u64,
}

impl SendOnly {
    pub fn is_stopped(&self) -> bool {
        self.shared.stopped.get()
    }

    /// A run's prefix is registered now.
    pub fn registers(&mut self, run: Arc<Run>) {
        self.registering.push(run);
    }

    /// What came of that is known.
    pub fn admitted(&mut self, now_ns: u64, run: &Arc<Run>) {
        self.registering.retain(|it| !Arc::ptr_eq(it, run));
        self.since_ns = now_ns;
    }

    /// Is something to come of that?
    pub fn is_registering(&self) -> bool {
        !self.registering.is_empty() && !self.is_stopped()
    }

    /// The carrier is done with a message.
    pub fn settled(&mut self, now_ns: u64, bytes: u64, loss: Option<DropReason>) {
        let one = Amount { messages: 1, bytes };
        match loss {
            None => self.shared.change(|it| it.delivered += one),
            Some(DropReason::Refused) => self.shared.change(|it| it.refused += one),
            // It stays, and is told with what is left.
            Some(_) => return,
        }
        self.since_ns = now_ns;
    }

    /// Something can't be read back.
    pub fn lost(&mut self, loss: &Loss) {
        // What a crash has cut its butler had not counted as stored.
        if loss.why == Why::Damaged {
            self.shared.change(|it| it.damaged += 1);
        }
    }
}

impl<I: Io> Spooled<I> {
    /// Sends what is in the store, and ends when nothing of it was delivered for
    /// `patience`.
    pub fn send_only(
        &mut self,
        io: &mut I,
        now_ns: u64,
        patience: Duration,
        shared: Rc<SendState>,
    ) {
        let left = self.store.left(io);
        let total = Amount {
            messages: left.messages,
            bytes: left.bytes,
        };
        let damaged = self.store.segments_lost();
        shared.change(|it| (it.total, it.damaged) = (total, damaged));
        self.sending = Some(SendOnly {
            shared,
            registering: Vec::new(),
            patience_ns: u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX),
            since_ns: now_ns,
        });
    }

    /// Until when something is waited for that is to be sent.
    pub(super) fn sending_patience_ns(&self) -> Option<u64> {
        let sending = self.sending.as_ref()?;
        let waits = !self.retreats && self.stage != Stage::Over;
        waits.then(|| sending.since_ns.saturating_add(sending.patience_ns))
    }

    /// Is that moment past?
    pub(super) fn patience_is_over(&self, now_ns: u64) -> bool {
        self.sending_patience_ns()
            .is_some_and(|until| until <= now_ns)
    }
}
