//! Trying until it works.

use std::fmt::Display;

use super::backoff::Backoff;
use super::health::Health;

/// What an output that never gives up keeps between attempts.
#[derive(Debug)]
pub(crate) struct Attempts {
    backoff: Backoff,
    health: Health,
}

impl Attempts {
    /// `what` names the output in messages.
    pub fn new(what: impl Into<String>) -> Self {
        Self {
            backoff: Backoff::new(),
            health: Health::new(what),
        }
    }

    /// Tells that an attempt failed, and waits before the next.
    pub async fn failed(&mut self, error: &dyn Display) {
        self.health.failed(error);
        tokio::time::sleep(self.backoff.wait()).await;
    }

    /// An attempt succeeded.
    pub fn worked(&mut self) {
        self.health.worked();
        self.backoff.reset();
    }

    pub fn health(&self) -> &Health {
        &self.health
    }
}
