//! What waits on disk takes no memory.

use std::time::Duration;

use butler::limits::Resident;

use crate::arrived::segments;
use crate::bench::Bench;
use crate::common::pattern::Content;
use crate::common::writers::Writers;

const MIB: u64 = 1024 * 1024;
const STREAMS: usize = 16;
/// 200 MB in all.
const GOAL: u64 = 200_000_000 / STREAMS as u64;

#[test]
fn the_formula_holds_while_much_waits() {
    let bench = Bench::new();
    let far_end = bench.far_end();
    far_end.stop();
    let content = Content::lines();
    let serve = bench.serve(",sync=never", &["--max-buffered=4MiB"]);
    let mut writers = Writers::open(&serve.socket, STREAMS, "text", &content, GOAL);
    writers.push_until(|it| it.open_count() == 0);
    serve.wait_for_counter("streams_open", 0);
    let (_, peak) = serve.resident();
    let waits: u64 = segments(bench.spool())
        .iter()
        .map(|path| path.metadata().unwrap().len())
        .sum();
    assert!(waits > 200_000_000, "{waits} bytes wait");
    let bound = Resident {
        buffered_max: 4 * MIB,
        open_streams: STREAMS as u64,
        descriptor_bytes: STREAMS as u64 * 50,
        names: STREAMS as u64,
        name_bytes: STREAMS as u64 * 10,
    };
    println!(
        "{} MiB wait: resident at most {} MiB, by the formula {} MiB",
        waits / MIB,
        peak / MIB,
        bound.max() / MIB
    );
    assert!(peak <= bound.max(), "{peak} bytes");
    // Descriptors are those of what is written and read, not of what waits.
    let descriptors = serve.descriptors();
    std::thread::sleep(Duration::from_millis(200));
    assert!(
        serve.descriptors() <= descriptors && descriptors < 40,
        "{descriptors}"
    );
}
