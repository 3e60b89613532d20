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
