use std::sync::Arc;

use super::*;
use crate::delivery::gather::{COPY_MAX, heads_len};
use crate::proto::logpb::butler_log_bundle::Entry;
use crate::proto::logpb::{ButlerLogBundle, LogEntry, LogStreamDescriptor, Text};
use crate::wire::message::{FRAMES_LEN_MAX, MessageView};

const BEGUN: Timestamp = Timestamp {
    seconds: 1_700_000_000,
    nanos: 123_456_789,
};

fn identity() -> Identity {
    Identity {
        project: "project".into(),
        prefix: "a/prefix".into(),
        secret: Secret::new(vec![7; 32]),
    }
}

fn descriptor(name: &str) -> LogStreamDescriptor {
    LogStreamDescriptor {
        name: name.into(),
        ..Default::default()
    }
}

fn info(name: &str) -> Arc<StreamInfo> {
    let name: StreamName = name.parse().unwrap();
    let descriptor = descriptor(name.as_str());
    let key = StreamKey::from_u64(0);
    Arc::new(StreamInfo::new(key, name, StreamType::Text, &descriptor))
}

/// An entry whose field in the bundle has `len` bytes.
fn entry(stream_index: u64, len: usize) -> LogEntry {
    let entry = |text: usize| LogEntry {
        stream_index,
        content: Some(logpb::log_entry::Content::Text(Text {
            lines: vec![logpb::text::Line {
                value: vec![b'x'; text].into(),
                ..Default::default()
            }],
        })),
        ..Default::default()
    };
    (0..=len)
        .map(entry)
        .find(|entry| field(entry).len() == len)
        .expect("there is such a length")
}

/// As it stands in a segment.
fn field(entry: &LogEntry) -> Vec<u8> {
    let mut field = vec![0x2a];
    entry.encode_length_delimited(&mut field).unwrap();
    field
}

/// What is staged in a bundle: for each part its stream and its entries.
struct Staged {
    bundle: Message,
    expected: ButlerLogBundle,
}

/// What a message without streams says.
fn empty(identity: &Identity) -> ButlerLogBundle {
    ButlerLogBundle {
        timestamp: Some(BEGUN),
        project: identity.project.clone(),
        prefix: identity.prefix.clone(),
        secret: identity.secret.expose().clone(),
        ..Default::default()
    }
}

/// Streams in the order of their first part; they end with these indices.
fn staged(parts: &[(usize, &[LogEntry])], terminals: &[Option<u64>]) -> Staged {
    let identity = identity();
    let mut segment = Vec::new();
    let mut bundle = Message {
        ticket: Ticket(1),
        segment: Bytes::new(),
        memory: 0,
        parts: Vec::new(),
        streams: Vec::new(),
        begun: BEGUN,
        identity: identity.encode(),
        entries: 0,
    };
    let mut expected = empty(&identity);
    for (at, terminal) in terminals.iter().enumerate() {
        let name = format!("s/{at}");
        bundle.streams.push(MessageStream {
            info: info(&name),
            terminal: *terminal,
            client_bytes: 0,
            entries: 0,
            first: NO_PART,
            last: NO_PART,
            len: 0,
        });
        expected.entries.push(Entry {
            desc: Some(descriptor(&name)),
            terminal: terminal.is_some(),
            terminal_index: terminal.unwrap_or(0),
            ..Default::default()
        });
    }
    for (stream, entries) in parts {
        let start = segment.len();
        for entry in *entries {
            segment.extend(field(entry));
            expected.entries[*stream].logs.push(entry.clone());
        }
        let at = bundle.parts.len() as u32;
        let len = segment.len() - start;
        let stream = &mut bundle.streams[*stream];
        match bundle.parts.get_mut(stream.last as usize) {
            Some(last) => last.next = at,
            None => stream.first = at,
        }
        stream.last = at;
        stream.len += len;
        bundle.entries += entries.len() as u64;
        bundle.parts.push(Part {
            start: start as u32,
            len: len as u32,
            next: NO_PART,
            entries: entries.len() as u32,
            read_ns: 0,
        });
    }
    bundle.segment = segment.into();
    Staged { bundle, expected }
}

/// Chains that alternate, parts below, at and above the size that is copied,
/// and all forms of the end.
fn various() -> Staged {
    let small = [entry(0, 40), entry(1, 41)];
    let (at_limit, above) = ([entry(2, COPY_MAX)], [entry(0, COPY_MAX + 1)]);
    staged(
        &[(0, &small), (1, &above), (0, &at_limit), (2, &small)],
        &[None, Some(0), Some(u64::MAX), Some(300)],
    )
}

#[test]
fn it_is_what_prost_would_encode() {
    let Staged { bundle, expected } = various();
    let bytes = expected.encode_to_vec();
    let mut gather = Gather::default();
    // It is used again and again.
    for _ in 0..2 {
        gather.bundle(&bundle);
        assert_eq!(gather.concat(), bytes);
        assert_eq!(gather.pieces().concat(), bytes);
        assert_eq!(gather.len(), bytes.len());
        assert!(!gather.is_empty());
        gather.message(&bundle);
        let message = gather.concat();
        let view = MessageView::parse(&message).unwrap().unwrap();
        assert_eq!(view.bundle().unwrap(), expected);
        assert_eq!(gather.len(), message.len());
    }
    gather.clear();
    assert!(gather.is_empty() && gather.pieces().is_empty());
    assert_eq!(bundle.len(), bytes.len());
    assert_eq!(bundle.decode(), expected);
}

/// Only what is large is a slice of its own.
#[test]
fn small_parts_are_copied() {
    let Staged { bundle, .. } = various();
    let mut gather = Gather::default();
    gather.bundle(&bundle);
    let lens: Vec<_> = gather.pieces().iter().map(Bytes::len).collect();
    assert_eq!(lens.len(), 3, "{lens:?}");
    assert_eq!(lens[1], COPY_MAX + 1);
    assert_eq!(heads_len(&bundle), lens[0] + lens[2]);

    // No more memory is taken than what is copied needs.
    let mut gather = Gather::default();
    gather.message(&bundle);
    assert!(gather.heads.capacity() < FRAMES_LEN_MAX);
}

#[test]
fn what_is_in_it() {
    let Staged { bundle, expected } = various();
    assert_eq!(bundle.entries(), 6);
    assert!(!bundle.is_empty());
    assert!(staged(&[], &[]).bundle.is_empty());
    assert_eq!(bundle.streams().len(), 4);
    for (stream, expected) in bundle.streams().iter().zip(&expected.entries) {
        let logs: Vec<_> = bundle.logs(stream).collect();
        let fields: Vec<_> = expected.logs.iter().map(field).collect();
        assert_eq!(logs.concat(), fields.concat());
        assert_eq!(stream.info.descriptor(), *expected.desc.as_ref().unwrap());
    }
}

/// The bounds that a bundle is filled by are those of the longest encodings.
#[test]
fn overheads_are_exact() {
    let Staged { mut bundle, .. } = staged(&[], &[Some(u64::MAX)]);
    let entry_len = bundle.streams[0].entry_len() - bundle.streams[0].info.descriptor_field.len();
    let longest = varint::len(u64::from(u32::MAX));
    assert_eq!(ENTRY_OVERHEAD_MAX, 1 + longest + entry_len);

    bundle.streams.clear();
    bundle.begun = Timestamp {
        seconds: -1,
        nanos: i32::MAX,
    };
    assert_eq!(bundle_overhead_max(&bundle.identity), bundle.len());
    assert_eq!(bundle.identity.expose(), identity().encode().expose());
    assert_eq!(
        encode_identity(&identity()).expose(),
        bundle.identity.expose()
    );
}
