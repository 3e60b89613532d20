//! Somebody moves, removes or replaces what is written to.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use crate::common::process::{Serve, open, parse, parse_file, wait_until};
use crate::common::reassemble;

const NOTICE: &str = "the file was moved, removed or replaced; what was opened is written on";

/// Delivers a line, has `fault` done to the file, delivers another, and ends
/// well. `logs` is the output file in `dir`.
fn around(dir: &Path, fault: impl FnOnce(&Path)) {
    let path = dir.join("logs");
    let output = format!("file,path={}", path.display());
    let serve = Serve::start(dir, &["--output", &output, "--output-no-buffer"]);
    let mut stream = open(&serve.socket, "s", "text");
    stream.write_all(b"before\n").unwrap();
    serve.wait_for_counter("bytes_delivered", 7);
    fault(&path);
    // It looks now and then, as it writes.
    let mut written = 7;
    wait_until("it is noticed", || {
        stream.write_all(b"after\n").unwrap();
        written += 6;
        serve.wait_for_counter("bytes_delivered", written);
        std::thread::sleep(Duration::from_millis(50));
        serve.stderr().contains(NOTICE)
    });
    drop(stream);
    let ended = serve.terminate();
    ended.expect_success();
    assert_eq!(ended.stderr.matches(NOTICE).count(), 1, "{ended:?}");
}

fn check(bundles: &[butler::proto::logpb::ButlerLogBundle]) {
    let text = String::from_utf8(reassemble(bundles)["s"].bytes.clone()).unwrap();
    let rest = text.strip_prefix("before\n").unwrap();
    assert!(rest.lines().count() > 0 && rest.lines().all(|line| line == "after"));
}

#[test]
fn a_file_that_is_moved_has_all() {
    let dir = tempfile::tempdir().unwrap();
    let moved = dir.path().join("logs.1");
    around(dir.path(), |path| fs::rename(path, &moved).unwrap());
    check(&parse_file(&moved));
    assert!(!dir.path().join("logs").exists());
}

/// What stands in its place is not ours.
#[test]
fn a_file_that_is_replaced_has_all() {
    let dir = tempfile::tempdir().unwrap();
    let moved = dir.path().join("logs.1");
    around(dir.path(), |path| {
        fs::rename(path, &moved).unwrap();
        fs::write(path, "somebody else's").unwrap();
    });
    check(&parse_file(&moved));
    let other = fs::read_to_string(dir.path().join("logs")).unwrap();
    assert_eq!(other, "somebody else's");
}

/// Whoever has it open gets the rest.
#[test]
fn a_file_that_is_removed_has_all() {
    let dir = tempfile::tempdir().unwrap();
    let mut kept = None;
    around(dir.path(), |path| {
        kept = Some(File::open(path).unwrap());
        fs::remove_file(path).unwrap();
    });
    let mut bytes = Vec::new();
    kept.unwrap().read_to_end(&mut bytes).unwrap();
    check(&parse(&bytes));
}

/// As `logrotate` does it with `copytruncate`: returns the copy of `path`, and
/// what was said.
fn copied_and_truncated(dir: &Path, output: &str, path: &Path) -> (Vec<u8>, String) {
    let serve = Serve::start(dir, &["--output", output, "--output-no-buffer"]);
    let mut stream = open(&serve.socket, "s", "text");
    stream.write_all(b"before\n").unwrap();
    serve.wait_for_counter("bytes_delivered", 7);
    let copy = fs::read(path).unwrap();
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(0).unwrap();
    stream.write_all(b"after\n").unwrap();
    drop(stream);
    let ended = serve.terminate();
    ended.expect_success();
    (copy, ended.stderr)
}

#[test]
fn a_file_is_copied_and_truncated() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("logs");
    let output = format!("file,path={}", path.display());
    let (copy, stderr) = copied_and_truncated(dir.path(), &output, &path);
    assert!(stderr.contains("the file was truncated"), "{stderr}");
    let mut bundles = parse(&copy);
    bundles.extend(parse_file(&path));
    check(&bundles);
}

#[test]
fn a_file_in_a_directory_is_copied_and_truncated() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let output = format!("directory,path={}", out.display());
    let path = out.join("s");
    let (copy, stderr) = copied_and_truncated(dir.path(), &output, &path);
    let notice = "its file s was truncated while it was written; 7 bytes of it are gone";
    assert!(stderr.contains(notice), "{stderr}");
    assert_eq!(copy, b"before\n");
    assert_eq!(fs::read(&path).unwrap(), b"after\n");
}

/// In a directory that fate of one stream's file is no other's.
#[test]
fn files_in_a_directory_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let output = format!("directory,path={}", out.display());
    let serve = Serve::start(dir.path(), &["--output", &output, "--output-no-buffer"]);
    let mut streams: Vec<_> = ["a/gone", "a/stays", "stays"]
        .iter()
        .map(|name| open(&serve.socket, name, "text"))
        .collect();
    let mut write = |line: &str| {
        for stream in &mut streams {
            stream.write_all(line.as_bytes()).unwrap();
        }
    };
    write("before\n");
    serve.wait_for_counter("bytes_delivered", 21);
    fs::remove_file(out.join("a/gone")).unwrap();
    // It is looked for now and then.
    std::thread::sleep(Duration::from_millis(150));
    write("after\n");
    drop(streams);
    let ended = serve.terminate();
    let lost = "stream a/gone: 7 bytes lost, removed by others";
    assert!(ended.stderr.contains(lost), "{ended:?}");
    assert!(
        ended.stderr.contains("lost: 7 bytes of 1 stream"),
        "{ended:?}"
    );
    assert_eq!(fs::read(out.join("a/gone")).unwrap(), b"after\n");
    for name in ["a/stays", "stays"] {
        let found = fs::read_to_string(out.join(name)).unwrap();
        assert_eq!(found, "before\nafter\n", "{name}");
    }
}
