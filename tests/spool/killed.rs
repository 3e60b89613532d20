//! Butler is killed (SIGKILL) at any moment, and so is the far end: what is in the
//! spool arrives, by whichever butler comes next, as it is there.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::arrived::{Messages, segments};
use crate::bench::Bench;
use crate::common::pattern::Content;
use crate::common::process::{header, wait_until};
use crate::common::tracker::name;
use crate::far_end::FarEnd;
use crate::random::Random;
use crate::seed;

const KILLS: u64 = 300;
/// Spools that are written at the same time.
const LANES: u64 = 4;
/// After so many kills a butler delivers the rest, and a new spool is begun.
const KILLS_A_SPOOL: u64 = 15;
/// Bytes of each stream.
const GOAL: u64 = 400_000;

/// What came of some kills.
#[derive(Default)]
struct Tally {
    arrived: usize,
    repeated: usize,
    /// Messages that were only in the spool when the last one was killed.
    waited: usize,
}

#[test]
fn killed_at_three_hundred_moments() {
    let mut random = Random::new(seed());
    let content = Arc::new(Content::lines());
    let lanes: Vec<_> = (0..LANES)
        .map(|_| {
            let (mut random, content) = (Random::new(random.bits()), Arc::clone(&content));
            std::thread::spawn(move || {
                let mut tally = Tally::default();
                for _ in 0..KILLS / LANES / KILLS_A_SPOOL {
                    one_spool(&mut random, &content, &mut tally);
                }
                tally
            })
        })
        .collect();
    let mut all = Tally::default();
    for lane in lanes {
        let tally = lane.join().expect("every spool is right");
        all.arrived += tally.arrived;
        all.repeated += tally.repeated;
        all.waited += tally.waited;
    }
    println!(
        "{KILLS} kills: {} messages arrived, {} of them again, {} had waited in a spool",
        all.arrived, all.repeated, all.waited
    );
    assert!(all.arrived as u64 > KILLS, "{}", all.arrived);
    assert!(all.waited > 0);
}

fn one_spool(random: &mut Random, content: &Content, tally: &mut Tally) {
    let bench = Bench::new();
    let mut in_spool = Messages::default();
    let mut far_end = Some(bench.far_end());
    for _ in 0..KILLS_A_SPOOL {
        match random.below(6) {
            0 => far_end = None,
            1 => far_end = Some(bench.far_end()),
            2 => far_end.iter().for_each(FarEnd::stop),
            _ => far_end.iter().for_each(FarEnd::go_on),
        }
        live(&bench, random, content);
        in_spool.take_spool(bench.spool());
    }
    drop(far_end);
    let before = bench.arrived().len();
    let ended = bench.deliver_the_rest();
    assert!(!ended.stderr.contains("damaged"), "{ended:?}");
    let arrived = bench.arrived();
    arrived.expect_all(&in_spool);
    for (prefix, streams) in arrived.runs() {
        for number in 0..3 {
            if let Some(stream) = streams.get(&name(number)) {
                let right = content.matches(number, 0, &stream.bytes);
                assert!(right, "{prefix}: {} has other bytes", stream.desc.name);
            }
        }
    }
    tally.arrived += arrived.len();
    tally.waited += arrived.len() - before;
    tally.repeated += arrived.repeated;
}

/// One butler, from its start to its violent end.
fn live(bench: &Bench, random: &mut Random, content: &Content) {
    let keys = random.pick(&[
        ",when=always",
        ",when=always,sync=always",
        ",when=always,sync=never",
        "",
        ",sync=1ms",
    ]);
    let options = random.pick(&["--output-no-buffer", "--output-max-buffer-age=3ms"]);
    let writers = random.size(1, 3);
    let piece = random.pick(&[500, 5000, 50_000]);
    let killed_after = Duration::from_micros(random.below(120_000));
    let mut serve = bench.begin(keys, &[options]);
    let gone = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for number in 0..writers {
            let (socket, gone) = (&serve.socket, &gone);
            scope.spawn(move || write(socket, number, content, piece, gone));
        }
        wait_until("it listens", || {
            UnixStream::connect(&serve.socket).is_ok() || serve.child.try_wait().unwrap().is_some()
        });
        std::thread::sleep(killed_after);
        serve.child.kill().unwrap();
        serve.child.wait().unwrap();
        gone.store(true, Ordering::SeqCst);
    });
    let ended = serve.wait();
    // The one before was killed, and that is no damage.
    assert!(!ended.stderr.contains("damaged"), "{ended:?}");
    assert_eq!(ended.status.code(), None, "{ended:?}");
}

/// Ends when the butler has.
fn write(socket: &Path, number: usize, content: &Content, piece: usize, gone: &AtomicBool) {
    let mut stream = loop {
        match UnixStream::connect(socket) {
            Ok(stream) => break stream,
            Err(_) if gone.load(Ordering::SeqCst) => return,
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    let json = format!(r#"{{"name":"{}","type":"text"}}"#, name(number));
    let mut at = 0;
    let mut written = stream.write_all(&header(&json));
    while written.is_ok() && at < GOAL {
        let data = content.written(number, at);
        let data = &data[..data.len().min(piece).min((GOAL - at) as usize)];
        written = stream.write_all(data);
        at += data.len() as u64;
        // So that there are many messages.
        std::thread::sleep(Duration::from_micros(500));
    }
}

/// What a butler that ended by itself has said is kept to, whoever comes after it
/// and is killed.
#[test]
fn what_was_said_to_wait_arrives() {
    let mut random = Random::new(seed());
    let content = Content::lines();
    for when in ["always", "overflow"] {
        let bench = Bench::new();
        let options = [
            "--flush-timeout=50ms",
            "--prefix=said/so",
            "--max-buffered=4MiB",
        ];
        let serve = bench.serve(&format!(",when={when}"), &options);
        write(&serve.socket, 1, &content, 10_000, &AtomicBool::new(true));
        serve.wait_for_counter("bytes_in", GOAL);
        let ended = serve.terminate();
        ended.expect_success();
        let told = format!("1 stream, {GOAL} bytes wait in");
        assert!(ended.stderr.contains(&told), "{ended:?}");
        let far_end = bench.far_end();
        for _ in 0..10 {
            live(&bench, &mut random, &content);
        }
        drop(far_end);
        bench.deliver_the_rest();
        let arrived = bench.arrived();
        let stream = &arrived.runs()["said/so"][&name(1)];
        assert_eq!(stream.bytes.len() as u64, GOAL);
        assert!(content.matches(1, 0, &stream.bytes) && stream.terminal.is_some());
        assert_eq!(segments(bench.spool()).len(), 0);
    }
}
