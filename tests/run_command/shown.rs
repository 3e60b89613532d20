//! What is shown of the command's output: all of it, line by line, as long as
//! somebody looks; and the log is whole in any case.

use std::fs;
use std::io::{PipeReader, Read};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};

use crate::common::process::{self, Serve};

fn seq(last: u32) -> String {
    (1..=last).map(|number| format!("{number}\n")).collect()
}

/// `butler OPTIONS run -- sh -c SCRIPT` in `dir`, with its log in `logs` there,
/// and what is shown of stdout.
fn shown(dir: &Path, options: &[&str], script: &str) -> (Child, PipeReader) {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = process::command(["--output=directory,path=logs"]);
    command
        .args(options)
        .args(["run", "--", "sh", "-c", script])
        .current_dir(dir)
        .stdout(writer)
        .stderr(Stdio::piped());
    (command.spawn().unwrap(), reader)
}

fn wait_until_logged(dir: &Path, expected: &str) {
    process::wait_until("all is delivered", || {
        fs::read(dir.join("logs/stdout")).is_ok_and(|log| log == expected.as_bytes())
    });
}

fn stderr_at_end(mut child: Child) -> String {
    let mut stderr = String::new();
    let mut pipe = child.stderr.take().unwrap();
    pipe.read_to_string(&mut stderr).unwrap();
    assert!(child.wait().unwrap().success(), "{stderr}");
    stderr
}

/// As with tee(1), whatever time it takes; and meanwhile all is delivered.
#[test]
fn a_reader_that_pauses_has_all() {
    // More than the reader's pipe and the command's, for which the command
    // waits; and less, so that only we wait.
    for last in [40_000, 400_000] {
        let dir = tempfile::tempdir().unwrap();
        let script = format!(": > begun; seq {last}; : > ended");
        let options = ["--drain-timeout=100ms", "--output-no-buffer"];
        let (child, mut reader) = shown(dir.path(), &options, &script);
        let expected = seq(last);
        process::wait_until("the command runs", || dir.path().join("begun").exists());
        if last == 40_000 {
            process::wait_until("its end", || dir.path().join("ended").exists());
            wait_until_logged(dir.path(), &expected);
        }
        // Several times the time that a background process would have.
        thread::sleep(Duration::from_millis(700));
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert!(text == expected, "{} bytes", text.len());
        assert_eq!(stderr_at_end(child), "");
        wait_until_logged(dir.path(), &expected);
    }
}

/// Once we are asked to end, who takes nothing is not waited for; when we are
/// asked once more, not a moment.
#[test]
fn what_nobody_takes_is_counted() {
    for (patience, demands) in [("100ms", 1), ("10m", 100)] {
        let dir = tempfile::tempdir().unwrap();
        let option = format!("--drain-timeout={patience}");
        let (mut child, reader) = shown(dir.path(), &[&option], "seq 40000; : > ended");
        process::wait_until("its end", || dir.path().join("ended").exists());
        let expected = seq(40_000);
        let pid = Pid::from_child(&child);
        // It may not have seen the command's end yet, and hand the first on.
        wait_until_logged(dir.path(), &expected);
        let begun = Instant::now();
        for _ in 0..demands {
            kill_process(pid, Signal::TERM).unwrap();
            thread::sleep(Duration::from_millis(300));
            if child.try_wait().unwrap().is_some() {
                break;
            }
        }
        let stderr = stderr_at_end(child);
        assert!(begun.elapsed() < Duration::from_secs(30), "it hangs");
        let taken = rustix::io::ioctl_fionread(&reader).unwrap();
        let left = expected.len() as u64 - taken;
        let told = format!("stream stdout: {left} bytes were not shown, as nobody took them");
        assert!(stderr.contains(&told), "{told}: {stderr}");
        wait_until_logged(dir.path(), &expected);
    }
}

/// What is shown of both streams in one place, all of which is there before
/// anything of it can be shown.
fn shown_in_one_place(dir: &Path, script: &str, [out, err]: [usize; 2]) -> String {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let filler = [b'.'; 4096];
    let mut filled = 0;
    while poll(
        &mut [PollFd::new(&writer, PollFlags::OUT)],
        Some(&Timespec::default()),
    )
    .unwrap()
        > 0
    {
        filled += rustix::io::write(&writer, &filler).unwrap();
    }
    let mut command = process::command(["--output=directory,path=logs", "run", "--", "sh"]);
    command.args(["-c", script]).current_dir(dir);
    command.stdout(writer.try_clone().unwrap()).stderr(writer);
    let mut child = command.spawn().unwrap();
    drop(command);
    for (name, len) in [("stdout", out), ("stderr", err)] {
        process::wait_until("all is delivered", || {
            fs::metadata(dir.join("logs").join(name)).is_ok_and(|log| log.len() == len as u64)
        });
    }
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    text.split_off(filled)
}

#[test]
fn lines_are_not_mixed() {
    let dir = tempfile::tempdir().unwrap();
    let lines = |kind: &str| -> String {
        seq(8000)
            .lines()
            .map(|it| format!("{kind}{it}\n"))
            .collect()
    };
    let [out, err] = ["out-put-", "er-ror-"].map(lines);
    let script = "seq -f out-put-%.0f 8000 & seq -f er-ror-%.0f 8000 >&2; wait";
    let text = shown_in_one_place(dir.path(), script, [out.len(), err.len()]);
    for (kind, expected) in [("out-put-", &out), ("er-ror-", &err)] {
        let of_kind = text.lines().filter(|line| line.starts_with(kind));
        assert!(of_kind.eq(expected.lines()), "{kind}");
    }
    assert_eq!(text.len(), out.len() + err.len());
}

/// What has an unfinished line shown is not broken by the other stream.
#[test]
fn a_line_that_is_written_in_pieces_is_not_broken() {
    let dir = tempfile::tempdir().unwrap();
    // Each waits until butler has read the one before.
    let script = "printf 'one '; sleep 0.2; echo err >&2; sleep 0.2; printf 'line\n'";
    let text = shown_in_one_place(dir.path(), script, [9, 4]);
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["err", "one line"]);
}

/// Who has them open is said, and how long they were waited for.
#[test]
fn a_process_that_is_left_behind_is_told_of() {
    for (redirect, cut) in [
        ("", "stdout, stderr"),
        ("2>&-", "stdout"),
        (">&-", "stderr"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let script = format!("sleep 1000 {redirect} & echo $! > pid; echo done");
        let output = crate::run_sh(dir.path(), &["--drain-timeout=200ms"], &script)
            .output()
            .unwrap();
        let pid = fs::read_to_string(dir.path().join("pid")).unwrap();
        let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
        assert!(output.status.success(), "{output:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        let told = format!(
            "warning: still open 200ms after the command's end, and cut there: {cut} (a process"
        );
        assert!(stderr.contains(&told), "{told}: {stderr}");
        assert_eq!(crate::streams(dir.path())["stdout"].bytes, b"done\n");
    }
}

/// The same of those who serve; who has closed a stream is not cut.
#[test]
fn streams_that_are_cut_are_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::start(dir.path(), &["--output=null", "--drain-timeout=200ms"]);
    let open = process::open(&serve.socket, "still/open", "text");
    drop(process::open(&serve.socket, "closed", "text"));
    serve.wait_for_counter("streams", 2);
    let ended = serve.terminate();
    ended.expect_success();
    let told = "still open 200ms after the end began, and cut there: still/open\n";
    assert!(ended.stderr.contains(told), "{ended:?}");
    drop(open);
}
