//! Whoever writes how much or how oddly, others are not disturbed.

use std::collections::VecDeque;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use butler::proto::logpb::{ButlerLogBundle, log_entry};

use crate::common::pattern::Content;
use crate::common::process::open;
use crate::common::reader::Reader;
use crate::common::tracker::Tracker;
use crate::common::writers::Writers;
use crate::turn;

/// A line now and then beside streams that write flat out is not late.
#[test]
fn a_quiet_stream_beside_loud_ones() {
    let _turn = turn();
    let age = Duration::from_millis(500);
    // For a machine that is shared: what a butler alone needs is far less.
    let allowance = Duration::from_secs(1);
    let (lines, loud) = (20, 64);

    let dir = tempfile::tempdir().unwrap();
    let content = Arc::new(Content::lines());
    let written: Arc<Mutex<VecDeque<Instant>>> = Arc::default();
    let latencies: Arc<Mutex<Vec<Duration>>> = Arc::default();
    let reader = Reader::listen_with(dir.path(), Tracker::new(Arc::clone(&content)), {
        let (written, latencies) = (Arc::clone(&written), Arc::clone(&latencies));
        move |bundle| {
            for _ in 0..lines_of(bundle, "quiet") {
                let since = written.lock().unwrap().pop_front().unwrap();
                latencies.lock().unwrap().push(since.elapsed());
            }
        }
    });
    // A line waits for what was read before it. When it is the reader that is
    // slow that is all that may be buffered, so it is little here.
    let little = ["--max-buffered", "8MiB", "--output-max-buffer-age", "500ms"];
    let serve = reader.serve(dir.path(), &little);

    let quiet = open(&serve.socket, "quiet", "text");
    let enough = Arc::new(AtomicBool::new(false));
    let quiet_thread = std::thread::spawn({
        let enough = Arc::clone(&enough);
        move || {
            let mut quiet = quiet;
            for line in 0..lines {
                std::thread::sleep(Duration::from_millis(100));
                written.lock().unwrap().push_back(Instant::now());
                writeln!(quiet, "now and then {line}").unwrap();
            }
            enough.store(true, Ordering::SeqCst);
        }
    });
    let mut writers = Writers::open(&serve.socket, loud, "text", &content, u64::MAX);
    writers.push_until(|_| enough.load(Ordering::SeqCst));
    quiet_thread.join().unwrap();
    let written = writers.written_in_all();
    let goals: Vec<u64> = (0..loud).map(|number| writers.written(number)).collect();
    drop(writers);

    let ended = serve.terminate();
    assert!(ended.status.success(), "{}", ended.stderr);
    let tracker = reader.finish();
    for (number, goal) in goals.iter().enumerate() {
        assert_eq!(tracker.stream(number).bytes, *goal);
    }
    let latencies = latencies.lock().unwrap();
    let max = latencies.iter().max().unwrap();
    println!(
        "{} MB beside; {} lines of the quiet stream, the slowest took {max:?}",
        written / 1_000_000,
        latencies.len()
    );
    assert_eq!(latencies.len(), lines);
    assert!(*max <= age + allowance, "{latencies:?}");
    // Nobody was kept from writing either.
    let (least, most) = (goals.iter().min().unwrap(), goals.iter().max().unwrap());
    assert!(*least > most / 10, "{least} to {most}");
}

/// Whole lines of the stream in the bundle.
fn lines_of(bundle: &ButlerLogBundle, stream: &str) -> usize {
    let of_stream = bundle
        .entries
        .iter()
        .filter(|entry| entry.desc.as_ref().is_some_and(|desc| desc.name == stream));
    let texts = of_stream
        .flat_map(|entry| &entry.logs)
        .filter_map(|log| match &log.content {
            Some(log_entry::Content::Text(text)) => Some(text),
            _ => None,
        });
    texts
        .flat_map(|text| &text.lines)
        .filter(|line| !line.delimiter.is_empty())
        .count()
}

/// Clients that dribble, say nothing, or go away at once.
#[test]
fn odd_clients_beside_loud_ones() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let content = Arc::new(Content::lines());
    let reader = Reader::listen(dir.path(), Tracker::new(Arc::clone(&content)));
    let serve = reader.serve(dir.path(), &["--drain-timeout", "300ms"]);

    let silent = UnixStream::connect(&serve.socket).unwrap();
    let text = "dribbled ✓\r\nbyte by byte\n".repeat(20);
    let dribble = std::thread::spawn({
        let mut stream = open(&serve.socket, "dribble", "text");
        let text = text.clone();
        move || {
            for byte in text.bytes() {
                stream.write_all(&[byte]).unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    let (loud, goal) = (32, 2_000_000);
    let mut writers = Writers::open(&serve.socket, loud, "text", &content, goal);
    let mut gone = 0;
    writers.push_until(|writers| {
        // In between, not all in one go.
        while gone < 300 && writers.written_in_all() / 100_000 > gone {
            drop(UnixStream::connect(&serve.socket).unwrap());
            gone += 1;
        }
        false
    });
    assert_eq!(gone, 300);
    dribble.join().unwrap();

    let ended = serve.terminate();
    drop(silent);
    assert!(ended.status.success(), "{}", ended.stderr);
    let tracker = reader.finish();
    for number in 0..loud {
        let seen = tracker.stream(number);
        assert!(seen.bytes == goal && seen.terminal, "{number}");
    }
    let seen = &tracker.streams["dribble"];
    assert!(seen.terminal);
    assert_eq!(seen.lines, 40);
    assert_eq!(String::from_utf8_lossy(&seen.kept), text);
    assert_eq!(tracker.streams.len(), loud + 1);
    let complaints: Vec<_> = ended
        .stderr
        .lines()
        .filter(|line| line.contains("error") && !line.contains("statistics"))
        .collect();
    assert!(complaints.len() <= 301, "{complaints:?}");
    println!("{} complaints about 301 odd clients", complaints.len());
}
