//! Encodes log entries in one forward pass, straight from where the bytes
//! were read to where they are staged.
//!
//! Whole lines, the hot path, are written as they are found:
//! [`put_lines`](super::lines::put_lines) fills what space there is, and
//! [`put_front`] then puts what stands before them, lengths and all, right in
//! front. Whole datagrams, of which there may be as many, have
//! [`put_datagrams`](super::datagrams::put_datagrams). For all other content
//! the length comes first: [`logs_len`] says how many bytes an entry takes, [`put_logs`]
//! fills exactly that many and can't fail. What comes out is what prost would
//! write, byte for byte.

use super::varint;

/// What goes before the content of every entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EntryHead {
    /// Seconds of the time offset.
    pub offset_seconds: u64,
    /// Nanoseconds of the time offset.
    pub offset_nanos: u32,
    /// Unique in the butler.
    pub prefix_index: u64,
    /// Contiguous in the stream.
    pub stream_index: u64,
    /// Counts the stream's content before this entry, in its type's unit.
    pub sequence: u64,
}

/// No entry needs more than this besides its content's payload: the tags and
/// lengths of five levels, four indices and the time offset.
pub const OVERHEAD_MAX: usize = 112;

/// How a line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delimiter {
    /// It does not: it goes on in the next entry.
    None,
    /// `\n`
    Lf,
    /// `\r\n`
    CrLf,
}

impl Delimiter {
    /// Its bytes.
    pub const fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::None => b"",
            Self::Lf => b"\n",
            Self::CrLf => b"\r\n",
        }
    }
}

/// Which part of a datagram an entry holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partial {
    /// Counts the parts from 0.
    pub index: u32,
    /// Bytes of the whole datagram.
    pub size: u64,
    /// No part follows.
    pub last: bool,
}

/// What an entry holds, as slices of where it was read. Two slices stand for
/// one value: what was carried over from earlier reads, then what is new.
#[derive(Debug, Clone, Copy)]
pub enum Content<'a> {
    /// One line, or a part of one.
    Line([&'a [u8]; 2], Delimiter),
    /// Bytes.
    Binary([&'a [u8]; 2]),
    /// A datagram, or a part of one.
    Datagram([&'a [u8]; 2], Option<Partial>),
}

/// Bytes that [`put_front`] needs at most before `content_max` bytes of
/// content.
pub fn front_len_max(head: &EntryHead, content_max: usize) -> usize {
    message_len(head.len() + message_len(content_max)) - content_max
}

/// Writes what stands before text content of `content_len` bytes at the end
/// of `out`, so that the content can follow. Returns its length.
pub fn put_front(out: &mut [u8], head: &EntryHead, content_len: usize) -> usize {
    let len = front_len_max(head, content_len);
    let start = out.len() - len;
    let mut out = Writer {
        out: &mut out[start..],
        at: 0,
    };
    out.message(0x2a, head.len() + message_len(content_len));
    head.put(&mut out);
    out.message(TEXT_TAG, content_len);
    assert_eq!(out.at, len, "the front fills what it asked for");
    len
}

/// The most that [`put_head`] writes: the time offset, which is a message of
/// two fields, and three indices.
pub(crate) const HEAD_LEN_MAX: usize =
    2 + (1 + varint::MAX_LEN) + (1 + 5) + 3 * (1 + varint::MAX_LEN);

/// Writes what an entry has before its content, at the front of `out`; returns
/// its length.
pub(crate) fn put_head(out: &mut [u8], head: &EntryHead) -> usize {
    let mut out = Writer { out, at: 0 };
    head.put(&mut out);
    out.at
}

/// Encodes a line into `out`, which must have [`line_len`] bytes.
pub fn put_line(out: &mut [u8], value: &[u8], delimiter: Delimiter) {
    Writer { out, at: 0 }.line([value, b""], delimiter);
}

/// Encoded bytes of a line of `value_len` bytes and its delimiter.
pub fn line_len(value_len: usize, delimiter: Delimiter) -> usize {
    message_len(field_len(value_len) + field_len(delimiter.as_bytes().len()))
}

/// Bytes of a bytes field of `len` bytes, with a tag of one byte; nothing
/// when empty.
#[inline]
const fn field_len(len: usize) -> usize {
    if len == 0 { 0 } else { message_len(len) }
}

/// Bytes of a message field of `len` bytes, with a tag of one byte.
#[inline]
const fn message_len(len: usize) -> usize {
    1 + varint::len(len as u64) + len
}

/// Bytes of a varint field, with a tag of one byte; nothing when zero.
#[inline]
const fn uint_len(value: u64) -> usize {
    if value == 0 {
        0
    } else {
        1 + varint::len(value)
    }
}

const TEXT_TAG: u8 = 0x52;

impl EntryHead {
    fn offset_len(&self) -> usize {
        uint_len(self.offset_seconds) + uint_len(self.offset_nanos.into())
    }

    fn len(&self) -> usize {
        message_len(self.offset_len())
            + uint_len(self.prefix_index)
            + uint_len(self.stream_index)
            + uint_len(self.sequence)
    }

    fn put(&self, out: &mut Writer<'_>) {
        out.message(0x0a, self.offset_len());
        out.uint(0x08, self.offset_seconds);
        out.uint(0x10, self.offset_nanos.into());
        out.uint(0x10, self.prefix_index);
        out.uint(0x18, self.stream_index);
        out.uint(0x20, self.sequence);
    }
}

impl Partial {
    fn len(&self) -> usize {
        uint_len(self.index.into()) + uint_len(self.size) + uint_len(self.last.into())
    }
}

impl Content<'_> {
    /// Bytes of the Text, Binary or Datagram message.
    fn len(&self) -> usize {
        match self {
            Self::Line(value, delimiter) => line_len(both_len(value), *delimiter),
            Self::Binary(data) => field_len(both_len(data)),
            Self::Datagram(data, partial) => {
                field_len(both_len(data)) + partial.map_or(0, |partial| message_len(partial.len()))
            }
        }
    }

    fn tag(&self) -> u8 {
        match self {
            Self::Line(..) => TEXT_TAG,
            Self::Binary(_) => 0x5a,
            Self::Datagram(..) => 0x62,
        }
    }

    fn put(&self, out: &mut Writer<'_>) {
        match self {
            Self::Line(value, delimiter) => out.line(*value, *delimiter),
            Self::Binary(data) => out.bytes_field(0x12, *data),
            Self::Datagram(data, partial) => {
                out.bytes_field(0x0a, *data);
                if let Some(partial) = partial {
                    out.message(0x12, partial.len());
                    out.uint(0x08, partial.index.into());
                    out.uint(0x10, partial.size);
                    out.uint(0x18, partial.last.into());
                }
            }
        }
    }
}

fn both_len(parts: &[&[u8]; 2]) -> usize {
    parts[0].len() + parts[1].len()
}

/// Bytes of the entry as a `logs` field of a bundle's Entry.
pub fn logs_len(head: &EntryHead, content: &Content<'_>) -> usize {
    message_len(head.len() + message_len(content.len()))
}

/// Writes the entry as a `logs` field of a bundle's Entry.
///
/// # Panics
///
/// If `out` has not exactly [`logs_len`] bytes: a bug of the caller.
pub fn put_logs(out: &mut [u8], head: &EntryHead, content: &Content<'_>) {
    let content_len = content.len();
    let mut out = Writer { out, at: 0 };
    out.message(0x2a, head.len() + message_len(content_len));
    head.put(&mut out);
    out.message(content.tag(), content_len);
    content.put(&mut out);
    assert_eq!(out.at, out.out.len(), "an entry fills what it asked for");
}

struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    #[inline]
    fn varint(&mut self, value: u64) {
        self.at += varint::put(&mut self.out[self.at..], value);
    }

    #[inline]
    fn raw(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    #[inline]
    fn message(&mut self, tag: u8, len: usize) {
        self.out[self.at] = tag;
        self.at += 1;
        self.varint(len as u64);
    }

    #[inline]
    fn uint(&mut self, tag: u8, value: u64) {
        if value != 0 {
            self.out[self.at] = tag;
            self.at += 1;
            self.varint(value);
        }
    }

    #[inline]
    fn bytes_field(&mut self, tag: u8, parts: [&[u8]; 2]) {
        let len = both_len(&parts);
        if len != 0 {
            self.message(tag, len);
            self.raw(parts[0]);
            if !parts[1].is_empty() {
                self.raw(parts[1]);
            }
        }
    }

    #[inline]
    fn line(&mut self, value: [&[u8]; 2], delimiter: Delimiter) {
        let delimiter = delimiter.as_bytes();
        self.message(
            0x0a,
            field_len(both_len(&value)) + field_len(delimiter.len()),
        );
        self.bytes_field(0x0a, value);
        self.bytes_field(0x12, [delimiter, b""]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::logpb;
    use crate::wire::lines::put_lines;
    use proptest::prelude::*;
    use prost::Message;

    fn check(head: &EntryHead, content: &Content<'_>) -> Result<logpb::LogEntry, TestCaseError> {
        let mut out = vec![0xee; logs_len(head, content)];
        put_logs(&mut out, head, content);
        check_logs(head, &out)
    }

    /// Our bytes must be those that prost writes for what they decode to.
    fn check_logs(head: &EntryHead, out: &[u8]) -> Result<logpb::LogEntry, TestCaseError> {
        let entry = logpb::butler_log_bundle::Entry::decode(out).unwrap();
        prop_assert_eq!(&entry.encode_to_vec(), out);
        let log = entry.logs.into_iter().next().unwrap();
        prop_assert_eq!(log.prefix_index, head.prefix_index);
        prop_assert_eq!(log.stream_index, head.stream_index);
        prop_assert_eq!(log.sequence, head.sequence);
        let offset = log.time_offset.unwrap();
        prop_assert_eq!(offset.seconds as u64, head.offset_seconds);
        prop_assert_eq!(offset.nanos as u32, head.offset_nanos);
        Ok(log)
    }

    prop_compose! {
        fn heads()(seconds in 0..u64::MAX >> 1, nanos in 0u32..1_000_000_000,
                   indices in prop::array::uniform3(prop_oneof![0..200u64, any::<u64>()]))
                -> EntryHead {
            EntryHead {
                offset_seconds: seconds,
                offset_nanos: nanos,
                prefix_index: indices[0],
                stream_index: indices[1],
                sequence: indices[2],
            }
        }
    }

    fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..max)
    }

    proptest! {
        #[test]
        fn lines_equal_prost(head in heads(),
                             text in prop::collection::vec("[a-c\r]{0,200}\n", 0..20),
                             tail in "[a-z]{0,3}", room in 0usize..4000) {
            let data = text.concat() + &tail;
            let front_max = front_len_max(&head, room);
            let mut out = vec![0xee; front_max + room];
            let put = put_lines(&mut out[front_max..], data.as_bytes());
            let count = put.lines as usize;
            prop_assert!(put.len <= room);
            prop_assert_eq!(put.bytes, text[..count].concat().len());
            if let Some(next) = text.get(count) {
                // The next one does not fit.
                let end = if next.ends_with("\r\n") { Delimiter::CrLf } else { Delimiter::Lf };
                let value_len = next.len() - end.as_bytes().len();
                prop_assert!(put.len + line_len(value_len, end) > room);
            }
            let front = put_front(&mut out[..front_max], &head, put.len);
            let log = check_logs(&head, &out[front_max - front..front_max + put.len])?;
            let Some(logpb::log_entry::Content::Text(text_out)) = log.content else { panic!() };
            prop_assert_eq!(text_out.lines.len(), count);
            let joined: Vec<u8> = text_out.lines.iter()
                .flat_map(|line| [&line.value[..], line.delimiter.as_bytes()].concat())
                .collect();
            prop_assert_eq!(joined, text[..count].concat().into_bytes());
        }

        #[test]
        fn the_others_equal_prost(head in heads(), a in bytes(300), b in bytes(300),
                                  index: u32, size: u64, last: bool, partial: bool) {
            let both = [&a[..], &b[..]];
            for delimiter in [Delimiter::None, Delimiter::Lf, Delimiter::CrLf] {
                check(&head, &Content::Line(both, delimiter))?;
            }
            check(&head, &Content::Binary(both))?;
            let partial = partial.then_some(Partial { index, size, last });
            let content = Content::Datagram(both, partial);
            let log = check(&head, &content)?;
            let Some(logpb::log_entry::Content::Datagram(out)) = log.content else { panic!() };
            prop_assert_eq!(out.data, [a.clone(), b.clone()].concat());
            prop_assert!(logs_len(&head, &content) <= a.len() + b.len() + OVERHEAD_MAX);
        }
    }
}
