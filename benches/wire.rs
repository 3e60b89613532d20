//! Bytes to values and back: headers, lines, entries, frames.
//!
//! What encodes entries stands beside prost's tree of messages, which makes
//! the same bytes: that is what a butler would do that took the schema's word
//! for everything.

#![allow(missing_docs, clippy::unwrap_used)]

use butler::proto::logpb::{self, log_entry};
use butler::wire::datagrams::put_datagrams;
use butler::wire::entry::{Content, EntryHead, front_len_max, logs_len, put_front, put_logs};
use butler::wire::header::HeaderReader;
use butler::wire::lines::put_lines;
use butler::wire::message::{Compression, FRAMES_LEN_MAX, MessageView, put_frames};
use butler::wire::varint;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use prost::Message;

fn main() {
    divan::main();
}

/// Mean lengths of lines, their ends included.
const LINES: [usize; 3] = [20, 100, 2000];
/// As one read brings it.
const READ: usize = 64 * 1024;

/// Whole lines, from half of the mean to one and a half of it; as many reads
/// as keep a processor from knowing the lengths of their lines by heart.
fn texts(mean: usize) -> Vec<Vec<u8>> {
    (0..4).map(|seed| text(mean, seed)).collect()
}

fn text(mean: usize, seed: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut random = seed;
    loop {
        // What a processor can't learn, as lengths of lines are.
        random = random
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(2 * seed + 1);
        let len = mean / 2 + (random >> 33) as usize % (mean + 1);
        if out.len() + len > READ {
            break;
        }
        out.extend((0..len - 1).map(|it| b'a' + (it * 31 % 26) as u8));
        out.push(b'\n');
    }
    out
}

fn head() -> EntryHead {
    EntryHead {
        offset_seconds: 12,
        offset_nanos: 345_678_901,
        prefix_index: 100_000,
        stream_index: 1000,
        sequence: 1_000_000,
    }
}

/// The same entry as a message, around its content.
fn tree(content: log_entry::Content) -> logpb::butler_log_bundle::Entry {
    let head = head();
    logpb::butler_log_bundle::Entry {
        logs: vec![logpb::LogEntry {
            time_offset: Some(prost_types::Duration {
                seconds: head.offset_seconds as i64,
                nanos: head.offset_nanos as i32,
            }),
            prefix_index: head.prefix_index,
            stream_index: head.stream_index,
            sequence: head.sequence,
            content: Some(content),
        }],
        ..Default::default()
    }
}

/// Encodes into memory that is used again, as the bundler does.
fn encode_ours(out: &mut Vec<u8>, content: &Content<'_>) -> usize {
    let head = head();
    let len = logs_len(&head, content);
    if out.len() < len {
        out.resize(len, 0);
    }
    put_logs(&mut out[..len], &head, content);
    len
}

fn encode_tree(out: &mut Vec<u8>, content: log_entry::Content) -> usize {
    out.clear();
    tree(content).encode(out).unwrap();
    out.len()
}

#[divan::bench_group]
mod header {
    use super::*;

    fn bytes() -> Vec<u8> {
        let json = br#"{"name":"build/step/17/stdout","contentType":"text/plain; charset=utf-8","type":"text","timestamp":"2026-01-15T10:32:07.123456789Z","tags":{"step":"compile","shard":"3"}}"#;
        let mut out = b"BTLR1\x1e".to_vec();
        varint::push(&mut out, json.len() as u64);
        out.extend_from_slice(json);
        out
    }

    #[divan::bench]
    fn in_one_piece(bencher: Bencher) {
        let bytes = bytes();
        bencher.bench_local(|| HeaderReader::default().push(black_box(&bytes)).unwrap());
    }

    #[divan::bench]
    fn as_the_python_client_cuts_it(bencher: Bencher) {
        let bytes = bytes();
        bencher.bench_local(|| {
            let mut reader = HeaderReader::default();
            for piece in [&bytes[..6], &bytes[6..7], &bytes[7..8], &bytes[8..]] {
                if let Some(done) = reader.push(black_box(piece)).unwrap() {
                    return Some(done);
                }
            }
            None
        });
    }
}

#[divan::bench_group]
mod lines {
    use super::*;

    /// Only finding them: what encoding can't be faster than.
    #[divan::bench(args = LINES)]
    fn find(bencher: Bencher, mean: usize) {
        let text = text(mean, 0);
        bencher
            .counter(BytesCount::of_slice(&text))
            .bench_local(|| memchr::memchr_iter(b'\n', black_box(&text)).count());
    }
}

#[divan::bench_group]
mod encode_text {
    use super::*;

    /// With finding the lines.
    #[divan::bench(args = LINES)]
    fn ours(bencher: Bencher, mean: usize) {
        let texts = texts(mean);
        let mut out = vec![0; 2 * READ + 1024];
        bencher
            .counter(BytesCount::new(texts.iter().map(Vec::len).sum::<usize>()))
            .bench_local(|| {
                texts.iter().fold(0, |_, text| {
                    let head = black_box(head());
                    let front_max = front_len_max(&head, text.len());
                    let (front, lines) = out.split_at_mut(front_max);
                    let put = put_lines(lines, black_box(text));
                    put.len + put_front(front, &head, put.len)
                })
            });
    }

    #[divan::bench(args = LINES)]
    fn prost_tree(bencher: Bencher, mean: usize) {
        let text = text(mean, 0);
        let mut out = Vec::new();
        bencher
            .counter(BytesCount::of_slice(&text))
            .bench_local(|| {
                let mut start = 0;
                let lines = memchr::memchr_iter(b'\n', black_box(&text)).map(|end| {
                    let line = &text[start..end];
                    start = end + 1;
                    let (value, delimiter) = match line.strip_suffix(b"\r") {
                        Some(value) => (value, "\r\n"),
                        None => (line, "\n"),
                    };
                    logpb::text::Line {
                        value: value.to_vec().into(),
                        delimiter: delimiter.to_owned(),
                    }
                });
                let lines = lines.collect();
                encode_tree(&mut out, log_entry::Content::Text(logpb::Text { lines }))
            });
    }
}

#[divan::bench_group]
mod encode_binary {
    use super::*;

    #[divan::bench]
    fn ours(bencher: Bencher) {
        let data = vec![0x5a; READ];
        let mut out = Vec::new();
        bencher
            .counter(BytesCount::of_slice(&data))
            .bench_local(|| encode_ours(&mut out, &Content::Binary([b"", black_box(&data)])));
    }

    #[divan::bench]
    fn prost_tree(bencher: Bencher) {
        let data = vec![0x5a; READ];
        let mut out = Vec::new();
        bencher
            .counter(BytesCount::of_slice(&data))
            .bench_local(|| {
                let data = black_box(&data).clone().into();
                encode_tree(&mut out, log_entry::Content::Binary(logpb::Binary { data }))
            });
    }
}

#[divan::bench_group]
mod encode_datagram {
    use super::*;

    const SIZES: [usize; 2] = [200, 4096];

    #[divan::bench(args = SIZES)]
    fn ours(bencher: Bencher, size: usize) {
        let data = vec![0x5a; size];
        let mut out = Vec::new();
        bencher
            .counter(BytesCount::of_slice(&data))
            .bench_local(|| {
                let content = Content::Datagram([b"", black_box(&data)], None);
                encode_ours(&mut out, &content)
            });
    }

    /// All of a read.
    #[divan::bench(args = SIZES)]
    fn ours_in_one_go(bencher: Bencher, size: usize) {
        let mut frame = Vec::new();
        varint::push(&mut frame, size as u64);
        frame.resize(frame.len() + size, 0x5a);
        let data = frame.repeat(READ / frame.len());
        let mut out = vec![0; 2 * READ];
        bencher
            .counter(BytesCount::of_slice(&data))
            .bench_local(|| put_datagrams(&mut out, &head(), black_box(&data)));
    }

    #[divan::bench(args = SIZES)]
    fn prost_tree(bencher: Bencher, size: usize) {
        let data = vec![0x5a; size];
        let mut out = Vec::new();
        bencher
            .counter(BytesCount::of_slice(&data))
            .bench_local(|| {
                let datagram = logpb::Datagram {
                    data: black_box(&data).clone().into(),
                    partial: None,
                };
                encode_tree(&mut out, log_entry::Content::Datagram(datagram))
            });
    }
}

#[divan::bench_group]
mod frames {
    use super::*;

    #[divan::bench]
    fn put(bencher: Bencher) {
        let mut out = [0; FRAMES_LEN_MAX];
        bencher.bench_local(|| put_frames(&mut out, Compression::None, black_box(262_144)));
    }

    #[divan::bench]
    fn parse(bencher: Bencher) {
        let mut message = vec![0; FRAMES_LEN_MAX];
        let used = put_frames(&mut message, Compression::None, 262_144);
        message.truncate(used);
        message.resize(used + 262_144, 0);
        bencher.bench_local(|| MessageView::parse(black_box(&message)).unwrap().is_some());
    }
}
