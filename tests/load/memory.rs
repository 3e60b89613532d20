//! Memory stays within its bounds when an output does not take anything.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use butler::limits::RESIDENT_BESIDES;

use crate::common::pattern::Content;
use crate::common::process::{Serve, open, wait_until};
use crate::common::reader::Reader;
use crate::common::tracker::Tracker;
use crate::common::writers::Writers;
use crate::{statistics, turn};

const MIB: u64 = 1024 * 1024;
const WRITERS: usize = 500;
const MAX_BUFFERED: u64 = 64 * MIB;

struct Case {
    stream_type: &'static str,
    content: Content,
    /// Bytes that each of the writers writes.
    goal: u64,
    /// Bytes of one write at most.
    piece: usize,
    /// What the process may take besides what is buffered.
    besides: u64,
}

impl Case {
    fn new(stream_type: &'static str, content: Content, goal: u64) -> Self {
        Self {
            stream_type,
            content,
            goal,
            piece: usize::MAX,
            besides: RESIDENT_BESIDES,
        }
    }
}

/// A reader that accepts and does not read; when nobody can write any more it
/// goes on.
fn stuck_reader(case: Case) {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let content = Arc::new(case.content);
    let reader = Reader::listen(dir.path(), Tracker::new(Arc::clone(&content)));
    reader.hold(true);
    let stats = dir.path().join("stats.json");
    let serve = start(dir.path(), &reader, &stats);

    let mut writers = Writers::open(
        &serve.socket,
        WRITERS,
        case.stream_type,
        &content,
        case.goal,
    )
    .in_pieces(case.piece);
    writers.push_until_stuck(Duration::from_secs(1));
    assert!(writers.open_count() > 0, "all could write everything");
    let stuck_at = writers.written_in_all();
    let (resident, stuck_peak) = serve.resident();

    reader.hold(false);
    writers.push_to_end();
    let (_, peak) = serve.resident();
    let ended = serve.terminate();
    let tracker = reader.finish();
    println!(
        "{}: stuck after {} MiB; resident {} MiB, at most {} MiB stuck and {} MiB in all",
        case.stream_type,
        stuck_at / MIB,
        resident / MIB,
        stuck_peak / MIB,
        peak / MIB,
    );
    assert!(ended.status.success(), "{}", ended.stderr);
    for number in 0..WRITERS {
        let seen = tracker.stream(number);
        assert_eq!(seen.bytes, content.payload_len(case.goal), "{number}");
        assert!(seen.terminal, "{number}");
    }
    let max = MAX_BUFFERED + case.besides;
    assert!(peak <= max, "{} MiB", peak / MIB);
    let statistics = statistics(&stats);
    println!("{statistics}");
    let peak_buffered = statistics["peak_buffered"].as_u64().unwrap();
    // Full means: one more bundle could not be begun.
    assert!(peak_buffered >= MAX_BUFFERED - MIB, "{peak_buffered}");
    assert!(peak_buffered <= MAX_BUFFERED + 8 * MIB, "{peak_buffered}");
    let all = WRITERS as u64 * case.goal;
    assert_eq!(statistics["bytes_in"].as_u64(), Some(all));
    assert_eq!(statistics["bytes_delivered"].as_u64(), Some(all));
}

fn start(dir: &Path, reader: &Reader, stats: &Path) -> Serve {
    let max_buffered = format!("{MAX_BUFFERED}");
    Serve::start(
        dir,
        &[
            "--output",
            &reader.output(),
            "--max-buffered",
            &max_buffered,
            "--stats-path",
            stats.to_str().unwrap(),
        ],
    )
}

#[test]
fn stuck_reader_lines() {
    stuck_reader(Case::new("text", Content::lines(), 300_000));
}

#[test]
fn stuck_reader_lines_without_end() {
    stuck_reader(Case::new("text", Content::endless_line(), 300_000));
}

#[test]
fn stuck_reader_binary() {
    stuck_reader(Case::new("binary", Content::noise(), 300_000));
}

#[test]
fn stuck_reader_large_datagrams() {
    let content = Content::datagrams(MIB as usize);
    stuck_reader(Case::new("datagram", content, MIB + 3 + 1000));
}

/// Every write of a few bytes is read on its own: an entry, and what is noted
/// of one, for each. That counts too.
#[test]
fn stuck_reader_short_lines() {
    stuck_reader(Case {
        piece: 6,
        besides: RESIDENT_BESIDES / 2,
        ..Case::new("text", Content::short_lines(), 60_000)
    });
}

/// Short of memory again and again: what is freed is used again.
#[test]
fn reader_that_stops_and_goes() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let content = Arc::new(Content::endless_line());
    let reader = Reader::listen(dir.path(), Tracker::new(Arc::clone(&content)));
    let stats = dir.path().join("stats.json");
    let serve = start(dir.path(), &reader, &stats);
    let goal = 1_000_000;
    let mut writers = Writers::open(&serve.socket, WRITERS, "text", &content, goal);
    while writers.open_count() > 0 {
        reader.hold(true);
        writers.push_until_stuck(Duration::from_millis(200));
        reader.hold(false);
        let before = writers.written_in_all();
        writers.push_until(|writers| writers.written_in_all() > before + 32 * MIB);
    }
    let (_, peak) = serve.resident();
    let ended = serve.terminate();
    assert!(ended.status.success(), "{}", ended.stderr);
    let tracker = reader.finish();
    for number in 0..WRITERS {
        let seen = tracker.stream(number);
        assert!(seen.bytes == goal && seen.terminal, "{number}");
    }
    println!("at most {} MiB", peak / MIB);
    assert!(
        peak <= MAX_BUFFERED + RESIDENT_BESIDES,
        "{} MiB",
        peak / MIB
    );
}

/// What idle streams keep does not count as data: nothing could make room.
#[test]
fn lines_that_were_long_leave_room() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let reader = Reader::listen(dir.path(), Tracker::default());
    let options = ["--max-buffered", "4MiB", "--output-max-buffer-age", "100ms"];
    let serve = reader.serve(dir.path(), &options);
    let count = 1000;
    let part = [b'x'; 7000];
    let mut streams: Vec<_> = (0..count)
        .map(|number| open(&serve.socket, &format!("long/{number}"), "text"))
        .collect();
    let mut of_each = 0;
    for piece in [&part[..], b"\n", &part, b"\n"] {
        for stream in &mut streams {
            stream.write_all(piece).unwrap();
        }
        of_each += piece.len() as u64;
        wait_until("all of it is delivered", || {
            reader.seen(Tracker::bytes) == count * of_each
        });
    }
    drop(streams);
    let ended = serve.terminate();
    assert!(ended.status.success(), "{}", ended.stderr);
    assert_eq!(reader.finish().terminals() as u64, count);
}
