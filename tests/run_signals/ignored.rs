//! Signals that were ignored when butler was started.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::Signal;

use super::{FOREVER, SIGNALS, ignore_nothing, stdout_in, wait_for_file};
use crate::common::process::{self, Serve, open};

/// `trap '' SIGNAL...; exec butler ARGS`
fn with_ignored(signals: &str, butler: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!(r#"trap '' {signals}; exec "$@""#), "sh"])
        .arg(butler.get_program())
        .args(butler.get_args());
    shell
}

/// As `nohup`, and a script that must not be interrupted.
#[test]
fn they_have_no_effect_on_run_or_its_command() {
    let dir = tempfile::tempdir().unwrap();
    let names = SIGNALS.map(|(_, name)| name).join(" ");
    // A shell can't trap what it finds ignored.
    let script = format!("trap 'echo got one' {names}; : > ready; {FOREVER}");
    let script = script.replace("while :", "while [ ! -e go ]") + "; echo over; exit 9";
    let butler = process::command([
        "--output=file,path=logs",
        "run",
        "--tee=false",
        "--",
        "sh",
        "-c",
        &script,
    ]);
    let mut command = with_ignored(&names, &butler);
    command.current_dir(dir.path()).process_group(0);
    let butler = Serve::begin(command, dir.path().join("none"));
    wait_for_file(dir.path(), "ready");
    for (signal, _) in SIGNALS {
        butler.signal(signal);
        butler.signal_group(signal);
    }
    std::thread::sleep(std::time::Duration::from_millis(100));
    fs::write(dir.path().join("go"), "").unwrap();
    let ended = butler.wait();
    assert_eq!(ended.status.code(), Some(9), "{ended:?}");
    assert_eq!(stdout_in(dir.path()), "over\n");
}

/// Those that are not ignored work.
#[test]
fn they_do_not_end_serve() {
    ignore_nothing();
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("streams.sock");
    let server = format!("--stream-server=unix:{}", socket.display());
    let options = ["--log-level=info", "--output=null", &server];
    let command = with_ignored("INT HUP QUIT", &process::command(options));
    let serve = Serve::spawn(command, socket);
    for signal in [Signal::INT, Signal::HUP, Signal::QUIT] {
        serve.signal(signal);
    }
    // It takes streams, and does not end.
    std::thread::sleep(std::time::Duration::from_millis(100));
    drop(open(&serve.socket, "s", "text"));
    serve.wait_for_counter("streams", 1);
    assert!(!serve.stderr().contains("once more"), "{}", serve.stderr());
    serve.terminate().expect_success();
}

/// Also those that we need for ourselves, or ignore.
#[test]
fn the_command_finds_them_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let script = "grep SigIgn /proc/self/status > ignored; grep SigBlk /proc/self/status";
    let mut found = Vec::new();
    for ignored in ["INT CHLD", "INT CHLD PIPE"] {
        let butler = process::command([
            "--output=null",
            "run",
            "--tee=false",
            "--",
            "sh",
            "-c",
            script,
        ]);
        let mut command = with_ignored(ignored, &butler);
        let status = command.current_dir(dir.path()).status().unwrap();
        assert!(status.success());
        let mut plain = Command::new("sh");
        plain.args([
            "-c",
            &format!("trap '' {ignored}; exec grep SigIgn /proc/self/status"),
        ]);
        let plain = plain.output().unwrap().stdout;
        let with_us = fs::read(dir.path().join("ignored")).unwrap();
        assert_eq!(with_us, plain, "{ignored}");
        found.push(with_us);
    }
    assert_ne!(found[0], found[1]);
}
