//! Whether an output works: logged once per change, counted always.

use std::cell::Cell;
use std::fmt::Display;
use std::rc::Rc;

/// The state of one output, for it and for those who want to know.
#[derive(Debug, Clone)]
pub(crate) struct Health(Rc<State>);

#[derive(Debug)]
struct State {
    /// For messages: which output.
    what: String,
    /// Failures since it last worked.
    failing: Cell<u64>,
    /// Failures ever.
    errors: Cell<u64>,
}

impl Health {
    pub fn new(what: impl Into<String>) -> Self {
        Self(Rc::new(State {
            what: what.into(),
            failing: Cell::new(0),
            errors: Cell::new(0),
        }))
    }

    /// An attempt failed and will be made again.
    pub fn failed(&self, error: &dyn Display) {
        self.0.errors.set(self.0.errors.get() + 1);
        let before = self.0.failing.replace(self.0.failing.get() + 1);
        if before == 0 {
            log::error!("{}: {error}; trying again", self.0.what);
        } else {
            log::debug!("{}: {error} (attempt {})", self.0.what, before + 1);
        }
    }

    /// An attempt failed and no other will be made.
    pub fn failed_for_good(&self, error: &dyn Display) {
        self.0.errors.set(self.0.errors.get() + 1);
        log::error!("{}: {error}; giving up", self.0.what);
    }

    /// An attempt succeeded.
    pub fn worked(&self) {
        let failures = self.0.failing.replace(0);
        if failures > 0 {
            log::warn!("{}: works again after {failures} failures", self.0.what);
        }
    }

    /// Failures ever.
    pub fn errors(&self) -> u64 {
        self.0.errors.get()
    }
}
