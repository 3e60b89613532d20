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
    /// Tells him.
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

    /// From now on no stream waits for those who watch it.
    pub fn end(&self) {
        self.ending.store(true, Ordering::SeqCst);
    }

    pub fn hold(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::SeqCst);
    }

    pub fn release(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::SeqCst);
        if self.wanted.swap(false, Ordering::SeqCst) {
            self.wake.notify_one();
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
    pub fn hold(self: &Arc<Self>, bytes: usize) -> Held {
        self.held.fetch_add(bytes, Ordering::SeqCst);
        self.budget.hold(EVENT_COST);
        Held {
            share: Arc::clone(self),
            bytes,
        }
    }

    /// Does it hold all that it may, or do all watchers together? (What came
    /// last may go beyond, or nothing large would come.)
    fn is_full(&self) -> bool {
        self.held.load(Ordering::SeqCst) >= self.max() || !self.budget.has_room()
    }

    /// Are the streams that it watches not to be read? If so, it is told when
    /// there is room.
    pub fn holds_up(&self) -> bool {
        if self.budget.ending.load(Ordering::SeqCst) || !self.is_full() {
            return false;
        }
        // In this order room that is made after the look is told.
        self.awaited.store(true, Ordering::SeqCst);
        self.budget
            .wanted
            .store(!self.budget.has_room(), Ordering::SeqCst);
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
            self.budget.wake.notify_one();
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
pub(crate) struct Shared {
    bytes: Bytes,
    _counted: Arc<Counted>,
}

impl Shared {
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
pub(crate) struct Held {
    share: Arc<Share>,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.share.release(self.bytes);
    }
}

/// Bytes that are not whole yet, and count as held.
#[derive(Debug)]
pub(crate) struct Unfinished {
    bytes: Vec<u8>,
    counted: usize,
    budget: Arc<Budget>,
}

impl Unfinished {
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

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.budget.release(self.counted);
    }
}
