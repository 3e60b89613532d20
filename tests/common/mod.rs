//! What the integration tests share: putting streams together again from
//! bundles, with every rule of the protocol checked on the way.
#![allow(dead_code, missing_docs, clippy::unwrap_used)]

#[cfg(feature = "tls")]
pub mod authority;
pub mod content;
pub mod pattern;
pub mod process;
pub mod reader;
pub mod tracker;
pub mod writers;

use std::collections::{BTreeMap, BTreeSet};

use butler::proto::logpb::{self, ButlerLogBundle, log_entry};

/// A stream as a reader of all bundles sees it.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Stream {
    pub desc: logpb::LogStreamDescriptor,
    pub terminal: Option<u64>,
    /// All content in one; datagrams back to back.
    pub bytes: Vec<u8>,
    /// Text only: value and delimiter, partial lines joined.
    pub lines: Vec<(Vec<u8>, String)>,
    /// Datagrams only; the last may be unfinished.
    pub datagrams: Vec<Vec<u8>>,
    /// The last datagram is unfinished.
    pub datagram_open: bool,
    pub entries: u64,
    pub last_offset: (i64, i32),
}

/// Puts all streams together and panics at anything that no butler may send.
pub fn reassemble(bundles: &[ButlerLogBundle]) -> BTreeMap<String, Stream> {
    let mut streams: BTreeMap<String, Stream> = BTreeMap::new();
    let mut prefix_indices = BTreeSet::new();
    for bundle in bundles {
        assert!(bundle.timestamp.is_some());
        let mut in_bundle = BTreeSet::new();
        for entry in &bundle.entries {
            let desc = entry.desc.as_ref().expect("an Entry has a descriptor");
            assert!(in_bundle.insert(&desc.name), "one Entry a stream");
            assert!(desc.prefix.is_empty());
            assert!(entry.terminal || !entry.logs.is_empty());
            let stream = streams.entry(desc.name.clone()).or_insert_with(|| Stream {
                desc: desc.clone(),
                ..Stream::default()
            });
            assert_eq!(&stream.desc, desc);
            assert_eq!(stream.terminal, None, "nothing after the terminal");
            for log in &entry.logs {
                assert!(prefix_indices.insert(log.prefix_index), "unique");
                take_entry(stream, log);
            }
            if entry.terminal {
                assert_eq!(entry.terminal_index + 1, stream.entries);
                stream.terminal = Some(entry.terminal_index);
            }
        }
    }
    let count = prefix_indices.len() as u64;
    assert!(prefix_indices.into_iter().eq(0..count), "from 0, no hole");
    streams
}

fn take_entry(stream: &mut Stream, log: &logpb::LogEntry) {
    assert_eq!(log.stream_index, stream.entries, "contiguous");
    stream.entries += 1;
    let offset = log.time_offset.expect("an entry has a time");
    let offset = (offset.seconds, offset.nanos);
    assert!(offset >= stream.last_offset && offset >= (0, 0));
    stream.last_offset = offset;
    match log.content.as_ref().expect("an entry has content") {
        log_entry::Content::Text(text) => {
            let whole = stream
                .lines
                .iter()
                .filter(|(_, delimiter)| !delimiter.is_empty());
            assert_eq!(log.sequence, whole.count() as u64);
            assert!(!text.lines.is_empty());
            for (at, line) in text.lines.iter().enumerate() {
                assert!(["", "\n", "\r\n"].contains(&&*line.delimiter));
                let last = at + 1 == text.lines.len();
                assert!(!line.delimiter.is_empty() || last, "a part is the last");
                assert!(!line.value.contains(&b'\n'));
                stream.bytes.extend_from_slice(&line.value);
                stream.bytes.extend_from_slice(line.delimiter.as_bytes());
                match stream.lines.last_mut() {
                    Some((value, delimiter)) if delimiter.is_empty() => {
                        value.extend_from_slice(&line.value);
                        *delimiter = line.delimiter.clone();
                    }
                    _ => stream
                        .lines
                        .push((line.value.to_vec(), line.delimiter.clone())),
                }
            }
        }
        log_entry::Content::Binary(binary) => {
            assert_eq!(log.sequence, stream.bytes.len() as u64);
            assert!(!binary.data.is_empty());
            stream.bytes.extend_from_slice(&binary.data);
        }
        log_entry::Content::Datagram(datagram) => {
            if !stream.datagram_open {
                stream.datagrams.push(Vec::new());
            }
            assert_eq!(log.sequence + 1, stream.datagrams.len() as u64);
            let whole = stream.datagrams.last_mut().unwrap();
            whole.extend_from_slice(&datagram.data);
            stream.bytes.extend_from_slice(&datagram.data);
            match &datagram.partial {
                None => assert!(!stream.datagram_open),
                Some(partial) => {
                    assert_eq!(partial.index == 0, !stream.datagram_open);
                    assert_eq!(partial.last, partial.size == whole.len() as u64);
                    stream.datagram_open = !partial.last;
                }
            }
            if datagram.partial.is_none() {
                stream.datagram_open = false;
            }
        }
    }
}

/// Lines as the protocol splits them.
pub fn lines(text: &[u8]) -> Vec<(Vec<u8>, String)> {
    text.split_inclusive(|byte| *byte == b'\n')
        .map(|line| {
            let (value, delimiter) = if let Some(value) = line.strip_suffix(b"\r\n") {
                (value, "\r\n")
            } else if let Some(value) = line.strip_suffix(b"\n") {
                (value, "\n")
            } else {
                (line, "")
            };
            (value.to_vec(), delimiter.to_owned())
        })
        .collect()
}
