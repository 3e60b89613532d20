use super::*;
use crate::keys::StreamKey;
use crate::proto::logpb::LogStreamDescriptor;
use crate::wire::descriptor::StreamType;
use crate::wire::entry::OVERHEAD_MAX;

const TARGET: usize = 10_000;
const MAX: usize = 50_000;
const MEMORY_MAX: usize = 1_000_000;
const STREAMS: usize = 30;

/// A bundler, and streams with what they remember.
struct Bench {
    bundler: Bundler,
    streams: Vec<(Arc<StreamInfo>, Slot)>,
    read: Moment,
}

impl Bench {
    fn new() -> Self {
        Self::with_limits(TARGET, MAX, MEMORY_MAX)
    }

    fn with_limits(target: usize, max: usize, memory_max: usize) -> Self {
        let limits = BundleLimits {
            early: target,
            target,
            max,
        };
        let identity = Identity {
            project: "project".into(),
            ..Default::default()
        };
        let info = |at: usize| {
            let name = format!("stream/{at}");
            let descriptor = LogStreamDescriptor {
                name: name.clone(),
                ..Default::default()
            };
            let name = name.parse().unwrap();
            let key = StreamKey::from_u64(at as u64);
            Arc::new(StreamInfo::new(key, name, StreamType::Text, &descriptor))
        };
        Self {
            bundler: Bundler::new(limits, memory_max, &identity),
            streams: (0..STREAMS).map(|at| (info(at), Slot::default())).collect(),
            read: Moment {
                mono_ns: 7,
                wall: Timestamp::default(),
            },
        }
    }

    fn stage(&mut self, stream: usize, len: usize) {
        let (info, slot) = &mut self.streams[stream];
        let read = &self.read;
        let entry = self.bundler.stage(info, slot, len, 1, read, read);
        entry.fill(stream as u8);
    }

    fn terminate(&mut self, stream: usize) {
        let (info, slot) = &mut self.streams[stream];
        self.bundler.terminate(info, slot, 0, &self.read);
    }

    fn room(&self, stream: usize) -> usize {
        let (info, slot) = &self.streams[stream];
        self.bundler.room(info, *slot)
    }

    /// What a stream's first entry takes besides itself.
    fn overhead(&self) -> usize {
        ENTRY_OVERHEAD_MAX + self.streams[0].0.descriptor_field.len()
    }

    fn size(&self) -> usize {
        self.bundler.open.as_ref().unwrap().size
    }

    /// Stages an entry so that `left` bytes of the target are left.
    fn fill(&mut self, stream: usize, left: usize) {
        self.stage(stream, 0);
        let len = TARGET - self.size() - left;
        self.stage(stream, len);
        assert_eq!(self.size(), TARGET - left);
    }

    fn seal(&mut self) -> Arc<Message> {
        self.bundler.seal();
        self.bundler.pop().unwrap()
    }
}

#[test]
fn room_is_what_the_target_has_left() {
    let mut bench = Bench::new();
    let identity = message::bundle_overhead_max(&bench.bundler.identity);
    let fresh = TARGET - identity - bench.overhead() - OVERHEAD_MAX;
    assert_eq!(bench.room(0), fresh);
    assert!(bench.bundler.is_fresh());
    let alone = bench.bundler.room_alone(&bench.streams[0].0);
    assert_eq!(alone, fresh + MAX - TARGET);

    bench.stage(0, 1000);
    assert!(!bench.bundler.is_fresh());
    assert_eq!(bench.room(0), fresh - 1000);
    assert_eq!(bench.room(1), fresh - 1000 - bench.overhead());
    bench.stage(1, 500);
    assert_eq!(bench.room(0), fresh - 1500 - bench.overhead());
    assert_eq!(bench.room(0), bench.room(1));
    bench.stage(0, bench.room(0) + OVERHEAD_MAX);
    assert_eq!((bench.room(0), bench.room(2)), (0, 0));
    assert_eq!(bench.size(), TARGET);

    // What was in the last bundle is not in the next.
    let bundle = bench.seal();
    assert!(bundle.len() <= TARGET);
    bench.stage(1, 10);
    assert_eq!(bench.room(1), fresh - 10);
    assert_eq!(bench.room(0), fresh - 10 - bench.overhead());

    // One that is alone may have more.
    bench.seal();
    bench.stage(0, alone + OVERHEAD_MAX);
    assert_eq!((bench.size(), bench.room(0)), (MAX, 0));
}

/// However much a descriptor takes.
#[test]
fn there_is_always_some_room_in_a_fresh_bundle() {
    let bench = Bench::new();
    let descriptor = LogStreamDescriptor {
        content_type: "x".repeat(MAX),
        ..Default::default()
    };
    let name = "large".parse().unwrap();
    let info = StreamInfo::new(StreamKey::from_u64(0), name, StreamType::Text, &descriptor);
    assert_eq!(bench.bundler.room(&info, Slot::default()), PAYLOAD_MIN);
    assert_eq!(bench.bundler.room_alone(&info), PAYLOAD_MIN);
}

/// Entries of one stream and one read that lie together are one part.
#[test]
fn parts_are_as_few_as_may_be() {
    let mut bench = Bench::new();
    for (stream, read_ns) in [(0, 7), (0, 7), (1, 7), (0, 7), (0, 9), (0, 9), (2, 9)] {
        bench.read.mono_ns = read_ns;
        bench.stage(stream, 100);
    }
    assert_eq!(bench.bundler.next_prefix_index(), 7);
    let bundle = bench.seal();
    let parts: Vec<_> = bundle
        .parts
        .iter()
        .map(|part| (part.start, part.len, part.entries, part.read_ns))
        .collect();
    let expected = [
        (0, 200, 2, 7),
        (200, 100, 1, 7),
        (300, 100, 1, 7),
        (400, 200, 2, 9),
        (600, 100, 1, 9),
    ];
    assert_eq!(parts, expected);
    assert_eq!(bundle.entries(), 7);
    for (at, (entries, stream)) in [5, 1, 1].iter().zip(bundle.streams()).enumerate() {
        let logs: Vec<_> = bundle.logs(stream).collect();
        assert_eq!(logs.concat(), vec![at as u8; entries * 100]);
        assert_eq!(stream.client_bytes, *entries as u64);
    }
}

#[test]
fn an_end_goes_where_it_fits() {
    // A stream that is in the bundle ends in it, however full that is.
    let mut bench = Bench::new();
    bench.fill(0, 0);
    bench.terminate(0);
    assert!(!bench.bundler.has_sealed());

    let overhead = bench.overhead();
    for (left, fits) in [(overhead, true), (overhead - 1, false), (0, false)] {
        let mut bench = Bench::new();
        bench.fill(0, left);
        bench.terminate(1);
        assert_eq!(bench.bundler.has_sealed(), !fits, "{left}");
        let bundle = match fits {
            true => bench.seal(),
            false => bench.bundler.pop().unwrap(),
        };
        assert!(bundle.len() <= TARGET);
        assert_eq!(bundle.streams().len(), if fits { 2 } else { 1 });
    }
}

#[test]
fn what_is_nearly_full_is_full() {
    let slack = TARGET / NEARLY_FULL;
    for (left, full) in [(slack + 1, false), (slack, false), (slack - 1, true)] {
        let mut bench = Bench::new();
        bench.fill(0, left);
        bench.bundler.seal_if_full();
        assert_eq!(bench.bundler.has_sealed(), full, "{left}");
    }
    let mut bench = Bench::new();
    bench.bundler.seal_if_full();
    assert!(!bench.bundler.has_sealed());
}

#[test]
fn where_bundles_are() {
    let mut bench = Bench::new();
    let state = |bench: &Bench| {
        let bundler = &bench.bundler;
        (bundler.is_empty(), bundler.waiting())
    };
    assert_eq!(state(&bench), (true, 0));
    bench.stage(0, 1);
    assert_eq!(state(&bench), (false, 0));
    assert_eq!(bench.bundler.oldest_ns(), Some(7));
    bench.bundler.seal();
    assert_eq!(state(&bench), (false, 1));
    assert_eq!(bench.bundler.oldest_ns(), None);
    bench.stage(0, 1);
    bench.bundler.seal();
    assert_eq!(state(&bench), (false, 2));
    assert_eq!(bench.streams[0].1.messages, 2);
    let tickets = [(); 2].map(|()| bench.bundler.pop().unwrap().ticket());
    assert!(tickets[0] < tickets[1]);
    assert_eq!(state(&bench), (true, 0));
}

/// Memory is that of segments and of what is noted of entries and streams.
#[test]
fn memory_is_counted_until_it_is_free() {
    let mut bench = Bench::new();
    assert_eq!(bench.bundler.held(), 0);
    for at in 0..60 {
        // Parts, because the streams take turns.
        bench.stage(at % STREAMS, 10);
    }
    let noted = 60 * size_of::<Part>() + STREAMS * size_of::<MessageStream>();
    let held = bench.bundler.held();
    // Lists grow by doubling.
    assert!(held >= TARGET + noted, "{held}");
    assert!(held <= TARGET + 2 * noted, "{held}");

    let first = bench.seal();
    assert_eq!(bench.bundler.held(), held);
    bench.stage(0, 10);
    let second = bench.seal();
    let both = bench.bundler.held();
    assert!(both >= held + TARGET);
    bench.bundler.recycle(first);
    assert_eq!(bench.bundler.held(), both - held);
    bench.bundler.recycle(second);
    assert_eq!(bench.bundler.held(), 0);
}

/// What replaces a bundle's content is counted instead of it.
#[test]
fn what_is_released_is_used_again() {
    let mut bench = Bench::new();
    bench.stage(0, 10);
    let mut bundle = bench.seal();
    bench.stage(1, 10);
    let other = bench.seal();
    let held = bench.bundler.held();
    let segment = bundle.segment.as_ptr();
    bench.bundler.release(&mut bundle, 123);
    assert_eq!(bench.bundler.held(), other.memory + 123);
    assert!(held > bench.bundler.held());
    assert!(bundle.segment.is_empty());
    bench.stage(2, 10);
    let mut next = bench.seal();
    assert_eq!(next.segment.as_ptr(), segment);
    // What somebody else has is not free.
    let theirs = Arc::clone(&next);
    bench.bundler.release(&mut next, 123);
    assert_eq!(theirs.segment.as_ptr(), segment);
    drop(theirs);
    for bundle in [bundle, other, next] {
        bench.bundler.recycle(bundle);
    }
    assert_eq!(bench.bundler.held(), 0);
}

/// Lists and segments are kept for the next bundles, as many as are useful.
#[test]
fn what_is_kept() {
    let mut bench = Bench::new();
    let bundles: Vec<_> = (0..SPARE_MAX + 2)
        .map(|_| {
            bench.stage(0, 1);
            bench.seal()
        })
        .collect();
    for bundle in bundles {
        bench.bundler.recycle(bundle);
    }
    assert_eq!(bench.bundler.spare.len(), SPARE_MAX);
    bench.stage(0, 1);
    assert_eq!(bench.bundler.spare.len(), SPARE_MAX - 1);
}

/// Where entries are small their lists are large: few of those are kept.
#[test]
fn large_lists_are_not_kept() {
    const MIB: usize = 1024 * 1024;
    let mut bench = Bench::with_limits(4 * MIB, 4 * MIB, 64 * MIB);
    let bundles: Vec<_> = (0..4)
        .map(|_| {
            for _ in 0..20_000 {
                bench.stage(0, 1);
                bench.stage(1, 1);
            }
            bench.seal()
        })
        .collect();
    for bundle in bundles {
        bench.bundler.recycle(bundle);
    }
    let kept = bench.bundler.spare.iter();
    let bytes: usize = kept.map(|it| lists_memory(&it.parts, &it.streams)).sum();
    assert!(bytes > 0 && bytes <= SPARE_BYTES_MAX, "{bytes}");
    assert_eq!(bytes, bench.bundler.spare_bytes);
}

/// A busy time's memory is given back when nothing is staged, cut or on its
/// way any more.
#[test]
fn memory_is_given_back_at_rest() {
    const MIB: usize = 1024 * 1024;
    let mut bench = Bench::with_limits(MIB, MIB, 64 * MIB);
    let mut bundles: Vec<_> = (0..10)
        .map(|_| {
            bench.stage(0, 1);
            bench.seal()
        })
        .collect();
    bench.stage(0, 1);
    let last = bundles.pop().unwrap();
    for bundle in bundles {
        bench.bundler.recycle(bundle);
    }
    assert_eq!(bench.bundler.pool.free(), 9);
    let staged = bench.seal();
    bench.bundler.recycle(staged);
    assert_eq!(bench.bundler.pool.free(), 10, "one is on its way");
    bench.bundler.recycle(last);
    assert_eq!(bench.bundler.pool.free(), 4);
}
