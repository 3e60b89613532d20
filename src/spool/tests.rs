//! What is found of a segment, whatever became of it.

use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use crate::proto::spool::SpoolRun;
use crate::proto::spool::spool_fact::{Done, Registered};
use crate::wire::name::StreamName;

/// A segment, and where each of its records begins and ends.
struct Segment {
    bytes: Vec<u8>,
    marker: u64,
    header_len: u64,
    bodies: Vec<Vec<u8>>,
    ends: Vec<u64>,
}

fn manifest(index: u32) -> Manifest {
    let part = |name: String, terminal| Part {
        name: StreamName::new(name).unwrap(),
        bytes: u64::from(index) + 7,
        entries: 3,
        terminal,
    };
    Manifest {
        streams: vec![
            part(format!("a/stream{index}"), None),
            part("b".into(), Some(0)),
        ],
    }
}

fn segment(bodies: Vec<Vec<u8>>) -> Segment {
    let header = Header::new(SpoolRun {
        id: vec![1; 16].into(),
        project: "p".into(),
        prefix: "x/y".into(),
        secret: vec![9; 36].into(),
        ..SpoolRun::default()
    });
    let mut bytes = header.encode();
    let header_len = bytes.len() as u64;
    let (mut head, mut ends) = (Vec::new(), Vec::new());
    for (index, body) in (0..).zip(&bodies) {
        let sums = Sums::of([&body[..]]);
        encode_head(&mut head, header.marker, index, &manifest(index), sums);
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(body);
        ends.push(bytes.len() as u64);
    }
    Segment {
        bytes,
        marker: header.marker,
        header_len,
        bodies,
        ends,
    }
}

/// What is found, and each body that is good.
fn walk(bytes: &[u8], marker: u64, header_len: u64) -> Vec<(Found, Option<Vec<u8>>)> {
    let mut file = Cursor::new(bytes);
    let mut window = Window::default();
    let mut walk = Walk::new(marker, header_len);
    let mut all = Vec::new();
    let end = bytes.len() as u64;
    while let Some(found) = walk.next(&mut file, end, &mut window).unwrap() {
        let body = match &found {
            Found::Lost(_) => None,
            Found::Record(record) => {
                let mut body = vec![0; record.body.len as usize];
                let whole = window.read(&mut file, record.body_at, &mut body).unwrap();
                assert!(whole, "a record is whole");
                Some(body).filter(|body| record.has_body(body))
            }
        };
        all.push((found, body));
        assert!(all.len() <= bytes.len(), "it comes to an end");
    }
    assert_eq!(walk.at(), end.max(header_len));
    all
}

/// The indices whose bodies were found; all that is told is true.
fn check(segment: &Segment, bytes: &[u8]) -> Vec<u32> {
    let mut good = Vec::new();
    for (found, body) in walk(bytes, segment.marker, segment.header_len) {
        match (found, body) {
            (Found::Record(record), Some(body)) => {
                assert_eq!(record.manifest, manifest(record.index));
                assert_eq!(body, segment.bodies[record.index as usize]);
                good.push(record.index);
            }
            (Found::Record(record), None) => {
                assert_eq!(record.manifest, manifest(record.index));
            }
            (Found::Lost(lost), _) => {
                assert!(lost.at + lost.len <= bytes.len() as u64);
                if !lost.streams.is_empty() {
                    assert_eq!(lost.streams, manifest(lost.index).streams);
                }
            }
        }
    }
    assert!(
        good.windows(2).all(|it| it[0] < it[1]),
        "in order, and once"
    );
    good
}

fn bodies() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let small = prop::collection::vec(any::<u8>(), 0..40);
    let large = (any::<u8>(), 10_000..40_000usize).prop_map(|(byte, len)| vec![byte; len]);
    prop::collection::vec(prop_oneof![4 => small, 1 => large], 1..12)
}

proptest! {
    #[test]
    fn all_is_found(bodies in bodies()) {
        let segment = segment(bodies);
        let all: Vec<u32> = (0..segment.bodies.len() as u32).collect();
        prop_assert_eq!(check(&segment, &segment.bytes), all);
    }

    #[test]
    fn a_cut_takes_what_is_behind(bodies in bodies(), at: prop::sample::Index) {
        let segment = segment(bodies);
        let header_len = segment.header_len as usize;
        let cut = header_len + at.index(segment.bytes.len() - header_len + 1);
        let whole = segment.ends.iter().filter(|end| **end <= cut as u64).count();
        let found = walk(&segment.bytes[..cut], segment.marker, segment.header_len);
        let is_between = cut == header_len || segment.ends.contains(&(cut as u64));
        prop_assert_eq!(found.len(), whole + usize::from(!is_between));
        if let (Some((Found::Lost(lost), _)), false) = (found.last(), is_between) {
            prop_assert_eq!(lost.why, Why::Cut);
            prop_assert_eq!(lost.index, whole as u32);
        }
        let good = check(&segment, &segment.bytes[..cut]);
        prop_assert_eq!(good, (0..whole as u32).collect::<Vec<_>>());
    }

    #[test]
    fn damage_takes_only_what_it_hits(
        bodies in bodies(),
        hits in prop::collection::vec((any::<prop::sample::Index>(), 1..=255u8), 1..4),
    ) {
        let segment = segment(bodies);
        let mut bytes = segment.bytes.clone();
        let mut hit = Vec::new();
        for (at, flip) in hits {
            let header_len = segment.header_len as usize;
            let at = header_len + at.index(bytes.len() - header_len);
            bytes[at] ^= flip;
            hit.push(segment.ends.partition_point(|end| *end <= at as u64) as u32);
        }
        let good = check(&segment, &bytes);
        for index in 0..segment.bodies.len() as u32 {
            // Two may have undone each other.
            prop_assert!(good.contains(&index) || hit.contains(&index), "{}", index);
        }
    }

    #[test]
    fn what_is_missing_is_counted(bodies in bodies(), first: prop::sample::Index, more in 0..4usize) {
        let segment = segment(bodies);
        let count = segment.bodies.len();
        let first = first.index(count);
        let last = (first + more).min(count - 1);
        let from = match first {
            0 => segment.header_len,
            _ => segment.ends[first - 1],
        };
        // Their place is garbage, or zeros as of pages that were never written.
        let mut bytes = segment.bytes.clone();
        bytes[from as usize..segment.ends[last] as usize].fill(0);
        let found = walk(&bytes, segment.marker, segment.header_len);
        let lost = found.iter().find_map(|(found, _)| match found {
            Found::Lost(lost) => Some(lost.clone()),
            Found::Record(_) => None,
        });
        let lost = lost.unwrap();
        prop_assert_eq!((lost.at, lost.index), (from, first as u32));
        if last + 1 < count {
            prop_assert_eq!(lost.why, Why::Damaged);
            prop_assert_eq!(lost.records, Some((last + 1 - first) as u32));
            prop_assert_eq!(lost.len, segment.ends[last] - from);
        } else {
            prop_assert_eq!((lost.why, lost.records), (Why::Cut, None));
        }
        prop_assert_eq!(check(&segment, &bytes).len(), count - (last + 1 - first));
    }

    #[test]
    fn garbage_is_no_record(garbage in prop::collection::vec(any::<u8>(), 0..2000)) {
        let found = walk(&garbage, 0x1234_5678_9abc_def1, 0);
        prop_assert!(found.iter().all(|(found, _)| matches!(found, Found::Lost(_))));
        prop_assert!(found.len() <= 1);
        let _ = Header::read(Cursor::new(&garbage)).unwrap();
        prop_assert_eq!(Facts::parse(&garbage).unwrap().facts.len(), 0);
    }

    #[test]
    fn a_damaged_header_is_known(at: prop::sample::Index, flip in 1..=255u8) {
        let segment = segment(vec![vec![1, 2, 3]]);
        let mut bytes = segment.bytes.clone();
        bytes[at.index(segment.header_len as usize)] ^= flip;
        let found = Header::read(Cursor::new(&bytes)).unwrap();
        prop_assert_eq!(found, Err(HeaderError::Damaged));
    }

    #[test]
    fn facts_up_to_the_first_that_is_bad(count in 0..6u32, at: prop::sample::Index, flip: u8) {
        let facts: Vec<_> = (0..count).map(fact).collect();
        let mut bytes = Facts::head().to_vec();
        let mut ends = vec![];
        for fact in &facts {
            encode_fact(&mut bytes, fact.clone());
            ends.push(bytes.len());
        }
        let found = Facts::parse(&bytes).unwrap();
        prop_assert_eq!((&found.facts, found.end), (&facts, bytes.len()));
        let at = at.index(bytes.len());
        // Both a cut and another byte.
        let cut = Facts::parse(&bytes[..at]).unwrap();
        let whole = ends.iter().filter(|end| **end <= at).count();
        prop_assert_eq!(&cut.facts, &facts[..whole]);
        bytes[at] ^= flip;
        let found = Facts::parse(&bytes).unwrap();
        let good = match flip {
            0 => count as usize,
            _ if at < FACTS_HEAD => 0,
            _ => whole,
        };
        prop_assert_eq!(&found.facts, &facts[..good]);
    }
}

fn fact(number: u32) -> Fact {
    match number % 2 {
        0 => Fact::Done(Done {
            segment: number.into(),
            marker: 77,
            first: 0,
            last: number,
            refused: false,
        }),
        _ => Fact::Registered(Registered {
            run: vec![7; 16].into(),
            secret: vec![8; 36].into(),
            topic: "projects/p/topics/t".into(),
        }),
    }
}

/// Somebody logs the spool's own files: what is in a body is no record, even if
/// the head before it is damaged.
#[test]
fn a_record_within_a_record() {
    let first = segment(vec![vec![5; 100], vec![6; 50]]);
    let quoted = first.bytes[first.header_len as usize..].to_vec();
    let mut bytes = first.bytes.clone();
    let sums = Sums::of([&quoted[..]]);
    let mut head = Vec::new();
    for (index, body) in [(2, &quoted[..]), (3, b"end")] {
        let sums = if index == 2 { sums } else { Sums::of([body]) };
        encode_head(&mut head, first.marker, index, &manifest(index), sums);
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(body);
    }
    let begins = first.ends[1] as usize;
    bytes[begins + 9] ^= 1;
    let found = walk(&bytes, first.marker, first.header_len);
    let records = found.iter().filter_map(|(found, _)| match found {
        Found::Record(record) => Some(record.index),
        Found::Lost(lost) => {
            assert_eq!((lost.index, lost.records), (2, Some(1)));
            None
        }
    });
    assert_eq!(records.collect::<Vec<_>>(), [0, 1, 3]);
}

#[test]
fn versions() {
    let segment = segment(vec![]);
    let with_version = |version: u32| {
        let mut bytes = segment.bytes.clone();
        bytes[8..12].copy_from_slice(&version.to_le_bytes());
        let crc = checksum([&bytes[..24], &bytes[28..]]);
        bytes[24..28].copy_from_slice(&crc.to_le_bytes());
        Header::read(Cursor::new(bytes)).unwrap()
    };
    let (header, bytes) = with_version(VERSION).unwrap();
    let len = bytes.len() as u64;
    assert_eq!((header.marker, len), (segment.marker, segment.header_len));
    assert_eq!(with_version(VERSION + 1), Err(HeaderError::Newer(2)));
    assert_eq!(with_version(0), Err(HeaderError::Damaged));
    let mut facts = Facts::head();
    facts[8] = 3;
    assert_eq!(Facts::parse(&facts).unwrap().end, 0, "it is damaged");
    let crc = checksum([&facts[..12]]);
    facts[12..].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(Facts::parse(&facts).unwrap_err(), HeaderError::Newer(3));
}

#[test]
fn secrets_are_not_printed() {
    let segment = segment(vec![]);
    let (header, _) = Header::read(Cursor::new(&segment.bytes)).unwrap().unwrap();
    let shown = format!("{header:?} {:?}", fact(1));
    assert!(
        !shown.contains("\\t") && !shown.contains("\\x08"),
        "{shown}"
    );
    assert!(shown.contains("x/y") && shown.contains("projects/p/topics/t"));
}

/// The format is what the page says: this is how version 1 stays.
#[test]
fn the_bytes_of_a_segment() {
    let header = Header {
        marker: 0x0807_0605_0403_0201,
        run: SpoolRun {
            project: "p".into(),
            ..SpoolRun::default()
        },
    };
    let bytes = header.encode();
    assert_eq!(&bytes[..16], b"\x89butlsp\n\x01\0\0\0\x03\0\0\0");
    assert_eq!(&bytes[16..24], [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(&bytes[28..], [0x12, 1, b'p']);
    let mut head = Vec::new();
    let one = Manifest {
        streams: vec![Part {
            name: StreamName::new("a").unwrap(),
            bytes: 5,
            entries: 1,
            terminal: Some(0),
        }],
    };
    let sums = Sums::of([&b"123"[..], b"456789"]);
    encode_head(&mut head, header.marker, 258, &one, sums);
    assert_eq!(&head[..8], [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(&head[8..20], [2, 1, 0, 0, 11, 0, 0, 0, 9, 0, 0, 0]);
    // The check value of CRC-32C.
    assert_eq!(&head[20..24], 0xe306_9283_u32.to_le_bytes());
    assert_eq!(&head[28..], [10, 9, 10, 1, b'a', 16, 5, 24, 1, 32, 0]);
}
