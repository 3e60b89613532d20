//! Hours of load: memory and descriptors stay where they were once warm.
//!
//! A few seconds of it in a usual run; `scripts/soak` runs it for as long as
//! it is told, by `BUTLER_SOAK_SECONDS`.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use butler::limits::RESIDENT_PER_NAME;

use crate::common::pattern::Content;
use crate::common::process::{Serve, datagram, open, wait_until};
use crate::common::reader::Reader;
use crate::common::tracker::Tracker;
use crate::common::writers::Writers;
use crate::{COUNTABLE, NO_LIMIT, number, settled_descriptors, turn};

const MIB: u64 = 1024 * 1024;
/// Of a usual run.
const SECONDS: u64 = 8;
/// Streams that write in turn, all the time.
const STEADY: usize = 40;
/// Bytes of theirs in a round: some seconds of a log that is busy.
const ROUND_BYTES: u64 = 2_000_000;
/// Streams that come and go in a round.
const PASSING: usize = 10;
/// How long a round takes at least. So it is five hundred passing streams a
/// minute: their names are kept, and are what grows.
const ROUND: Duration = Duration::from_secs(1);
/// Memory may move by so much without growing.
const SLACK: u64 = 4 * MIB;

/// What was measured after a round.
#[derive(Debug, Clone, Copy)]
struct Sample {
    resident: u64,
    descriptors: usize,
    /// Streams that there ever were.
    names: u64,
}

#[test]
fn flat_memory_and_descriptors() {
    let _turn = turn();
    let time = Duration::from_secs(number("BUTLER_SOAK_SECONDS").unwrap_or(SECONDS));
    let dir = tempfile::tempdir().unwrap();
    let content = Arc::new(Content::lines());
    let tracker = Tracker::new(Arc::clone(&content)).forgetting();
    let reader = Reader::listen(dir.path(), tracker);
    let options = ["--output-max-buffer-age=100ms", NO_LIMIT, COUNTABLE];
    let serve = reader.serve(dir.path(), &options);
    let before = settled_descriptors(&serve, &reader);
    let mut steady = Writers::open(&serve.socket, STEADY, "text", &content, u64::MAX);
    let begun = Instant::now();
    let mut samples = Vec::new();
    for round in 0.. {
        if begun.elapsed() >= time {
            break;
        }
        let next = Instant::now() + ROUND;
        let goal = steady.written_in_all() + ROUND_BYTES;
        steady.push_until(|steady| steady.written_in_all() >= goal);
        pass(&serve, round);
        wait_until("the round is delivered", || {
            reader.seen(Tracker::terminals) as u64 == (round + 1) * PASSING as u64 + 1
        });
        // The next accept keeps some back.
        let descriptors = before + STEADY;
        wait_until("what was opened is closed", || {
            serve.descriptors() <= descriptors
        });
        samples.push(Sample {
            resident: serve.resident().0,
            descriptors: serve.descriptors(),
            names: (round + 1) * PASSING as u64 + STEADY as u64,
        });
        tell(begun, &samples);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let written: Vec<_> = (0..STEADY).map(|number| steady.written(number)).collect();
    drop(steady);
    let ended = serve.terminate();
    assert!(ended.status.success(), "{}", ended.stderr);
    let tracker = reader.finish();
    for (number, written) in written.into_iter().enumerate() {
        let seen = tracker.stream(number);
        assert!(seen.bytes == written && seen.terminal, "{number}");
    }
    check(&samples);
}

/// Streams of every type, some with a client that dies in mid-datagram.
fn pass(serve: &Serve, round: u64) {
    for at in 0..PASSING {
        let stream_type = ["text", "binary", "datagram"][at % 3];
        let mut stream = open(&serve.socket, &format!("passing/{round}/{at}"), stream_type);
        let mut written = datagram(&[b'x'; 3000]);
        written.truncate(3002 - at);
        stream.write_all(&written).unwrap();
    }
}

/// Says how it goes: each of the first rounds, then once a minute.
fn tell(begun: Instant, samples: &[Sample]) {
    if samples.len() < 10 || samples.len().is_multiple_of(60) {
        let Sample {
            resident,
            descriptors,
            names,
        } = samples[samples.len() - 1];
        println!(
            "{:?}: {} KiB resident, {descriptors} descriptors, {names} streams ever",
            Duration::from_secs(begun.elapsed().as_secs()),
            resident / 1024
        );
    }
}

/// Warm is what there was after a quarter of the time.
fn check(samples: &[Sample]) {
    let (warm, rest) = samples.split_at(samples.len() / 4 + 1);
    let resident = warm.iter().map(|it| it.resident).max().unwrap();
    let descriptors = warm.iter().map(|it| it.descriptors).max().unwrap();
    let names = warm.last().unwrap().names;
    assert!(!rest.is_empty(), "it was too short to see anything");
    for sample in rest {
        let bound = resident + SLACK + (sample.names - names) * RESIDENT_PER_NAME;
        assert!(sample.resident <= bound, "{sample:?}, warm: {resident}");
        assert!(
            sample.descriptors <= descriptors,
            "{sample:?}, warm: {descriptors}"
        );
    }
    println!(
        "warm: {} KiB and {descriptors} descriptors; at its end {:?}",
        resident / 1024,
        rest[rest.len() - 1]
    );
}
