//! Reads encoded bundles back without building a tree.
//!
//! A bundle of a few megabytes may hold millions of empty entries or lines;
//! as a tree they would take a hundred times their size. Here all of it stays
//! in the buffer that it was read into.

use prost::Message;
use prost_types::{Duration, Timestamp};

use super::entry::Partial;
use super::timestamp::{SECONDS_MAX, SECONDS_MIN};
use super::walk::{ContentView, Fields, Malformed, content, lines, partial};
use crate::proto::logpb;

/// An encoded ButlerLogBundle.
#[derive(Debug, Clone, Copy)]
pub struct BundleView<'a> {
    /// The prefix of all its streams.
    pub prefix: &'a str,
    bytes: &'a [u8],
}

/// An encoded ButlerLogBundle.Entry: what one stream adds.
#[derive(Debug, Clone, Copy)]
pub struct EntryView<'a> {
    /// The stream's name.
    pub name: &'a str,
    /// When it began, which its entries' times count from.
    pub began: Option<Timestamp>,
    /// If the stream has ended, its last stream_index.
    pub terminal_index: Option<u64>,
    descriptor: &'a [u8],
    bytes: &'a [u8],
}

/// An encoded LogEntry.
#[derive(Debug, Clone, Copy)]
pub struct LogView<'a> {
    /// Since the descriptor's timestamp.
    pub time_offset: Duration,
    /// Unique in the prefix.
    pub prefix_index: u64,
    /// Contiguous in the stream.
    pub stream_index: u64,
    /// Lines, bytes or datagrams before it.
    pub sequence: u64,
    /// All of it, as it stands there.
    pub bytes: &'a [u8],
}

impl<'a> BundleView<'a> {
    /// Looks at the bundle's own fields.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut prefix = "";
        for field in Fields(bytes) {
            if let (5, value) = field? {
                prefix = text(value.bytes()?)?;
            }
        }
        Ok(Self { prefix, bytes })
    }

    /// The streams' entries, in the order in which they stand.
    pub fn entries(&self) -> impl Iterator<Item = Result<EntryView<'a>, Malformed>> + use<'a> {
        Fields(self.bytes).filter_map(|field| match field {
            Err(error) => Some(Err(error)),
            Ok((3, value)) => Some(value.bytes().and_then(EntryView::parse)),
            Ok(_) => None,
        })
    }
}

impl<'a> EntryView<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (mut descriptor, mut terminal, mut terminal_index) = (None, false, 0);
        for field in Fields(bytes) {
            match field? {
                (1, value) => descriptor = Some(value.bytes()?),
                (3, value) => terminal = value.uint()? != 0,
                (4, value) => terminal_index = value.uint()?,
                _ => {}
            }
        }
        let descriptor = descriptor.ok_or(Malformed)?;
        let (mut name, mut began) = ("", None);
        for field in Fields(descriptor) {
            match field? {
                (2, value) => name = text(value.bytes()?)?,
                (5, value) => {
                    let time = Timestamp::decode(value.bytes()?).map_err(|_| Malformed)?;
                    began = Some(time);
                }
                _ => {}
            }
        }
        Ok(Self {
            name,
            began,
            terminal_index: terminal.then_some(terminal_index),
            descriptor,
            bytes,
        })
    }

    /// Decodes the stream's descriptor.
    pub fn descriptor(&self) -> Result<logpb::LogStreamDescriptor, Malformed> {
        logpb::LogStreamDescriptor::decode(self.descriptor).map_err(|_| Malformed)
    }

    /// Bytes of the encoded descriptor, and its tags: decoded, each costs more.
    pub fn descriptor_size(&self) -> (usize, usize) {
        let is_tag = |field: &Result<_, _>| matches!(field, Ok((6, _)));
        let tags = Fields(self.descriptor).filter(is_tag).count();
        (self.descriptor.len(), tags)
    }

    /// The log entries, in the order in which they stand.
    pub fn logs(&self) -> impl Iterator<Item = Result<LogView<'a>, Malformed>> + use<'a> {
        Fields(self.bytes).filter_map(|field| match field {
            Err(error) => Some(Err(error)),
            Ok((5, value)) => Some(value.bytes().and_then(LogView::parse)),
            Ok(_) => None,
        })
    }
}

impl<'a> LogView<'a> {
    /// Looks at the entry's own fields, not at its content.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut log = Self {
            time_offset: Duration::default(),
            prefix_index: 0,
            stream_index: 0,
            sequence: 0,
            bytes,
        };
        for field in Fields(bytes) {
            match field? {
                (1, value) => {
                    log.time_offset = Duration::decode(value.bytes()?).map_err(|_| Malformed)?;
                }
                (2, value) => log.prefix_index = value.uint()?,
                (3, value) => log.stream_index = value.uint()?,
                (4, value) => log.sequence = value.uint()?,
                _ => {}
            }
        }
        Ok(log)
    }

    /// Is the content protobuf all through?
    pub fn check(&self) -> Result<(), Malformed> {
        if let Some(ContentView::Text(text)) = content(self.bytes)? {
            for line in lines(text) {
                line?;
            }
        }
        self.partial().map(drop)
    }

    /// The content; `None` when there is none, or it is malformed.
    pub fn content(&self) -> Option<ContentView<'a>> {
        content(self.bytes).ok().flatten()
    }

    /// Which part of a datagram this is; `None` when it is not a part.
    pub fn partial(&self) -> Result<Option<Partial>, Malformed> {
        let mut found = None;
        for field in Fields(self.bytes) {
            if let (12, value) = field? {
                for field in Fields(value.bytes()?) {
                    if let (2, value) = field? {
                        found = Some(partial(value.bytes()?)?);
                    }
                }
            }
        }
        Ok(found)
    }

    /// When it was read, by the time that the stream counts from.
    pub fn time(&self, base: Timestamp) -> Timestamp {
        const NANOS: i64 = 1_000_000_000;
        let nanos = i64::from(base.nanos) + i64::from(self.time_offset.nanos);
        let seconds = base
            .seconds
            .saturating_add(self.time_offset.seconds)
            .saturating_add(nanos.div_euclid(NANOS));
        Timestamp {
            seconds: seconds.clamp(SECONDS_MIN, SECONDS_MAX),
            nanos: nanos.rem_euclid(NANOS) as i32,
        }
    }
}

fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn malformed_content_is_seen() {
        for (entry, good) in [
            (&b""[..], true),
            // Text with a line, whole and cut.
            (b"\x52\x06\x0a\x04\x0a\x02ab", true),
            (b"\x52\x06\x0a\x04\x0a\x03ab", false),
            (b"\x52\x06\x0a\x05\x0a\x02ab", false),
            // A part of a datagram, whole and cut.
            (b"\x62\x04\x12\x02\x08\x01", true),
            (b"\x62\x04\x12\x02\x08\x80", false),
        ] {
            let checked = LogView::parse(entry).and_then(|log| log.check());
            assert_eq!(checked.is_ok(), good, "{entry:?}");
        }
        let part = LogView::parse(b"\x62\x08\x12\x06\x08\x07\x10\x09\x18\x01").unwrap();
        let expected = Partial {
            index: 7,
            size: 9,
            last: true,
        };
        assert_eq!(part.partial(), Ok(Some(expected)));
    }

    fn bundle() -> logpb::ButlerLogBundle {
        let log = logpb::LogEntry {
            time_offset: Some(Duration {
                seconds: 1,
                nanos: 600_000_000,
            }),
            prefix_index: 7,
            stream_index: 3,
            sequence: 2,
            content: Some(logpb::log_entry::Content::Datagram(logpb::Datagram {
                data: "xyz".into(),
                partial: Some(logpb::datagram::Partial {
                    index: 1,
                    size: 9,
                    last: true,
                }),
            })),
        };
        logpb::ButlerLogBundle {
            prefix: "p".into(),
            entries: vec![logpb::butler_log_bundle::Entry {
                desc: Some(logpb::LogStreamDescriptor {
                    name: "a/b".into(),
                    content_type: "c".into(),
                    ..Default::default()
                }),
                terminal: true,
                terminal_index: 3,
                logs: vec![log],
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    #[test]
    fn sees_what_prost_wrote() {
        let bytes = bundle().encode_to_vec();
        let view = BundleView::parse(&bytes).unwrap();
        assert_eq!(view.prefix, "p");
        let entries: Vec<_> = view.entries().map(Result::unwrap).collect();
        assert_eq!(entries.len(), 1);
        let entry = entries[0];
        assert_eq!((entry.name, entry.terminal_index), ("a/b", Some(3)));
        assert_eq!(entry.descriptor().unwrap().content_type, "c");
        let logs: Vec<_> = entry.logs().map(Result::unwrap).collect();
        assert_eq!(logs.len(), 1);
        let log = logs[0];
        assert_eq!(
            (log.prefix_index, log.stream_index, log.sequence),
            (7, 3, 2)
        );
        let part = Partial {
            index: 1,
            size: 9,
            last: true,
        };
        assert_eq!(log.partial(), Ok(Some(part)));
        let (data, last) = (&b"xyz"[..], true);
        assert_eq!(
            log.content(),
            Some(ContentView::Datagram {
                data,
                last,
                size: None
            })
        );
        let base = Timestamp {
            seconds: 10,
            nanos: 500_000_000,
        };
        assert_eq!(log.time(base).to_string(), "1970-01-01T00:00:12.100Z");
    }

    #[test]
    fn times_beyond_all_years_stay_in_them() {
        let mut log = LogView::parse(&[]).unwrap();
        log.time_offset = Duration {
            seconds: i64::MAX,
            nanos: i32::MAX,
        };
        let last = log.time(Timestamp {
            seconds: i64::MAX,
            nanos: i32::MAX,
        });
        assert_eq!(last.seconds, SECONDS_MAX);
        log.time_offset.seconds = i64::MIN;
        assert_eq!(log.time(Timestamp::default()).seconds, SECONDS_MIN);
    }

    proptest! {
        #[test]
        fn never_panics(flips in prop::collection::vec((any::<u16>(), any::<u8>()), 0..6)) {
            let mut bytes = bundle().encode_to_vec();
            for (at, byte) in flips {
                let at = at as usize % bytes.len();
                bytes[at] = byte;
            }
            let Ok(view) = BundleView::parse(&bytes) else { return Ok(()) };
            for entry in view.entries().flatten() {
                let _ = entry.descriptor();
                for log in entry.logs().flatten() {
                    let _ = (log.check(), log.content(), log.time(Timestamp::default()).to_string());
                }
            }
        }
    }
}
