//! Many streams, and fewer descriptors than streams.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::common::process::{Serve, command, open, wait_until};
use crate::common::reader::Reader;
use crate::common::tracker::Tracker;
use crate::{COUNTABLE, settled_descriptors, turn};

const MIB: u64 = 1024 * 1024;

/// Raises our own limit; false if it can't be as high.
pub fn allow_descriptors(count: u64) -> bool {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).is_ok() && limit.maximum.is_none_or(|it| it >= count)
}

#[test]
fn ten_thousand_idle_streams() {
    let _turn = turn();
    let count = 10_000;
    if !allow_descriptors(count as u64 + 200) {
        println!("skipped: the hard limit of open files is too low for {count} streams");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let reader = Reader::listen(dir.path(), Tracker::default());
    let age = ["--output-max-buffer-age", "50ms", COUNTABLE];
    let serve = reader.serve(dir.path(), &age);
    let before = settled_descriptors(&serve, &reader);
    let (resident_before, _) = serve.resident();
    let mut streams: Vec<_> = (0..count)
        .map(|number| open(&serve.socket, &format!("idle/{number}"), "text"))
        .collect();
    wait_until("all are accepted", || serve.descriptors() == before + count);
    let (resident, _) = serve.resident();
    println!(
        "{count} idle streams: resident {} KiB, {} KiB without any",
        resident / 1024,
        resident_before / 1024
    );
    let bound = if cfg!(debug_assertions) { 64 } else { 32 };
    assert!(resident <= bound * MIB, "{} MiB", resident / MIB);

    for (number, stream) in streams.iter_mut().enumerate() {
        writeln!(stream, "line of {number}").unwrap();
    }
    drop(streams);
    wait_until("all are closed", || serve.descriptors() == before);
    let ended = serve.terminate();
    assert!(ended.status.success(), "{}", ended.stderr);
    let tracker = reader.finish();
    assert_eq!(tracker.terminals(), count + 1);
    for number in 0..count {
        let kept = &tracker.streams[&format!("idle/{number}")].kept;
        assert_eq!(*kept, format!("line of {number}\n").into_bytes());
    }
}

/// A butler that may have 64 open files.
fn start_with_few(dir: &Path, options: &[&str]) -> Serve {
    let socket = dir.join("streams.sock");
    let uri = format!("unix:{}", socket.display());
    let butler = command([""; 0]);
    let mut shell = std::process::Command::new("sh");
    shell
        .args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\""])
        .arg(butler.get_program())
        .args(butler.get_args())
        .args(["--log-level", "info", "--stream-server", &uri])
        .args(options)
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    Serve::spawn(shell, socket)
}

fn mentions(log: &str, what: &str) -> usize {
    log.lines().filter(|line| line.contains(what)).count()
}

#[test]
fn descriptors_run_out() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let reader = Reader::listen(dir.path(), Tracker::default());
    let age = ["--output-max-buffer-age", "50ms"];
    let output = reader.output();
    let serve = start_with_few(dir.path(), &[&["--output", &output], &age[..]].concat());
    let count = 200;
    let mut streams: Vec<_> = (0..count)
        .map(|number| open(&serve.socket, &format!("few/{number}"), "text"))
        .collect();
    for (number, stream) in streams.iter_mut().enumerate() {
        writeln!(stream, "first of {number}").unwrap();
    }
    // Those that are accepted are served, and on, though no one closes.
    wait_until("their lines are there", || {
        reader.seen(|seen| seen.streams.len() >= 30)
    });
    writeln!(streams[0], "second of 0").unwrap();
    wait_until("the second line is there", || {
        reader.seen(|seen| seen.streams.get("few/0").is_some_and(|it| it.lines == 2))
    });
    let begun = reader.seen(|seen| seen.streams.len());
    assert!(begun < 64, "{begun} streams with 64 descriptors");
    // As they close, one after the other, the others are taken.
    for (closed, stream) in streams.into_iter().enumerate() {
        drop(stream);
        wait_until("it has ended", || {
            reader.seen(Tracker::terminals) == closed + 1
        });
    }
    let ended = serve.terminate();
    assert!(ended.status.success(), "{}", ended.stderr);
    let tracker = reader.finish();
    for number in 0..count {
        let seen = &tracker.streams[&format!("few/{number}")];
        assert!(seen.terminal && seen.lines == if number == 0 { 2 } else { 1 });
    }
    let log = ended.stderr;
    assert_eq!(mentions(&log, "can't accept"), 1, "{log}");
    assert!(mentions(&log, "accepted again") <= 1, "{log}");
}

/// A directory needs descriptors too: clients don't have all of them.
#[test]
fn descriptors_run_out_beside_a_directory() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let logs = dir.path().join("logs");
    let output = format!("directory,path={}", logs.display());
    let options = ["--output", &output, "--output-max-buffer-age", "50ms"];
    let serve = start_with_few(dir.path(), &options);
    let count = 200;
    let mut streams: Vec<_> = (0..count)
        .map(|number| open(&serve.socket, &format!("few/of/{number}"), "text"))
        .collect();
    for (number, stream) in streams.iter_mut().enumerate() {
        writeln!(stream, "first of {number}").unwrap();
    }
    let line_is_there = |number: usize| {
        let found = fs::read(logs.join(format!("few/of/{number}")));
        found.is_ok_and(|found| found == format!("first of {number}\n").into_bytes())
    };
    wait_until("the lines of those that are accepted are there", || {
        (0..count).filter(|number| line_is_there(*number)).count() >= 25
    });
    drop(streams);
    let ended = serve.terminate();
    assert!(ended.status.success(), "{}", ended.stderr);
    assert!((0..count).all(line_is_there));
    assert_eq!(mentions(&ended.stderr, "Too many open files"), 1);
}

/// Those who could not be accepted for want of descriptors are taken after
/// the signal, and have no more time than the others.
#[test]
fn descriptors_run_out_and_a_signal() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let reader = Reader::listen(dir.path(), Tracker::default());
    let output = reader.output();
    let options = ["--output", &output, "--drain-timeout", "500ms", COUNTABLE];
    let serve = start_with_few(dir.path(), &options);
    let count = 200;
    let streams: Vec<UnixStream> = (0..count)
        .map(|number| {
            let mut stream = open(&serve.socket, &format!("few/{number}"), "text");
            writeln!(stream, "line of {number}").unwrap();
            stream
        })
        .collect();
    // Fewer are free than are kept back.
    wait_until("descriptors have run out", || serve.descriptors() > 54);
    let signalled = Instant::now();
    let ended = serve.terminate();
    assert!(ended.status.success(), "{}", ended.stderr);
    assert!(signalled.elapsed() < Duration::from_secs(20));
    drop(streams);
    let tracker = reader.finish();
    for number in 0..count {
        let seen = &tracker.streams[&format!("few/{number}")];
        assert!(seen.terminal);
        assert_eq!(seen.kept, format!("line of {number}\n").into_bytes());
    }
}
