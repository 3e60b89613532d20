//! Whatever a client writes and however it is cut into reads, ages and
//! bundles, a reader gets back the same. Driven on the core with a virtual
//! clock; `golden` replays what real clients sent, where that data is at hand.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use butler::core::{Core, CoreConfig};
use butler::proto::logpb::{ButlerLogBundle, log_entry};
use butler::time::Moment;
use butler::wire::descriptor::{StreamProperties, StreamType, Tags};
use butler::wire::header::HeaderReader;
use butler::wire::name::StreamName;
use butler::wire::varint;
use butler::{BundleLimits, Gather, Identity};
use common::{Stream, reassemble};
use proptest::prelude::*;
use prost::Message;

/// How many cases each property is tried on.
fn cases() -> u32 {
    let asked = std::env::var("BUTLER_PROPTEST_CASES").ok();
    asked.and_then(|it| it.parse().ok()).unwrap_or(400)
}

const AGE_NS: u64 = 5_000_000_000;

struct Bench {
    core: Core,
    now_ns: u64,
    limits: BundleLimits,
    bundles: Vec<ButlerLogBundle>,
    gather: Gather,
}

impl Bench {
    fn new(limits: BundleLimits, change: impl FnOnce(&mut CoreConfig)) -> Self {
        let mut config = CoreConfig {
            bundle_limits: limits,
            text_in_lines: true,
            identity: Identity {
                project: "p".into(),
                prefix: "a/prefix".into(),
                secret: Default::default(),
            },
            global_tags: Tags::default(),
            age_max_ns: AGE_NS,
            buffered_max: 64 << 20,
            stream_size_max: u64::MAX,
        };
        change(&mut config);
        Self {
            core: Core::new(config),
            now_ns: 1,
            limits,
            bundles: Vec::new(),
            gather: Gather::default(),
        }
    }

    fn now(&self) -> Moment {
        Moment {
            mono_ns: self.now_ns,
            wall: prost_types::Timestamp {
                seconds: 1_700_000_000 + (self.now_ns / 1_000_000_000) as i64,
                nanos: (self.now_ns % 1_000_000_000) as i32,
            },
        }
    }

    fn wait(&mut self, ns: u64) {
        self.now_ns += ns;
        let now = self.now();
        self.core.tick(&now);
        self.pump();
    }

    /// Takes what leaves, as an output would.
    fn pump(&mut self) {
        let now = self.now();
        while let Some(bundle) = self.core.poll_message(&now) {
            self.gather.bundle(&bundle);
            let bytes = self.gather.concat();
            assert_eq!(bytes.len(), bundle.len());
            // However small bundles are to be, an entry of 1 KiB fits.
            let max = self.limits.max.max(2048);
            assert!(bytes.len() <= max, "{} bytes", bytes.len());
            let decoded = ButlerLogBundle::decode(&*bytes).unwrap();
            assert_eq!(decoded.encode_to_vec(), bytes, "canonical");
            self.bundles.push(decoded);
            self.gather.clear();
            self.core.delivered(&now, bundle.ticket(), 1);
        }
    }

    fn finish(&mut self) -> BTreeMap<String, Stream> {
        self.core.flush();
        self.pump();
        assert!(self.core.is_settled());
        assert_eq!(self.core.account().pending(), 0);
        assert_eq!(self.core.buffered(), 0);
        reassemble(&self.bundles)
    }
}

fn limits(target: usize, max: usize) -> BundleLimits {
    BundleLimits {
        early: target / 2,
        target,
        max,
    }
}

fn some_limits() -> impl Strategy<Value = BundleLimits> {
    prop_oneof![
        Just(limits(256 * 1024, 10_485_759)),
        Just(limits(4096, 10_485_759)),
        Just(limits(4096, 4096)),
        Just(limits(1, 1)),
        Just(limits(5_000_000, 5_000_000)),
    ]
}

/// Steps between pieces of data: none, short, or past the age.
fn some_wait() -> impl Strategy<Value = u64> {
    prop_oneof![3 => Just(0), 2 => 1..1_000_000u64, 1 => Just(AGE_NS)]
}

fn properties(stream_type: StreamType) -> StreamProperties {
    StreamProperties::new(StreamName::new("s/x").unwrap(), stream_type)
}

/// Feeds `data` in the given cuts and waits.
fn feed(bench: &mut Bench, stream_type: StreamType, data: &[u8], cuts: &[(usize, u64)]) -> Stream {
    let now = bench.now();
    let key = bench.core.open(&now, &properties(stream_type)).unwrap();
    let mut rest = data;
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let (len, wait) = cuts.next().copied().unwrap_or((rest.len(), 0));
        let (piece, after) = rest.split_at(len.clamp(1, rest.len()));
        let now = bench.now();
        bench.core.data(&now, key, piece).unwrap();
        bench.pump();
        bench.wait(wait);
        rest = after;
    }
    let now = bench.now();
    bench.core.end(&now, key);
    let mut streams = bench.finish();
    if streams.is_empty() {
        return Stream::default();
    }
    let stream = streams.remove("s/x").unwrap();
    assert!(stream.terminal.is_some());
    stream
}

fn text_lines(data: &[u8]) -> Vec<(Vec<u8>, String)> {
    data.split_inclusive(|&byte| byte == b'\n')
        .map(|line| {
            let delimiter = match line {
                [.., b'\r', b'\n'] => "\r\n",
                [.., b'\n'] => "\n",
                _ => "",
            };
            let value = line[..line.len() - delimiter.len()].to_vec();
            (value, delimiter.into())
        })
        .collect()
}

/// Lines and parts of lines as they were sent.
fn lines_sent(bundles: &[ButlerLogBundle]) -> Vec<(Vec<u8>, String)> {
    let entries = bundles.iter().flat_map(|bundle| &bundle.entries);
    let logs = entries.flat_map(|entry| &entry.logs);
    logs.filter_map(|log| match &log.content {
        Some(log_entry::Content::Text(text)) => Some(&text.lines),
        _ => None,
    })
    .flatten()
    .map(|line| (line.value.to_vec(), line.delimiter.clone()))
    .collect()
}

fn framed(datagrams: &[Vec<u8>]) -> Vec<u8> {
    let mut wire = Vec::new();
    for datagram in datagrams {
        varint::push(&mut wire, datagram.len() as u64);
        wire.extend_from_slice(datagram);
    }
    wire
}

fn cuts() -> impl Strategy<Value = Vec<(usize, u64)>> {
    prop::collection::vec((prop_oneof![1..9usize, 1..20_000usize], some_wait()), 1..40)
}

/// Lines of many lengths, some with `\r`, some not UTF-8.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        4 => "[a-z☃é😀]{0,30}(\r|\n|\r\n|\r\r\n)".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..40),
        1 => (0..9000usize).prop_map(|len| "☃".repeat(len / 3).into_bytes()),
    ];
    prop::collection::vec(line, 0..60).prop_map(|lines| lines.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn text_in_any_cut(data in text(), cuts in cuts(), limits in some_limits(), no_buffer: bool) {
        let mut bench = Bench::new(limits, |config| {
            if no_buffer { config.age_max_ns = 0; }
        });
        let stream = feed(&mut bench, StreamType::Text, &data, &cuts);
        prop_assert_eq!(&stream.bytes, &data);
        prop_assert_eq!(stream.lines, text_lines(&data));
        if std::str::from_utf8(&data).is_ok() {
            for (value, _) in lines_sent(&bench.bundles) {
                prop_assert!(std::str::from_utf8(&value).is_ok(), "cut in a character");
            }
        }
    }

    #[test]
    fn binary_in_any_cut(data in prop::collection::vec(any::<u8>(), 0..60_000), cuts in cuts(),
                         limits in some_limits()) {
        let stream = feed(&mut Bench::new(limits, |_| ()), StreamType::Binary, &data, &cuts);
        prop_assert_eq!(stream.bytes, data);
    }

    #[test]
    fn datagrams_in_any_cut(
        datagrams in prop::collection::vec(
            prop_oneof![4 => prop::collection::vec(any::<u8>(), 0..300),
                        1 => prop::collection::vec(any::<u8>(), 0..20_000)], 0..20),
        tail in prop::option::of((1..10_000usize, 0..10_000usize)),
        cuts in cuts(), limits in some_limits())
    {
        let mut wire = framed(&datagrams);
        let mut want = datagrams.clone();
        if let Some((size, got)) = tail {
            let got = got.min(size - 1);
            varint::push(&mut wire, size as u64);
            wire.extend(vec![7; got]);
            if got > 0 { want.push(vec![7; got]); }
        }
        let stream = feed(&mut Bench::new(limits, |_| ()), StreamType::Datagram, &wire, &cuts);
        prop_assert_eq!(stream.datagrams, want);
        prop_assert_eq!(stream.datagram_open, tail.is_some_and(|(size, got)| got.min(size - 1) > 0));
    }

    /// Any bytes at all on a datagram stream: what was whole before an error
    /// is there, every byte is accounted for.
    #[test]
    fn any_bytes_as_datagrams(data in prop::collection::vec(any::<u8>(), 0..400),
                              cut in 1..50usize) {
        let mut bench = Bench::new(limits(4096, 4096), |_| ());
        let now = bench.now();
        let key = bench.core.open(&now, &properties(StreamType::Datagram)).unwrap();
        for piece in data.chunks(cut) {
            if bench.core.data(&now, key, piece).is_err() { break; }
        }
        bench.core.end(&now, key);
        bench.finish();
    }

    #[test]
    fn the_limit_cuts_to_the_byte(data in text(), cuts in cuts(), limit in 1..3000u64, lines: bool) {
        let mut bench = Bench::new(limits(256 * 1024, 10_485_759), |config| {
            config.stream_size_max = limit;
            config.text_in_lines = lines;
        });
        let stream = feed(&mut bench, StreamType::Text, &data, &cuts);
        if data.len() as u64 <= limit {
            prop_assert_eq!(stream.bytes, data);
        } else {
            let kept = &data[..limit as usize];
            prop_assert!(stream.bytes.starts_with(kept));
            let notices = String::from_utf8(stream.bytes[kept.len()..].to_vec()).unwrap();
            let notices = match kept.last() {
                Some(b'\n') => &notices[..],
                _ => notices.strip_prefix('\n').unwrap(),
            };
            let lines: Vec<_> = notices.lines().collect();
            prop_assert_eq!(lines.len(), 2);
            let omitted = data.len() as u64 - limit;
            let facts = [
                format!("maximum of {limit} bytes"),
                format!("{omitted} bytes were omitted"),
                format!("had {} bytes", data.len()),
            ];
            prop_assert!(lines[0].contains(&facts[0]));
            prop_assert!(lines[1].contains(&facts[1]) && lines[1].contains(&facts[2]));
        }
    }

    /// Streams side by side, opened, written and ended in any order.
    #[test]
    fn many_streams(ops in prop::collection::vec((0..12usize, 0..200usize, some_wait()), 1..200),
                    limits in some_limits()) {
        let mut bench = Bench::new(limits, |_| ());
        let mut keys = Vec::new();
        let mut want = vec![Vec::new(); 12];
        for at in 0..12 {
            let now = bench.now();
            let mut properties = properties(StreamType::ALL[at % 2]);
            properties.name = StreamName::new(format!("s{at}")).unwrap();
            keys.push(bench.core.open(&now, &properties).unwrap());
        }
        for (at, len, wait) in ops {
            let data: Vec<u8> = (0..len).map(|i| b"ab\ncde\rf\r\n"[(i * 7 + at) % 10]).collect();
            let now = bench.now();
            bench.core.data(&now, keys[at], &data).unwrap();
            want[at].extend(data);
            bench.wait(wait);
            // No byte waits for longer than the age.
            let due = bench.core.next_tick_ns(&bench.now());
            prop_assert!(due.is_none_or(|due| due > bench.now_ns), "{due:?} {}", bench.now_ns);
            prop_assert!(!bench.core.has_message(&bench.now()));
        }
        let now = bench.now();
        for key in keys { bench.core.end(&now, key); }
        let streams = bench.finish();
        for (at, want) in want.into_iter().enumerate() {
            let got = streams.get(&format!("s{at}")).map_or(Vec::new(), |s| s.bytes.clone());
            prop_assert_eq!(got, want);
        }
    }
}

#[test]
fn a_partial_line_keeps_characters_and_crlf_whole() {
    let mut bench = Bench::new(limits(4096, 4096), |_| ());
    let now = bench.now();
    let key = bench
        .core
        .open(&now, &properties(StreamType::Text))
        .unwrap();
    for piece in [&b"snow \xe2\x98"[..], b"\x83 man\r", b"\nnext\r", b"x"] {
        let now = bench.now();
        bench.core.data(&now, key, piece).unwrap();
        bench.wait(AGE_NS);
        for (value, _) in lines_sent(&bench.bundles) {
            assert!(std::str::from_utf8(&value).is_ok());
            assert!(!value.ends_with(b"\r"));
        }
        assert!(
            bench
                .core
                .next_tick_ns(&bench.now())
                .is_none_or(|due| due > bench.now_ns)
        );
    }
    let now = bench.now();
    bench.core.end(&now, key);
    let stream = bench.finish().remove("s/x").unwrap();
    assert_eq!(stream.bytes, b"snow \xe2\x98\x83 man\r\nnext\rx");
}

#[test]
fn a_limit_at_the_end_of_a_line_adds_no_line() {
    for lines in [true, false] {
        let mut bench = Bench::new(limits(4096, 4096), |config| {
            config.stream_size_max = 4;
            config.text_in_lines = lines;
        });
        let stream = feed(&mut bench, StreamType::Text, b"one\ntwo\n", &[(4, 0)]);
        let rest = stream.bytes.strip_prefix(b"one\n").unwrap();
        assert!(rest.starts_with(b"[butler] "), "{}", rest.escape_ascii());
    }
}

#[test]
fn a_large_line_or_datagram_flows_through_without_waiting() {
    for stream_type in [StreamType::Text, StreamType::Datagram] {
        let mut bench = Bench::new(limits(256 * 1024, 10_485_759), |_| ());
        let now = bench.now();
        let key = bench.core.open(&now, &properties(stream_type)).unwrap();
        let size = 9 << 20;
        let mut wire = Vec::new();
        if stream_type == StreamType::Datagram {
            varint::push(&mut wire, size as u64);
        }
        wire.resize(wire.len() + size, b'x');
        for piece in wire.chunks(65_536) {
            bench.core.data(&now, key, piece).unwrap();
            bench.pump();
            assert!(bench.core.buffered() < 12 << 20);
        }
        assert!(!bench.bundles.is_empty(), "no time has passed");
        bench.core.end(&now, key);
        let stream = bench.finish().remove("s/x").unwrap();
        assert_eq!(stream.bytes.len(), size);
    }
}

#[test]
fn a_stream_without_entries_is_not_mentioned() {
    for stream_type in StreamType::ALL {
        let stream = feed(
            &mut Bench::new(limits(4096, 4096), |_| ()),
            stream_type,
            b"",
            &[],
        );
        assert_eq!(stream, Stream::default());
    }
}

#[test]
fn memory_short_of_room_sends_unfinished_lines() {
    let mut bench = Bench::new(limits(256 * 1024, 10_485_759), |config| {
        config.buffered_max = 4 << 20;
    });
    let now = bench.now();
    let mut total = 0u64;
    for at in 0..100 {
        let mut properties = properties(StreamType::Text);
        properties.name = StreamName::new(format!("s{at}")).unwrap();
        let key = bench.core.open(&now, &properties).unwrap();
        if bench.core.may_read() {
            bench.core.data(&now, key, &[b'x'; 100_000]).unwrap();
            total += 100_000;
        }
        bench.pump();
    }
    assert_eq!(total, 100 * 100_000, "reading never stalls for good");
    assert!(!bench.bundles.is_empty(), "what waits counts as memory");
    assert!(bench.core.stats().peak_buffered < 5 << 20);
}

#[test]
fn names_are_used_once_and_namespaces_drain() {
    let mut bench = Bench::new(limits(4096, 4096), |_| ());
    let now = bench.now();
    let key = bench
        .core
        .open(&now, &properties(StreamType::Text))
        .unwrap();
    assert!(
        bench
            .core
            .open(&now, &properties(StreamType::Binary))
            .is_err()
    );
    bench.core.end(&now, key);
    assert!(
        bench
            .core
            .open(&now, &properties(StreamType::Text))
            .is_err()
    );
    let namespace = butler::wire::name::Namespace::new("t").unwrap();
    bench.core.drain(namespace);
    let mut other = properties(StreamType::Text);
    other.name = StreamName::new("t/y").unwrap();
    assert!(bench.core.open(&now, &other).is_err());
    other.name = StreamName::new("ty").unwrap();
    assert!(bench.core.open(&now, &other).is_ok());
    assert_eq!(bench.core.stats().streams_refused, 3);
}

fn golden(file: &str) -> Option<Vec<serde_json::Value>> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../shared/golden")
        .join(file);
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(
            text.lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect(),
        ),
        Err(error) => {
            println!("skipped: golden data {file} is not at hand: {error}");
            None
        }
    }
}

fn base64(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.bytes().filter(|&byte| byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => panic!("not base64"),
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    out
}

#[test]
fn golden_headers() {
    for case in golden("headers.jsonl").unwrap_or_default() {
        let mut bench = Bench::new(limits(4096, 4096), |_| ());
        let now = bench.now();
        let mut accept = |wire: &[u8]| {
            HeaderReader::default()
                .push(wire)
                .ok()
                .flatten()
                .is_some_and(|(properties, _)| bench.core.open(&now, &properties).is_ok())
        };
        if let Some(earlier) = case["earlier_connection"].as_str() {
            assert!(accept(&base64(earlier)));
        }
        let accepted = accept(&base64(case["wire"].as_str().unwrap()));
        match &case["accepted"] {
            serde_json::Value::Bool(want) => assert_eq!(accepted, *want, "{}", case["case"]),
            either => assert_eq!(either, "either"),
        }
    }
}

/// Takes the bytes of a connection, header and all, in pieces. What came after the
/// header is told as well.
fn taken(case: &serde_json::Value, cut: usize) -> (BTreeMap<String, Stream>, Vec<u8>) {
    let wire = base64(case["wire"].as_str().unwrap());
    let mut bench = Bench::new(limits(256 * 1024, 10_485_759), |config| {
        if case["case"] == "opts-global-tags" {
            config.global_tags.insert("g", "1").unwrap();
            config.global_tags.insert("zeta", "global").unwrap();
        }
    });
    let mut reader = HeaderReader::default();
    let (mut key, mut data) = (None, Vec::new());
    for mut piece in wire.chunks(cut.min(wire.len())) {
        let now = bench.now();
        if key.is_none() {
            let Some((properties, used)) = reader.push(piece).unwrap() else {
                continue;
            };
            key = bench.core.open(&now, &properties).ok();
            piece = &piece[used..];
        }
        data.extend_from_slice(piece);
        bench.core.data(&now, key.unwrap(), piece).unwrap();
        bench.wait(1_000_000);
    }
    let now = bench.now();
    bench.core.end(&now, key.unwrap());
    (bench.finish(), data)
}

/// In hexadecimal.
fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Is it what the reference made of the same?
fn assert_is(stream: &Stream, canon: &serde_json::Value) {
    assert_eq!(stream.bytes.len() as u64, canon["total_bytes"]);
    assert_eq!(sha256(&stream.bytes), canon["sha256_of_reassembled"]);
    let value = |json: &serde_json::Value, bytes: &[u8]| match json {
        serde_json::Value::String(text) => assert_eq!(base64(text), bytes),
        other => {
            assert_eq!(other["len"], bytes.len());
            assert_eq!(other["sha256"], sha256(bytes));
        }
    };
    if let Some(lines) = canon["lines"].as_array() {
        assert_eq!(lines.len(), stream.lines.len());
        for (want, got) in lines.iter().zip(&stream.lines) {
            value(&want["value"], &got.0);
            assert_eq!(want["delimiter"].as_str().unwrap_or(""), got.1);
        }
    }
    if let Some(datagrams) = canon["datagrams"].as_array() {
        assert_eq!(datagrams.len(), stream.datagrams.len());
        for (want, got) in datagrams.iter().zip(&stream.datagrams) {
            value(want, got);
        }
    }
}

#[test]
fn golden_streams() {
    for case in golden("streams.jsonl").unwrap_or_default() {
        for cut in [1, 7, 4096, usize::MAX] {
            let (streams, data) = taken(&case, cut);
            let Some(canon) = case["canon"].get(0) else {
                assert!(streams.is_empty());
                continue;
            };
            let stream = &streams[canon["name"].as_str().unwrap()];
            assert!(stream.terminal.is_some());
            let desc = &canon["desc"];
            assert_eq!(stream.desc.content_type, desc["contentType"]);
            let timestamp = stream.desc.timestamp.unwrap().to_string();
            assert_eq!(timestamp, desc["timestamp"]);
            let tags = desc.get("tags").cloned().unwrap_or_default();
            let tags: Option<BTreeMap<String, String>> = serde_json::from_value(tags).unwrap();
            assert_eq!(stream.desc.tags, tags.unwrap_or_default());
            match case["reference_drained"] == false {
                // The reference lost the tail; all of it is here.
                true => assert_eq!(stream.bytes, data),
                false => assert_is(stream, canon),
            }
        }
    }
}
