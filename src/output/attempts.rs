//! Trying until it works.

use std::fmt::Display;

use super::backoff::Backoff;
use super::health::Health;

/// What an output that never gives up keeps between attempts.
#[derive(Debug)]
pub(crate) struct Attempts {
    backoff: Backoff,
    health: Health,
    /// Not before then, after a failure.
    next_ns: Option<u64>,
}

impl Attempts {
    /// `what` names the output in messages.
    pub fn new(what: impl Into<String>) -> Self {
        Self {
            backoff: Backoff::new(),
            health: Health::new(what),
            next_ns: None,
        }
    }

    /// An attempt failed, which is told. There will be another one.
    pub fn failed(&mut self, now_ns: u64, error: &dyn Display) {
        self.health.failed(error);
        self.next_ns = Some(now_ns + self.backoff.wait_ns(now_ns));
    }

    /// An attempt succeeded.
    pub fn worked(&mut self) {
        self.health.worked();
        self.backoff.reset();
        self.next_ns = None;
    }

    /// Is it time for an attempt? If so, it is made now.
    pub fn may_try(&mut self, now_ns: u64) -> bool {
        if self.next_ns.is_some_and(|next| next > now_ns) {
            return false;
        }
        self.next_ns = None;
        true
    }

    /// The next attempt may be made at once.
    pub fn try_now(&mut self) {
        self.next_ns = None;
    }

    /// When the next attempt is to be made, after one that failed.
    pub fn due_ns(&self) -> Option<u64> {
        self.next_ns
    }

    pub fn health(&self) -> &Health {
        &self.health
    }
}
