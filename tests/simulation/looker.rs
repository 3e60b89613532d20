//! Who looks at what a stream carries while it is read, and is behind at times.

use std::cell::{Cell, RefCell};

use butler::edge::driver::Onlooker;

/// So much may wait for it.
const WAITING_MAX: usize = 500;

/// See the module.
#[derive(Debug)]
pub struct Looker {
    pub seen: RefCell<Vec<u8>>,
    waiting: Cell<usize>,
    pub closed: Cell<bool>,
    /// Once it was behind, it is taken to be that for ever.
    forever: bool,
    was_full: Cell<bool>,
}

impl Looker {
    pub fn new(forever: bool) -> Self {
        Self {
            seen: RefCell::default(),
            waiting: Cell::new(0),
            closed: Cell::new(false),
            forever,
            was_full: Cell::new(false),
        }
    }

    pub fn has_something(&self) -> bool {
        self.waiting.get() > 0
    }

    pub fn look(&self) {
        self.waiting.set(0);
    }
}

impl Onlooker for Looker {
    fn push(&self, data: &[u8]) {
        assert!(!self.closed.get(), "nothing comes after the end");
        self.seen.borrow_mut().extend_from_slice(data);
        self.waiting.set(self.waiting.get() + data.len());
    }

    fn is_full(&self) -> bool {
        let is_full = self.waiting.get() > WAITING_MAX;
        self.was_full.set(self.was_full.get() || is_full);
        is_full || self.forever && self.was_full.get()
    }

    fn close(&self) {
        self.closed.set(true);
    }
}
