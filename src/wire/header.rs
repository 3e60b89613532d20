//! The header with which a client opens a stream:
//!
//! ```text
//! "BTLR1" 0x1E   uvarint(len)   json[len]
//! ```
//!
//! [`HeaderReader`] takes it in pieces of any size.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, json};

use super::descriptor::{StreamProperties, StreamType, TagError, Tags};
use super::name::{NameError, StreamName};
use super::{go_json, timestamp, varint};
use crate::limits::HEADER_JSON_MAX;
use crate::memory;

/// What every stream begins with.
pub const MAGIC: &[u8; 6] = b"BTLR1\x1e";

/// Why a header is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The first bytes are not [`MAGIC`].
    #[error(
        "the header begins with \"{found}\", not with \"{wanted}\"",
        found = .0.escape_ascii(),
        wanted = MAGIC.escape_ascii()
    )]
    Magic(Vec<u8>),
    /// The JSON is longer than 1 MiB.
    #[error("the header's JSON has {0} bytes, more than {HEADER_JSON_MAX}")]
    TooLong(u64),
    /// The JSON's length is no varint of 64 bits.
    #[error("the header's length has more than 64 bits")]
    Length,
    /// The connection ended inside the header.
    #[error("the connection ended inside the header, after {0} bytes")]
    Truncated(usize),
    /// Not the JSON object that it must be.
    #[error("the header's JSON")]
    Json(#[source] serde_json::Error),
    /// The name is missing.
    #[error("the header has no \"name\"")]
    NoName,
    /// The name is not valid.
    #[error("the stream name {name:?} is not valid", name = brief(.0))]
    Name(String, #[source] NameError),
    /// Not a type that there is.
    #[error(
        "the stream type {name:?} is none of \"text\", \"binary\", \"datagram\"",
        name = brief(.0)
    )]
    Type(String),
    /// The type is null.
    #[error("the stream type is null")]
    TypeNull,
    /// Not RFC 3339, or out of range.
    #[error("the timestamp {text:?} is not RFC 3339 in the years 0001 to 9999", text = brief(.0))]
    Timestamp(String),
    /// A tag is not valid.
    #[error(transparent)]
    Tag(TagError),
}

/// At most 80 characters of what a peer sent, for an error message.
fn brief(text: &str) -> &str {
    match text.char_indices().nth(80) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// Collects a header from pieces of any size.
#[derive(Debug, Default)]
pub struct HeaderReader {
    /// Everything so far, from the magic on.
    bytes: Vec<u8>,
}

impl HeaderReader {
    /// Takes the next bytes of the connection. `Some` when the header is
    /// complete, with the number of bytes of `data` that belong to it; the
    /// rest is stream data.
    ///
    /// What is wrong is found as soon as the bytes that show it are there.
    pub fn push(&mut self, data: &[u8]) -> Result<Option<(StreamProperties, usize)>, HeaderError> {
        let before = self.bytes.len();
        // A header that comes in one piece is parsed where it stands.
        if before == 0 {
            return match measure(data)? {
                Some((start, end)) if end <= data.len() => {
                    Ok(Some((parse_json(&data[start..end])?, end)))
                }
                end => {
                    self.keep(data, end);
                    Ok(None)
                }
            };
        }
        let mut used = 0;
        loop {
            // Take up to the end of what is known to be header: the part
            // before the JSON byte by byte, then the JSON at once.
            let end = measure(&self.bytes)?;
            let want = end.map_or(self.bytes.len() + 1, |(_, end)| end);
            if let Some((start, end)) = end
                && self.bytes.len() == end
            {
                return Ok(Some((parse_json(&self.bytes[start..end])?, used)));
            }
            if used == data.len() {
                return Ok(None);
            }
            let take = (want - self.bytes.len()).min(data.len() - used);
            self.keep(&data[used..used + take], end);
            used += take;
        }
    }

    /// `end`: where the JSON begins and ends, if that is known.
    fn keep(&mut self, data: &[u8], end: Option<(usize, usize)>) {
        let max = end.map_or(usize::MAX, |(_, end)| end);
        memory::extend(&mut self.bytes, data, max);
    }

    /// The connection ended: what that says of the header.
    pub fn end(self) -> HeaderError {
        HeaderError::Truncated(self.bytes.len())
    }

    /// Bytes of memory held.
    pub fn buffered(&self) -> usize {
        memory::taken(self.bytes.capacity())
    }
}

/// The header of a stream, as its client sends it.
///
/// # Errors
///
/// If its JSON is longer than 1 MiB: there are too many tags.
pub fn encode(properties: &StreamProperties) -> Result<Vec<u8>, HeaderError> {
    let mut json = json!({
        "name": properties.name.as_str(),
        "type": properties.stream_type.as_str(),
    });
    if !properties.content_type.is_empty() {
        json["contentType"] = (*properties.content_type).into();
    }
    if let Some(timestamp) = properties.timestamp {
        json["timestamp"] = timestamp.to_string().into();
    }
    let tags = properties.tags.iter();
    let tags: Map<_, _> = tags
        .map(|(key, value)| (key.into(), value.into()))
        .collect();
    if !tags.is_empty() {
        json["tags"] = tags.into();
    }
    let json = json.to_string();
    if json.len() > HEADER_JSON_MAX {
        return Err(HeaderError::TooLong(json.len() as u64));
    }
    let mut bytes = MAGIC.to_vec();
    varint::push(&mut bytes, json.len() as u64);
    bytes.extend_from_slice(json.as_bytes());
    Ok(bytes)
}

/// Where the JSON begins and ends, once that is known.
fn measure(bytes: &[u8]) -> Result<Option<(usize, usize)>, HeaderError> {
    let head = &bytes[..bytes.len().min(MAGIC.len())];
    if !MAGIC.starts_with(head) {
        return Err(HeaderError::Magic(head.to_vec()));
    }
    let rest = &bytes[head.len()..];
    match varint::get(rest) {
        Err(varint::Overflow) => Err(HeaderError::Length),
        Ok(None) => Ok(None),
        Ok(Some((len, used))) => match usize::try_from(len) {
            Ok(size) if size <= HEADER_JSON_MAX => {
                let start = MAGIC.len() + used;
                Ok(Some((start, start + size)))
            }
            _ => Err(HeaderError::TooLong(len)),
        },
    }
}

fn parse_json(json: &[u8]) -> Result<StreamProperties, HeaderError> {
    let json = go_json::repair(json);
    let fields: Fields = serde_json::from_slice(&json).map_err(HeaderError::Json)?;
    let name = fields.name.ok_or(HeaderError::NoName)?;
    let name = StreamName::new(&*name).map_err(|error| HeaderError::Name(name, error))?;
    let stream_type = match fields.stream_type {
        None => StreamType::Text,
        Some(None) => return Err(HeaderError::TypeNull),
        Some(Some(name)) => StreamType::from_name(&name).ok_or(HeaderError::Type(name))?,
    };
    let timestamp = match fields.timestamp {
        None => None,
        Some(text) => Some(timestamp::parse_rfc3339(&text).ok_or(HeaderError::Timestamp(text))?),
    };
    let mut tags = Tags::default();
    for (key, value) in fields.tags.unwrap_or_default() {
        tags.insert(&key, value.unwrap_or_default())
            .map_err(HeaderError::Tag)?;
    }
    Ok(StreamProperties {
        name,
        stream_type,
        content_type: fields.content_type.unwrap_or_default().into(),
        timestamp,
        tags,
    })
}

/// The JSON object, before its values are judged. Not derived, because names
/// match in any case and the last of a repeated key wins.
#[derive(Default)]
struct Fields {
    name: Option<String>,
    /// Outer `None`: absent. Inner: null.
    stream_type: Option<Option<String>>,
    content_type: Option<String>,
    timestamp: Option<String>,
    tags: Option<BTreeMap<String, Option<String>>>,
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;

        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object that describes a stream")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Fields::default();
                while let Some(key) = map.next_key::<String>()? {
                    match &*go_json::fold_key(&key) {
                        "name" => fields.name = map.next_value()?,
                        "type" => fields.stream_type = Some(map.next_value()?),
                        "contenttype" => fields.content_type = map.next_value()?,
                        "timestamp" => fields.timestamp = map.next_value()?,
                        "tags" => fields.tags = map.next_value()?,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(FieldsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Chain;
    use proptest::prelude::*;

    fn header(json: &str) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        varint::push(&mut bytes, json.len() as u64);
        bytes.extend_from_slice(json.as_bytes());
        bytes
    }

    fn parse(json: &str) -> Result<StreamProperties, HeaderError> {
        let mut bytes = header(json);
        let len = bytes.len();
        bytes.extend_from_slice(b"data");
        let (properties, used) = HeaderReader::default()
            .push(&bytes)?
            .expect("the header is complete");
        assert_eq!(used, len);
        Ok(properties)
    }

    #[test]
    fn what_is_encoded_is_what_is_read() {
        let mut properties =
            StreamProperties::new(StreamName::new("a/b").unwrap(), StreamType::Datagram);
        let read = |properties: &StreamProperties| {
            let header = encode(properties).unwrap();
            let (read, used) = HeaderReader::default().push(&header).unwrap().unwrap();
            assert_eq!(used, header.len());
            read
        };
        assert_eq!(read(&properties), properties);
        properties.content_type = "x/y; z=\"1\"".into();
        properties.timestamp = timestamp::parse_rfc3339("2024-02-29T12:34:56.789Z");
        properties.tags.insert("k", "\u{e9}\n").unwrap();
        properties.tags.insert("l", "").unwrap();
        assert_eq!(read(&properties), properties);
        for number in 0..300 {
            let key = format!("k{number}");
            properties.tags.insert(&key, "v".repeat(4096)).unwrap();
        }
        let error = encode(&properties).unwrap_err();
        assert!(matches!(error, HeaderError::TooLong(_)), "{error}");
    }

    #[test]
    fn takes_a_full_header() {
        let properties = parse(
            r#" {"NAME":"no","name":"a/b","contentType":"x/y","type":"binary",
                "timestamp":"1970-01-01T00:00:01Z","tags":{"k":"no"},"tags":{"t":"\u003c","u":null},
                "more":[{}]} "#,
        )
        .unwrap();
        assert_eq!(properties.name.as_str(), "a/b");
        assert_eq!(properties.stream_type, StreamType::Binary);
        assert_eq!(&*properties.content_type, "x/y");
        assert_eq!(properties.timestamp.unwrap().seconds, 1);
        assert!(properties.tags.iter().eq([("t", "<"), ("u", "")]));
    }

    /// As the reference reads them, and the clients of Python send them.
    #[test]
    fn what_is_no_character_is_replaced() {
        let mut json = br#"{"na\u006de":"a","tag\u017f":{"t":"\ud800\udcff","u":"\"#.to_vec();
        json.extend_from_slice(b"\\\xff\"},\"CONTENTTYPE\":\"\xe2\x82\",");
        json.extend_from_slice("\"time\u{17f}tamp\":\"1970-01-01T00:00:01,5Z\"}".as_bytes());
        let properties = parse_json(&json).unwrap();
        assert_eq!(properties.name.as_str(), "a");
        assert_eq!(&*properties.content_type, "\u{fffd}\u{fffd}");
        let tags = [("t", "\u{100ff}"), ("u", "\\\u{fffd}")];
        assert!(properties.tags.iter().eq(tags));
        assert_eq!(properties.timestamp.unwrap().nanos, 500_000_000);
        let error = parse(r#"{"name":"a\ud800"}"#).unwrap_err().to_string();
        assert!(error.contains("\"a\u{fffd}\""), "{error}");
    }

    #[test]
    fn null_is_absent_but_not_for_the_type() {
        let properties =
            parse(r#"{"name":"a","contentType":null,"timestamp":null,"tags":null}"#).unwrap();
        assert_eq!(
            properties,
            StreamProperties::new(StreamName::new("a").unwrap(), StreamType::Text)
        );
        assert!(matches!(
            parse(r#"{"name":"a","type":null}"#),
            Err(HeaderError::TypeNull)
        ));
    }

    #[test]
    fn what_is_held_counts() {
        let mut reader = HeaderReader::default();
        assert_eq!(reader.buffered(), 0);
        let bytes = header(r#"{"name":"a"}"#);
        assert!(reader.push(&bytes[..17]).unwrap().is_none());
        assert!(reader.buffered() >= 17);
        assert!(matches!(reader.end(), HeaderError::Truncated(17)));
    }

    #[test]
    fn errors_say_what_and_where() {
        for (json, part) in [
            (r#"{}"#, "no \"name\""),
            (r#"{"name":"x y"}"#, "byte 1"),
            (r#"{"name":"x"}}"#, "column 13"),
            (r#"{"name":7}"#, "expected a string"),
            (r#"[]"#, "an object that describes a stream"),
            (r#"{"name":"x","type":"Text"}"#, "\"Text\""),
            (r#"{"name":"x","timestamp":"now"}"#, "\"now\""),
            (r#"{"name":"x","tags":{"a b":"1"}}"#, "\"a b\""),
        ] {
            let message = Chain(&parse(json).expect_err(json)).to_string();
            assert!(message.contains(part), "{json}: {message}");
        }
        let push = |bytes: &[u8]| HeaderReader::default().push(bytes).map(|_| ());
        assert!(matches!(push(b"BTLX"), Err(HeaderError::Magic(_))));
        assert!(matches!(
            push(b"BTLR1\x1e\x81\x80\x40"),
            Err(HeaderError::TooLong(1_048_577))
        ));
        assert!(matches!(
            push(b"BTLR1\x1e\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),
            Err(HeaderError::Length)
        ));
    }

    proptest! {
        #[test]
        fn any_cutting_gives_the_same(cuts in prop::collection::vec(1usize..20, 0..80)) {
            let json = r#"{"name":"a/b","type":"datagram","tags":{"k":"v"},"x":"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"}"#;
            let mut bytes = header(json);
            let header_len = bytes.len();
            bytes.extend_from_slice(b"payload");
            let whole = parse(json).unwrap();

            let mut reader = HeaderReader::default();
            let mut at = 0;
            let mut cuts = cuts.into_iter();
            loop {
                let end = (at + cuts.next().unwrap_or(1000)).min(bytes.len());
                match reader.push(&bytes[at..end]).unwrap() {
                    Some((properties, used)) => {
                        prop_assert_eq!(properties, whole);
                        prop_assert_eq!(at + used, header_len);
                        break;
                    }
                    None => at = end,
                }
            }
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), magic: bool) {
            let mut all = if magic { MAGIC.to_vec() } else { Vec::new() };
            all.extend(bytes);
            let _ = HeaderReader::default().push(&all);
        }
    }
}
