//! Binary streams: bytes, in entries of any size.

use super::carry::Carry;
use super::stage::{Stage, both_len, split};
use crate::limits::BINARY_ENTRY_MIN;
use crate::time::Moment;
use crate::wire::entry::Content;

/// Who wrote bytes.
#[derive(Debug, Clone, Copy)]
enum Whose {
    Client,
    Ours,
}

#[derive(Debug, Default)]
pub(crate) struct Binary {
    /// Bytes given out.
    offset: u64,
}

impl Binary {
    pub fn push(&mut self, stage: &mut Stage<'_>, carry: &mut Carry, data: &[u8]) {
        if carry.len() + data.len() < BINARY_ENTRY_MIN {
            carry.extend(data, stage.now);
            return;
        }
        let read = carry.read().unwrap_or(*stage.now);
        self.put(stage, &read, [carry.bytes(), data], Whose::Client);
        carry.clear();
    }

    pub fn expire(&mut self, stage: &mut Stage<'_>, carry: &mut Carry) {
        if let Some(read) = carry.read() {
            self.put(stage, &read, [carry.bytes(), b""], Whose::Client);
            carry.clear();
        }
    }

    /// Puts out bytes that no client wrote.
    pub fn put_ours(&mut self, stage: &mut Stage<'_>, data: &[u8]) {
        let now = *stage.now;
        self.put(stage, &now, [data, b""], Whose::Ours);
    }

    fn put(&mut self, stage: &mut Stage<'_>, read: &Moment, mut data: [&[u8]; 2], whose: Whose) {
        while both_len(data) > 0 {
            let room = stage.room();
            if room < both_len(data).min(BINARY_ENTRY_MIN) && !stage.is_fresh() {
                stage.next_bundle();
                continue;
            }
            let (now, rest) = split(data, both_len(data).min(room));
            let bytes = both_len(now) as u64;
            let client_bytes = match whose {
                Whose::Client => bytes,
                Whose::Ours => 0,
            };
            stage.put(read, self.offset, &Content::Binary(now), client_bytes);
            self.offset += bytes;
            data = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::logpb::log_entry;
    use crate::stream::testing::Bench;
    use crate::wire::descriptor::StreamType;

    const TARGET: usize = 100_000;

    struct Pushed {
        bench: Bench,
        binary: Binary,
    }

    impl Pushed {
        fn new() -> Self {
            Self {
                bench: Bench::new(StreamType::Binary, TARGET, 10 * TARGET),
                binary: Binary::default(),
            }
        }

        fn push(&mut self, len: usize) {
            let data = vec![b'x'; len];
            self.bench
                .run(|stage, carry| self.binary.push(stage, carry, &data));
        }

        /// Bytes of all entries, by bundle.
        fn lens(mut self) -> Vec<Vec<usize>> {
            let bundles = self.bench.bundles();
            let mut offset = 0;
            let lens = bundles.iter().map(|entries| {
                let lens = entries.iter().map(|entry| match &entry.content {
                    Some(log_entry::Content::Binary(binary)) => {
                        assert_eq!(entry.sequence, offset, "the offset of its first byte");
                        offset += binary.data.len() as u64;
                        binary.data.len()
                    }
                    other => panic!("{other:?}"),
                });
                lens.collect()
            });
            lens.collect()
        }
    }

    /// Up to the last byte of what makes an entry.
    #[test]
    fn little_waits_for_more() {
        let mut pushed = Pushed::new();
        pushed.push(BINARY_ENTRY_MIN - 1);
        assert!(pushed.bench.bundler.is_fresh());
        pushed.push(1);
        assert_eq!(pushed.bench.carry.len(), 0);
        pushed.push(BINARY_ENTRY_MIN);
        pushed.push(5);
        assert_eq!(pushed.bench.carry.len(), 5);
        pushed.push(2 * BINARY_ENTRY_MIN);
        let lens = [BINARY_ENTRY_MIN, BINARY_ENTRY_MIN, 2 * BINARY_ENTRY_MIN + 5];
        assert_eq!(pushed.lens(), [lens]);
    }

    #[test]
    fn what_is_old_leaves() {
        let mut pushed = Pushed::new();
        for len in [3, 0] {
            pushed.push(len);
            pushed
                .bench
                .run(|stage, carry| pushed.binary.expire(stage, carry));
            assert!(pushed.bench.carry.is_empty());
        }
        pushed.push(BINARY_ENTRY_MIN);
        assert_eq!(pushed.lens(), [[3, BINARY_ENTRY_MIN]]);
    }

    /// An entry fills the bundle up, unless only crumbs would fit.
    #[test]
    fn the_end_of_a_bundle() {
        let after = |len| {
            let mut pushed = Pushed::new();
            let room = pushed.bench.room();
            pushed.push(len);
            let overhead = room - len - pushed.bench.room();
            (pushed, overhead)
        };
        let room = Pushed::new().bench.room();
        let (_, overhead) = after(room - 2 * BINARY_ENTRY_MIN);
        for left in [BINARY_ENTRY_MIN, BINARY_ENTRY_MIN - 1, 4000] {
            let first = room - left - overhead;
            let (mut pushed, _) = after(first);
            assert_eq!(pushed.bench.room(), left);
            pushed.push(2 * BINARY_ENTRY_MIN);
            let expected = if left == BINARY_ENTRY_MIN {
                [vec![first, left], vec![BINARY_ENTRY_MIN]]
            } else {
                [vec![first], vec![2 * BINARY_ENTRY_MIN]]
            };
            assert_eq!(pushed.lens(), expected, "{left}");
        }
        // What is small enough itself goes where it fits.
        let first = room - 4000 - overhead;
        for len in [4000, 4001] {
            let (mut pushed, _) = after(first);
            let ours = vec![b'x'; len];
            pushed
                .bench
                .run(|stage, _| pushed.binary.put_ours(stage, &ours));
            let fits = len == 4000;
            assert_eq!(pushed.lens().len(), if fits { 1 } else { 2 }, "{len}");
        }
    }
}
