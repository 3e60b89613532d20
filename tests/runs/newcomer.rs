//! Who says nothing about outputs is told where the logs are.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::common::process::{command, terminal};
use super::{butler, text};

fn stderr(dir: &Path, args: &[&str]) -> String {
    text(&butler(dir, args).stderr)
}

#[test]
fn a_run_ends_with_a_line() {
    let dir = tempfile::tempdir().unwrap();
    for (script, begins) in [
        ("exit 3", "butler: exit status 3 after "),
        ("kill -9 $$", "butler: killed by signal 9 after "),
    ] {
        let said = stderr(dir.path(), &["run", "--stderr=", "--", "sh", "-c", script]);
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.starts_with(begins), "{said}");
        // What it says can be done, can be done.
        let (_, path) = said.trim_end().split_once("butler cat ").unwrap();
        let read = butler(dir.path(), &["cat", path]);
        assert!(read.status.success(), "{said}: {read:?}");
    }
}

/// Not where somebody has said where the logs go, or how little is to be said,
/// nor if there was no run.
#[test]
fn scripts_are_not_disturbed() {
    let dir = tempfile::tempdir().unwrap();
    for options in [
        &["--quiet"] as &[&str],
        &["--log-level", "error"],
        &["--output", "directory,path=logs"],
        &["--output", "file,path=file"],
        &["--output", "null"],
    ] {
        let said = stderr(dir.path(), &[options, &["run", "true"]].concat());
        assert_eq!(said, "", "{options:?}");
    }
    let said = stderr(dir.path(), &["run", "no-such-command"]);
    assert!(!said.contains("butler cat"), "{said}");
}

/// Starts butler with its three ends on a terminal, types Ctrl-C when it has
/// said `awaited`, and returns all that the terminal showed.
fn on_a_terminal(dir: &Path, args: &[&str], awaited: &str) -> String {
    let (ours, theirs) = terminal().unwrap();
    let mut command = command(args);
    command.current_dir(dir).env("TMPDIR", dir);
    command.stdin(theirs.try_clone().unwrap());
    command.stdout(theirs.try_clone().unwrap()).stderr(theirs);
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut ours = File::from(ours);
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    let mut is_asked = false;
    // A terminal whose other end is closed fails instead of ending.
    while let Ok(read @ 1..) = ours.read(&mut buffer) {
        all.extend_from_slice(&buffer[..read]);
        if !is_asked && text(&all).contains(awaited) {
            is_asked = true;
            let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        }
    }
    assert!(child.wait().unwrap().success());
    text(&all)
}

#[test]
fn alone_on_a_terminal_it_says_what_it_does() {
    let dir = tempfile::tempdir().unwrap();
    let shown = on_a_terminal(dir.path(), &["--log-level=warning"], "butler help");
    for part in [
        "butler: waiting for streams at unix:/",
        "Ctrl-C",
        "| butler stream --stream-server unix:/",
        "butler run -- COMMAND",
        "the logs: butler cat butler-logs/",
    ] {
        assert!(shown.contains(part), "{shown}");
    }
    // The first line on stdout is still the address.
    assert!(shown.starts_with("unix:/"), "{shown}");

    let output = ["--output=null", "--quiet"];
    let shown = on_a_terminal(dir.path(), &output, "unix:/");
    assert_eq!(shown.lines().count(), 1, "{shown}");
}

/// Elsewhere nothing but the address is said.
#[test]
fn a_launcher_reads_the_address_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(["serve"]);
    command.current_dir(dir.path());
    command.stdout(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let mut byte = [0];
        stdout.read_exact(&mut byte).unwrap();
        line.extend_from_slice(&byte);
    }
    let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success());
    assert_eq!(text(&ended.stderr), "");
    assert!(line.starts_with(b"unix:/"));
}
