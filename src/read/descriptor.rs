//! Reads a directory output's descriptors, which stand there as JSON.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};

use serde_json::{Map, Value};
use thiserror::Error;

use crate::limits::{META_JSON_MAX, READER_STREAM_COST, READER_TAG_COST};
use crate::proto::logpb::{LogStreamDescriptor, StreamType};
use crate::wire::name::{NameError, StreamName};
use crate::wire::timestamp::parse_rfc3339;

/// Why a file is not a stream's descriptor.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DescriptorError {
    /// It can't be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is longer than any.
    #[error("it has more than {META_JSON_MAX} bytes")]
    TooLong,
    /// It is not JSON, or not an object.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// No stream may have that name.
    #[error("its name is not a stream's")]
    Name(#[from] NameError),
    /// There is no such type.
    #[error("there is no stream_type {0:?}")]
    StreamType(String),
    /// It is not of RFC 3339.
    #[error("{0:?} is not a timestamp")]
    Timestamp(String),
    /// A field, or a tag, is not text.
    #[error("{0} is not a string")]
    NotText(String),
    /// The tags are not an object.
    #[error("tags is not an object")]
    Tags,
}

/// Reads the descriptor in that file, or says what is wrong with it. `has_room`
/// is asked before much is made of it; `None`: it has none.
pub(super) fn read(
    file: File,
    has_room: impl FnOnce(usize) -> bool,
) -> Result<Option<LogStreamDescriptor>, DescriptorError> {
    let mut json = Vec::new();
    file.take(META_JSON_MAX + 1).read_to_end(&mut json)?;
    if json.len() as u64 > META_JSON_MAX {
        return Err(DescriptorError::TooLong);
    }
    // Whatever there are more of is behind a comma.
    let parts = memchr::memchr_iter(b',', &json).count();
    if !has_room(READER_STREAM_COST + json.len() + parts * READER_TAG_COST) {
        return Ok(None);
    }
    parse(&json).map(Some)
}

fn parse(json: &[u8]) -> Result<LogStreamDescriptor, DescriptorError> {
    let fields: Map<String, Value> = serde_json::from_slice(json)?;
    let name = text(&fields, "name", "name")?.unwrap_or_default();
    StreamName::new(name)?;
    let stream_type = match text(&fields, "stream_type", "streamType")? {
        None => StreamType::Text,
        Some(name) => StreamType::from_str_name(name)
            .ok_or_else(|| DescriptorError::StreamType(name.into()))?,
    };
    let timestamp = match text(&fields, "timestamp", "timestamp")? {
        None => None,
        Some(text) => {
            let parsed = parse_rfc3339(text);
            Some(parsed.ok_or_else(|| DescriptorError::Timestamp(text.into()))?)
        }
    };
    Ok(LogStreamDescriptor {
        name: name.to_owned(),
        stream_type: stream_type.into(),
        content_type: text(&fields, "content_type", "contentType")?
            .unwrap_or_default()
            .to_owned(),
        timestamp,
        tags: tags(&fields)?,
        ..Default::default()
    })
}

/// Protobuf's JSON may have either of two spellings.
fn text<'a>(
    fields: &'a Map<String, Value>,
    snake: &str,
    camel: &str,
) -> Result<Option<&'a str>, DescriptorError> {
    match fields.get(snake).or_else(|| fields.get(camel)) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(DescriptorError::NotText(snake.into())),
    }
}

fn tags(fields: &Map<String, Value>) -> Result<BTreeMap<String, String>, DescriptorError> {
    let tags = match fields.get("tags") {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(tags)) => tags,
        Some(_) => return Err(DescriptorError::Tags),
    };
    let tag = |(key, value): (&String, &Value)| match value {
        Value::String(value) => Ok((key.clone(), value.clone())),
        _ => Err(DescriptorError::NotText(format!("tag {key:?}"))),
    };
    tags.iter().map(tag).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_protobuf_json() {
        let descriptor = parse(
            br#"{
              "name": "a/b",
              "stream_type": "BINARY",
              "content_type": "x/y",
              "timestamp": "2025-01-02T03:04:05.678901234Z",
              "tags": {"k": "v"}
            }"#,
        )
        .unwrap();
        assert_eq!(descriptor.name, "a/b");
        assert_eq!(descriptor.stream_type(), StreamType::Binary);
        assert_eq!(descriptor.content_type, "x/y");
        let timestamp = descriptor.timestamp.unwrap();
        assert_eq!(timestamp.to_string(), "2025-01-02T03:04:05.678901234Z");
        assert_eq!(descriptor.tags["k"], "v");
        let text = parse(br#"{"name":"a"}"#).unwrap();
        assert_eq!(text.stream_type(), StreamType::Text);
    }

    #[test]
    fn says_what_is_wrong() {
        for (json, part) in [
            (&b"{"[..], "EOF"),
            (b"[]", "expected a map"),
            (b"{}", "name"),
            (br#"{"name":"../x"}"#, "name"),
            (br#"{"name":"a","stream_type":"X"}"#, "stream_type"),
            (br#"{"name":"a","timestamp":"now"}"#, "timestamp"),
            (br#"{"name":"a","tags":{"k":1}}"#, "tag"),
            (br#"{"name":"a","content_type":1}"#, "content_type"),
        ] {
            let error = parse(json).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
