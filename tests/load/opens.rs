//! Streams that open, write a line and end, thousands a second.
//!
//! `BUTLER_LOAD_SECONDS` says for how long; then the rate must be reached,
//! too, which takes a machine that is not busy (and a release build).

use std::io::Write;
use std::time::{Duration, Instant};

use crate::common::process::{Serve, open, wait_until};
use crate::common::reader::Reader;
use crate::common::tracker::Tracker;
use crate::{COUNTABLE, seconds, settled_descriptors, statistics, turn};

const RATE: usize = 5000;
/// Clients at a time.
const THREADS: usize = 4;
/// Of a usual run.
const SECONDS: u64 = 5;

#[test]
fn five_thousand_opens_a_second() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let reader = Reader::listen(dir.path(), Tracker::default());
    let stats = dir.path().join("stats");
    let output = reader.output();
    let options = [COUNTABLE, "--output-max-buffer-age=50ms", "--stats-path"];
    let options = [
        &["--output", &output],
        &options[..],
        &[stats.to_str().unwrap()],
    ]
    .concat();
    let serve = Serve::start(dir.path(), &options);
    let descriptors = settled_descriptors(&serve, &reader);
    let given = seconds();
    let of_each = given.unwrap_or(SECONDS) as usize * RATE / THREADS;
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let serve = &serve;
            scope.spawn(move || open_at_rate(serve, thread, of_each, begun));
        }
    });
    let took = begun.elapsed();
    let count = THREADS * of_each;
    wait_until("all are delivered", || {
        reader.seen(Tracker::terminals) == count + 1
    });
    wait_until("all are closed", || serve.descriptors() == descriptors);
    let (resident, peak) = serve.resident();
    let ended = serve.terminate();
    assert!(ended.status.success(), "{}", ended.stderr);
    let rate = count as f64 / took.as_secs_f64();
    println!(
        "{count} streams in {took:?}: {rate:.0} a second; resident {} KiB, at most {} KiB",
        resident / 1024,
        peak / 1024
    );
    let tracker = reader.finish();
    for thread in 0..THREADS {
        for number in 0..of_each {
            let seen = &tracker.streams[&name(thread, number)];
            assert_eq!(seen.kept, line(number).into_bytes());
        }
    }
    let statistics = statistics(&stats);
    // One connection found out that it listens, and said nothing.
    assert!(statistics["streams_refused"].as_u64() <= Some(1));
    assert_eq!(statistics["streams"].as_u64(), Some(count as u64 + 1));
    assert_eq!(statistics["bytes_delivered"], statistics["bytes_in"]);
    if given.is_some() {
        assert!(rate >= 0.95 * RATE as f64, "{rate:.0} a second");
    }
}

fn name(thread: usize, number: usize) -> String {
    format!("opens/{thread}/{number}")
}

fn line(number: usize) -> String {
    format!("line of {number}\n")
}

/// Whoever is behind hurries.
fn open_at_rate(serve: &Serve, thread: usize, count: usize, begun: Instant) {
    for number in 0..count {
        let due = Duration::from_secs_f64((number * THREADS) as f64 / RATE as f64);
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
        let mut stream = open(&serve.socket, &name(thread, number), "text");
        stream.write_all(line(number).as_bytes()).unwrap();
    }
}
