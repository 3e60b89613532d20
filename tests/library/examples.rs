//! The examples run, and show what they say.

#[allow(dead_code)]
#[path = "../../examples/in_tokio.rs"]
mod in_tokio;
#[allow(dead_code)]
#[path = "../../examples/job.rs"]
mod job;
#[allow(dead_code)]
#[path = "../../examples/listen.rs"]
mod listen;
#[allow(dead_code)]
#[path = "../../examples/watch.rs"]
mod watch;

use std::process::Command;

use butler::output::MemoryOutput;

/// What one that tells on a writer has told.
fn told<E: std::fmt::Debug>(run: impl FnOnce(&mut dyn std::io::Write) -> Result<(), E>) -> String {
    let mut out = Vec::new();
    run(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_job() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "echo out; echo err >&2; exit 3"]);
    let (status, report) = job::run(directory.path(), command).unwrap();
    assert_eq!((status.code(), report.losses.len()), (Some(3), 0));
    assert_eq!(report.cut, []);
    let file = |name| std::fs::read_to_string(directory.path().join(name)).unwrap();
    assert_eq!(
        (file("stdout"), file("stderr")),
        ("out\n".into(), "err\n".into())
    );
    assert!(file("notes").ends_with("exit status: 3\n"));
}

#[test]
fn watched_workers() {
    let told = told(watch::run);
    for worker in ["a", "b"] {
        let of = |line: &&str| line.starts_with(&format!("workers/{worker}"));
        let lines: Vec<_> = told.lines().filter(of).collect();
        let steps = (1..=3).map(|step| format!("workers/{worker}: step {step}"));
        let end = format!("workers/{worker} has ended");
        let expected: Vec<_> = steps.chain([end]).collect();
        assert_eq!(lines, expected);
    }
}

#[test]
fn a_server() {
    let told = told(listen::run);
    let lines: Vec<_> = told.lines().skip(1).collect();
    let expected = [
        "steps/slow is still open",
        "0 still open",
        "5 bytes of 2 streams",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn in_a_tokio_program() {
    let memory = MemoryOutput::default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let report = runtime.block_on(in_tokio::run(memory.clone())).unwrap();
    assert!(report.is_complete());
    assert_eq!(memory.streams().len(), 4);
    let log = memory.stream_bytes("tasks/3");
    assert!(log.ends_with(b"task 3, step 2\n"));
}
