//! What the far end of a socket output answers, where the output has `ack=yes`:
//!
//! ```text
//! uvarint(len) AckFrame[len]
//! ```
//!
//! Writing is [`frame`]; reading is [`AckReader`], which is fed bytes and does no
//! I/O.

use prost::Message;

use super::varint;
use crate::limits::ACK_FRAME_MAX;
use crate::proto::ack::AckFrame;

/// Room for a frame and for its length.
const BUFFER: usize = ACK_FRAME_MAX + varint::MAX_LEN;

/// A frame: so many whole messages of the connection are safe, and, unless it is
/// empty, why no more of them are taken.
///
/// Of an error that is too long for a frame, the end is left out.
pub fn frame(messages: u64, error: &str) -> Vec<u8> {
    // Both fields' heads, and the number.
    let room = ACK_FRAME_MAX - 2 * (1 + varint::MAX_LEN);
    let error = error[..error.floor_char_boundary(room)].to_owned();
    AckFrame { messages, error }.encode_length_delimited_to_vec()
}

/// Why bytes are no frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AckError {
    /// The length of one is not possible, or larger than any frame.
    #[error("an acknowledgement has more than {ACK_FRAME_MAX} bytes")]
    TooLong,
    /// One is not what the schema says.
    #[error("an acknowledgement is malformed")]
    Malformed,
}

/// Cuts what the far end sends into frames. It holds one, and what came with it.
#[derive(Debug)]
pub struct AckReader {
    buffer: Box<[u8]>,
    /// What is before this in the buffer was given out.
    start: usize,
    /// What is from this on in the buffer is free.
    end: usize,
}

impl Default for AckReader {
    fn default() -> Self {
        Self {
            buffer: vec![0; BUFFER].into(),
            start: 0,
            end: 0,
        }
    }
}

impl AckReader {
    /// A connection begins.
    pub fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Room for what comes next; there is some once [`next_frame`](Self::next_frame) has
    /// nothing. After putting bytes there call [`filled`](Self::filled).
    pub fn space(&mut self) -> &mut [u8] {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        &mut self.buffer[self.end..]
    }

    /// The first `len` bytes of the space are what came.
    pub fn filled(&mut self, len: usize) {
        assert!(len <= self.buffer.len() - self.end);
        self.end += len;
    }

    /// The next frame; `None` when more bytes are needed. After an error there is
    /// nothing more to be had.
    pub fn next_frame(&mut self) -> Result<Option<AckFrame>, AckError> {
        let rest = &self.buffer[self.start..self.end];
        let (len, used) = match varint::get(rest) {
            Ok(None) => return Ok(None),
            Ok(Some((len, used))) if len <= ACK_FRAME_MAX as u64 => (len as usize, used),
            Ok(Some(_)) | Err(varint::Overflow) => return Err(AckError::TooLong),
        };
        let Some(frame) = rest.get(used..used + len) else {
            return Ok(None);
        };
        let frame = AckFrame::decode(frame).map_err(|_| AckError::Malformed)?;
        self.start += used + len;
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All frames that there are, fed `step` bytes at a time.
    fn read(bytes: &[u8], step: usize) -> (Vec<(u64, String)>, Result<(), AckError>) {
        let mut reader = AckReader::default();
        let mut found = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let space = reader.space();
            assert!(!space.is_empty());
            let len = space.len().min(step).min(rest.len());
            space[..len].copy_from_slice(&rest[..len]);
            reader.filled(len);
            rest = &rest[len..];
            loop {
                match reader.next_frame() {
                    Ok(Some(frame)) => found.push((frame.messages, frame.error)),
                    Ok(None) => break,
                    Err(error) => return (found, Err(error)),
                }
            }
        }
        (found, Ok(()))
    }

    #[test]
    fn as_other_implementations_write_it() {
        assert_eq!(frame(0, ""), b"\0");
        assert_eq!(frame(300, ""), b"\x03\x08\xac\x02");
        assert_eq!(frame(1, "no"), b"\x06\x08\x01\x12\x02no");
        // A field that nobody knows is passed over.
        let newer = b"\x04\x08\x01\x18\x05";
        assert_eq!(read(newer, 1), (vec![(1, String::new())], Ok(())));
    }

    #[test]
    fn what_is_no_frame_is_told() {
        let (too_long, malformed) = (Err(AckError::TooLong), Err(AckError::Malformed));
        for (bytes, error) in [
            (&b"\x81\x20"[..], too_long),
            (&[0xff; 10], too_long),
            (b"\x01\x08", malformed),
            (b"\x02\x12\x05", malformed),
            (b"\x04\x12\x02\xff\xfe", malformed),
            (b"\x02\x0a\x00", malformed),
        ] {
            let good = frame(7, "");
            let all = [&good[..], bytes].concat();
            let expected = (vec![(7, String::new())], error);
            assert_eq!(read(&all, 1), expected, "{bytes:?}");
            assert_eq!(read(&all, 100), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_long_error_is_cut() {
        let long = "\u{20ac}".repeat(ACK_FRAME_MAX);
        let bytes = frame(u64::MAX, &long);
        assert!(bytes.len() <= BUFFER);
        for step in [1, 7, BUFFER] {
            let (found, result) = read(&bytes.repeat(3), step);
            assert_eq!((found.len(), result), (3, Ok(())));
            let (messages, error) = &found[2];
            assert!(*messages == u64::MAX && long.starts_with(error));
            assert!(error.len() > ACK_FRAME_MAX - 30);
        }
    }

    proptest! {
        #[test]
        fn frames_come_back_whatever_the_reads(
            frames in prop::collection::vec((any::<u64>(), ".{0,40}"), 0..20),
            step in 1..50usize,
        ) {
            let frames: Vec<(u64, String)> = frames;
            let bytes: Vec<_> = frames.iter().map(|(n, error)| frame(*n, error)).collect();
            prop_assert_eq!(read(&bytes.concat(), step), (frames, Ok(())));
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..60), step in 1..20usize) {
            let _ = read(&bytes, step);
        }
    }
}
