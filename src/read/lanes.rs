//! Puts things with an index in order, in many lanes that count each for
//! itself.
//!
//! What comes early waits in its lane. In all lanes together no more than
//! [`READER_HELD_MAX`] waits; whoever holds more gives up on what is missing,
//! first in the lane where most waits.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;
use std::ops::Range;

use crate::limits::READER_HELD_MAX;

/// What a thing that waits takes besides its bytes, about.
const OVERHEAD: usize = 128;

/// Where an index stands to what is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is next, and from now on the one after it is.
    Due,
    /// Others come before it, and it does not wait yet.
    Early,
    /// It was there already, or its place was given up.
    Past,
}

/// What came early, by lane and index.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    lanes: Vec<Lane<T>>,
    /// Bytes that wait in all of them.
    held: usize,
}

#[derive(Debug)]
struct Lane<T> {
    next: u64,
    /// What waits, and its bytes.
    early: BTreeMap<u64, (T, usize)>,
    /// Bytes that wait.
    held: usize,
    /// What was due at the last poll, and at how many before it.
    polled: (u64, u32),
}

impl<T> Lane<T> {
    fn new(first: u64) -> Self {
        Self {
            next: first,
            early: BTreeMap::new(),
            held: 0,
            polled: (first, 0),
        }
    }
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        let lanes = Vec::new();
        Self { lanes, held: 0 }
    }
}

impl<T> Lanes<T> {
    /// The lane is new, or another's from now on; nothing waits in it.
    pub fn begin(&mut self, lane: usize, first: u64) {
        if self.lanes.len() <= lane {
            self.lanes.resize_with(lane + 1, || Lane::new(0));
        }
        assert_eq!(self.lanes[lane].held, 0, "somebody waits for a new lane");
        self.lanes[lane] = Lane::new(first);
    }

    /// The first index is not after that one. Only while nothing has arrived.
    pub fn begins_by(&mut self, lane: usize, index: u64) {
        if index < self.lanes[lane].next {
            self.lanes[lane] = Lane::new(index);
        }
    }

    /// The number of lanes.
    pub fn count(&self) -> usize {
        self.lanes.len()
    }

    /// The index that is due.
    pub fn next(&self, lane: usize) -> u64 {
        self.lanes[lane].next
    }

    /// Something with that index has come.
    pub fn arrive(&mut self, lane: usize, index: u64) -> Turn {
        let lane = &mut self.lanes[lane];
        match index.cmp(&lane.next) {
            Ordering::Equal => {
                lane.next = lane.next.saturating_add(1);
                Turn::Due
            }
            Ordering::Greater if !lane.early.contains_key(&index) => Turn::Early,
            Ordering::Greater | Ordering::Less => Turn::Past,
        }
    }

    /// Keeps what is [`Turn::Early`] until its turn; `len` bytes belong to it.
    pub fn hold(&mut self, lane: usize, index: u64, item: T, len: usize) {
        let size = OVERHEAD + len;
        let lane = &mut self.lanes[lane];
        lane.early.insert(index, (item, size));
        lane.held += size;
        self.held += size;
    }

    /// Takes what was early and is due now.
    pub fn take_due(&mut self, lane: usize) -> Option<T> {
        let lane = &mut self.lanes[lane];
        let first = lane.early.first_entry()?;
        if *first.key() != lane.next {
            return None;
        }
        let (item, size) = first.remove();
        lane.next = lane.next.saturating_add(1);
        lane.held -= size;
        self.held -= size;
        Some(item)
    }

    /// Gives up on what is not there before the first that waits, and returns
    /// that range; `None` if nothing waits.
    pub fn give_up(&mut self, lane: usize) -> Option<Range<u64>> {
        let lane = &mut self.lanes[lane];
        let (&first, _) = lane.early.first_key_value()?;
        let missing = lane.next..first;
        lane.next = first;
        Some(missing)
    }

    /// Called at every poll: has something waited for the same index over so
    /// many of them?
    pub fn is_stuck(&mut self, lane: usize, polls_max: u32) -> bool {
        let lane = &mut self.lanes[lane];
        let polls = match lane.polled {
            (next, polls) if next == lane.next && !lane.early.is_empty() => polls + 1,
            _ => 0,
        };
        lane.polled = (lane.next, polls % polls_max.max(1));
        polls >= polls_max
    }

    /// Bytes that wait in all lanes.
    #[cfg(test)]
    pub fn held(&self) -> usize {
        self.held
    }

    /// If more waits than may, the lanes in which anything does, the fullest
    /// first. Giving up may stop at [half](Self::is_relieved) of what may wait,
    /// so that this is rare.
    pub fn overfull(&self) -> Vec<usize> {
        if self.held <= READER_HELD_MAX {
            return Vec::new();
        }
        let holds = |lane: &usize| self.lanes[*lane].held > 0;
        let mut lanes: Vec<_> = (0..self.lanes.len()).filter(holds).collect();
        lanes.sort_unstable_by_key(|&lane| Reverse(self.lanes[lane].held));
        lanes
    }

    /// No more waits than half of what may.
    pub fn is_relieved(&self) -> bool {
        self.held <= READER_HELD_MAX / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_stuck_only_while_something_waits() {
        let mut lanes = Lanes::default();
        lanes.begin(1, 0);
        let polls = |lanes: &mut Lanes<()>| (0..7).filter(|_| lanes.is_stuck(1, 3)).count();
        assert_eq!(polls(&mut lanes), 0);
        lanes.hold(1, 5, (), 0);
        assert_eq!(polls(&mut lanes), 2);
        assert_eq!(lanes.arrive(1, 0), Turn::Due);
        assert!(!lanes.is_stuck(1, 1));
        assert!(lanes.is_stuck(1, 1));
    }

    #[test]
    fn orders_and_gives_up() {
        let mut lanes = Lanes::default();
        lanes.begin(0, 9);
        lanes.begins_by(0, 3);
        assert_eq!(lanes.arrive(0, 2), Turn::Past);
        assert_eq!(lanes.give_up(0), None);
        for index in [7, 5, 4] {
            assert_eq!(lanes.arrive(0, index), Turn::Early);
            lanes.hold(0, index, index, 10);
            assert_eq!(lanes.arrive(0, index), Turn::Past);
        }
        assert_eq!(lanes.held(), 3 * (OVERHEAD + 10));
        assert_eq!(lanes.take_due(0), None);
        assert_eq!(lanes.arrive(0, 3), Turn::Due);
        assert_eq!(lanes.take_due(0), Some(4));
        assert_eq!(lanes.take_due(0), Some(5));
        assert_eq!(lanes.take_due(0), None);
        assert_eq!(lanes.give_up(0), Some(6..7));
        assert_eq!(lanes.take_due(0), Some(7));
        assert_eq!((lanes.next(0), lanes.held()), (8, 0));
    }

    #[test]
    fn the_fullest_lane_gives_up_first() {
        let mut lanes = Lanes::default();
        for (lane, len) in [
            (0, 1),
            (1, 0),
            (2, READER_HELD_MAX / 2),
            (3, READER_HELD_MAX),
        ] {
            assert!(lanes.overfull().is_empty());
            lanes.begin(lane, 0);
            if len > 0 {
                lanes.hold(lane, 1, lane, len);
            }
        }
        assert_eq!(lanes.overfull(), [3, 2, 0]);
        lanes.give_up(3);
        assert_eq!(lanes.take_due(3), Some(3));
        assert!(!lanes.is_relieved());
        lanes.give_up(2);
        assert_eq!(lanes.take_due(2), Some(2));
        assert!(lanes.is_relieved());
    }
}
