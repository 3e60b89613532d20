//! What watchers may hold.
//!
//! Whoever watches from another thread may be slow. Then the streams that he
//! watches are not read, and those of others are: each queue has a share of
//! its own. What is not whole yet has the rest; nobody can be waited for to
//! make it less, so that, when there is no room, it is shown in parts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::limits::WATCHED_SHARE;
use crate::memory;

/// What an event costs besides its bytes, about.
const EVENT_COST: usize = 128;

/// What all watchers of a butler hold, and may hold.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    held: AtomicUsize,
    shares: AtomicUsize,
    /// Nobody is waited for any more.
    ending: AtomicBool,
    /// Somebody wants to know when less is held.
    wanted: AtomicBool,
    /// What held streams up may not do so any more.
    news: AtomicBool,
    /// Tells of it.
    wake: Arc<Notify>,
}

impl Budget {
    /// A part of what may be buffered. `wake` is told when what was full has
    /// room again.
    pub fn new(buffered_max: u64, wake: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            limit: usize::try_from(buffered_max / WATCHED_SHARE).unwrap_or(usize::MAX),
            held: AtomicUsize::new(0),
            shares: AtomicUsize::new(0),
            ending: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
            news: AtomicBool::new(false),
            wake,
        })
    }

    /// Bytes of memory that watchers hold.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    /// The same; and when it becomes less, that is told.
    pub fn held_until_told(&self) -> usize {
        // In this order a change after the look is told.
        self.wanted.store(true, Ordering::SeqCst);
        self.held()
    }

    /// May more be held that nobody can take yet?
    pub fn has_room(&self) -> bool {
        self.held() < self.limit
    }

    /// From now on no stream waits for those who watch it. It may be said again.
    pub fn end(&self) {
        if !self.ending.swap(true, Ordering::SeqCst) {
            self.tell();
        }
    }

    /// May streams that were held up go on, for all that is known since this
    /// was asked last?
    pub fn has_news(&self) -> bool {
        self.news.swap(false, Ordering::SeqCst)
    }

    fn tell(&self) {
        self.news.store(true, Ordering::SeqCst);
        self.wake.notify_one();
    }

    pub fn hold(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::SeqCst);
    }

    pub fn release(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::SeqCst);
        if self.wanted.swap(false, Ordering::SeqCst) {
            self.tell();
        }
    }
}

/// What one queue holds.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    held: AtomicUsize,
    /// Streams wait for it to have room.
    awaited: AtomicBool,
}

impl Share {
    pub fn new(budget: &Arc<Budget>) -> Arc<Self> {
        budget.shares.fetch_add(1, Ordering::SeqCst);
        Arc::new(Self {
            budget: Arc::clone(budget),
            held: AtomicUsize::new(0),
            awaited: AtomicBool::new(false),
        })
    }

    /// Adds that much, which others may hold too.
    pub fn hold(self: &Arc<Self>, bytes: usize) -> Portion {
        let bytes = bytes + EVENT_COST;
        self.held.fetch_add(bytes, Ordering::SeqCst);
        self.budget.hold(EVENT_COST);
        Portion {
            share: Arc::clone(self),
            bytes,
        }
    }

    /// Does it hold all that it may? What came last may go beyond, or nothing
    /// large would come. So, when all watchers together hold too much, whoever
    /// has nothing may still have one read; but only up to half as much again.
    fn is_full(&self) -> bool {
        let held = self.held.load(Ordering::SeqCst);
        let all = self.budget.held();
        let limit = self.budget.limit;
        held >= self.max() || (all >= limit && held > 0) || all >= limit.saturating_add(limit / 2)
    }

    /// Are the streams that it watches not to be read? If so, it is told when
    /// there is room.
    pub fn holds_up(&self) -> bool {
        if self.budget.ending.load(Ordering::SeqCst) || !self.is_full() {
            return false;
        }
        // In this order room that is made after the look is told.
        self.awaited.store(true, Ordering::SeqCst);
        if !self.budget.has_room() {
            self.budget.wanted.store(true, Ordering::SeqCst);
        }
        self.is_full()
    }

    /// Is there no room, and nobody waits until there is?
    pub fn must_miss(&self) -> bool {
        self.budget.ending.load(Ordering::SeqCst) && self.is_full()
    }

    /// All queues together have half of the budget.
    fn max(&self) -> usize {
        let shares = self.budget.shares.load(Ordering::SeqCst).max(1);
        self.budget.limit / 2 / shares
    }

    fn release(&self, bytes: usize) {
        let before = self.held.fetch_sub(bytes, Ordering::SeqCst);
        self.budget.release(EVENT_COST);
        // Not for each entry: who watches takes a good many at a time.
        if before - bytes <= self.max() / 2 && self.awaited.swap(false, Ordering::SeqCst) {
            self.budget.tell();
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.shares.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What all who hold it hold once.
#[derive(Debug, Clone)]
pub(crate) struct SharedEntry {
    bytes: Bytes,
    _counted: Arc<Counted>,
}

impl SharedEntry {
    pub fn new(bytes: Bytes, budget: &Arc<Budget>) -> Self {
        budget.hold(bytes.len());
        Self {
            _counted: Arc::new(Counted {
                bytes: bytes.len(),
                budget: Arc::clone(budget),
            }),
            bytes,
        }
    }

    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

#[derive(Debug)]
struct Counted {
    bytes: usize,
    budget: Arc<Budget>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}

/// Counts in a share until it is dropped.
#[derive(Debug)]
pub(crate) struct Portion {
    share: Arc<Share>,
    bytes: usize,
}

impl Drop for Portion {
    fn drop(&mut self) {
        self.share.release(self.bytes);
    }
}

/// Bytes of a line or datagram that is not whole yet; they count as held.
#[derive(Debug)]
pub(crate) struct Incomplete {
    bytes: Vec<u8>,
    counted: usize,
    budget: Arc<Budget>,
}

impl Incomplete {
    pub fn new(budget: &Arc<Budget>) -> Self {
        Self {
            bytes: Vec::new(),
            counted: 0,
            budget: Arc::clone(budget),
        }
    }

    /// There will never be more than `max`, about.
    pub fn push(&mut self, data: &[u8], max: usize) {
        memory::extend(&mut self.bytes, data, max);
        let grown = memory::taken(self.bytes.capacity()) - self.counted;
        self.budget.hold(grown);
        self.counted += grown;
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn take(&mut self) -> Vec<u8> {
        self.budget.release(self.counted);
        self.counted = 0;
        std::mem::take(&mut self.bytes)
    }

    /// May more come, or must this be shown as it is?
    pub fn has_room(&self) -> bool {
        self.budget.has_room()
    }
}

impl Drop for Incomplete {
    fn drop(&mut self) {
        self.budget.release(self.counted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One with room for `limit` bytes.
    fn budget(limit: usize) -> Arc<Budget> {
        let wake = Arc::new(Notify::new());
        Budget::new(limit as u64 * WATCHED_SHARE, wake)
    }

    /// Holds so many bytes of its own.
    fn holds(share: &Arc<Share>, bytes: usize) -> (Portion, SharedEntry) {
        let shared = SharedEntry::new(Bytes::from(vec![0; bytes]), &share.budget);
        (share.hold(bytes), shared)
    }

    #[test]
    fn each_queue_has_its_share() {
        let budget = budget(100_000);
        let slow = Share::new(&budget);
        let quick = Share::new(&budget);
        let first = holds(&slow, 20_000);
        assert!(!slow.holds_up(), "a quarter is its own");
        let second = holds(&slow, 6_000);
        assert!(slow.holds_up() && !quick.holds_up());
        assert!(!budget.has_news());
        drop(second);
        assert!(!budget.has_news(), "nobody goes on for a little");
        drop(first);
        assert!(budget.has_news() && !slow.holds_up());
        assert_eq!(budget.held(), 0);
        // Whoever is alone has the share of both.
        drop(quick);
        let _held = holds(&slow, 49_000);
        assert!(!slow.holds_up());
    }

    #[test]
    fn all_together_are_bounded() {
        let budget = budget(100_000);
        let shares: [_; 3] = std::array::from_fn(|_| Share::new(&budget));
        let large = holds(&shares[0], 100_000);
        let small = holds(&shares[1], 1);
        assert!(shares[1].holds_up(), "it has something to take");
        assert!(!shares[2].holds_up());
        let more = holds(&shares[0], 50_000);
        assert!(shares[2].holds_up(), "nobody has room");
        assert!(!budget.has_news());
        drop(more);
        assert!(budget.has_news());
        assert!(!shares[2].holds_up() && shares[1].holds_up());
        drop((large, small));
        assert!(budget.has_news() && !shares[1].holds_up());
    }

    #[test]
    fn an_end_waits_for_nobody() {
        let budget = budget(1000);
        let share = Share::new(&budget);
        let _held = holds(&share, 1000);
        assert!(share.holds_up() && !share.must_miss());
        budget.end();
        assert!(budget.has_news() && !share.holds_up() && share.must_miss());
        budget.end();
        assert!(!budget.has_news(), "that is told once");
    }

    #[test]
    fn what_many_hold_counts_once() {
        let budget = budget(100_000);
        let shares: [_; 3] = std::array::from_fn(|_| Share::new(&budget));
        let shared = SharedEntry::new(Bytes::from(vec![0; 1000]), &budget);
        let held: Vec<_> = shares
            .iter()
            .map(|share| (share.hold(1000), shared.clone()))
            .collect();
        drop(shared);
        assert_eq!(budget.held(), 1000 + 3 * EVENT_COST);
        assert_eq!(budget.held_until_told(), budget.held());
        drop(held);
        assert!(budget.has_news());
        assert_eq!(budget.held(), 0);
    }
}
