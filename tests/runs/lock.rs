//! One butler at a time in a directory.

use std::fs;
use std::io::Write;

use rustix::process::Signal;

use super::common::process::{Serve, open, wait_until};
use super::{butler, text};

/// The second one is refused before its command runs, with a sentence that
/// says why; the first one does not notice.
#[test]
fn a_second_butler_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let logs = dir.path().join("logs");
    let output = format!("directory,path={}", logs.display());
    let serve = Serve::start(dir.path(), &["--output", &output]);
    let pid = serve.pid();
    drop(open(&serve.socket, "first", "text"));
    for args in [
        &["--output", "directory,path=logs", "run", "touch", "ran"] as &[&str],
        // By another way to it.
        &[
            "--output",
            "directory,path=./logs/../logs",
            "run",
            "touch",
            "ran",
        ],
        &["--output", "directory,path=logs", "stream"],
        &["--output", "directory,path=logs", "serve"],
    ] {
        let refused = butler(dir.path(), args);
        assert_eq!(refused.status.code(), Some(250), "{args:?}");
        let stderr = text(&refused.stderr);
        let says = format!("another butler writes there (process {pid})");
        assert!(
            stderr.contains(&says) && stderr.contains("logs"),
            "{stderr}"
        );
    }
    assert!(!dir.path().join("ran").exists());
    serve.terminate().expect_success();
}

/// However the first one ended.
#[test]
fn the_lock_goes_with_its_butler() {
    for signal in [Signal::TERM, Signal::KILL] {
        let dir = tempfile::tempdir().unwrap();
        let output = format!("directory,path={}", dir.path().join("logs").display());
        let serve = Serve::start(dir.path(), &["--output", &output]);
        serve.signal(signal);
        serve.wait();
        let next = butler(dir.path(), &["--output", &output, "run", "echo", "next"]);
        assert!(next.status.success(), "{next:?}");
        assert_eq!(fs::read(dir.path().join("logs/stdout")).unwrap(), b"next\n");
    }
}

/// A command finds no lock of ours among its descriptors, and what it leaves
/// behind holds none.
#[test]
fn what_a_command_leaves_behind_has_no_lock() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["--output", "directory,path=logs", "run", "--", "sh", "-c"];
    let script = "sleep 60 >/dev/null 2>&1 & echo $! > pid";
    let first = butler(dir.path(), &[&args[..], &[script]].concat());
    assert!(first.status.success(), "{first:?}");
    let next = butler(dir.path(), &[&args[..], &["echo next"]].concat());
    let pid = fs::read_to_string(dir.path().join("pid")).unwrap();
    let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
    assert!(next.status.success(), "{next:?}");
}

/// A directory that a job removes may become another butler's. That one is not
/// disturbed, and the first one says what it could not write.
#[test]
fn a_directory_that_is_removed_and_taken() {
    let dir = tempfile::tempdir().unwrap();
    let logs = dir.path().join("logs");
    let output = format!("directory,path={}", logs.display());
    let options = ["--output", &output, "--output-no-buffer"];
    let (one, other) = (dir.path().join("one"), dir.path().join("other"));
    for socket_directory in [&one, &other] {
        fs::create_dir(socket_directory).unwrap();
    }
    let short = ["--flush-timeout", "500ms", "--drain-timeout", "100ms"];
    let first = Serve::start(&one, &[&options[..], &short].concat());
    let mut stream = open(&first.socket, "s", "text");
    stream.write_all(b"first\n").unwrap();
    wait_until("it is written", || logs.join("s").exists());
    fs::remove_dir_all(&logs).unwrap();

    let second = Serve::start(&other, &options);
    let mut theirs = open(&second.socket, "s", "text");
    theirs.write_all(b"second\n").unwrap();
    wait_until("it is written", || logs.join("s").exists());
    stream.write_all(b"more\n").unwrap();
    drop(stream);
    let ended = first.terminate();
    assert_eq!(ended.status.code(), Some(250), "{}", ended.stderr);
    let says = "another butler writes there";
    assert_eq!(ended.stderr.matches(says).count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("stream s"), "{}", ended.stderr);
    theirs.write_all(b"and more\n").unwrap();
    drop(theirs);
    second.terminate().expect_success();
    assert_eq!(fs::read(logs.join("s")).unwrap(), b"second\nand more\n");
}
