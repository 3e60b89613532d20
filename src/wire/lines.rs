//! Encodes whole lines as text content: the hot path of the butler.
//!
//! Log lines are short and of any length, so what costs is not their bytes
//! but branches that the processor guesses wrong, and work that is done for
//! every line. Line ends are found 64 bytes at a time and noted without a
//! branch; of a line of up to 256 bytes what stands before its value is looked
//! up, and what is copied is whole blocks, whose surplus the next line
//! overwrites. All other lines take the plain way.

use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch, u8x64};

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
    dispatch!(Level::new(), simd => put_lines_with(simd, out, data))
}

/// With the widest registers that the processor has. All that it calls for
/// each line must be inlined, to be compiled for them.
#[inline(always)]
fn put_lines_with<S: Simd>(simd: S, out: &mut [u8], data: &[u8]) -> LinesPut {
    let mut put = LinesPut::default();
    let mut ends = [0; PIECE];
    for start in (0..data.len()).step_by(PIECE) {
        let piece = &data[start..data.len().min(start + PIECE)];
        let count = if put.lines * SPARSE < start as u64 {
            find_sparse_ends(piece, start as u32, &mut ends)
        } else {
            find_ends(simd, piece, start as u32, &mut ends)
        };
        for &end in &ends[..count] {
            let (rest, len) = (&data[put.bytes..], end as usize - put.bytes);
            let Some(encoded) = put_line_of(simd, &mut out[put.len..], rest, len) else {
                return put;
            };
            put.len += encoded;
            put.bytes = end as usize + 1;
            put.lines += 1;
        }
    }
    put
}

/// Encodes the line of `len` bytes at the front of `data`, without its `\n`,
/// if it fits.
#[inline(always)]
fn put_line_of<S: Simd>(simd: S, out: &mut [u8], data: &[u8], len: usize) -> Option<usize> {
    if (1..=SHORT_MAX).contains(&len)
        && let Some(data) = data.first_chunk()
        && let Some(out) = out.first_chunk_mut()
    {
        return Some(put_short(simd, out, data, len));
    }
    put_any(out, &data[..len])
}

#[inline(never)]
fn put_any(out: &mut [u8], line: &[u8]) -> Option<usize> {
    let (value, delimiter) = match line.strip_suffix(b"\r") {
        Some(value) => (value, Delimiter::CrLf),
        None => (line, Delimiter::Lf),
    };
    let len = line_len(value.len(), delimiter);
    put_line(out.get_mut(..len)?, value, delimiter);
    Some(len)
}

/// Bytes that a line is copied in.
const BLOCK: usize = 128;
/// The longest line that is encoded in blocks.
const SHORT_MAX: usize = 2 * BLOCK;
/// The most that is written for one.
const ROOM: usize = HEAD_MAX + SHORT_MAX + TAIL_MAX;
/// What stands before its value: at most 6 bytes, but 8 are written.
const HEAD_MAX: usize = 8;
/// And after it.
const TAIL_MAX: usize = 4;

/// Encodes the line of `len` bytes, 1 to [`SHORT_MAX`].
#[inline(always)]
fn put_short<S: Simd>(simd: S, out: &mut [u8; ROOM], data: &[u8; SHORT_MAX], len: usize) -> usize {
    let cr = usize::from(data[len - 1] == b'\r');
    let head = HEADS[cr][len];
    out[..HEAD_MAX].copy_from_slice(&head.to_le_bytes());
    let start = (head >> HEAD_LEN_SHIFT) as usize & (HEAD_MAX - 1);
    copy_block(simd, &mut out[start..], data);
    if len > BLOCK {
        copy_block(simd, &mut out[start + BLOCK..], &data[BLOCK..]);
    }
    let end = start + len - cr;
    let tail = match cr {
        0 => *b"\x12\x01\n\0",
        _ => *b"\x12\x02\r\n",
    };
    out[end..end + TAIL_MAX].copy_from_slice(&tail);
    end + 3 + cr
}

#[inline(always)]
fn copy_block<S: Simd>(simd: S, out: &mut [u8], data: &[u8]) {
    for at in (0..BLOCK).step_by(64) {
        u8x64::from_slice(simd, &data[at..at + 64]).store_slice(&mut out[at..at + 64]);
    }
}

/// What stands before the value of a short line: in the upmost byte how many
/// bytes that are, below it those bytes, little-endian. By whether a `\r` stands
/// before the `\n`, and by the length up to there: to look them up takes less
/// time than to compute them.
static HEADS: [[u64; SHORT_MAX + 1]; 2] = {
    let mut heads = [[0; SHORT_MAX + 1]; 2];
    let mut len = 1;
    while len <= SHORT_MAX {
        heads[0][len] = head(len, 0);
        heads[1][len] = head(len - 1, 1);
        len += 1;
    }
    heads
};

const HEAD_LEN_SHIFT: u32 = 56;

/// A line is a message: 0x0a and its length, then the value: 0x0a and its
/// length. Lengths from 128 on have two bytes.
const fn head(value_len: usize, cr: usize) -> u64 {
    let value_head = match value_len {
        // What is empty is left out.
        0 => 0,
        _ => field_head(value_len),
    };
    let value_head_len = value_head >> HEAD_LEN_SHIFT;
    let line_head = field_head(value_head_len as usize + value_len + 3 + cr);
    let line_head_len = line_head >> HEAD_LEN_SHIFT;
    // The lengths add up; that in the value's head is shifted out.
    line_head + (value_head << (8 * line_head_len)) + (value_head_len << HEAD_LEN_SHIFT)
}

const fn field_head(len: usize) -> u64 {
    let len = len as u64;
    match len {
        0..128 => 0x0a | len << 8 | 2 << HEAD_LEN_SHIFT,
        _ => 0x0a | (len & 0x7f | 0x80) << 8 | (len >> 7) << 16 | 3 << HEAD_LEN_SHIFT,
    }
}

/// Data is searched in pieces of this many bytes. There are no more ends in
/// one, nor are more noted in vain.
const PIECE: usize = 1024;

/// Notes where the line ends in `piece` are, counted from `base`; returns how
/// many there are.
#[inline(always)]
fn find_ends<S: Simd>(simd: S, piece: &[u8], base: u32, ends: &mut [u32; PIECE]) -> usize {
    let mut count = 0;
    let mut at = base;
    let (blocks, rest) = piece.as_chunks::<64>();
    for block in blocks {
        note_ends(newlines(simd, block), at, ends, &mut count);
        at += 64;
    }
    if !rest.is_empty() {
        let mut last = [0; 64];
        last[..rest.len()].copy_from_slice(rest);
        note_ends(newlines(simd, &last), at, ends, &mut count);
    }
    count
}

/// Bit i says that byte i is `\n`.
#[inline(always)]
fn newlines<S: Simd>(simd: S, block: &[u8; 64]) -> u64 {
    let block = u8x64::from_slice(simd, block);
    block.simd_eq(u8x64::splat(simd, b'\n')).to_bitmask()
}

/// Notes the ends in a block that begins at `at`.
#[inline(always)]
fn note_ends(mut mask: u64, at: u32, ends: &mut [u32; PIECE], count: &mut usize) {
    let mut next = *count;
    *count += mask.count_ones() as usize;
    // Two are noted whether they are there or not: what is past the last one
    // is of no use, and of no harm.
    for _ in 0..2 {
        // With the last bit set it takes no look for zero.
        ends[next] = at + (mask | 1 << 63).trailing_zeros();
        mask &= mask.wrapping_sub(1);
        next += 1;
    }
    while mask != 0 {
        ends[next] = at + mask.trailing_zeros();
        mask &= mask.wrapping_sub(1);
        next += 1;
    }
}

/// Lines of a mean length above this are found one by one.
const SPARSE: u64 = 512;

/// As [`find_ends`], for ends that are far apart.
fn find_sparse_ends(piece: &[u8], base: u32, ends: &mut [u32; PIECE]) -> usize {
    let found = memchr::memchr_iter(b'\n', piece).zip(ends.iter_mut());
    found.map(|(at, end)| *end = base + at as u32).count()
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
                let mut want = vec![0; 20_000];
                let want_len = put_any(&mut want, &line.as_bytes()[..line.len() - 1]).unwrap();
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

    #[test]
    fn nothing_but_ends() {
        for len in [0, 1, 63, 64, 65, PIECE - 1, PIECE, 5 * PIECE] {
            let mut out = vec![0; 10 * len];
            let put = put_lines(&mut out, &vec![b'\n'; len]);
            assert_eq!((put.lines, put.bytes), (len as u64, len));
            let empty = [0x0a, 3, 0x12, 1, b'\n'];
            assert!(out[..put.len] == empty.repeat(len));
        }
    }

    proptest! {
        #[test]
        fn the_ends_are_all_found(
            data in prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..PIECE),
        ) {
            let mut ends = [0; PIECE];
            let count =
                dispatch!(Level::new(), simd => find_ends(simd, &data, 7, &mut ends));
            let found = ends[..count].to_vec();
            let count = find_sparse_ends(&data, 7, &mut ends);
            prop_assert_eq!(&found, &ends[..count]);
            let want = data.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
            prop_assert!(found.into_iter().eq(want.map(|(at, _)| at as u32 + 7)));
        }
    }
}
