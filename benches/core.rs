//! The core as the edge drives it: data of many streams to bundles, and
//! bundles to what is written.

#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use butler::core::{Core, CoreConfig};
use butler::keys::StreamKey;
use butler::limits::{BUNDLE_MAX, BUNDLE_TARGET};
use butler::time::Moment;
use butler::wire::descriptor::{StreamProperties, StreamType, Tags};
use butler::wire::name::StreamName;
use butler::{BundleLimits, Gather, Identity, Message};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

const STREAMS: [usize; 5] = [1, 10, 100, 1000, 10_000];

fn now() -> Moment {
    Moment {
        mono_ns: 1_000_000,
        wall: prost_types::Timestamp {
            seconds: 1_768_473_127,
            nanos: 123_456_789,
        },
    }
}

fn core() -> Core {
    Core::new(CoreConfig {
        bundle_limits: BundleLimits {
            early: BUNDLE_TARGET,
            target: BUNDLE_TARGET,
            max: BUNDLE_MAX,
        },
        text_in_lines: true,
        identity: Identity {
            project: "project".into(),
            prefix: "a/prefix".into(),
            secret: Default::default(),
        },
        global_tags: Tags::default(),
        age_max_ns: 5_000_000_000,
        buffered_max: 64 << 20,
        stream_size_max: u64::MAX,
    })
}

fn properties(index: usize, stream_type: StreamType) -> StreamProperties {
    let name = format!("build/step/{index}/stdout");
    StreamProperties::new(StreamName::new(name).unwrap(), stream_type)
}

fn open(core: &mut Core, streams: usize, stream_type: StreamType) -> Vec<StreamKey> {
    (0..streams)
        .map(|index| core.open(&now(), &properties(index, stream_type)).unwrap())
        .collect()
}

/// Lines of 100 bytes.
fn text(len: usize) -> Vec<u8> {
    let line = [&[b'x'; 99][..], b"\n"].concat();
    line.iter().copied().cycle().take(len).collect()
}

/// Takes what leaves, as an output would.
fn deliver(core: &mut Core, gather: &mut Gather) {
    let now = now();
    while let Some(bundle) = core.poll_message(&now) {
        gather.message(&bundle);
        let len = gather.len() as u64;
        gather.clear();
        let ticket = bundle.ticket();
        drop(bundle);
        core.delivered(&now, ticket, len);
    }
}

/// A bundle, and where it came from.
fn bundle(streams: usize, read: usize) -> (Core, Arc<Message>) {
    let mut core = core();
    let data = text(read);
    let keys = open(&mut core, streams, StreamType::Text);
    for key in keys.iter().cycle() {
        core.data(&now(), *key, &data).unwrap();
        if let Some(bundle) = core.poll_message(&now()) {
            return (core, bundle);
        }
    }
    unreachable!("there is always a stream")
}

#[divan::bench_group]
mod bundling {
    use super::*;

    /// In all, each time: several bundles.
    const BYTES: usize = 2 << 20;

    /// Streams in turn, so that each bundle has as many as there are.
    fn rounds(bencher: Bencher, streams: usize, read: usize, stream_type: StreamType) {
        let mut core = core();
        let mut gather = Gather::default();
        let keys = open(&mut core, streams, stream_type);
        let data = text(read);
        let mut next = keys.iter().cycle();
        let reads = BYTES / read;
        bencher
            .counter(BytesCount::new(reads * read))
            .bench_local(|| {
                for key in next.by_ref().take(reads) {
                    core.data(&now(), *key, black_box(&data)).unwrap();
                    deliver(&mut core, &mut gather);
                }
            });
    }

    #[divan::bench(args = STREAMS)]
    fn text_64_kib_reads(bencher: Bencher, streams: usize) {
        rounds(bencher, streams, 65_500, StreamType::Text);
    }

    #[divan::bench(args = STREAMS)]
    fn text_1_kb_reads(bencher: Bencher, streams: usize) {
        rounds(bencher, streams, 1000, StreamType::Text);
    }

    #[divan::bench(args = STREAMS)]
    fn text_one_line_reads(bencher: Bencher, streams: usize) {
        rounds(bencher, streams, 100, StreamType::Text);
    }

    /// Every read ends in a line, which waits for its rest.
    #[divan::bench(args = STREAMS)]
    fn text_cut_lines(bencher: Bencher, streams: usize) {
        rounds(bencher, streams, 4050, StreamType::Text);
    }

    #[divan::bench(args = STREAMS)]
    fn binary_64_kib_reads(bencher: Bencher, streams: usize) {
        rounds(bencher, streams, 65_536, StreamType::Binary);
    }

    /// One stream writes, and this many others are open and silent.
    #[divan::bench(args = [0, 10_000])]
    fn beside_silent_streams(bencher: Bencher, silent: usize) {
        let mut core = core();
        let mut gather = Gather::default();
        let keys = open(&mut core, silent + 1, StreamType::Text);
        let data = text(65_500);
        bencher
            .counter(BytesCount::of_slice(&data))
            .bench_local(|| {
                core.data(&now(), keys[0], black_box(&data)).unwrap();
                deliver(&mut core, &mut gather);
            });
    }
}

/// Framing: a bundle to the slices that are written.
#[divan::bench(args = [1, 10, 100, 1000])]
fn gather(bencher: Bencher, streams: usize) {
    let (_core, bundle) = bundle(streams, 65_500.min(200_000 / streams));
    let mut gather = Gather::default();
    bencher
        .counter(BytesCount::new(bundle.len()))
        .bench_local(|| {
            gather.message(black_box(&bundle));
            let len = gather.len();
            gather.clear();
            len
        });
}

/// A thousand streams that open, write a line and end.
#[divan::bench]
fn short_streams(bencher: Bencher) {
    const COUNT: usize = 1000;
    let all: Vec<_> = (0..COUNT)
        .map(|index| properties(index, StreamType::Text))
        .collect();
    bencher
        .counter(ItemsCount::new(COUNT))
        .with_inputs(core)
        .bench_local_values(|mut core| {
            let mut gather = Gather::default();
            for properties in &all {
                let key = core.open(&now(), properties).unwrap();
                core.data(&now(), key, b"a line\n").unwrap();
                core.end(&now(), key);
                deliver(&mut core, &mut gather);
            }
            core
        });
}
