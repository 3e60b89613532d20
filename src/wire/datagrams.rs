//! Encodes whole datagrams as entries: the hot path of datagram streams.
//!
//! Datagrams that lie one after the other in what was read become entries one
//! after the other. What stands before their content differs from one to the
//! next by one in each index, so it is encoded once and counted on in place.

use super::entry::{EntryHead, HEAD_LEN_MAX, put_head};
use super::varint;

/// Datagrams that [`put_datagrams`] has encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DatagramsPut {
    /// How many.
    pub datagrams: u64,
    /// Bytes of their frames, sizes included.
    pub bytes: usize,
    /// Bytes of the encoding.
    pub len: usize,
}

/// Encodes the whole datagrams at the front of `data` as `logs` fields of a
/// bundle's Entry, the first one with `head`. It stops early at one that is
/// empty or has a wrong size, and when the end of `out` is near. What of `out`
/// lies behind them may be overwritten.
pub fn put_datagrams(out: &mut [u8], head: &EntryHead, data: &[u8]) -> DatagramsPut {
    let mut put = DatagramsPut::default();
    let mut head = Head::new(*head);
    while let Ok(Some((size, size_len))) = varint::get(&data[put.bytes..]) {
        let rest = &data[put.bytes + size_len..];
        let out = &mut out[put.len..];
        let Some(size) = usize::try_from(size)
            .ok()
            .filter(|size| (1..=rest.len()).contains(size))
        else {
            break;
        };
        let len = if size <= BLOCK
            && let Some(block) = rest.first_chunk::<BLOCK>()
            && let Some(out) = out.first_chunk_mut::<{ FRONT_LEN_MAX + BLOCK }>()
        {
            let front = put_front(out, &head, size);
            out[front..front + BLOCK].copy_from_slice(block);
            front + size
        } else if out.len() >= FRONT_LEN_MAX && out.len() - FRONT_LEN_MAX >= size {
            let front = put_front(out, &head, size);
            out[front..front + size].copy_from_slice(&rest[..size]);
            front + size
        } else {
            break;
        };
        head.count_on();
        put.datagrams += 1;
        put.bytes += size_len + size;
        put.len += len;
    }
    put
}

/// Does [`put_datagrams`] encode at least one?
pub fn one_fits(room: usize, data: &[u8]) -> bool {
    let Ok(Some((size, size_len))) = varint::get(data) else {
        return false;
    };
    let whole = 1..=(data.len() - size_len) as u64;
    let fits = (room as u64).checked_sub(FRONT_LEN_MAX as u64);
    whole.contains(&size) && fits.is_some_and(|most| size <= most)
}

/// A datagram of up to this many bytes is copied as if it had as many: that
/// takes no branch on its size.
const BLOCK: usize = 256;

/// The most that [`put_front`] writes.
const FRONT_LEN_MAX: usize = 1 + varint::MAX_LEN + HEAD_LEN_MAX + 2 * (1 + varint::MAX_LEN);

/// Writes what stands before a datagram of `size` bytes; returns its length.
#[inline(always)]
fn put_front(out: &mut [u8], head: &Head, size: usize) -> usize {
    let content_len = 1 + varint::len(size as u64) + size;
    let entry_len = head.len + 1 + varint::len(content_len as u64) + content_len;
    out[0] = 0x2a;
    let mut at = 1 + varint::put(&mut out[1..], entry_len as u64);
    out[at..at + HEAD_LEN_MAX].copy_from_slice(&head.bytes);
    at += head.len;
    out[at] = 0x62;
    at += 1 + varint::put(&mut out[at + 1..], content_len as u64);
    out[at] = 0x0a;
    at + 1 + varint::put(&mut out[at + 1..], size as u64)
}

/// A head that is encoded, and can be counted on.
struct Head {
    head: EntryHead,
    bytes: [u8; HEAD_LEN_MAX],
    len: usize,
    /// Where the three indices begin.
    indices: [usize; 3],
    /// How often all of them can be counted on without a carry to their second
    /// byte.
    left: u64,
}

impl Head {
    fn new(head: EntryHead) -> Self {
        let mut bytes = [0; HEAD_LEN_MAX];
        let len = put_head(&mut bytes, &head);
        let values = [head.prefix_index, head.stream_index, head.sequence];
        let mut encoded = Self {
            head,
            bytes,
            len,
            indices: [0; 3],
            left: 0,
        };
        // An index of 0 is left out.
        if values.contains(&0) {
            return encoded;
        }
        let mut end = len;
        for (index, value) in encoded.indices.iter_mut().zip(values).rev() {
            *index = end - varint::len(value);
            // Before it stands its tag.
            end = *index - 1;
        }
        let to_carry = values.map(|value| 0x7f - (value & 0x7f));
        encoded.left = to_carry.into_iter().min().unwrap_or(0);
        encoded
    }

    #[inline(always)]
    fn count_on(&mut self) {
        let head = &mut self.head;
        head.prefix_index += 1;
        head.stream_index += 1;
        head.sequence += 1;
        if self.left == 0 {
            *self = Self::new(self.head);
            return;
        }
        self.left -= 1;
        for index in self.indices {
            self.bytes[index] += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::entry::{Content, logs_len, put_logs};
    use proptest::prelude::*;

    fn frames(datagrams: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        for datagram in datagrams {
            varint::push(&mut out, datagram.len() as u64);
            out.extend_from_slice(datagram);
        }
        out
    }

    /// The plain way.
    fn entries(head: &EntryHead, datagrams: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        for (at, datagram) in datagrams.iter().enumerate() {
            let head = EntryHead {
                prefix_index: head.prefix_index + at as u64,
                stream_index: head.stream_index + at as u64,
                sequence: head.sequence + at as u64,
                ..*head
            };
            let content = Content::Datagram([datagram, b""], None);
            let start = out.len();
            out.resize(start + logs_len(&head, &content), 0);
            put_logs(&mut out[start..], &head, &content);
        }
        out
    }

    fn check(head: &EntryHead, datagrams: &[Vec<u8>], tail: &[u8], room: usize) -> usize {
        let mut data = frames(datagrams);
        data.extend_from_slice(tail);
        let mut out = vec![0xee; room];
        let put = put_datagrams(&mut out, head, &data);
        assert_eq!(one_fits(room, &data), put.datagrams > 0);
        let count = put.datagrams as usize;
        assert_eq!(put.bytes, frames(&datagrams[..count]).len());
        assert!(out[..put.len] == entries(head, &datagrams[..count]));
        count
    }

    #[test]
    fn all_of_many_are_put() {
        let datagrams: Vec<_> = (0..1000)
            .map(|at| vec![at as u8; 1 + at * 7 % 700])
            .collect();
        for index in [
            0,
            1,
            126,
            127,
            128,
            16_000,
            u64::from(u32::MAX),
            u64::MAX >> 1,
        ] {
            let head = EntryHead {
                offset_seconds: 7,
                offset_nanos: 999_999_999,
                prefix_index: index,
                stream_index: index / 3,
                sequence: index / 2,
            };
            assert_eq!(check(&head, &datagrams, b"", 1 << 20), 1000);
            // The next one is not whole.
            assert_eq!(check(&head, &datagrams, b"\x05abcd", 1 << 20), 1000);
        }
    }

    #[test]
    fn stops_where_the_plain_way_must_go_on() {
        let head = EntryHead::default();
        let some = vec![vec![1; 10]; 3];
        for tail in [&b"\0\x01x"[..], b"\x80", &[0xff; 12], b""] {
            assert_eq!(check(&head, &some, tail, 10_000), 3);
        }
        assert_eq!(
            put_datagrams(&mut [0; 500], &head, b"\0"),
            DatagramsPut::default()
        );
    }

    #[test]
    fn one_fits_or_does_not() {
        let whole = b"\x05abcde";
        for (room, data, fits) in [
            (FRONT_LEN_MAX + 5, &whole[..], true),
            (FRONT_LEN_MAX + 4, whole, false),
            (FRONT_LEN_MAX - 1, whole, false),
            (1000, &whole[..5], false),
            (1000, &whole[..1], false),
            (1000, b"", false),
            (1000, b"\x80", false),
            (1000, b"\0more", false),
            (1000, &[0xff; 11], false),
        ] {
            assert_eq!(one_fits(room, data), fits, "{room} {data:?}");
        }
    }

    /// The bound is that of the longest indices and sizes.
    #[test]
    fn what_stands_before_is_not_longer() {
        let head = EntryHead {
            offset_seconds: u64::MAX,
            offset_nanos: u32::MAX,
            prefix_index: u64::MAX,
            stream_index: u64::MAX,
            sequence: u64::MAX,
        };
        let head = Head::new(head);
        assert_eq!(head.len, HEAD_LEN_MAX);
        // Of three sizes each has a byte less than it could.
        let size = usize::MAX >> 2;
        assert_eq!(put_front(&mut [0; 200], &head, size) + 3, FRONT_LEN_MAX);
    }

    proptest! {
        #[test]
        fn equals_the_plain_way(
            lens in prop::collection::vec(prop_oneof![1usize..300, 1usize..2000], 0..20),
            indices in prop::array::uniform3(prop_oneof![0..300u64, any::<u32>().prop_map(u64::from)]),
            room in 0usize..8000,
        ) {
            let datagrams: Vec<_> = lens.iter().map(|&len| vec![len as u8; len]).collect();
            let head = EntryHead {
                offset_seconds: 0,
                offset_nanos: 5,
                prefix_index: indices[0],
                stream_index: indices[1],
                sequence: indices[2],
            };
            let count = check(&head, &datagrams, b"", room);
            let left = room - entries(&head, &datagrams[..count]).len();
            if let Some(len) = lens.get(count) {
                prop_assert!(left < len + FRONT_LEN_MAX);
            }
        }
    }
}
