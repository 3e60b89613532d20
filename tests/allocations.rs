//! Once warm, nothing is allocated: not in the core for a read, an entry or a
//! bundle, and not in the whole butler from where it reads to where it sends.

#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use butler::core::{Core, CoreConfig};
use butler::limits::BUNDLE_TARGET;
use butler::output::UnixOutput;
use butler::read::Receiver;
use butler::time::Moment;
use butler::wire::descriptor::{StreamProperties, StreamType, Tags};
use butler::{BundleLimits, Butler, Config, Gather, Identity, IoMode, StreamServer};

/// Counts what this thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does all the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: it came from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: it came from the system's allocator.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn core() -> Core {
    Core::new(CoreConfig {
        bundle_limits: BundleLimits {
            early: 256 * 1024,
            target: 256 * 1024,
            max: 10_000_000,
        },
        text_in_lines: true,
        identity: Identity::default(),
        global_tags: Tags::default(),
        age_max_ns: 5_000_000_000,
        buffered_max: 64 << 20,
        stream_size_max: u64::MAX,
    })
}

#[test]
fn nothing_is_allocated_once_warm() {
    for stream_type in StreamType::ALL {
        let mut core = core();
        let mut now = Moment {
            mono_ns: 0,
            wall: prost_types::Timestamp::default(),
        };
        let keys: Vec<_> = (0..100)
            .map(|at| {
                let name = format!("s/{at}").parse().unwrap();
                let properties = StreamProperties::new(name, stream_type);
                core.open(&now, &properties).unwrap()
            })
            .collect();
        // Lines and datagrams of 100 bytes; reads end inside one.
        let unit = match stream_type {
            StreamType::Datagram => [&[99u8][..], &[b'x'; 99]].concat(),
            _ => [&[b'x'; 99][..], b"\n"].concat(),
        };
        let data = unit.repeat(700);
        let mut offsets = vec![0usize; keys.len()];
        let mut gather = Gather::default();
        let mut bundles = 0u64;
        let mut round = |core: &mut Core, bundles: &mut u64| {
            for (key, offset) in keys.iter().zip(&mut offsets) {
                now.mono_ns += 1_000_000;
                let len = [130, 4096, 65_536, 7][(*offset / 7) % 4];
                core.data(&now, *key, &data[*offset % 100..][..len])
                    .unwrap();
                *offset += len;
                core.tick(&now);
                while let Some(bundle) = core.poll_message(&now) {
                    gather.message(&bundle);
                    assert!(gather.len() > bundle.len());
                    gather.clear();
                    let ticket = bundle.ticket();
                    drop(bundle);
                    core.delivered(&now, ticket, 1);
                    *bundles += 1;
                }
            }
        };
        for _ in 0..50 {
            round(&mut core, &mut bundles);
        }
        let (before, bundles_before) = (ALLOCATIONS.get(), bundles);
        for _ in 0..50 {
            round(&mut core, &mut bundles);
        }
        let allocations = ALLOCATIONS.get() - before;
        assert!(bundles > bundles_before + 50);
        assert_eq!(
            allocations,
            0,
            "{stream_type}: in {} bundles",
            bundles - bundles_before
        );
    }
}

/// Streams of a butler as a library, written at full speed by other threads, to a
/// socket that another one reads, and perhaps acknowledges: on the butler's thread
/// nothing is allocated.
#[test]
fn nothing_is_allocated_from_read_to_sent() {
    const STREAMS: usize = 16;
    const WARM: u64 = 32 << 20;
    let modes = [IoMode::Auto, IoMode::Epoll];
    for (mode, ack) in modes
        .into_iter()
        .flat_map(|mode| [(mode, false), (mode, true)])
    {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("output");
        let listener = UnixListener::bind(&path).unwrap();
        let is_counted = Arc::new(AtomicBool::new(true));
        let of_reader = Arc::clone(&is_counted);
        let reader = thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            match ack {
                false => {
                    let mut buffer = vec![0; 1 << 20];
                    while connection.read(&mut buffer).unwrap() > 0 {}
                }
                true => acknowledge(connection, &of_reader),
            }
        });
        let mut output = UnixOutput::new(path);
        output.ack = ack;
        let counted = butler::start_with(mode, async {
            let butler = Butler::new(Config::new(output)).unwrap();
            butler.add_stream_server(StreamServer::bind(&dir.path().join("streams")).unwrap());
            let writers = (0..STREAMS).map(|number| writer(&butler, number, 6 * WARM / 16));
            let writers: Vec<_> = writers.collect();
            while butler.snapshot().bytes_delivered < WARM {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // What tells how far it is allocates itself.
            let begun = ALLOCATIONS.get();
            let at = butler.snapshot().bytes_delivered;
            let to_ask = ALLOCATIONS.get() - begun;
            let mut counts = Vec::new();
            for count in 1..=3 {
                let (mut asked, before) = (0, ALLOCATIONS.get());
                while butler.snapshot().bytes_delivered < at + count * WARM {
                    asked += 1;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                counts.push((ALLOCATIONS.get() - before).saturating_sub(to_ask * (asked + 1)));
            }
            is_counted.store(false, Ordering::Relaxed);
            butler.activate();
            butler.wait().await.unwrap();
            writers.into_iter().for_each(|it| it.join().unwrap());
            counts
        });
        let counts = counted.unwrap();
        // What grows to a new height does that once; anything that is allocated for
        // each read or message would be there for each of them, every time.
        let grown = 8;
        const { assert!(WARM / BUNDLE_TARGET as u64 > 3 * 8) };
        assert!(
            counts.iter().any(|count| *count <= grown),
            "{mode:?}, ack={ack}: {counts:?}"
        );
        reader.join().unwrap();
    }
}

/// A stream whose lines are written by another thread.
fn writer(butler: &Butler, number: usize, bytes: u64) -> thread::JoinHandle<()> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let name = format!("s/{number}").parse().unwrap();
    let properties = StreamProperties::new(name, StreamType::Text);
    butler.add_stream(ours.into(), &properties).unwrap();
    thread::spawn(move || write_lines(theirs, bytes))
}

/// Reads to the end, and keeps some messages under way, as a far end that has to
/// wait for its disk does: as long as it is counted what is allocated.
fn acknowledge(mut connection: UnixStream, is_counted: &AtomicBool) {
    const UNDER_WAY: u64 = 6;
    let mut receiver = Receiver::new();
    let mut taken = 0;
    while receiver.read_from(&mut connection).unwrap() > 0 {
        while let Some(message) = receiver.message().unwrap() {
            taken = message.number();
        }
        let frame = match is_counted.load(Ordering::Relaxed) {
            true => receiver.acknowledge_first(taken.saturating_sub(UNDER_WAY)),
            false => receiver.acknowledge(),
        };
        connection.write_all(&frame).unwrap();
    }
}

fn write_lines(mut stream: UnixStream, bytes: u64) {
    let lines = [&[b'x'; 99][..], b"\n"].concat().repeat(600);
    let mut left = bytes;
    while left > 0 {
        let len = left.min(lines.len() as u64);
        stream.write_all(&lines[..len as usize]).unwrap();
        left -= len;
    }
}
