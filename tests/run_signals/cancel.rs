//! A job is cancelled: it gets its time, and what it says is delivered.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::{FOREVER, delivered, ignore_nothing, start, start_group, stdout_in, wait_for_file};
use crate::common::process::{self, Serve, wait_until};

/// As often as one decision in eight used to be taken for two.
const TIMES: usize = 20;

fn pid_in(dir: &Path, name: &str) -> Pid {
    let pid = fs::read_to_string(dir.join(name)).unwrap();
    Pid::from_raw(pid.trim().parse().unwrap()).unwrap()
}

/// To the child, and then to the group: as timeout(1) does it.
#[test]
fn to_us_and_to_the_group_is_one_demand() {
    let script = format!("trap 'echo cleaned; exit 9' TERM INT; echo ready; : > ready; {FOREVER}");
    for signal in [Signal::TERM, Signal::INT] {
        for _ in 0..TIMES {
            let dir = tempfile::tempdir().unwrap();
            let butler = start_group(dir.path(), &[], &script);
            wait_for_file(dir.path(), "ready");
            butler.signal(signal);
            butler.signal_group(signal);
            let ended = butler.wait();
            assert_eq!(ended.status.code(), Some(9), "{ended:?}");
            let stdout = stdout_in(dir.path());
            assert!(stdout.starts_with("ready\ncleaned\n"), "{stdout}");
            assert!(delivered(dir.path()));
        }
    }
}

#[test]
fn by_timeout() {
    ignore_nothing();
    let script = "trap 'sleep 0.15; echo cleaned; exit 9' TERM INT; echo ready; \
                  while :; do sleep 0.02; done";
    for signal in ["TERM", "INT"] {
        for _ in 0..TIMES / 4 {
            let dir = tempfile::tempdir().unwrap();
            let butler = process::command(["--output=directory,path=logs", "run", "--"]);
            let status = Command::new("timeout")
                .args(["-s", signal, "0.5"])
                .arg(butler.get_program())
                .args(butler.get_args())
                .args(["bash", "-c", script])
                .current_dir(dir.path())
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .status();
            let Ok(status) = status else {
                println!("skipped: there is no timeout(1)");
                return;
            };
            assert_eq!(status.code(), Some(124));
            let stdout = fs::read_to_string(dir.path().join("logs/stdout")).unwrap();
            assert!(stdout.starts_with("ready\ncleaned\n"), "{stdout}");
        }
    }
}

/// As CI systems cancel: first the one, then the other.
#[test]
fn another_signal_is_for_the_job_to_answer() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "trap 'echo INT; : > interrupted' INT; trap 'echo TERM; : > terminated' TERM; : > ready
         while [ ! -e go ]; do sleep 0.02; done; echo cleaned; exit 9; {FOREVER}"
    );
    let butler = start(dir.path(), &[], &script);
    wait_for_file(dir.path(), "ready");
    butler.signal(Signal::INT);
    wait_for_file(dir.path(), "interrupted");
    butler.signal_again(Signal::TERM);
    wait_for_file(dir.path(), "terminated");
    fs::write(dir.path().join("go"), "").unwrap();
    let ended = butler.wait();
    assert_eq!(ended.status.code(), Some(9), "{ended:?}");
    assert_eq!(stdout_in(dir.path()), "INT\nTERM\ncleaned\n");
    assert!(delivered(dir.path()));
}

/// It goes on, and says what: all of it is delivered, up to its last word.
fn does_not_listen(dir: &Path) -> String {
    let count = "at=0; while :; do at=$((at + 1)); echo $at; echo $at > last.new; \
                 mv last.new last; [ -e ready ] || : > ready; done";
    fs::write(dir.join("pid"), "").unwrap();
    format!("echo $$ > pid; trap '' TERM INT; {count}")
}

#[test]
fn the_same_signal_again_ends_both_at_once() {
    for signal in [Signal::TERM, Signal::INT] {
        let dir = tempfile::tempdir().unwrap();
        let options = ["--drain-timeout=10m", "--output-max-buffer-age=10m"];
        let butler = start(dir.path(), &options, &does_not_listen(dir.path()));
        wait_for_file(dir.path(), "ready");
        butler.signal(signal);
        butler.signal_again(signal);
        let ended = butler.wait();
        assert_eq!(ended.status.code(), Some(137), "{ended:?}");
        test_kill_process(pid_in(dir.path(), "pid")).expect_err("it lives");
        // One pass over an output that takes everything.
        let last: u64 = fs::read_to_string(dir.path().join("last"))
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        let stdout = stdout_in(dir.path());
        assert!(stdout.lines().count() as u64 >= last, "{last}: {ended:?}");
        assert!(
            stdout
                .lines()
                .zip(1..)
                .all(|(line, at)| line == at.to_string())
        );
        assert!(delivered(dir.path()));
    }
}

#[test]
fn what_is_not_taken_by_then_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let options = ["--drain-timeout=10m", "--output=unix:absent.sock"];
    let script = format!("trap '' TERM; echo 12345; : > ready; {FOREVER}");
    let butler = start(dir.path(), &options, &script);
    wait_for_file(dir.path(), "ready");
    butler.signal(Signal::TERM);
    butler.signal_again(Signal::TERM);
    let ended = butler.wait();
    assert_eq!(ended.status.code(), Some(137), "{ended:?}");
    let says = "stream stdout: 6 bytes lost";
    assert!(ended.stderr.contains(says), "{ended:?}");
    assert!(!delivered(dir.path()));
}

/// Somebody may kill us soon.
#[test]
fn the_last_words_leave_at_the_first_signal() {
    for signal in [Signal::TERM, Signal::INT] {
        let dir = tempfile::tempdir().unwrap();
        let script = format!(
            "trap 'echo later; printf unfinished' TERM INT; echo before; : > ready; {FOREVER}"
        );
        let butler = start(dir.path(), &["--output-max-buffer-age=10m"], &script);
        wait_for_file(dir.path(), "ready");
        butler.signal(signal);
        wait_until("all of it is delivered", || {
            let logs = dir.path().join("logs");
            logs.metadata().is_ok_and(|logs| logs.len() > 0)
                && stdout_in(dir.path()) == "before\nlater\nunfinished"
        });
        kill(butler);
    }
}

fn kill(butler: Serve) {
    butler.signal(Signal::KILL);
    butler.wait();
}

/// The one who reads the copy has stopped, and the job goes on writing.
#[test]
fn a_copy_that_stands_still_holds_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = process::command(["--output=file,path=logs", "--drain-timeout=10m"]);
    command
        .args(["--log-level=info", "run", "--tee", "--result-path=result"])
        .args(["--", "sh", "-c", "trap '' TERM; : > ready; exec yes"])
        .current_dir(dir.path())
        .stdout(writer);
    let butler = Serve::begin(command, dir.path().join("none"));
    wait_for_file(dir.path(), "ready");
    // The pipe of the copy is full by then, and so is what waits for it.
    std::thread::sleep(Duration::from_millis(300));
    butler.signal(Signal::TERM);
    butler.signal_again(Signal::TERM);
    let ended = butler.wait();
    assert_eq!(ended.status.code(), Some(137), "{ended:?}");
    drop(reader);
}

/// A SIGKILL would have hit the command, were we not in between.
#[test]
fn the_command_does_not_outlive_us() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!("trap ': > signalled' USR1; echo $$ > pid; : > ready; {FOREVER}");
    let butler = start(dir.path(), &[], &script);
    wait_for_file(dir.path(), "ready");
    // By then we know that it has begun.
    butler.signal(Signal::USR1);
    wait_for_file(dir.path(), "signalled");
    let command = pid_in(dir.path(), "pid");
    kill(butler);
    wait_until("it is gone", || {
        let status = fs::read_to_string(format!("/proc/{}/stat", command.as_raw_nonzero()));
        // Whoever takes our children may leave it as a zombie for a while.
        status.map_or(true, |stat| stat.contains(") Z "))
    });
    let _ = kill_process(command, Signal::KILL);
}
