//! Reads encoded entries back without building a tree: for outputs that want
//! the content and not the message.

use super::entry::Partial;
use super::varint;

/// Not protobuf, or not of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed protobuf")]
pub struct Malformed;

/// A field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// Wire type 0.
    Uint(u64),
    /// Wire type 2.
    Bytes(&'a [u8]),
    /// Wire types 1 and 5, which the schema does not use.
    Fixed(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The number, if it is one.
    pub fn uint(self) -> Result<u64, Malformed> {
        match self {
            Self::Uint(value) => Ok(value),
            _ => Err(Malformed),
        }
    }

    /// The bytes, if it is that.
    pub fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(Malformed),
        }
    }
}

/// The fields of a message, in the order in which they stand.
#[derive(Debug, Clone)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    fn uint(&mut self) -> Result<u64, Malformed> {
        match varint::get(self.0) {
            Ok(Some((value, used))) => {
                self.0 = &self.0[used..];
                Ok(value)
            }
            _ => Err(Malformed),
        }
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(len).map_err(|_| Malformed)?;
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn read(&mut self) -> Result<(u64, Value<'a>), Malformed> {
        let key = self.uint()?;
        let value = match key & 7 {
            0 => Value::Uint(self.uint()?),
            1 => Value::Fixed(self.take(8)?),
            2 => {
                let len = self.uint()?;
                Value::Bytes(self.take(len)?)
            }
            5 => Value::Fixed(self.take(4)?),
            _ => return Err(Malformed),
        };
        Ok((key >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let item = self.read();
        if item.is_err() {
            self.0 = &[];
        }
        Some(item)
    }
}

/// What an entry holds, as slices of its encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentView<'a> {
    /// The Text message; see [`lines`].
    Text(&'a [u8]),
    /// The bytes.
    Binary(&'a [u8]),
    /// A datagram or a part of one.
    Datagram {
        /// Its bytes.
        data: &'a [u8],
        /// The last or only part.
        last: bool,
        /// In the first or only part: bytes of the whole datagram.
        size: Option<u64>,
    },
}

/// The content of one encoded LogEntry.
pub fn content(log_entry: &[u8]) -> Result<Option<ContentView<'_>>, Malformed> {
    let mut found = None;
    for field in Fields(log_entry) {
        match field? {
            (10, value) => found = Some(ContentView::Text(value.bytes()?)),
            (11, value) => {
                let mut data: &[u8] = &[];
                for field in Fields(value.bytes()?) {
                    if let (2, value) = field? {
                        data = value.bytes()?;
                    }
                }
                found = Some(ContentView::Binary(data));
            }
            (12, value) => {
                let mut data: &[u8] = &[];
                let mut part = None;
                for field in Fields(value.bytes()?) {
                    match field? {
                        (1, value) => data = value.bytes()?,
                        (2, value) => part = Some(partial(value.bytes()?)?),
                        _ => {}
                    }
                }
                let whole = Partial {
                    index: 0,
                    size: data.len() as u64,
                    last: true,
                };
                let Partial { index, size, last } = part.unwrap_or(whole);
                let size = (index == 0).then_some(size);
                found = Some(ContentView::Datagram { data, last, size });
            }
            _ => {}
        }
    }
    Ok(found)
}

/// Which part of a datagram an encoded Partial says that it is.
pub(crate) fn partial(message: &[u8]) -> Result<Partial, Malformed> {
    let mut partial = Partial {
        index: 0,
        size: 0,
        last: false,
    };
    for field in Fields(message) {
        match field? {
            (1, value) => partial.index = value.uint()? as u32,
            (2, value) => partial.size = value.uint()?,
            (3, value) => partial.last = value.uint()? != 0,
            _ => {}
        }
    }
    Ok(partial)
}

/// The lines of a Text message: value and delimiter of each.
pub fn lines(text: &[u8]) -> impl Iterator<Item = Result<(&[u8], &[u8]), Malformed>> {
    Fields(text).filter_map(|field| match field {
        Err(error) => Some(Err(error)),
        Ok((1, value)) => Some(value.bytes().and_then(line)),
        Ok(_) => None,
    })
}

fn line(message: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let (mut value, mut delimiter): (&[u8], &[u8]) = (&[], &[]);
    for field in Fields(message) {
        match field? {
            (1, bytes) => value = bytes.bytes()?,
            (2, bytes) => delimiter = bytes.bytes()?,
            _ => {}
        }
    }
    Ok((value, delimiter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::entry::{Content, Delimiter, EntryHead, logs_len, put_logs};
    use proptest::prelude::*;

    fn log_entry(content: &Content<'_>) -> Vec<u8> {
        let head = EntryHead {
            prefix_index: 3,
            ..EntryHead::default()
        };
        let mut out = vec![0; logs_len(&head, content)];
        put_logs(&mut out, &head, content);
        let mut fields = Fields(&out);
        let (number, value) = fields.next().unwrap().unwrap();
        assert_eq!((number, fields.next()), (5, None));
        value.bytes().unwrap().to_vec()
    }

    /// Of every wire type there is, also those that we never write.
    #[test]
    fn fields() {
        let bytes = b"\x08\x96\x01\x11abcdefgh\x1a\x02xy\x25wxyz";
        let found: Vec<_> = Fields(bytes).collect();
        let expected = [
            (1, Value::Uint(150)),
            (2, Value::Fixed(b"abcdefgh")),
            (3, Value::Bytes(b"xy")),
            (4, Value::Fixed(b"wxyz")),
        ];
        assert_eq!(found, expected.map(Ok));
        for cut in [2, 11, 14, 20] {
            assert_eq!(Fields(&bytes[..cut]).last(), Some(Err(Malformed)), "{cut}");
        }
        for kind in [3, 4, 6, 7] {
            assert_eq!(Fields(&[8 | kind, 0]).next(), Some(Err(Malformed)));
        }
        assert_eq!(Malformed.to_string(), "malformed protobuf");
    }

    #[test]
    fn reads_back_what_we_write() {
        let entry = log_entry(&Content::Line([b"ab", b"c"], Delimiter::CrLf));
        let Some(ContentView::Text(text)) = content(&entry).unwrap() else {
            panic!()
        };
        let all: Vec<_> = lines(text).map(Result::unwrap).collect();
        assert_eq!(all, [(&b"abc"[..], &b"\r\n"[..])]);

        let entry = log_entry(&Content::Binary([b"x", b"y"]));
        assert_eq!(content(&entry), Ok(Some(ContentView::Binary(b"xy"))));

        for (partial, last) in [(None, true), (Some(true), true), (Some(false), false)] {
            let partial = partial.map(|last| Partial {
                index: 0,
                size: 9,
                last,
            });
            let size = Some(partial.as_ref().map_or(1, |partial| partial.size));
            let entry = log_entry(&Content::Datagram([b"x", b""], partial));
            let data = b"x";
            assert_eq!(
                content(&entry),
                Ok(Some(ContentView::Datagram { data, last, size }))
            );
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(Some(ContentView::Text(text))) = content(&bytes) {
                lines(text).for_each(drop);
            }
        }
    }
}
