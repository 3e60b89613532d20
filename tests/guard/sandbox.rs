//! What must go on to work in the sandbox. That little else does is tested
//! beside it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;

use crate::common::process::{Serve, command, open, wait_until};

fn status_has(serve: &Serve, line: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", serve.pid())).unwrap();
    status.lines().any(|found| found == line)
}

#[test]
fn on_unless_it_is_off() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::start(dir.path(), &["--output=null", "--log-level=debug"]);
    // It listens before it confines itself.
    wait_until("it is confined", || status_has(&serve, "NoNewPrivs:\t1"));
    wait_until("Landlock is told of", || {
        let told = serve.stderr();
        told.contains("debug: Landlock: ") || told.contains("no Landlock")
    });
    serve.terminate().expect_success();
    let serve = Serve::start(dir.path(), &["--output=null", "--sandbox=off"]);
    assert!(status_has(&serve, "NoNewPrivs:\t0"));
    serve.terminate().expect_success();
}

/// As `git clean` in a job may do it.
#[test]
fn a_directory_that_is_removed_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let logs = dir.path().join("logs");
    let output = format!("directory,path={}", logs.display());
    let stats = dir.path().join("stats");
    let serve = Serve::start(
        dir.path(),
        &[
            "--output",
            &output,
            "--output-no-buffer",
            "--stats-path",
            stats.to_str().unwrap(),
        ],
    );
    let mut stream = open(&serve.socket, "a/first", "text");
    stream.write_all(b"one\n").unwrap();
    drop(stream);
    wait_until("it is there", || logs.join("a/first").exists());
    serve.wait_for_counter("streams_open", 0);
    serve.wait_for_counter("bytes_pending", 0);
    fs::remove_dir_all(&logs).unwrap();
    let mut stream = open(&serve.socket, "a/second", "text");
    stream.write_all(b"two\n").unwrap();
    drop(stream);
    wait_until("it is made again", || {
        fs::read(logs.join("a/second")).is_ok_and(|bytes| bytes == b"two\n")
    });
    let socket = serve.socket.clone();
    let ended = serve.terminate();
    let lost = "stream a/first: 4 bytes lost, removed by others";
    assert!(ended.stderr.contains(lost), "{ended:?}");
    assert!(!socket.exists());
    let stats: serde_json::Value = serde_json::from_slice(&fs::read(stats).unwrap()).unwrap();
    assert_eq!(
        (&stats["bytes_in"], &stats["bytes_delivered"]),
        (&8.into(), &4.into())
    );
}

#[test]
fn the_private_directory_is_removed() {
    let mut command = command(["--output=null", "serve"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let socket = Path::new(line.trim().strip_prefix("unix:").unwrap()).to_owned();
    assert!(socket.exists());
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(!socket.parent().unwrap().exists());
}

/// A job may remove what butler is to write into, and make it later on.
#[test]
fn results_in_a_directory_that_the_job_makes_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("out")).unwrap();
    let output = command(["--output=directory,path=out/logs", "--output-no-buffer"])
        .args([
            "--stats-path=out/stats",
            "run",
            "--result-path=later/result",
        ])
        .args(["--", "sh", "-c"])
        .arg("sleep 0.3; rm -r out; mkdir -p out later; echo x")
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let read = |path: &str| fs::read_to_string(dir.path().join(path)).unwrap();
    assert_eq!(read("out/logs/stdout"), "x\n");
    assert!(read("out/stats").contains("\"bytes_in\":2"));
    assert!(read("later/result").contains("\"delivered\":true"));
}
