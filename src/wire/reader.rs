//! Reads messages that stand back to back, as a file output holds them.
//!
//! [`MessageReader`] is fed bytes and gives messages; it does no I/O.
//! [`scan`] finds where the last whole message of a file ends, without
//! reading the messages.

use std::io::{self, Read, Seek, SeekFrom};

use super::message::{MESSAGE_LEN_MAX, MessageError, MessageHead, MessageView};

/// How much [`MessageReader::space`] gives at least.
const READ_MIN: usize = 256 * 1024;

/// Cuts a stream of bytes into messages. It holds one message and what was
/// read beyond it, so at most 10.1 MiB and a read.
#[derive(Debug, Default)]
pub struct MessageReader {
    buffer: Vec<u8>,
    /// What is before this in the buffer was given out.
    start: usize,
    /// What is from this on in the buffer is free.
    end: usize,
    /// Where `start` is in the source.
    offset: u64,
}

impl MessageReader {
    /// At the beginning of the source.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where the message that comes next begins: after the last whole one.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The source has ended: how many bytes are there of a message that is
    /// cut. An error if no message begins so.
    pub fn tail(&self) -> Result<usize, MessageError> {
        let rest = &self.buffer[self.start..self.end];
        match MessageHead::parse(rest)? {
            None if !MessageHead::is_begun(rest) => Err(MessageError::Metadata),
            _ => Ok(rest.len()),
        }
    }

    /// Room for the bytes that the source has next. After putting some there
    /// call [`filled`](Self::filled).
    pub fn space(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.buffer.len() < self.end + READ_MIN {
            // It doubles, up to what the longest message needs.
            let doubled = (2 * self.end).min(MESSAGE_LEN_MAX);
            self.buffer.resize(doubled.max(self.end) + READ_MIN, 0);
        }
        &mut self.buffer[self.end..]
    }

    /// The first `len` bytes of the space are now the source's.
    pub fn filled(&mut self, len: usize) {
        assert!(len <= self.buffer.len() - self.end);
        self.end += len;
    }

    /// Gives back the memory that what is there does not need.
    pub fn shrink(&mut self) {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        self.buffer.truncate(self.end);
        self.buffer.shrink_to_fit();
    }

    /// The next message and its offset; `None` when more bytes are needed.
    /// After an error there is nothing more to be had.
    pub fn message(&mut self) -> Result<Option<(u64, MessageView<'_>)>, MessageError> {
        let Some(view) = MessageView::parse(&self.buffer[self.start..self.end])? else {
            return Ok(None);
        };
        let offset = self.offset;
        self.start += view.len;
        self.offset += view.len as u64;
        Ok(Some((offset, view)))
    }

    /// The same message by its own bytes.
    pub fn whole(&mut self) -> Result<Option<&[u8]>, MessageError> {
        let start = self.start;
        let is_there = self.message()?.is_some();
        Ok(is_there.then(|| &self.buffer[start..self.start]))
    }
}

/// What [`scan`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scan {
    /// The offset after the last whole message.
    pub end: u64,
    /// What comes there.
    pub tail: Tail,
}

/// What comes after the last whole message of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Nothing: the file ends there.
    Nothing,
    /// The beginning of a message, which the end of the file cuts.
    Torn {
        /// Bytes of it that are there.
        bytes: u64,
    },
    /// Something that no message begins with, or a last message whose bundle
    /// does not decode.
    Corrupt {
        /// Bytes up to the end of the file.
        bytes: u64,
        /// Why it is not a message.
        error: MessageError,
    },
}

/// Finds where the last whole message of `file` ends, and what comes after.
///
/// It reads the heads of the messages and steps over their data, but for the
/// last message, which it decodes: a crash damages the end of a file. It
/// holds that one message. The position in `file` is left anywhere.
pub fn scan(file: &mut (impl Read + Seek)) -> io::Result<Scan> {
    let len = file.seek(SeekFrom::End(0))?;
    let mut window = Window::default();
    let mut end = 0;
    let mut last = None;
    let tail = loop {
        if end == len {
            break Tail::Nothing;
        }
        let bytes = len - end;
        let head = window.at(file, end, len)?;
        match MessageHead::parse(head) {
            Err(error) => break Tail::Corrupt { bytes, error },
            Ok(None) if !MessageHead::is_begun(head) => {
                let error = MessageError::Metadata;
                break Tail::Corrupt { bytes, error };
            }
            Ok(None) => break Tail::Torn { bytes },
            Ok(Some(head)) if head.message_len() as u64 > bytes => break Tail::Torn { bytes },
            Ok(Some(head)) => {
                last = Some((end, head.message_len() as u64));
                end += head.message_len() as u64;
            }
        }
    };
    if let Some((start, message_len)) = last {
        let message = read_at(file, start, message_len)?;
        let bundle = MessageView::parse(&message)
            .and_then(|view| view.ok_or(MessageError::Data)?.bundle().map(drop));
        if let Err(error) = bundle {
            let bytes = len - start;
            let tail = Tail::Corrupt { bytes, error };
            return Ok(Scan { end: start, tail });
        }
    }
    Ok(Scan { end, tail })
}

/// A piece of a file that holds the heads of many small messages.
#[derive(Default)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// What stands at `at`, which is not before the last: a message's head, or
    /// all up to the file's end.
    fn at(&mut self, file: &mut (impl Read + Seek), at: u64, len: u64) -> io::Result<&[u8]> {
        const WINDOW: u64 = 16 * 1024;
        let need = at + (len - at).min(MessageHead::LEN_MAX as u64);
        if need > self.start + self.bytes.len() as u64 {
            self.bytes = read_at(file, at, (len - at).min(WINDOW))?;
            self.start = at;
        }
        Ok(&self.bytes[(at - self.start) as usize..])
    }
}

fn read_at(file: &mut (impl Read + Seek), at: u64, len: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = Vec::with_capacity(len as usize);
    file.take(len).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::logpb;
    use crate::wire::message::{Compression, frames_len, put_frames};
    use proptest::prelude::*;
    use prost::Message;
    use std::io::Cursor;

    fn message(project_len: usize) -> Vec<u8> {
        let data = logpb::ButlerLogBundle {
            project: "p".repeat(project_len),
            ..Default::default()
        }
        .encode_to_vec();
        let mut message = vec![0; frames_len(Compression::None, data.len())];
        put_frames(&mut message, Compression::None, data.len());
        message.extend(data);
        message
    }

    /// Offsets and lengths of what the reader gives, fed `step` at a time.
    fn read(bytes: &[u8], step: usize) -> (Vec<(u64, usize)>, MessageReader, bool) {
        let mut reader = MessageReader::new();
        let mut found = Vec::new();
        for chunk in bytes.chunks(step) {
            let space = reader.space();
            assert!(space.len() >= READ_MIN);
            space[..chunk.len()].copy_from_slice(chunk);
            reader.filled(chunk.len());
            loop {
                match reader.message() {
                    Ok(Some((offset, view))) => found.push((offset, view.len)),
                    Ok(None) => break,
                    Err(_) => return (found, reader, false),
                }
            }
        }
        (found, reader, true)
    }

    #[test]
    fn torn_at_every_cut() {
        let messages = [message(3), message(300), message(0)];
        let bytes = messages.concat();
        let ends = [0, messages[0].len(), messages[0].len() + messages[1].len()];
        for cut in 0..bytes.len() {
            let whole = ends.iter().rposition(|&end| end <= cut).unwrap();
            let (found, reader, ok) = read(&bytes[..cut], 7);
            assert!(ok);
            assert_eq!((found.len(), reader.offset()), (whole, ends[whole] as u64));
            assert_eq!(reader.tail(), Ok(cut - ends[whole]));

            let torn = (cut - ends[whole]) as u64;
            let tail = match torn {
                0 => Tail::Nothing,
                bytes => Tail::Torn { bytes },
            };
            let end = ends[whole] as u64;
            let found = scan(&mut Cursor::new(&bytes[..cut])).unwrap();
            assert_eq!(found, Scan { end, tail }, "cut at {cut}");
        }
    }

    #[test]
    fn long_messages_pass_whatever_the_reads() {
        let bytes = [message(3_000_000), message(5), message(1_000_000)].concat();
        for step in [1000, 65_536, 262_144] {
            let (found, reader, ok) = read(&bytes, step);
            assert!(ok);
            assert_eq!((found.len(), reader.tail()), (3, Ok(0)));
            assert_eq!(reader.offset(), bytes.len() as u64);
            assert!(reader.buffer.len() <= 2 * 3_000_000 + READ_MIN);
        }
        let end = bytes.len() as u64;
        let tail = Tail::Nothing;
        assert_eq!(scan(&mut Cursor::new(bytes)).unwrap(), Scan { end, tail });
    }

    /// Counts how often it is read from another place.
    struct Seeking(Cursor<Vec<u8>>, usize);

    impl Read for Seeking {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Seek for Seeking {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.1 += 1;
            self.0.seek(to)
        }
    }

    #[test]
    fn small_messages_are_scanned_many_at_a_time() {
        let bytes = message(10).repeat(8000);
        let end = bytes.len() as u64;
        let mut file = Seeking(Cursor::new(bytes), 0);
        assert_eq!(scan(&mut file).unwrap().end, end);
        assert!(file.1 < 16, "{}", file.1);
    }

    #[test]
    fn memory_is_that_of_a_message() {
        let bytes = message(1000).repeat(2000);
        let (found, reader, _) = read(&bytes, READ_MIN);
        assert_eq!(found.len(), 2000);
        assert!(reader.buffer.len() <= 2 * READ_MIN + 2000);
    }

    #[test]
    fn what_is_no_message_is_not_waited_for() {
        for bytes in [&b"hello"[..], b"\x05hell"] {
            let (_, reader, ok) = read(bytes, 100);
            assert!(ok);
            assert_eq!(reader.tail(), Err(MessageError::Metadata));
            let tail = Tail::Corrupt {
                bytes: 5,
                error: MessageError::Metadata,
            };
            let found = scan(&mut Cursor::new(bytes)).unwrap();
            assert_eq!(found, Scan { end: 0, tail });
        }
    }

    #[test]
    fn corruption_is_told_from_a_torn_tail() {
        let good = message(10);
        let end = good.len() as u64;
        let bytes = [&good[..], &[0; 20]].concat();
        let (found, reader, ok) = read(&bytes, 1000);
        assert_eq!((found.len(), reader.offset(), ok), (1, end, false));
        let tail = Tail::Corrupt {
            bytes: 20,
            error: MessageError::Metadata,
        };
        assert_eq!(scan(&mut Cursor::new(bytes)).unwrap(), Scan { end, tail });

        // A whole frame, but zeros where the bundle was to be.
        let mut bytes = [good.clone(), good].concat();
        let len = bytes.len();
        bytes[len - 12..].fill(0);
        let tail = Tail::Corrupt {
            bytes: end,
            error: MessageError::Data,
        };
        assert_eq!(scan(&mut Cursor::new(bytes)).unwrap(), Scan { end, tail });
    }

    proptest! {
        #[test]
        fn never_panics(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            whole in 0..3usize,
            step in 1..30usize,
        ) {
            let mut all = message(9).repeat(whole);
            all.extend(bytes);
            let (found, reader, _) = read(&all, step);
            let scan = scan(&mut Cursor::new(&all)).unwrap();
            prop_assert!(found.len() >= whole);
            prop_assert!(scan.end <= reader.offset());
        }
    }
}
