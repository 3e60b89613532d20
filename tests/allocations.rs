//! Once warm, the core allocates nothing: not for a read, an entry or a
//! bundle.

#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use butler::core::{Core, CoreConfig};
use butler::time::Moment;
use butler::wire::descriptor::{StreamProperties, StreamType, Tags};
use butler::{BundleLimits, Gather, Identity};

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

#[test]
fn nothing_is_allocated_once_warm() {
    for stream_type in StreamType::ALL {
        let mut core = Core::new(CoreConfig {
            bundle_limits: BundleLimits {
                target: 256 * 1024,
                max: 10_000_000,
            },
            text_in_lines: true,
            identity: Identity::default(),
            global_tags: Tags::default(),
            age_max_ns: 5_000_000_000,
            buffered_max: 64 << 20,
            stream_size_max: u64::MAX,
        });
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
