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
        self.count();
        let before = self.0.failing.replace(self.0.failing.get() + 1);
        if before == 0 {
            log::error!("{}: {error}; trying again", self.0.what);
        } else {
            log::debug!("{}: {error} (attempt {})", self.0.what, before + 1);
        }
    }

    /// An attempt failed and no other will be made.
    pub fn failed_for_good(&self, error: &dyn Display) {
        self.count();
        log::error!("{}: {error}; giving up", self.0.what);
    }

    /// An attempt succeeded.
    pub fn worked(&self) {
        let failures = self.0.failing.replace(0);
        if failures > 0 {
            log::warn!("{}: works again after {failures} failures", self.0.what);
        }
    }

    /// Something works, but not for that stream; it is tried again.
    pub fn part_failed(&self, stream: &dyn Display, error: &dyn Display) {
        self.count();
        log::error!("{}: stream {stream}: {error}; trying again", self.0.what);
    }

    /// It still does not.
    pub fn part_failed_again(&self, stream: &dyn Display, error: &dyn Display) {
        self.count();
        log::debug!("{}: stream {stream}: {error}", self.0.what);
    }

    /// It did not for so long that the stream's bytes are lost from now on.
    pub fn part_given_up(&self, stream: &dyn Display, error: &dyn Display, bytes: u64) {
        log::error!(
            "{}: stream {stream}: {error}; giving up, {bytes} bytes of it are lost, and what \
             follows until it works",
            self.0.what
        );
    }

    /// It works for that stream too.
    pub fn part_works(&self, stream: &dyn Display) {
        log::warn!("{}: stream {stream}: works again", self.0.what);
    }

    fn count(&self) {
        self.0.errors.set(self.0.errors.get() + 1);
    }

    /// Failures ever.
    pub fn errors(&self) -> u64 {
        self.0.errors.get()
    }
}
