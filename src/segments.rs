//! The pool of segments that entries are staged in.

use bytes::{Bytes, BytesMut};

use crate::limits::SEGMENTS_KEPT_MAX;

/// Free segments, all of whose bytes are initialized.
#[derive(Debug)]
pub(crate) struct SegmentPool {
    /// The last used is last, and likely in cache.
    free: Vec<BytesMut>,
    /// Bytes of all of them.
    bytes: usize,
    /// What most segments have; only a large entry needs more.
    usual: usize,
}

impl SegmentPool {
    pub fn new(usual: usize) -> Self {
        Self {
            free: Vec::new(),
            bytes: 0,
            usual,
        }
    }

    /// A segment of at least `len` bytes. Free ones of no use make room for a
    /// new one if together they would take more than `max` bytes.
    pub fn take(&mut self, len: usize, max: usize) -> BytesMut {
        let fits = |free: &BytesMut| {
            // A larger one than is needed would be counted whole.
            free.len() == self.usual && len <= self.usual || len > self.usual && free.len() >= len
        };
        if let Some(at) = self.free.iter().rposition(fits) {
            let segment = self.free.remove(at);
            self.bytes -= segment.len();
            return segment;
        }
        let len = len.max(self.usual);
        self.shrink(max.saturating_sub(len));
        new_segment(len)
    }

    /// Takes a segment back, unless somebody still has a part of it or all
    /// free ones would take more than `max` bytes. Up to 4 MiB they always
    /// may.
    pub fn put(&mut self, segment: Bytes, max: usize) {
        if self.bytes + segment.len() <= max.max(SEGMENTS_KEPT_MAX)
            && let Ok(segment) = segment.try_into_mut()
        {
            self.bytes += segment.len();
            self.free.push(segment);
        }
    }

    /// Nothing is staged: gives back what a busy time needed.
    pub fn rest(&mut self) {
        self.shrink(SEGMENTS_KEPT_MAX);
    }

    /// Bytes of free segments.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Free segments.
    #[cfg(test)]
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Gives back what takes more than `max` bytes, and more than is always
    /// kept.
    pub fn shrink(&mut self, max: usize) {
        if self.bytes <= max.max(SEGMENTS_KEPT_MAX) {
            return;
        }
        let mut gone = 0;
        while let Some(segment) = self.free.get(gone)
            && self.bytes > max.max(SEGMENTS_KEPT_MAX)
        {
            self.bytes -= segment.len();
            gone += 1;
        }
        self.free.drain(..gone);
    }
}

/// A segment that can be frozen, shared and taken back any number of times
/// without an allocation: once split off something, a `BytesMut` stays
/// reference-counted.
fn new_segment(len: usize) -> BytesMut {
    let mut segment = BytesMut::zeroed(len);
    drop(segment.split_off(len));
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_come_back_and_the_pool_shrinks() {
        let mut pool = SegmentPool::new(1 << 20);
        let held: Vec<_> = (0..20).map(|_| pool.take(10, 64 << 20).freeze()).collect();
        assert!(held.iter().all(|segment| segment.len() == 1 << 20));
        let shared = held[1].clone();
        for segment in held {
            pool.put(segment, 64 << 20);
        }
        assert_eq!(pool.bytes, 19 << 20, "one is shared");
        drop(shared);

        let large = pool.take(2 << 20, 20 << 20);
        assert_eq!((large.len(), pool.bytes), (2 << 20, 18 << 20));
        pool.put(large.freeze(), 64 << 20);
        pool.rest();
        assert_eq!(pool.bytes, SEGMENTS_KEPT_MAX);
        assert_eq!(pool.take(1, 0).len(), 1 << 20);
    }

    /// Each has its own use: a usual one is not taken for less, nor a large
    /// one for what a usual one would do.
    #[test]
    fn what_fits() {
        const USUAL: usize = 1000;
        let mut pool = SegmentPool::new(USUAL);
        let sizes = [USUAL, 5 * USUAL, 3 * USUAL];
        let segments = sizes.map(|len| pool.take(len, 0));
        for segment in segments {
            pool.put(segment.freeze(), 0);
        }
        assert_eq!(pool.bytes, 9 * USUAL);
        assert_eq!(pool.take(USUAL, 0).len(), USUAL);
        assert_eq!(pool.bytes, 8 * USUAL);
        let mut take = |len| pool.take(len, 1 << 20).len();
        assert_eq!(take(USUAL), USUAL, "a new one, beside the large ones");
        assert_eq!(take(3 * USUAL), 3 * USUAL);
        assert_eq!(take(2 * USUAL), 5 * USUAL);
        assert_eq!(take(2 * USUAL), 2 * USUAL);
        assert_eq!((pool.bytes, pool.free()), (0, 0));
    }
}
