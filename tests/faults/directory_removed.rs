//! Somebody removes the directory while it is written to, as `git clean -fdx`
//! does in a job.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::common::process::{command, datagram, wait_until};
use crate::directory::{Bench, Said, contents};

/// Streams that are open, one that ends before, and one that begins after.
fn removed(out: &Path, remove: impl FnOnce()) -> Said {
    let bench = Bench::new(out, &[]);
    let mut text = bench.open("a/text", "text");
    let mut datagrams = bench.open("a/datagrams", "datagram");
    let mut ended = bench.open("b/ended", "binary");
    ended.write_all(b"ended").unwrap();
    drop(ended);
    text.write_all(b"one\n").unwrap();
    datagrams.write_all(&datagram(b"one")).unwrap();
    bench.serve.wait_for_counter("bytes_delivered", 5 + 4 + 4);
    bench.serve.wait_for_counter("streams_open", 2);
    remove();
    text.write_all(b"two\n").unwrap();
    datagrams.write_all(&datagram(b"two")).unwrap();
    // Without an end: within a flush.
    wait_until("it is made again", || {
        let found = contents(out);
        found.get("a/text").is_some_and(|it| it.bytes == b"two\n")
            && found
                .get("a/datagrams")
                .is_some_and(|it| it.bytes == b"two")
    });
    bench.open("c/new", "text").write_all(b"new\n").unwrap();
    drop((text, datagrams));
    let said = bench.end();
    let lost: Vec<_> = said
        .lost
        .iter()
        .map(|(name, bytes)| (&**name, *bytes))
        .collect();
    let expected = [("a/datagrams", 4), ("a/text", 4), ("b/ended", 5)];
    assert_eq!(lost, expected, "{said:?}");
    assert_eq!(said.stats["bytes_dropped_by_reason"]["removed"], 13);
    assert_eq!(contents(out)["c/new"].bytes, b"new\n");
    said
}

#[test]
fn the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("job/out");
    removed(&out, || fs::remove_dir_all(&out).unwrap());
}

#[test]
fn its_parent() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("job/out");
    removed(&out, || fs::remove_dir_all(dir.path().join("job")).unwrap());
}

/// What `run` says and leaves when its command removes the directory in which
/// both were started.
#[test]
fn the_current_directory() {
    let dir = tempfile::tempdir().unwrap();
    let job = dir.path().join("job");
    fs::create_dir(&job).unwrap();
    let stats = dir.path().join("stats");
    let output = command(["--output=directory,path=out", "--output-no-buffer"])
        .arg("--stats-path")
        .arg(&stats)
        .args(["run", "--stdout=name=stdout", "--", "sh", "-c"])
        .arg("echo one; sleep 0.5; rm -rf ../job; echo two")
        .current_dir(&job)
        .output()
        .unwrap();
    assert_eq!(contents(&job.join("out"))["stdout"].bytes, b"two\n");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("stream stdout: 4 bytes lost, removed by others"),
        "{stderr}"
    );
    let stats: serde_json::Value = serde_json::from_slice(&fs::read(stats).unwrap()).unwrap();
    assert_eq!(stats["bytes_delivered"], 4);
}

/// Nothing follows: it is not made again for that.
#[test]
fn at_the_very_end() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let bench = Bench::new(&out, &[]);
    let mut text = bench.open("text", "text");
    text.write_all(b"one\n").unwrap();
    bench.serve.wait_for_counter("bytes_delivered", 4);
    fs::remove_dir_all(&out).unwrap();
    let said = bench.end();
    assert_eq!(said.lost["text"], 4);
    assert!(!out.exists());
}

/// A part of it, while the rest stays: a file is missed with the next flush or
/// at its end, a directory of datagrams with the next one.
#[test]
fn a_part_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let bench = Bench::new(&out, &[]);
    let mut streams: Vec<_> = ["a/text", "b/text"]
        .map(|name| bench.open(name, "text"))
        .into();
    let mut datagrams = bench.open("a/d/datagrams", "datagram");
    for stream in &mut streams {
        stream.write_all(b"one\n").unwrap();
    }
    datagrams
        .write_all(&[datagram(b"0"), datagram(b"1")].concat())
        .unwrap();
    bench.serve.wait_for_counter("bytes_delivered", 12);
    fs::remove_dir_all(out.join("a")).unwrap();
    std::thread::sleep(Duration::from_millis(150));
    for stream in &mut streams {
        stream.write_all(b"two\n").unwrap();
    }
    datagrams.write_all(&datagram(b"2")).unwrap();
    drop((streams, datagrams));
    let said = bench.end();
    let found = contents(&out);
    assert_eq!(found["a/text"].bytes, b"two\n");
    assert_eq!(found["b/text"].bytes, b"one\ntwo\n");
    assert_eq!(found["a/d/datagrams"].bytes, b"2");
    assert_eq!((said.lost["a/text"], said.lost["a/d/datagrams"]), (4, 4));
    assert_eq!(said.lost.len(), 2);
}

/// It can't be made again: that is told at once, and waited for no longer than
/// a few seconds.
#[test]
fn something_else_takes_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let out: PathBuf = dir.path().join("out");
    let bench = Bench::new(&out, &[]);
    let mut text = bench.open("text", "text");
    text.write_all(b"one\n").unwrap();
    bench.serve.wait_for_counter("bytes_delivered", 4);
    fs::remove_dir_all(&out).unwrap();
    fs::write(&out, "not a directory").unwrap();
    text.write_all(b"two\n").unwrap();
    bench
        .serve
        .wait_for_stderr("can't be made again: Not a directory");
    drop(text);
    let said = bench.end();
    assert_eq!(said.lost["text"], 8);
    assert_eq!(said.stats["bytes_dropped_by_reason"]["removed"], 4);
    assert_eq!(fs::read(&out).unwrap(), b"not a directory");
}
