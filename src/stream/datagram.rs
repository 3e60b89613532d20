//! Datagram streams: recordio frames, one datagram each.

use std::fmt;

use super::carry::Carry;
use super::stage::{Stage, both_len, split};
use crate::ledger::DropReason;
use crate::limits::{DATAGRAM_MAX, STREAM_BUFFER_MAX};
use crate::time::Moment;
use crate::wire::entry::{Content, Partial};
use crate::wire::varint;

/// The client did not keep to the framing: nothing after it can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FramingError {
    /// A datagram's size has more than 64 bits.
    SizeOverflow,
    /// A datagram would have more than 10 MiB.
    TooLarge(u64),
}

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SizeOverflow => f.write_str("a datagram's size has more than 64 bits"),
            Self::TooLarge(size) => {
                write!(f, "a datagram of {size} bytes, more than {DATAGRAM_MAX}")
            }
        }
    }
}

impl std::error::Error for FramingError {}

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
                            return Err(match wrong {
                                Ok(Some((size, _))) => FramingError::TooLarge(size),
                                _ => FramingError::SizeOverflow,
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
                    let take = usize::try_from(body.missing)
                        .map_or(data.len(), |missing| missing.min(data.len()));
                    let (now, rest) = data.split_at(take);
                    data = rest;
                    body.missing -= take as u64;
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
mod tests {
    use super::*;
    use crate::proto::logpb::log_entry;
    use crate::stream::testing::Bench;
    use crate::wire::descriptor::StreamType;

    /// Its number, the size of all, and whether it is the last.
    type Part = (u32, u64, bool);

    struct Pushed {
        bench: Bench,
        datagram: Datagram,
    }

    impl Pushed {
        fn new(target: usize, max: usize) -> Self {
            Self {
                bench: Bench::new(StreamType::Datagram, target, max),
                datagram: Datagram::default(),
            }
        }

        fn push(&mut self, data: &[u8]) -> Result<(), FramingError> {
            let datagram = &mut self.datagram;
            self.bench
                .run(|stage, carry| datagram.push(stage, carry, data))
        }

        fn finish(&mut self) {
            let datagram = &mut self.datagram;
            self.bench.run(|stage, carry| datagram.finish(stage, carry));
        }

        fn dropped(&self) -> u64 {
            self.bench.account().dropped(DropReason::Framing)
        }

        /// Of every entry: the datagram, its bytes, and the part that it is.
        fn entries(&mut self) -> Vec<(u64, usize, Option<Part>)> {
            let entries = self.bench.bundles().concat();
            let entries = entries.into_iter().map(|entry| match entry.content {
                Some(log_entry::Content::Datagram(datagram)) => {
                    let partial = datagram
                        .partial
                        .map(|part| (part.index, part.size, part.last));
                    (entry.sequence, datagram.data.len(), partial)
                }
                other => panic!("{other:?}"),
            });
            entries.collect()
        }
    }

    fn frame(len: usize) -> Vec<u8> {
        let mut frame = Vec::new();
        varint::push(&mut frame, len as u64);
        frame.resize(frame.len() + len, b'x');
        frame
    }

    fn size(size: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        varint::push(&mut bytes, size);
        bytes
    }

    #[test]
    fn whole_in_any_reads() {
        let data = [frame(0), frame(1), frame(300), frame(0)].concat();
        for step in [1, 2, 3, 7, 1000] {
            let mut pushed = Pushed::new(10_000, 10_000);
            for piece in data.chunks(step) {
                pushed.push(piece).unwrap();
            }
            pushed.finish();
            assert_eq!(pushed.dropped(), 0);
            let expected = [(0, 0, None), (1, 1, None), (2, 300, None), (3, 0, None)];
            assert_eq!(pushed.entries(), expected, "{step}");
        }
    }

    /// Whatever is wrong is dropped from the size on.
    #[test]
    fn sizes_that_are_not_possible() {
        let too_large = DATAGRAM_MAX + 1;
        for (bytes, error) in [
            (size(too_large), FramingError::TooLarge(too_large)),
            (vec![0xff; 10], FramingError::SizeOverflow),
        ] {
            for step in [1, 3, 100] {
                let mut pushed = Pushed::new(10_000, 10_000);
                pushed.push(&frame(5)).unwrap();
                let data = [&bytes[..], b"what follows"].concat();
                let mut dropped = 0;
                let result = data.chunks(step).find_map(|piece| {
                    dropped += piece.len() as u64;
                    pushed.push(piece).err()
                });
                assert_eq!(result, Some(error), "{step}");
                assert_eq!(pushed.dropped(), dropped);
                pushed.finish();
                assert_eq!(pushed.dropped(), dropped);
                assert_eq!(pushed.entries(), [(0, 5, None)]);
            }
        }
        let mut pushed = Pushed::new(10_000, 10_000);
        pushed.push(&size(DATAGRAM_MAX)).unwrap();
        assert_eq!(
            FramingError::TooLarge(7).to_string(),
            format!("a datagram of 7 bytes, more than {DATAGRAM_MAX}")
        );
        assert_eq!(
            FramingError::SizeOverflow.to_string(),
            "a datagram's size has more than 64 bits"
        );
    }

    /// What came of the last datagram is put out; a size alone is nothing.
    #[test]
    fn an_end_anywhere() {
        let data = frame(300);
        for cut in 0..data.len() {
            let mut pushed = Pushed::new(10_000, 10_000);
            pushed.push(&data[..cut]).unwrap();
            pushed.finish();
            pushed.finish();
            let body = cut.saturating_sub(2);
            if body == 0 {
                assert_eq!(
                    (pushed.dropped(), pushed.bench.bundles().len()),
                    (cut as u64, 0)
                );
            } else {
                assert_eq!(pushed.dropped(), 0);
                assert_eq!(pushed.entries(), [(0, body, Some((0, 300, false)))]);
            }
        }
    }

    /// One that fits in no bundle goes in parts that fill bundles, one that
    /// fits in the next goes there.
    #[test]
    fn larger_than_a_bundle() {
        let mut pushed = Pushed::new(1000, 2000);
        pushed.push(&[frame(500), frame(600)].concat()).unwrap();
        assert_eq!(pushed.bench.bundles().len(), 2);

        let mut pushed = Pushed::new(1000, 2000);
        let alone = pushed.bench.run(|stage, _| stage.room_alone());
        pushed.push(&frame(alone)).unwrap();
        assert_eq!(pushed.entries(), [(0, alone, None)]);
        let size = 2 * alone + 1;
        pushed.push(&frame(size)).unwrap();
        let part = |index, last| Some((index, size as u64, last));
        let expected = [
            (1, alone, part(0, false)),
            (1, alone, part(1, false)),
            (1, 1, part(2, true)),
        ];
        assert_eq!(pushed.entries(), expected);
    }

    /// Old or much, what has come of a datagram does not wait for its end.
    #[test]
    fn what_has_come_so_far() {
        let mut pushed = Pushed::new(10_000, DATAGRAM_MAX as usize + 1000);
        let datagram = frame(STREAM_BUFFER_MAX + 10);
        let (size, body) = datagram.split_at(4);
        pushed.push(size).unwrap();
        pushed.push(&body[..STREAM_BUFFER_MAX - 1]).unwrap();
        assert_eq!(pushed.bench.carry.len(), STREAM_BUFFER_MAX - 1);
        pushed.push(b"x").unwrap();
        assert!(pushed.bench.carry.is_empty());
        pushed.push(b"xx").unwrap();
        for _ in 0..2 {
            let datagram = &mut pushed.datagram;
            pushed
                .bench
                .run(|stage, carry| datagram.expire(stage, carry));
        }
        pushed.push(&[b'x'; 8]).unwrap();
        let whole = STREAM_BUFFER_MAX as u64 + 10;
        let expected = [
            (0, STREAM_BUFFER_MAX, Some((0, whole, false))),
            (0, 2, Some((1, whole, false))),
            (0, 8, Some((2, whole, true))),
        ];
        assert_eq!(pushed.entries(), expected);
    }
}
