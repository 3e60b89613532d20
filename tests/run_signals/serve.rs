//! Signals to `serve` and `stream`.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;

use rustix::process::Signal;

use super::ignore_nothing;
use crate::common::process::{self, Serve, open, parse_file, wait_until};
use crate::common::reassemble;

/// All that ask for the end.
const ENDS: [Signal; 4] = [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT];

/// `butler serve` in a group of its own.
fn serve(dir: &Path, options: &[&str]) -> Serve {
    ignore_nothing();
    let socket = dir.join("streams.sock");
    let mut command = process::command(["--log-level=info", "--output=file,path=logs"]);
    command
        .arg(format!("--stream-server=unix:{}", socket.display()))
        .args(options)
        .current_dir(dir)
        .process_group(0);
    Serve::spawn(command, socket)
}

/// `butler stream` in a group of its own, and what it reads.
fn stream(dir: &Path) -> (Serve, std::process::ChildStdin) {
    ignore_nothing();
    let mut command = process::command(["--log-level=info", "--output=file,path=logs"]);
    command
        .args(["--drain-timeout=10m", "--output-no-buffer"])
        .args(["stream", "--stream=name=s"])
        .current_dir(dir)
        .process_group(0)
        .stdin(Stdio::piped());
    let mut butler = Serve::begin(command, dir.join("none"));
    let stdin = butler.child.stdin.take().unwrap();
    (butler, stdin)
}

fn has_bytes(dir: &Path) -> bool {
    fs::metadata(dir.join("logs")).is_ok_and(|logs| logs.len() > 0)
}

fn bytes_of(dir: &Path, name: &str) -> Vec<u8> {
    reassemble(&parse_file(&dir.join("logs")))[name]
        .bytes
        .clone()
}

/// To the child, and then to the group: as timeout(1) does it. Streams that are
/// open have their time.
#[test]
fn to_it_and_to_the_group_is_one_demand() {
    for signal in ENDS.into_iter().cycle().take(12) {
        let dir = tempfile::tempdir().unwrap();
        let butler = serve(dir.path(), &["--drain-timeout=10m"]);
        let mut client = open(&butler.socket, "s", "text");
        client.write_all(b"before\n").unwrap();
        butler.wait_for_counter("bytes_in", 7);
        butler.signal(signal);
        butler.signal_group(signal);
        butler.wait_for_stderr("once more to end at once");
        butler.signal(signal);
        client.write_all(b"after\n").unwrap();
        drop(client);
        butler.wait().expect_success();
        assert_eq!(bytes_of(dir.path(), "s"), b"before\nafter\n", "{signal:?}");
    }
}

#[test]
fn to_stream_and_to_the_group_is_one_demand() {
    for signal in ENDS.into_iter().cycle().take(12) {
        let dir = tempfile::tempdir().unwrap();
        let (butler, mut stdin) = stream(dir.path());
        stdin.write_all(b"before\n").unwrap();
        wait_until("it works", || has_bytes(dir.path()));
        butler.signal(signal);
        butler.signal_group(signal);
        butler.wait_for_stderr("once more to end at once");
        stdin.write_all(b"after\n").unwrap();
        drop(stdin);
        butler.wait().expect_success();
        assert_eq!(bytes_of(dir.path(), "s"), b"before\nafter\n", "{signal:?}");
    }
}

/// What it has is not for a stray signal to lose.
#[test]
fn others_have_no_effect() {
    let signals = [
        Signal::USR2,
        Signal::ALARM,
        Signal::PIPE,
        Signal::VTALARM,
        Signal::PROF,
        Signal::IO,
        Signal::POWER,
        Signal::STKFLT,
        Signal::XFSZ,
    ];
    let dir = tempfile::tempdir().unwrap();
    let butler = serve(dir.path(), &[]);
    let mut client = open(&butler.socket, "s", "text");
    client.write_all(b"before\n").unwrap();
    butler.wait_for_counter("bytes_in", 7);
    for signal in signals {
        butler.signal(signal);
    }
    client.write_all(b"after\n").unwrap();
    butler.wait_for_counter("bytes_in", 13);
    drop(client);
    let socket = butler.socket.clone();
    butler.terminate().expect_success();
    assert!(!socket.exists());
    assert_eq!(bytes_of(dir.path(), "s"), b"before\nafter\n");
}

#[test]
fn the_last_words_leave_at_the_first_signal() {
    for signal in ENDS {
        let dir = tempfile::tempdir().unwrap();
        let options = ["--drain-timeout=10m", "--output-max-buffer-age=10m"];
        let butler = serve(dir.path(), &options);
        let mut client = open(&butler.socket, "s", "text");
        client.write_all(b"a line\nand half of one").unwrap();
        butler.wait_for_counter("bytes_in", 22);
        assert_eq!(fs::read(dir.path().join("logs")).unwrap(), b"");
        butler.signal(signal);
        wait_until("they are delivered", || {
            has_bytes(dir.path()) && bytes_of(dir.path(), "s") == b"a line\nand half of one"
        });
        drop(client);
        butler.wait().expect_success();
    }
}

/// Nobody is waited for, and what was written is delivered all the same.
#[test]
fn a_second_demand_makes_one_pass() {
    for [first, second] in [[Signal::INT, Signal::TERM], [Signal::HUP, Signal::HUP]] {
        let dir = tempfile::tempdir().unwrap();
        let butler = serve(dir.path(), &["--drain-timeout=10m"]);
        let mut client = open(&butler.socket, "s", "text");
        client.write_all(b"before\n").unwrap();
        butler.signal(first);
        butler.wait_for_stderr("once more to end at once");
        client.write_all(b"between").unwrap();
        butler.signal_again(second);
        butler.wait().expect_success();
        assert_eq!(bytes_of(dir.path(), "s"), b"before\nbetween");
    }
}

#[test]
fn statistics_are_told_at_any_level() {
    for level in ["debug", "info", "warning", "error"] {
        let dir = tempfile::tempdir().unwrap();
        let butler = serve(dir.path(), &["--log-level", level]);
        butler.wait_for_counter("streams", 0);
        butler.terminate().expect_success();
    }
}
