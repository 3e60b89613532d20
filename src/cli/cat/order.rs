//! Puts things with an index in order.

use std::collections::BTreeMap;
use std::ops::Range;

/// Where an index stands to what is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It is next.
    Due,
    /// Others come before it.
    Early,
    /// It was there already, or its place was given up.
    Past,
}

/// Counts indices up, and keeps what came early.
#[derive(Debug)]
pub struct Sequencer<T> {
    next: u64,
    early: BTreeMap<u64, T>,
    /// What was due at the last poll, and at how many before it.
    polled: (u64, u32),
}

impl<T> Sequencer<T> {
    /// The first index due is `first`.
    pub fn new(first: u64) -> Self {
        Self {
            next: first,
            early: BTreeMap::new(),
            polled: (first, 0),
        }
    }

    /// The index that is due.
    pub fn next(&self) -> u64 {
        self.next
    }

    pub fn place(&self, index: u64) -> Place {
        match index.cmp(&self.next) {
            std::cmp::Ordering::Less => Place::Past,
            std::cmp::Ordering::Equal => Place::Due,
            std::cmp::Ordering::Greater => Place::Early,
        }
    }

    /// What was due is done with.
    pub fn advance(&mut self) {
        self.next = self.next.saturating_add(1);
    }

    pub fn holds(&self, index: u64) -> bool {
        self.early.contains_key(&index)
    }

    /// Keeps what is [`Place::Early`] until its turn.
    pub fn hold(&mut self, index: u64, item: T) {
        self.early.insert(index, item);
    }

    /// Takes what was early and is due now.
    pub fn take_due(&mut self) -> Option<T> {
        let first = self.early.first_entry()?;
        if *first.key() != self.next {
            return None;
        }
        let item = first.remove();
        self.advance();
        Some(item)
    }

    /// Called at every poll: has something waited for the same index over so
    /// many of them?
    pub fn is_stuck(&mut self, polls_max: u32) -> bool {
        let polls = match self.polled {
            (next, polls) if next == self.next && !self.early.is_empty() => polls + 1,
            _ => 0,
        };
        self.polled = (self.next, polls % polls_max.max(1));
        polls >= polls_max
    }

    /// Gives up on what is not there before the first that came early, and
    /// returns that range; `None` if none came early.
    pub fn give_up(&mut self) -> Option<Range<u64>> {
        let (&first, _) = self.early.first_key_value()?;
        let missing = self.next..first;
        self.next = first;
        Some(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_stuck_only_while_something_waits() {
        let mut order = Sequencer::new(0);
        let polls = |order: &mut Sequencer<()>| (0..7).filter(|_| order.is_stuck(3)).count();
        assert_eq!(polls(&mut order), 0);
        order.hold(5, ());
        assert_eq!(polls(&mut order), 2);
        order.advance();
        assert!(!order.is_stuck(1));
        assert!(order.is_stuck(1));
    }

    #[test]
    fn orders_and_gives_up() {
        let mut order = Sequencer::new(3);
        assert_eq!(order.place(2), Place::Past);
        assert_eq!(order.place(3), Place::Due);
        assert_eq!(order.give_up(), None);
        for index in [7, 5, 4] {
            assert_eq!(order.place(index), Place::Early);
            order.hold(index, index);
        }
        assert!(order.holds(5) && !order.holds(6));
        assert_eq!(order.take_due(), None);
        order.advance();
        assert_eq!(order.take_due(), Some(4));
        assert_eq!(order.take_due(), Some(5));
        assert_eq!(order.take_due(), None);
        assert_eq!(order.give_up(), Some(6..7));
        assert_eq!(order.take_due(), Some(7));
        assert_eq!(order.next(), 8);
    }
}
