//! The two ways to work with the kernel, and how one of them is chosen.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::process::parse_file;
use common::reassemble;
use rustix::io::Errno;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

/// Runs `echo` under a butler of whose system calls some come to nothing.
fn run_echo(dir: &Path, io: &[&str], refusal: Option<SeccompAction>) -> Option<Output> {
    let output = format!("file,path={}", dir.join("log").display());
    let mut command = Command::new(env!("CARGO_BIN_EXE_butler"));
    command
        .args(io)
        .args(["--output", &output, "run", "--", "echo", "hello"])
        .stdin(Stdio::null());
    // A filter is for a thread and what it starts, for good.
    let thread = std::thread::spawn(move || {
        if let Some(refusal) = refusal
            && let Err(error) = refuse_io_uring(refusal)
        {
            eprintln!("skipped: no filter of system calls: {error}");
            return None;
        }
        Some(command.output().unwrap())
    });
    thread.join().unwrap()
}

fn refuse_io_uring(action: SeccompAction) -> Result<(), Box<dyn std::error::Error>> {
    let rules = BTreeMap::from([(libc::SYS_io_uring_setup, vec![])]);
    let arch = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, arch)?;
    let program: BpfProgram = filter.try_into()?;
    Ok(apply_filter(&program)?)
}

fn errno(error: Errno) -> SeccompAction {
    SeccompAction::Errno(error.raw_os_error() as u32)
}

fn has_hello(dir: &Path) -> bool {
    let streams = reassemble(&parse_file(&dir.join("log")));
    streams["stdout"].bytes == b"hello\n" && streams["stdout"].terminal.is_some()
}

#[test]
fn where_io_uring_is_refused_epoll_does() {
    for error in [Errno::PERM, Errno::NOSYS, Errno::INVAL, Errno::NOMEM] {
        for options in [&[] as &[&str], &["--io", "auto"], &["--log-level", "info"]] {
            let dir = tempfile::tempdir().unwrap();
            let Some(output) = run_echo(dir.path(), options, Some(errno(error))) else {
                return;
            };
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{stderr}");
            assert!(has_hello(dir.path()));
            // That is no reason to say anything in between what a job says.
            let told: Vec<_> = stderr
                .lines()
                .filter(|line| {
                    line.contains("io_uring is not available") && line.ends_with("; using epoll")
                })
                .collect();
            match options {
                ["--log-level", _] => assert_eq!(told.len(), 1, "{stderr}"),
                _ => assert!(stderr.is_empty(), "{stderr}"),
            }
        }
    }
}

#[test]
fn who_wants_io_uring_hears_that_it_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let Some(output) = run_echo(dir.path(), &["--io=uring"], Some(errno(Errno::PERM))) else {
        return;
    };
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(250), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains("io_uring is not available"), "{stderr}");
    assert!(stderr.contains("--io epoll"), "{stderr}");
    assert!(!dir.path().join("log").exists());
}

/// Whoever tries is killed.
#[test]
fn with_epoll_io_uring_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let deadly = SeccompAction::KillProcess;
    let Some(output) = run_echo(dir.path(), &["--io", "epoll"], Some(deadly.clone())) else {
        return;
    };
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    assert!(has_hello(dir.path()));
    // The filter does what it should.
    let output = run_echo(dir.path(), &["--io", "uring"], Some(deadly)).unwrap();
    assert_eq!(output.status.code(), None, "{output:?}");
}

#[test]
fn both_do_the_same() {
    for io in ["auto", "epoll"] {
        let dir = tempfile::tempdir().unwrap();
        let output = run_echo(dir.path(), &["--io", io], None).unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(has_hello(dir.path()), "{io}");
    }
}
