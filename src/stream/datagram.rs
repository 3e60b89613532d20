//! Datagram streams: recordio frames, one datagram each.

use super::carry::Carry;
use super::stage::{Stage, both_len, split};
use crate::ledger::DropReason;
use crate::limits::{DATAGRAM_MAX, STREAM_BUFFER_MAX};
use crate::time::Moment;
use crate::wire::entry::{Content, Partial};
use crate::wire::varint;

/// The client did not keep to the framing: nothing after it can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FramingError {
    /// A datagram's size has more than 64 bits.
    #[error("a datagram's size has more than 64 bits")]
    SizeOverflow,
    /// A datagram would have more than 10 MiB.
    #[error("a datagram of {0} bytes, more than {DATAGRAM_MAX}")]
    TooLarge(u64),
}

#[derive(Debug, Default)]
pub(crate) struct Datagram {
    /// Datagrams completed.
    index: u64,
    frame: Frame,
}

/// Where in a frame the stream is.
#[derive(Debug)]
enum Frame {
    /// In the size, of which `len` bytes are here.
    Size {
        bytes: [u8; varint::MAX_LEN],
        len: usize,
    },
    /// In the datagram, part of which may be in the carry.
    Body(Body),
}

#[derive(Debug)]
struct Body {
    size: u64,
    /// Bytes still to come.
    missing: u64,
    /// Parts given out.
    parts: u32,
    /// Bytes of the size, not accounted for yet.
    size_len: u64,
}

impl Default for Frame {
    fn default() -> Self {
        Self::Size {
            bytes: [0; varint::MAX_LEN],
            len: 0,
        }
    }
}

impl Datagram {
    pub fn push(
        &mut self,
        stage: &mut Stage<'_>,
        carry: &mut Carry,
        mut data: &[u8],
    ) -> Result<(), FramingError> {
        while !data.is_empty() {
            match &mut self.frame {
                Frame::Size { bytes, len } => {
                    if *len == 0 {
                        let put = stage.put_datagrams(self.index, data);
                        self.index += put.datagrams;
                        data = &data[put.bytes..];
                    }
                    let before = *len;
                    let take = data.len().min(bytes.len() - before);
                    bytes[before..before + take].copy_from_slice(&data[..take]);
                    let (size, used) = match varint::get(&bytes[..before + take]) {
                        Ok(Some((size, used))) if size <= DATAGRAM_MAX => (size, used),
                        Ok(None) => {
                            *len += take;
                            return Ok(());
                        }
                        wrong => {
                            stage.drop(DropReason::Framing, (before + data.len()) as u64);
                            self.frame = Frame::default();
                            return Err(match wrong.ok().flatten() {
                                Some((size, _)) => FramingError::TooLarge(size),
                                None => FramingError::SizeOverflow,
                            });
                        }
                    };
                    data = &data[used - before..];
                    let mut body = Body {
                        size,
                        missing: size,
                        parts: 0,
                        size_len: used as u64,
                    };
                    if size == 0 {
                        let now = *stage.now;
                        body.put(stage, &now, self.index, [b"", b""]);
                        self.complete();
                    } else {
                        self.frame = Frame::Body(body);
                    }
                }
                Frame::Body(body) => {
                    let (now, rest) = body.split(data);
                    data = rest;
                    body.missing -= now.len() as u64;
                    if body.missing == 0 {
                        let read = carry.read().unwrap_or(*stage.now);
                        body.put(stage, &read, self.index, [carry.bytes(), now]);
                        carry.clear();
                        self.complete();
                    } else {
                        carry.extend(now, stage.now);
                        if carry.len() >= STREAM_BUFFER_MAX {
                            self.expire(stage, carry);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    pub fn expire(&mut self, stage: &mut Stage<'_>, carry: &mut Carry) {
        if let (Frame::Body(body), Some(read)) = (&mut self.frame, carry.read()) {
            body.put(stage, &read, self.index, [carry.bytes(), b""]);
            carry.clear();
        }
    }

    pub fn finish(&mut self, stage: &mut Stage<'_>, carry: &mut Carry) {
        self.expire(stage, carry);
        // A size that nothing came after, or only a part of one.
        let frame_bytes = match &self.frame {
            Frame::Size { len, .. } => *len as u64,
            Frame::Body(body) => body.size_len,
        };
        if frame_bytes > 0 {
            stage.drop(DropReason::Framing, frame_bytes);
        }
        self.frame = Frame::default();
    }

    fn complete(&mut self) {
        self.index += 1;
        self.frame = Frame::default();
    }
}

impl Body {
    /// What is still missing of it, and what follows.
    fn split<'a>(&self, data: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let missing = usize::try_from(self.missing);
        data.split_at(missing.map_or(data.len(), |missing| missing.min(data.len())))
    }

    /// Puts out the datagram's next bytes: the whole if that is all and it
    /// fits in a bundle, else parts.
    fn put(&mut self, stage: &mut Stage<'_>, read: &Moment, index: u64, mut data: [&[u8]; 2]) {
        loop {
            let mut room = stage.room();
            if both_len(data) > room {
                if !stage.is_fresh() {
                    stage.next_bundle();
                    continue;
                }
                room = stage.room_alone();
            }
            let (part, rest) = split(data, both_len(data).min(room));
            let last = self.missing == 0 && both_len(rest) == 0;
            let whole = last && self.parts == 0;
            let partial = Partial {
                index: self.parts,
                size: self.size,
                last,
            };
            let content = Content::Datagram(part, (!whole).then_some(partial));
            let bytes = both_len(part) as u64 + self.size_len;
            stage.put(read, index, &content, bytes);
            self.size_len = 0;
            self.parts += 1;
            data = rest;
            if both_len(data) == 0 {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
