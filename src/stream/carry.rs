//! What a stream has read and not yet given out: an unfinished line or
//! datagram, or binary data too little for an entry.

use crate::memory;
use crate::time::Moment;

#[derive(Debug, Default)]
pub(crate) struct Carry {
    bytes: Vec<u8>,
    /// When the first of the bytes was read.
    read: Option<Moment>,
    /// When the last piece was read, and its length.
    last: Option<(Moment, usize)>,
    /// What is here must wait for its next byte, whatever its age.
    held: bool,
}

impl Carry {
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of memory that it takes, with data in it or without.
    pub fn memory(&self) -> usize {
        memory::taken(self.bytes.capacity())
    }

    /// When the first byte was read, if there is one.
    pub fn read(&self) -> Option<Moment> {
        self.read
    }

    /// Since when there is something here that its age may drive out.
    pub fn waiting_since(&self) -> Option<u64> {
        match self.read {
            Some(read) if !self.held => Some(read.mono_ns),
            _ => None,
        }
    }

    pub fn extend(&mut self, data: &[u8], now: &Moment) {
        if data.is_empty() {
            return;
        }
        self.held = false;
        self.read.get_or_insert(*now);
        self.last = Some((*now, data.len()));
        memory::extend(&mut self.bytes, data, usize::MAX);
    }

    /// All has been given out.
    pub fn clear(&mut self) {
        self.keep_tail(0);
    }

    /// All but the last `len` bytes has been given out; those must wait for
    /// what comes after them.
    pub fn keep_tail(&mut self, len: usize) {
        let gone = self.bytes.len() - len;
        self.bytes.copy_within(gone.., 0);
        self.bytes.truncate(len);
        if len == 0 {
            self.read = None;
            self.held = false;
        } else {
            self.held = true;
            // A tail that straddles reads keeps the time of the first.
            if let Some((last, last_len)) = self.last
                && len <= last_len
            {
                self.read = Some(last);
            }
        }
    }

    /// Frees the memory that holds no data.
    pub fn shrink(&mut self) {
        memory::shrink(&mut self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono_ns: u64) -> Moment {
        Moment {
            mono_ns,
            wall: prost_types::Timestamp::default(),
        }
    }

    fn carry(pieces: &[(&[u8], u64)]) -> Carry {
        let mut carry = Carry::default();
        for (data, read_ns) in pieces {
            carry.extend(data, &at(*read_ns));
        }
        carry
    }

    #[test]
    fn it_waits_since_its_first_byte() {
        let mut carry = carry(&[(b"", 1)]);
        assert!(carry.is_empty() && carry.read().is_none());
        assert_eq!(carry.waiting_since(), None);
        for (data, read_ns) in [(b"ab", 2), (b"cd", 3)] {
            carry.extend(data, &at(read_ns));
            assert_eq!(carry.waiting_since(), Some(2));
        }
        assert_eq!((carry.bytes(), carry.len()), (&b"abcd"[..], 4));
        assert!(!carry.is_empty());
        carry.clear();
        assert!(carry.is_empty() && carry.read().is_none());
        assert_eq!(carry.waiting_since(), None);
        carry.extend(b"e", &at(4));
        assert_eq!(carry.waiting_since(), Some(4));
    }

    /// A tail is as old as its first byte, and waits for its next one.
    #[test]
    fn a_tail_is_held() {
        for (tail, left, read_ns) in [
            (1, &b"e"[..], 9),
            (2, b"de", 9),
            (3, b"cde", 5),
            (5, b"abcde", 5),
        ] {
            let mut carry = carry(&[(b"abc", 5), (b"de", 9)]);
            carry.keep_tail(tail);
            assert_eq!(carry.bytes(), left);
            assert_eq!(carry.read().unwrap().mono_ns, read_ns, "{tail}");
            assert_eq!(carry.waiting_since(), None);
            carry.extend(b"", &at(11));
            assert_eq!(carry.waiting_since(), None);
            carry.extend(b"f", &at(11));
            assert_eq!(carry.waiting_since(), Some(read_ns));
        }
    }

    #[test]
    fn memory_without_data_is_given_back() {
        let mut carry = carry(&[(&[b'x'; 1000], 1)]);
        carry.keep_tail(10);
        assert!(carry.memory() >= 1000);
        carry.shrink();
        assert!((10..1000).contains(&carry.memory()));
    }
}
