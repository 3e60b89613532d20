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
