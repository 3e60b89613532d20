//! Text streams for an output that wants no lines: bytes, like binary ones,
//! but with the notices that text carries at its size limit.

use super::binary::Binary;
use super::carry::Carry;
use super::notice;
use super::stage::Stage;

#[derive(Debug, Default)]
pub(crate) struct Raw {
    binary: Binary,
    /// The last byte was not the end of a line.
    in_line: bool,
}

impl Raw {
    pub fn push(&mut self, stage: &mut Stage<'_>, carry: &mut Carry, data: &[u8]) {
        if let Some(last) = data.last() {
            self.in_line = *last != b'\n';
        }
        self.binary.push(stage, carry, data);
    }

    pub fn expire(&mut self, stage: &mut Stage<'_>, carry: &mut Carry) {
        self.binary.expire(stage, carry);
    }

    pub fn cut(&mut self, stage: &mut Stage<'_>, carry: &mut Carry, limit: u64) {
        self.binary.expire(stage, carry);
        // The notice is a line of its own.
        let start = if self.in_line { "\n" } else { "" };
        let notice = format!("{start}{}\n", notice::at_the_cut(limit));
        self.binary.put_ours(stage, notice.as_bytes());
    }

    pub fn finish(&mut self, stage: &mut Stage<'_>, carry: &mut Carry, omitted: u64, total: u64) {
        self.binary.expire(stage, carry);
        if omitted > 0 {
            let notice = format!("{}\n", notice::at_the_end(omitted, total));
            self.binary.put_ours(stage, notice.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::logpb::log_entry;
    use crate::stream::testing::Bench;
    use crate::wire::descriptor::StreamType;

    /// The bytes with both notices, which are lines of their own.
    #[test]
    fn the_size_limit() {
        for (pieces, start) in [
            (&["one\n"][..], ""),
            (&["one\ntwo"], "\n"),
            (&["two", "", "\n"], ""),
            (&[], ""),
        ] {
            let mut bench = Bench::new(StreamType::Text, 10_000, 10_000);
            let mut raw = Raw::default();
            for piece in pieces {
                bench.run(|stage, carry| raw.push(stage, carry, piece.as_bytes()));
            }
            bench.run(|stage, carry| raw.cut(stage, carry, 8));
            bench.run(|stage, carry| raw.finish(stage, carry, 92, 100));
            let entries = bench.bundles().concat();
            let bytes: Vec<_> = entries
                .iter()
                .flat_map(|entry| match &entry.content {
                    Some(log_entry::Content::Binary(binary)) => binary.data.to_vec(),
                    other => panic!("{other:?}"),
                })
                .collect();
            let written = pieces.concat();
            let notices = [notice::at_the_cut(8), notice::at_the_end(92, 100)].join("\n");
            assert_eq!(
                String::from_utf8(bytes).unwrap(),
                format!("{written}{start}{notices}\n")
            );
            assert_eq!(bench.client_bytes, written.len() as u64);
        }
    }

    #[test]
    fn nothing_is_added_below_it() {
        let mut bench = Bench::new(StreamType::Text, 10_000, 10_000);
        let mut raw = Raw::default();
        bench.run(|stage, carry| raw.push(stage, carry, b"all"));
        bench.run(|stage, carry| raw.expire(stage, carry));
        assert!(bench.carry.is_empty());
        bench.run(|stage, carry| raw.finish(stage, carry, 0, 3));
        assert_eq!(bench.bundles().concat().len(), 1);
        assert_eq!(bench.client_bytes, 3);
    }
}
