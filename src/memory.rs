//! Pieces of memory that grow with what a client sends, in few sizes.
//!
//! What a client makes us hold it lets go of as it likes. If such pieces had
//! any size, one that is freed would leave a hole that is a little too small
//! for the next, and the process would grow without an end while it holds
//! little. So small pieces have sizes of powers of two, and what is larger has
//! whole pages, which the allocator can give back to the kernel.

use crate::limits::{OWN_PAGES_MIN, PAGE};

/// The least that is worth an allocation.
const LEAST: usize = 64;
/// Bytes that an allocator keeps beside a piece.
const BESIDE: usize = 32;

/// Appends `data`. `max` is all that there will ever be, if that is known: no
/// more room is made.
pub(crate) fn extend(bytes: &mut Vec<u8>, data: &[u8], max: usize) {
    let len = bytes.len() + data.len();
    if len > bytes.capacity() {
        // It doubles, so that what comes byte by byte is not copied as often.
        let wanted = len.max(bytes.capacity().saturating_mul(2).min(max));
        bytes.reserve_exact(size(wanted) - bytes.len());
    }
    bytes.extend_from_slice(data);
}

/// Moves what there is to a piece that is no larger than it must be. In its
/// place it could not shrink: the end of a piece is a hole of any size.
pub(crate) fn shrink(bytes: &mut Vec<u8>) {
    let mut moved = Vec::new();
    extend(&mut moved, bytes, usize::MAX);
    if moved.capacity() < bytes.capacity() {
        *bytes = moved;
    }
}

/// Bytes of memory that a piece with room for `capacity` bytes takes.
pub(crate) fn taken(capacity: usize) -> usize {
    match capacity {
        0 => 0,
        small if small < OWN_PAGES_MIN => small + BESIDE,
        large => (large + BESIDE).next_multiple_of(PAGE),
    }
}

/// The size of a piece for `len` bytes.
fn size(len: usize) -> usize {
    match len.next_power_of_two() {
        small if small < OWN_PAGES_MIN => small.max(LEAST),
        _ => (len + BESIDE).next_multiple_of(PAGE) - BESIDE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_few_and_waste_little() {
        for (len, expected) in [
            (1, 64),
            (65, 128),
            (2048, 2048),
            (2049, 4064),
            (4064, 4064),
            (4065, 8160),
            (60_001, 61_408),
        ] {
            assert_eq!(size(len), expected, "{len}");
            assert!(size(len) == expected && taken(expected) >= expected);
        }
        assert_eq!(taken(0), 0);
        assert_eq!(taken(64), 96);
        for pages in 1..100 {
            assert_eq!(taken(size(pages * PAGE - BESIDE)), pages * PAGE);
        }
    }

    #[test]
    fn what_comes_byte_by_byte_is_rarely_moved() {
        let mut bytes = Vec::new();
        let mut moved = 0;
        for byte in 0..=255 {
            for _ in 0..1000 {
                let before = bytes.capacity();
                extend(&mut bytes, &[byte], usize::MAX);
                moved += usize::from(before != bytes.capacity());
            }
        }
        assert_eq!(bytes.len(), 256_000);
        assert!(moved < 16, "{moved} times");
    }

    #[test]
    fn no_more_than_there_will_ever_be() {
        let mut bytes = Vec::new();
        extend(&mut bytes, &[1; 100_000], 150_000);
        extend(&mut bytes, &[1; 50_000], 150_000);
        assert_eq!(bytes.capacity(), size(150_000));
    }

    #[test]
    fn shrinking_moves() {
        let mut bytes = Vec::new();
        extend(&mut bytes, &[1; 60_001], usize::MAX);
        bytes.truncate(1);
        shrink(&mut bytes);
        assert_eq!((bytes.len(), bytes.capacity()), (1, LEAST));
        bytes.clear();
        shrink(&mut bytes);
        assert_eq!(bytes.capacity(), 0);
    }
}
