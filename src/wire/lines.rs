//! Encodes whole lines as text content: the hot path of the butler.
//!
//! Log lines are short and of any length, so what costs is not their bytes
//! but branches that the processor guesses wrong. Line ends are found 64 bytes
//! at a time and noted without a branch; a line of up to 256 bytes is encoded
//! without one on its length: its lengths are computed as if they might have
//! two bytes, and what is copied is a whole block, whose surplus the next line
//! overwrites. All other lines take the plain way.

use wide::u8x16;

use super::entry::{Delimiter, line_len, put_line};

/// Lines that [`put_lines`] has encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinesPut {
    /// How many.
    pub lines: u64,
    /// Bytes of theirs, delimiters included.
    pub bytes: usize,
    /// Bytes of the encoding.
    pub len: usize,
}

/// Encodes the whole lines of `data` as text content, as many as fit in
/// `out`. What of `out` lies behind them may be overwritten.
pub fn put_lines(out: &mut [u8], data: &[u8]) -> LinesPut {
    let mut put = LinesPut::default();
    let mut ends = [0; ENDS_MAX];
    for start in (0..data.len()).step_by(PIECE) {
        let piece = &data[start..data.len().min(start + PIECE)];
        let count = if put.lines * SPARSE < start as u64 {
            find_sparse_ends(piece, start as u32, &mut ends)
        } else {
            find_ends(piece, start as u32, &mut ends)
        };
        for &end in &ends[..count] {
            let line = &data[put.bytes..end as usize];
            let cr = usize::from(line.last() == Some(&b'\r'));
            let value_len = line.len() - cr;
            let (rest, free) = (&data[put.bytes..], &mut out[put.len..]);
            let len = match value_len {
                1..=128 => put_short::<128>(free, rest, value_len, cr),
                129..=256 => put_short::<256>(free, rest, value_len, cr),
                _ => None,
            };
            match len.or_else(|| put_any(free, &line[..value_len], cr)) {
                Some(len) => put.len += len,
                None => return put,
            }
            put.lines += 1;
            put.bytes = end as usize + 1;
        }
    }
    put
}

/// Encodes a line if it fits. `cr`: a `\r` stands before its `\n`.
fn put_any(out: &mut [u8], value: &[u8], cr: usize) -> Option<usize> {
    let delimiter = match cr {
        0 => Delimiter::Lf,
        _ => Delimiter::CrLf,
    };
    let len = line_len(value.len(), delimiter);
    put_line(out.get_mut(..len)?, value, delimiter);
    Some(len)
}

/// Encodes the line of `len` bytes, 1 to `BLOCK`, at the front of `data`, if
/// both sides have room for a whole block.
#[inline(always)]
fn put_short<const BLOCK: usize>(
    out: &mut [u8],
    data: &[u8],
    len: usize,
    cr: usize,
) -> Option<usize> {
    const { assert!(BLOCK <= 256) };
    let data = data.get(..BLOCK)?;
    let out = out.get_mut(..BLOCK + HEAD_MAX + TAIL_MAX)?;
    // A line is a message: 0x0a and its length, then the value: 0x0a and its
    // length. Lengths from 128 on have two bytes.
    let value_wide = usize::from(len >= 128);
    let body = 2 + value_wide + len + 3 + cr;
    let body_wide = usize::from(body >= 128);
    let value_head = 0x0a | short_varint(len) << 8;
    let head = 0x0a | short_varint(body) << 8 | value_head << (16 + 8 * body_wide);
    out[..HEAD_MAX].copy_from_slice(&head.to_le_bytes());
    let start = 4 + body_wide + value_wide;
    out[start..start + BLOCK].copy_from_slice(data);
    let end = start + len;
    let tail = match cr {
        0 => *b"\x12\x01\n\0",
        _ => *b"\x12\x02\r\n",
    };
    out[end..end + TAIL_MAX].copy_from_slice(&tail);
    Some(end + 3 + cr)
}

/// What [`put_short`] writes at most before a value, of which 6 are meant.
const HEAD_MAX: usize = 8;
/// And after it.
const TAIL_MAX: usize = 4;

/// A varint below 2^14, little-endian, without a branch.
#[inline(always)]
fn short_varint(value: usize) -> u64 {
    let value = value as u64;
    let wide = u64::from(value >= 128);
    value & 0x7f | wide << 7 | (value >> 7) << 8
}

/// Data is searched in pieces of this many bytes.
const PIECE: usize = 1024;
/// As many ends as there can be in one, and those noted in vain.
const ENDS_MAX: usize = PIECE + 2;

/// Notes where the line ends in `piece` are, counted from `base`; returns how
/// many there are.
#[inline(always)]
fn find_ends(piece: &[u8], base: u32, ends: &mut [u32; ENDS_MAX]) -> usize {
    let mut count = 0;
    let mut at = base;
    let (blocks, rest) = piece.as_chunks::<64>();
    let mut last = [0; 64];
    last[..rest.len()].copy_from_slice(rest);
    for block in blocks.iter().chain([&last]) {
        let mut mask = newlines(block);
        // Two are noted whether they are there or not: what is past the last
        // one is of no use, and of no harm.
        for _ in 0..2 {
            count = note(ends, count, at, &mut mask);
        }
        while mask != 0 {
            count = note(ends, count, at, &mut mask);
        }
        at += 64;
    }
    count
}

/// Lines of a mean length above this are found one by one.
const SPARSE: u64 = 512;

/// As [`find_ends`], for ends that are far apart.
fn find_sparse_ends(piece: &[u8], base: u32, ends: &mut [u32; ENDS_MAX]) -> usize {
    let found = memchr::memchr_iter(b'\n', piece).zip(ends.iter_mut());
    found.map(|(at, end)| *end = base + at as u32).count()
}

/// Notes the first end of a block at `at` and takes it out of `mask`; counts
/// it if it was there.
#[inline(always)]
fn note(ends: &mut [u32; ENDS_MAX], count: usize, at: u32, mask: &mut u64) -> usize {
    // With the last bit set it takes no look for zero.
    ends[count] = at + (*mask | 1 << 63).trailing_zeros();
    let there = usize::from(*mask != 0);
    *mask &= mask.wrapping_sub(1);
    count + there
}

/// Bit i says that byte i is `\n`.
#[inline(always)]
fn newlines(block: &[u8; 64]) -> u64 {
    let newline = u8x16::splat(b'\n');
    let (parts, _) = block.as_chunks::<16>();
    let mut mask = 0;
    for (at, part) in parts.iter().enumerate() {
        let found = u8x16::new(*part).simd_eq(newline).to_bitmask();
        mask |= u64::from(found) << (16 * at);
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn all_lengths_and_all_ends() {
        for len in (0..600).chain([16_383, 16_384]) {
            for end in ["\n", "\r\n", "\r\r\n"] {
                let line = "v".repeat(len) + end;
                let cr = end.len() - 1;
                let mut want = vec![0; 20_000];
                let value = &line.as_bytes()[..line.len() - 1 - cr.min(1)];
                let want_len = put_any(&mut want, value, cr.min(1)).unwrap();
                // Alone, at the very end of both, and with room behind.
                for room in [0, 1000] {
                    let mut data = line.clone().into_bytes();
                    data.resize(data.len() + room, b'x');
                    let mut out = vec![0xee; want_len + room];
                    let put = put_lines(&mut out, &data);
                    assert_eq!((put.lines, put.bytes), (1, line.len()));
                    assert!(out[..put.len] == want[..want_len], "{len} {end:?} {room}");
                    // One byte less, and it does not fit.
                    let put = put_lines(&mut out[..want_len - 1], &data);
                    assert_eq!(put, LinesPut::default());
                }
            }
        }
    }

    proptest! {
        #[test]
        fn the_ends_are_all_found(
            data in prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..PIECE),
        ) {
            let mut ends = [0; ENDS_MAX];
            let count = find_ends(&data, 7, &mut ends);
            let found = ends[..count].to_vec();
            let count = find_sparse_ends(&data, 7, &mut ends);
            prop_assert_eq!(&found, &ends[..count]);
            let want = data.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
            prop_assert!(found.into_iter().eq(want.map(|(at, _)| at as u32 + 7)));
        }

        #[test]
        fn short_varints_are_varints(value in 0usize..1 << 14) {
            let bytes = short_varint(value).to_le_bytes();
            let (got, used) = crate::wire::varint::get(&bytes).unwrap().unwrap();
            prop_assert_eq!((got, used), (value as u64, crate::wire::varint::len(value as u64)));
        }
    }
}
