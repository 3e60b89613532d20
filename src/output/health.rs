//! Whether an output works: logged once per change, counted always.

use std::cell::Cell;
use std::fmt::Display;

/// The state of one output.
#[derive(Debug)]
pub(crate) struct Health {
    /// For messages: which output.
    what: String,
    /// Failures since it last worked.
    failing: Cell<u64>,
    /// Failures ever.
    errors: Cell<u64>,
}

impl Health {
    pub fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            failing: Cell::new(0),
            errors: Cell::new(0),
        }
    }

    /// An attempt failed and will be made again.
    pub fn failed(&self, error: &dyn Display) {
        self.errors.set(self.errors.get() + 1);
        let before = self.failing.replace(self.failing.get() + 1);
        if before == 0 {
            log::error!("{}: {error}; trying again", self.what);
        } else {
            log::debug!("{}: {error} (attempt {})", self.what, before + 1);
        }
    }

    /// An attempt failed and no other will be made.
    pub fn failed_for_good(&self, error: &dyn Display) {
        self.errors.set(self.errors.get() + 1);
        log::error!("{}: {error}; giving up", self.what);
    }

    /// An attempt succeeded.
    pub fn worked(&self) {
        let failures = self.failing.replace(0);
        if failures > 0 {
            log::warn!("{}: works again after {failures} failures", self.what);
        }
    }

    /// Failures ever.
    pub fn errors(&self) -> u64 {
        self.errors.get()
    }
}
