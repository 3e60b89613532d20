//! Signals, and what may go wrong at the end of `butler run`: background
//! processes, outputs that take nothing.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod cancel;
mod first_process;
mod group;
mod ignored;
mod serve;
mod terminal;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Once;

use common::process::{self, Serve, parse_file};
use common::reassemble;
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal as listen};

const SIGNALS: [(Signal, &str); 6] = [
    (Signal::TERM, "TERM"),
    (Signal::INT, "INT"),
    (Signal::HUP, "HUP"),
    (Signal::QUIT, "QUIT"),
    (Signal::USR1, "USR1"),
    (Signal::USR2, "USR2"),
];

/// Whoever runs these tests in the background of a script has SIGINT and
/// SIGQUIT ignored. The command would find them so, as it should, and a shell
/// can't trap what it finds ignored. What has a handler is not passed on.
fn ignore_nothing() {
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = u64::from_str_radix(mask.unwrap().trim(), 16).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _entered = runtime.enter();
        for (signal, _) in SIGNALS {
            if mask >> (signal.as_raw() - 1) & 1 == 1 {
                // The handler stays when this is dropped.
                drop(listen(SignalKind::from_raw(signal.as_raw())).unwrap());
            }
        }
    });
}

/// `butler OPTIONS run -- sh -c SCRIPT`, running in `dir`.
fn start(dir: &Path, options: &[&str], script: &str) -> Serve {
    start_with(dir, options, &["sh", "-c", script], |_| {})
}

/// The same in a process group of its own, as a CI system or timeout(1) starts
/// it.
fn start_group(dir: &Path, options: &[&str], script: &str) -> Serve {
    start_with(dir, options, &["sh", "-c", script], |command| {
        command.process_group(0);
    })
}

fn start_with(
    dir: &Path,
    options: &[&str],
    job: &[&str],
    change: impl FnOnce(&mut Command),
) -> Serve {
    ignore_nothing();
    let socket = dir.join("streams.sock");
    let mut command = process::command(["--log-level=info", "--output=file,path=logs"]);
    command
        .arg(format!("--stream-server=unix:{}", socket.display()))
        .args(options)
        .args(["run", "--result-path=result", "--"])
        .args(job)
        .stdout(Stdio::null())
        .current_dir(dir);
    change(&mut command);
    Serve::begin(command, socket)
}

fn wait_for_file(dir: &Path, name: &str) {
    process::wait_until(name, || dir.join(name).exists());
}

fn stdout_in(dir: &Path) -> String {
    let streams = reassemble(&parse_file(&dir.join("logs")));
    String::from_utf8(streams["stdout"].bytes.clone()).unwrap()
}

fn delivered(dir: &Path) -> bool {
    let result = fs::read(dir.join("result")).unwrap();
    let result: serde_json::Value = serde_json::from_slice(&result).unwrap();
    result["delivered"].as_bool().unwrap()
}

const FOREVER: &str = "while :; do sleep 0.02; done";

#[test]
fn signals_go_to_the_child() {
    for (signal, name) in SIGNALS {
        let dir = tempfile::tempdir().unwrap();
        let script = format!("trap 'echo got {name}; exit 7' {name}; : > ready; {FOREVER}");
        let butler = start(dir.path(), &[], &script);
        wait_for_file(dir.path(), "ready");
        butler.signal(signal);
        let ended = butler.wait();
        assert_eq!(ended.status.code(), Some(7), "{name}: {ended:?}");
        assert_eq!(stdout_in(dir.path()), format!("got {name}\n"));
        assert!(delivered(dir.path()));
    }
}

#[test]
fn a_child_killed_by_a_signal_that_came_through_us() {
    let dir = tempfile::tempdir().unwrap();
    let script = "echo begun; : > ready; exec sleep 1000";
    let butler = start(dir.path(), &[], script);
    wait_for_file(dir.path(), "ready");
    butler.signal(Signal::TERM);
    assert_eq!(butler.wait().status.code(), Some(143));
    assert_eq!(stdout_in(dir.path()), "begun\n");
}

/// It holds our pipe, and we don't wait for it for ever.
#[test]
fn a_background_process_does_not_hang_us() {
    let dir = tempfile::tempdir().unwrap();
    let script = "sleep 1000 & echo $! > pid; echo done; exit 4";
    let butler = start(dir.path(), &["--drain-timeout=200ms"], script);
    let ended = butler.wait();
    let pid = fs::read_to_string(dir.path().join("pid")).unwrap();
    let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    kill_process(pid, Signal::KILL).expect("it was not ours to kill");
    assert_eq!(ended.status.code(), Some(4), "{ended:?}");
    assert_eq!(stdout_in(dir.path()), "done\n");
}

/// What it writes in time is delivered, and its end is ours.
#[test]
fn a_background_process_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let script = "(while [ ! -e go ]; do sleep 0.02; done; echo late) & echo early; : > ready";
    let butler = start(dir.path(), &["--drain-timeout=10m"], script);
    wait_for_file(dir.path(), "ready");
    fs::write(dir.path().join("go"), "").unwrap();
    assert_eq!(butler.wait().status.code(), Some(0));
    assert_eq!(stdout_in(dir.path()), "early\nlate\n");
}

/// The job's result is its own, unless we are told to make it ours.
#[test]
fn what_is_lost_turns_a_job_red_only_if_asked() {
    for (fail_on_loss, expected) in [("--fail-on-loss=false", 3), ("--fail-on-loss", 250)] {
        let dir = tempfile::tempdir().unwrap();
        let stats = dir.path().join("stats");
        let butler = start(
            dir.path(),
            &[
                "--output=unix:absent.sock",
                "--flush-timeout=1s",
                "--stats-path=stats",
                fail_on_loss,
            ],
            "echo lost; echo more >&2; exit 3",
        );
        let ended = butler.wait();
        assert_eq!(ended.status.code(), Some(expected), "{ended:?}");
        for says in [
            "error: stream stdout: 5 bytes lost",
            "error: stream stderr: 5 bytes lost",
            "error: logs were lost: 10 bytes of 2 streams",
        ] {
            assert!(ended.stderr.contains(says), "{says}: {ended:?}");
        }
        assert!(!delivered(dir.path()));
        let stats: serde_json::Value = serde_json::from_slice(&fs::read(stats).unwrap()).unwrap();
        assert_eq!(stats["bytes_in"], 10);
        assert_eq!(stats["bytes_dropped"], 10);
        assert!(stats["output_errors"].as_u64() > Some(1), "{stats}");
    }
}

/// Whether somebody looks at the copy or has gone, the log is whole.
#[test]
fn a_copy_that_nobody_reads_takes_nothing_away() {
    for reads in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut command = process::command(["--output=file,path=logs", "run", "--tee"]);
        let child = command
            .args(["--result-path=result", "--", "seq", "1", "100000"])
            .current_dir(dir.path())
            .stdout(writer)
            .stderr(Stdio::null());
        let mut child = child.spawn().unwrap();
        // The writing end that is still here.
        drop(command);
        let mut shown = String::new();
        if reads {
            // More than the pipe takes at once.
            std::io::Read::read_to_string(&mut reader, &mut shown).unwrap();
        }
        drop(reader);
        assert!(child.wait().unwrap().success());
        let expected: String = (1..=100_000).map(|number| format!("{number}\n")).collect();
        assert!(stdout_in(dir.path()) == expected);
        assert!(!reads || shown == expected);
        assert!(delivered(dir.path()));
    }
}
