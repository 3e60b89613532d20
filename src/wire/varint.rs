//! Base-128 varints, as protobuf and recordio write them.

/// A varint is at most ten bytes, the tenth at most 1.
pub const MAX_LEN: usize = 10;

/// Bytes that `value` takes.
#[inline]
pub const fn len(value: u64) -> usize {
    // 1 for 0..=127, then one more every 7 bits.
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Writes `value` at the front of `out` and returns the bytes used.
///
/// `out` must hold [`len`] bytes.
#[inline]
pub fn put(out: &mut [u8], mut value: u64) -> usize {
    let mut at = 0;
    while value >= 0x80 {
        out[at] = value as u8 | 0x80;
        value >>= 7;
        at += 1;
    }
    out[at] = value as u8;
    at + 1
}

/// Appends `value` to `out`.
pub fn push(out: &mut Vec<u8>, value: u64) {
    let mut bytes = [0; MAX_LEN];
    let used = put(&mut bytes, value);
    out.extend_from_slice(&bytes[..used]);
}

/// More than 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflow;

/// Reads a varint at the front of `bytes`: its value and length, `None` if
/// `bytes` ends inside it.
#[inline]
pub fn get(bytes: &[u8]) -> Result<Option<(u64, usize)>, Overflow> {
    let mut value = 0u64;
    for (at, &byte) in bytes.iter().take(MAX_LEN).enumerate() {
        if at == MAX_LEN - 1 && byte > 1 {
            return Err(Overflow);
        }
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return Ok(Some((value, at + 1)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_at_every_length() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1u64 << shift) - 1, u64::MAX >> shift] {
                let mut out = Vec::new();
                push(&mut out, value);
                assert_eq!(out.len(), len(value), "{value}");
                assert_eq!(get(&out), Ok(Some((value, out.len()))));
                for cut in 0..out.len() {
                    assert_eq!(get(&out[..cut]), Ok(None));
                }
            }
        }
    }

    #[test]
    fn refuses_more_than_64_bits() {
        let mut bytes = [0xff; 10];
        bytes[9] = 2;
        assert_eq!(get(&bytes), Err(Overflow));
        bytes[9] = 0x81;
        assert_eq!(get(&bytes), Err(Overflow));
        bytes[9] = 1;
        assert_eq!(get(&bytes), Ok(Some((u64::MAX, 10))));
    }
}
