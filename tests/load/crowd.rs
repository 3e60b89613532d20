//! One stream at full speed beside 999 that write a line now and then.
//!
//! How fair that is, is counted in bytes of the loud stream: how many of them
//! are delivered from when a quiet line is written to when it is there. A
//! machine that is slow or busy has no part in that. The time is printed.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use butler::proto::logpb::{ButlerLogBundle, log_entry};

use crate::common::pattern::Content;
use crate::common::process::{open, wait_until};
use crate::common::reader::Reader;
use crate::common::tracker::Tracker;
use crate::common::writers::Writers;
use crate::{NO_LIMIT, seconds, turn};

const MIB: u64 = 1024 * 1024;
const QUIET: usize = 999;
/// Between two lines of all of the quiet ones.
const PAUSE: Duration = Duration::from_millis(1);
/// Of a usual run.
const SECONDS: u64 = 4;
const MAX_BUFFERED: u64 = 8 * MIB;
/// What the loud one writes at least: with less a line that is kept back for
/// ever would not be seen.
const LOUD_MIN: u64 = 64 * MIB;

/// What is known of lines that are on their way and those that have come.
#[derive(Default)]
struct Lines {
    /// Bytes of the loud stream that have come.
    loud: AtomicU64,
    /// For each quiet stream: when its line was written, and what of the loud
    /// one had come by then.
    waiting: Mutex<Vec<Option<(Instant, u64)>>>,
    /// How long each took, and what of the loud one came meanwhile.
    came: Mutex<Vec<(Duration, u64)>>,
}

impl Lines {
    /// False if its last line has not come yet.
    fn writes(&self, number: usize) -> bool {
        let waiting = &mut self.waiting.lock().unwrap()[number];
        if waiting.is_some() {
            return false;
        }
        *waiting = Some((Instant::now(), self.loud.load(Ordering::SeqCst)));
        true
    }

    fn look(&self, bundle: &ButlerLogBundle) {
        let mut waiting = self.waiting.lock().unwrap();
        let mut came = self.came.lock().unwrap();
        for entry in &bundle.entries {
            let name = &entry.desc.as_ref().unwrap().name;
            if entry.logs.is_empty() {
                continue;
            }
            let Some(number) = name.strip_prefix("quiet/") else {
                let bytes: usize = entry.logs.iter().map(len).sum();
                self.loud.fetch_add(bytes as u64, Ordering::SeqCst);
                continue;
            };
            let number: usize = number.parse().unwrap();
            let (written, loud) = waiting[number].take().expect("one line at a time");
            let meanwhile = self.loud.load(Ordering::SeqCst) - loud;
            came.push((written.elapsed(), meanwhile));
        }
    }
}

fn len(log: &butler::proto::logpb::LogEntry) -> usize {
    match log.content.as_ref().unwrap() {
        log_entry::Content::Text(text) => text
            .lines
            .iter()
            .map(|line| line.value.len() + line.delimiter.len())
            .sum(),
        _ => 0,
    }
}

#[test]
fn one_at_full_speed_beside_999() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let content = Arc::new(Content::lines());
    let lines = Arc::new(Lines::default());
    *lines.waiting.lock().unwrap() = vec![None; QUIET];
    let tracker = Tracker::new(Arc::clone(&content));
    let reader = Reader::listen_with(dir.path(), tracker, {
        let lines = Arc::clone(&lines);
        move |bundle| lines.look(bundle)
    });
    let max_buffered = format!("--max-buffered={MAX_BUFFERED}");
    let options = [&max_buffered, "--output-max-buffer-age=20ms", NO_LIMIT];
    let serve = reader.serve(dir.path(), &options);
    let time = Duration::from_secs(seconds().unwrap_or(SECONDS));

    let enough = Arc::new(AtomicBool::new(false));
    let mut quiet: Vec<_> = (0..QUIET)
        .map(|number| open(&serve.socket, &format!("quiet/{number}"), "text"))
        .collect();
    serve.wait_for_counter("streams", QUIET as u64);
    let quiet = std::thread::spawn({
        let (lines, enough) = (Arc::clone(&lines), Arc::clone(&enough));
        move || {
            let written = write_now_and_then(&mut quiet, &lines, time);
            enough.store(true, Ordering::SeqCst);
            written
        }
    });
    let mut loud = Writers::open(&serve.socket, 1, "text", &content, u64::MAX);
    let begun = Instant::now();
    // In parts, for each has a deadline.
    while !enough.load(Ordering::SeqCst) {
        let next = loud.written_in_all() + LOUD_MIN;
        loud.push_until(|loud| enough.load(Ordering::SeqCst) || loud.written_in_all() >= next);
    }
    let took = begun.elapsed();
    let written = quiet.join().unwrap();
    let goal = loud.written(0);
    drop(loud);
    wait_until("all lines are there", || {
        lines.came.lock().unwrap().len() == written
    });
    let ended = serve.terminate();
    assert!(ended.status.success(), "{}", ended.stderr);
    let tracker = reader.finish();
    assert_eq!(tracker.stream(0).bytes, goal);
    assert_eq!(tracker.terminals(), written.min(QUIET) + 1);

    tell(
        &lines.came.lock().unwrap(),
        goal as f64 / 1e6 / took.as_secs_f64(),
    );
}

/// Writes a line to one after the other, for as long as that is and until the loud
/// one has been heard. Returns how many.
fn write_now_and_then(quiet: &mut [impl Write], lines: &Lines, time: Duration) -> usize {
    let begun = Instant::now();
    let mut written = 0;
    for number in (0..QUIET).cycle() {
        let loud = lines.loud.load(Ordering::SeqCst);
        if begun.elapsed() >= time && loud >= LOUD_MIN {
            break;
        }
        std::thread::sleep(PAUSE);
        if lines.writes(number) {
            quiet[number].write_all(b"now and then\n").unwrap();
            written += 1;
        }
    }
    written
}

/// Prints how fair it was, and fails if it was not.
fn tell(came: &[(Duration, u64)], megabytes: f64) {
    let mut times: Vec<_> = came.iter().map(|(time, _)| *time).collect();
    let mut meanwhile: Vec<_> = came.iter().map(|(_, bytes)| *bytes).collect();
    times.sort_unstable();
    meanwhile.sort_unstable();
    let written = came.len();
    let (half, most) = (written / 2, written * 99 / 100);
    println!(
        "fairness: {} MB/s of one, {written} lines of {QUIET} others beside it; a line took \
         {:?} (half of them), {:?} (99 %), {:?} (all), and {} KiB, {} KiB, {} KiB of the one \
         came meanwhile",
        megabytes.round(),
        times[half],
        times[most],
        times[written - 1],
        meanwhile[half] / 1024,
        meanwhile[most] / 1024,
        meanwhile[written - 1] / 1024,
    );
    // No line waits for more than what was read before it and the bundle it
    // is in; some get away later than they looked what had come.
    let bound = MAX_BUFFERED + 8 * MIB;
    assert!(meanwhile[most] <= bound, "{} bytes", meanwhile[most]);
}
