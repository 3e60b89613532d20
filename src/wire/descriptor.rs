//! What a stream is: the properties its client gave, and the descriptor that
//! every bundle carries of it.

use std::collections::BTreeMap;
use std::fmt;

use prost_types::Timestamp;

use super::name::{NameError, StreamName, TagKey};
use super::timestamp;
use crate::limits::TAG_VALUE_MAX;
use crate::proto::logpb;

/// How a stream's bytes are cut into entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StreamType {
    /// Lines.
    #[default]
    Text,
    /// Bytes.
    Binary,
    /// Records with a length before each.
    Datagram,
}

impl StreamType {
    /// The three, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Text, Self::Binary, Self::Datagram];

    /// As headers and command lines write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Binary => "binary",
            Self::Datagram => "datagram",
        }
    }

    /// The type of that name, in lower case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The content type of a stream that gives none.
    pub const fn default_content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; charset=utf-8",
            Self::Binary => "application/octet-stream",
            Self::Datagram => "application/x-logdog-datagram",
        }
    }

    /// As the schema has it.
    pub const fn to_proto(self) -> logpb::StreamType {
        match self {
            Self::Text => logpb::StreamType::Text,
            Self::Binary => logpb::StreamType::Binary,
            Self::Datagram => logpb::StreamType::Datagram,
        }
    }

    /// As the schema has it.
    pub const fn from_proto(stream_type: logpb::StreamType) -> Self {
        match stream_type {
            logpb::StreamType::Text => Self::Text,
            logpb::StreamType::Binary => Self::Binary,
            logpb::StreamType::Datagram => Self::Datagram,
        }
    }
}

impl fmt::Display for StreamType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Tags: valid keys, each with a value of at most 4096 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tags(BTreeMap<TagKey, Box<str>>);

/// Why a tag is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TagError {
    /// The key is no valid name.
    #[error("the tag key {0:?} is not valid")]
    Key(String, #[source] NameError),
    /// The value has more than 4096 bytes.
    #[error("the value of tag {0} has {1} bytes, more than {TAG_VALUE_MAX}")]
    Value(TagKey, usize),
}

impl Tags {
    /// Sets the tag `key`.
    pub fn insert(&mut self, key: &str, value: impl Into<Box<str>>) -> Result<(), TagError> {
        let value = value.into();
        let key = TagKey::new(key).map_err(|error| TagError::Key(key.into(), error))?;
        if value.len() > TAG_VALUE_MAX {
            return Err(TagError::Value(key, value.len()));
        }
        self.0.insert(key, value);
        Ok(())
    }

    /// In the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), &**value))
    }

    /// Adds those of `defaults` whose key is not there yet.
    pub fn fill_from(&mut self, defaults: &Self) {
        for (key, value) in &defaults.0 {
            self.0.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
}

/// What the opener of a stream says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamProperties {
    /// Unique in the life of a butler.
    pub name: StreamName,
    /// How it is cut into entries.
    pub stream_type: StreamType,
    /// A MIME type; if empty, [`StreamType::default_content_type`].
    pub content_type: Box<str>,
    /// The base of the entries' time offsets; if absent, when it was opened.
    pub timestamp: Option<Timestamp>,
    /// Its own tags; they win over the butler's.
    pub tags: Tags,
}

impl StreamProperties {
    /// A stream of that name and type, all else by default.
    pub fn new(name: StreamName, stream_type: StreamType) -> Self {
        Self {
            name,
            stream_type,
            content_type: "".into(),
            timestamp: None,
            tags: Tags::default(),
        }
    }

    /// The descriptor, with what is absent filled in.
    pub fn descriptor(&self, now: Timestamp, global_tags: &Tags) -> logpb::LogStreamDescriptor {
        let mut tags = self.tags.clone();
        tags.fill_from(global_tags);
        let given = |time: &Timestamp| time.seconds != timestamp::SECONDS_MIN || time.nanos != 0;
        logpb::LogStreamDescriptor {
            prefix: String::new(),
            name: self.name.as_str().into(),
            stream_type: self.stream_type.to_proto().into(),
            content_type: if self.content_type.is_empty() {
                self.stream_type.default_content_type().into()
            } else {
                self.content_type.clone().into()
            },
            timestamp: Some(self.timestamp.filter(given).unwrap_or(now)),
            tags: tags
                .iter()
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
            binary_file_ext: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp {
        seconds: 77,
        nanos: 7,
    };

    #[test]
    fn types() {
        let told = StreamType::ALL.map(|kind| {
            assert_eq!(StreamType::from_name(kind.as_str()), Some(kind));
            assert_eq!(StreamType::from_proto(kind.to_proto()), kind);
            (kind.to_string(), kind.default_content_type())
        });
        let expected = [
            ("text", "text/plain; charset=utf-8"),
            ("binary", "application/octet-stream"),
            ("datagram", "application/x-logdog-datagram"),
        ];
        assert_eq!(told, expected.map(|(name, kind)| (name.to_owned(), kind)));
        assert_eq!(StreamType::from_name("Text"), None);
    }

    #[test]
    fn tags_have_bounds() {
        let mut tags = Tags::default();
        tags.insert("b", "x".repeat(TAG_VALUE_MAX)).unwrap();
        let error = tags.insert("a", "x".repeat(TAG_VALUE_MAX + 1)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the value of tag a has 4097 bytes, more than 4096"
        );
        let error = tags.insert("no key", "").unwrap_err();
        assert_eq!(error.to_string(), "the tag key \"no key\" is not valid");
        assert!(matches!(
            error,
            TagError::Key(_, NameError::Character { at: 2, .. })
        ));
        tags.insert("a", "").unwrap();
        let keys: Vec<_> = tags.iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["a", "b"]);
    }

    /// What the client gives wins over defaults.
    #[test]
    fn descriptors() {
        let mut global = Tags::default();
        global.insert("both", "butler's").unwrap();
        global.insert("butler", "1").unwrap();
        let mut properties = StreamProperties::new("a/b".parse().unwrap(), StreamType::Binary);
        let absent = properties.descriptor(NOW, &Tags::default());
        assert_eq!(absent.name, "a/b");
        assert_eq!(absent.content_type, "application/octet-stream");
        assert_eq!(absent.timestamp, Some(NOW));
        assert!(absent.tags.is_empty());

        properties.content_type = "image/png".into();
        properties.tags.insert("both", "the client's").unwrap();
        let given = properties.descriptor(NOW, &global);
        assert_eq!(given.content_type, "image/png");
        let tags: Vec<_> = given.tags.iter().collect();
        let pairs = [("both", "the client's"), ("butler", "1")];
        let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(tags, pairs.each_ref().map(|(key, value)| (key, value)));
    }

    /// The year 1 is how clients write no time at all.
    #[test]
    fn times_that_are_none() {
        let mut properties = StreamProperties::new("s".parse().unwrap(), StreamType::Text);
        let first = timestamp::SECONDS_MIN;
        for (seconds, nanos, given) in [
            (first, 0, false),
            (first, 1, true),
            (first + 1, 0, true),
            (5, 5, true),
        ] {
            let time = Timestamp { seconds, nanos };
            properties.timestamp = Some(time);
            let descriptor = properties.descriptor(NOW, &Tags::default());
            let expected = if given { time } else { NOW };
            assert_eq!(descriptor.timestamp, Some(expected));
        }
    }
}
