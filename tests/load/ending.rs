//! Many streams that begin and end, and the end of all.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::common::pattern::Content;
use crate::common::process::{Serve, open, run, wait_until};
use crate::common::reader::Reader;
use crate::common::tracker::{Seen, Tracker};
use crate::common::writers::Writers;
use crate::{COUNTABLE, settled_descriptors, statistics, turn};

const MIB: u64 = 1024 * 1024;

/// What stream `at` of the soak is: its type and what its client writes.
fn soaked(at: usize) -> (&'static str, Vec<u8>) {
    match at % 10 {
        0 => ("text", Vec::new()),
        1 => ("binary", Vec::new()),
        2 => ("datagram", Vec::new()),
        3 | 4 => ("binary", vec![at as u8; at % 300 + 1]),
        5 | 6 => ("datagram", {
            let mut bytes = vec![(at % 100) as u8];
            bytes.resize(1 + at % 100, 7);
            bytes.extend([0, 2, 1, 1]);
            bytes
        }),
        7 => ("text", format!("{at} without an end").into_bytes()),
        _ => ("text", format!("line of {at}\n\r\nmore ✓\n").into_bytes()),
    }
}

fn check_soaked(at: usize, seen: Option<&Seen>) {
    let (stream_type, written) = soaked(at);
    if written.is_empty() {
        assert!(
            seen.is_none(),
            "{at}: a stream without data is not mentioned"
        );
        return;
    }
    let seen = seen.unwrap_or_else(|| panic!("stream {at} is lost"));
    assert!(seen.terminal, "{at}: its end is lost");
    if stream_type == "datagram" {
        let first = at % 100;
        assert_eq!(seen.datagrams, 3);
        assert_eq!(seen.kept, [&vec![7; first][..], &[1, 1]].concat());
    } else {
        assert_eq!(seen.kept, written, "{at}");
    }
}

/// Opens and closes streams `from..to`, a few hundred open at a time, and
/// waits until all have ended in the butler.
fn soak(serve: &Serve, from: usize, to: usize, descriptors: usize) {
    let mut open_streams: Vec<UnixStream> = Vec::new();
    for at in from..to {
        let (stream_type, written) = soaked(at);
        let mut stream = open(&serve.socket, &format!("soak/{at}"), stream_type);
        stream.write_all(&written).unwrap();
        open_streams.push(stream);
        if open_streams.len() == 300 {
            // Not in the order in which they were opened.
            for _ in 0..150 {
                open_streams.swap_remove(at % open_streams.len());
            }
        }
    }
    drop(open_streams);
    wait_until("all descriptors are closed", || {
        serve.descriptors() == descriptors
    });
}

#[test]
fn twenty_thousand_streams_come_and_go() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let reader = Reader::listen(dir.path(), Tracker::default());
    let output = reader.output();
    let stats = dir.path().join("stats.json");
    let stats_path = stats.to_str().unwrap();
    let age = ["--output-max-buffer-age", "50ms", COUNTABLE];
    let options = [&["--output", &output, "--stats-path", stats_path], &age[..]].concat();
    let serve = Serve::start(dir.path(), &options);
    let descriptors = settled_descriptors(&serve, &reader);
    let half = 10_000;
    let begun = Instant::now();
    let mut resident = [0; 2];
    for (round, resident) in resident.iter_mut().enumerate() {
        soak(&serve, round * half, (round + 1) * half, descriptors);
        let with_data = (round + 1) * half / 10 * 7 + 1;
        wait_until("all are delivered", || {
            reader.seen(Tracker::terminals) == with_data
        });
        *resident = serve.resident().0;
    }
    let took = begun.elapsed();
    let ended = serve.terminate();
    assert!(ended.status.success(), "{}", ended.stderr);
    println!(
        "{} streams in {took:?}; resident {} KiB after the first half, {} KiB after the second",
        2 * half,
        resident[0] / 1024,
        resident[1] / 1024
    );
    let tracker = reader.finish();
    for at in 0..2 * half {
        check_soaked(at, tracker.streams.get(&format!("soak/{at}")));
    }
    let statistics = statistics(&stats);
    assert_eq!(statistics["streams"].as_u64(), Some(2 * half as u64 + 1));
    assert_eq!(statistics["bytes_dropped"].as_u64(), Some(0));
    // Names are kept for ever, and little else.
    let names = 4 * MIB;
    assert!(resident[1] <= resident[0] + names, "{resident:?}");
}

/// All that a write had taken before the end is delivered: not a byte more
/// or less.
#[test]
fn a_signal_while_everybody_writes() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let content = Arc::new(Content::lines());
    let reader = Reader::listen(dir.path(), Tracker::new(Arc::clone(&content)));
    let serve = reader.serve(dir.path(), &["--drain-timeout", "500ms"]);
    let count = 500;
    let mut writers = Writers::open(&serve.socket, count, "text", &content, u64::MAX);
    writers.push_until(|writers| writers.written_in_all() > 20 * MIB);
    serve.signal(Signal::TERM);
    let signalled = Instant::now();
    writers.push_to_end();
    let ended = serve.wait();
    let took = signalled.elapsed();
    println!(
        "ended {took:?} after the signal, with {} MiB written",
        writers.written_in_all() / MIB
    );
    assert!(ended.status.success(), "{}", ended.stderr);
    assert!(took < Duration::from_secs(10), "{took:?}");
    let tracker = reader.finish();
    for number in 0..count {
        let seen = tracker.stream(number);
        assert_eq!(seen.bytes, writers.written(number), "{number}");
        assert!(seen.terminal, "{number}");
    }
}

/// The stdout of a command through `run` and a file, checked by `check`, which
/// gets pieces of what was written in order.
fn run_to_file(script: &str, check: impl FnMut(&[u8])) -> Tracker {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log");
    let output = format!("file,path={}", file.display());
    let begun = Instant::now();
    let ended = run(["run", "--output", &output, "--", "sh", "-c", script]);
    println!("{script}: {:?}", begun.elapsed());
    assert!(ended.status.success(), "{ended:?}");
    follow_file(&file, check)
}

fn follow_file(file: &Path, mut check: impl FnMut(&[u8])) -> Tracker {
    let mut tracker = Tracker::default();
    let bytes = std::fs::read(file).unwrap();
    for bundle in crate::common::process::parse(&bytes) {
        tracker.take(&bundle);
        if let Some(seen) = tracker.streams.get_mut("stdout") {
            check(&std::mem::take(&mut seen.kept));
        }
    }
    tracker
}

#[test]
fn a_pipe_at_full_speed_without_lines() {
    let _turn = turn();
    let len = 200_000_000;
    let script = format!(r"head -c {len} /dev/zero | tr '\0' x");
    let tracker = run_to_file(&script, |piece| {
        assert!(piece.iter().copied().collect::<Distinct>().only(b'x'));
    });
    let seen = &tracker.streams["stdout"];
    assert!(seen.terminal && seen.bytes == len && seen.lines == 0);
}

/// Which bytes there are.
struct Distinct([bool; 256]);

impl FromIterator<u8> for Distinct {
    fn from_iter<I: IntoIterator<Item = u8>>(bytes: I) -> Self {
        let mut distinct = [false; 256];
        for byte in bytes {
            distinct[usize::from(byte)] = true;
        }
        Self(distinct)
    }
}

impl Distinct {
    fn only(&self, byte: u8) -> bool {
        let mut others = (0..=255).filter(|other| *other != byte);
        others.all(|other| !self.0[usize::from(other)])
    }
}

#[test]
fn a_pipe_at_full_speed_with_lines() {
    let _turn = turn();
    let line = b"[1789.042] INFO compiled //lib/part-7:all \xe2\x9c\x93\n";
    let lines = 1_000_000;
    let text = String::from_utf8_lossy(&line[..line.len() - 1]).into_owned();
    let script = format!("yes '{text}' | head -n {lines}");
    let expected = line.repeat(3000);
    let mut at = 0;
    let tracker = run_to_file(&script, |mut piece| {
        while !piece.is_empty() {
            let here = &expected[at % line.len()..];
            let len = here.len().min(piece.len());
            assert!(piece[..len] == here[..len], "other bytes after {at}");
            piece = &piece[len..];
            at += len;
        }
    });
    let seen = &tracker.streams["stdout"];
    assert!(seen.terminal && seen.lines == lines);
    assert_eq!(at as u64, lines * line.len() as u64);
}
