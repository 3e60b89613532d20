//! The far end is stopped, killed, or not there: writers do not wait for it, and
//! all arrives later.

use std::io::Write;
use std::time::Duration;

use crate::arrived::segments;
use crate::bench::Bench;
use crate::common::content::{check_all, every_kind, send_all};
use crate::common::pattern::Content;
use crate::common::process::{open, wait_until};
use crate::common::tracker::name;
use crate::common::writers::Writers;

/// Far more than may be in memory.
const LITTLE: &str = "--max-buffered=4MiB";
/// Bytes of each of some streams.
const GOAL: u64 = 3_000_000;
const STREAMS: usize = 3;
/// How often the far end begins anew meanwhile.
const LIVES: u64 = 8;

/// Panics unless all of these streams have arrived whole, of one run.
fn check_whole(bench: &Bench, content: &Content) {
    let arrived = bench.arrived();
    let runs = arrived.runs();
    let (_, streams) = runs.iter().next().unwrap();
    for number in 0..STREAMS {
        let stream = &streams[&name(number)];
        assert!(stream.terminal.is_some(), "{number}");
        assert_eq!(stream.bytes.len() as u64, GOAL, "{number}");
        assert!(content.matches(number, 0, &stream.bytes), "{number}");
    }
}

#[test]
fn writers_do_not_wait_for_a_far_end_that_is_stopped() {
    for when in ["always", "overflow"] {
        let bench = Bench::new();
        let content = Content::lines();
        let far_end = bench.far_end();
        let serve = bench.serve(&format!(",when={when}"), &[LITTLE]);
        let mut first = open(&serve.socket, "first", "text");
        first.write_all(b"the connection is there\n").unwrap();
        wait_until("it has arrived", || bench.arrived().len() > 0);
        far_end.stop();
        Writers::open(&serve.socket, STREAMS, "text", &content, GOAL).push_to_end();
        serve.wait_for_counter("streams_open", 1);
        let told = serve.statistics();
        assert!(told["spooled"].as_u64().unwrap() > GOAL, "{told}");
        far_end.go_on();
        drop(first);
        let ended = serve.terminate();
        ended.expect_success();
        check_whole(&bench, &content);
        assert_eq!(segments(bench.spool()).len(), 0, "{ended:?}");
    }
}

#[test]
fn a_far_end_that_is_killed_again_and_again() {
    for when in ["always", "overflow"] {
        let bench = Bench::new();
        let content = Content::lines();
        let serve = bench.serve(&format!(",when={when}"), &[LITTLE]);
        let mut writers = Writers::open(&serve.socket, STREAMS, "text", &content, GOAL);
        for life in 1..LIVES {
            let _far_end = bench.far_end();
            let before = bench.arrived_bytes();
            writers.push_until(|it| it.written_in_all() > life * GOAL * STREAMS as u64 / LIVES);
            // It is killed when it has some of it.
            wait_until("something has arrived", || bench.arrived_bytes() > before);
            std::thread::sleep(Duration::from_millis(life));
        }
        writers.push_to_end();
        let far_end = bench.far_end();
        let ended = serve.terminate();
        ended.expect_success();
        drop(far_end);
        check_whole(&bench, &content);
        println!("{} messages came again", bench.arrived().repeated);
        assert_eq!(segments(bench.spool()).len(), 0, "{ended:?}");
    }
}

/// The job ends, says what waits, and the next butler brings it away.
#[test]
fn a_far_end_that_never_comes() {
    for when in ["always", "overflow"] {
        let bench = Bench::new();
        let serve = bench.serve(&format!(",when={when}"), &["--flush-timeout=200ms", LITTLE]);
        let all = every_kind();
        send_all(&serve.socket, &all);
        serve.wait_for_counter("streams_open", 0);
        let ended = serve.terminate();
        ended.expect_success();
        let told = format!("wait in {}", bench.spool().display());
        assert!(ended.stderr.contains(&told), "{ended:?}");
        assert!(!ended.stderr.contains("lost, "), "{ended:?}");
        let ended = bench.deliver_the_rest();
        assert!(!ended.stderr.contains("wait in"), "{ended:?}");
        let arrived = bench.arrived();
        assert_eq!(arrived.repeated, 0);
        let runs = arrived.runs();
        assert_eq!(runs.len(), 1, "the second had nothing to say");
        check_all(runs.values().next().unwrap(), &all);
    }
}

/// Nobody reads, and the command does not know.
#[test]
fn a_job_ends_though_nobody_reads() {
    let bench = Bench::new();
    let far_end = bench.far_end();
    far_end.stop();
    let script = "yes 'a line of it' | head -c 8000000";
    let job = bench.run("", &["--flush-timeout=200ms", LITTLE], script);
    let ended = job.wait();
    ended.expect_success();
    assert!(ended.stderr.contains("8000000 bytes wait in"), "{ended:?}");
    drop(far_end);
    bench.deliver_the_rest();
    let arrived = bench.arrived();
    let streams = arrived.runs().into_values().next().unwrap();
    let expected = b"a line of it\n".iter().cycle().take(8_000_000);
    assert!(streams["stdout"].bytes.iter().eq(expected));
    assert!(streams["stdout"].terminal.is_some());
}
