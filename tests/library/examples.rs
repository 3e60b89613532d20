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
#[path = "../../examples/receive.rs"]
mod receive;
#[allow(dead_code)]
#[path = "../../examples/watch.rs"]
mod watch;

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::Duration;

use butler::Butler;
use butler::output::{MemoryOutput, Output};
use butler::wire::reader::{Tail, scan};

/// What one that tells on a writer has told.
fn told<E: std::fmt::Debug>(run: impl FnOnce(&mut dyn Write) -> Result<(), E>) -> String {
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

/// What the far end says is safe is in its file, also when it was cut before.
#[test]
fn a_receiver() {
    let directory = tempfile::tempdir().unwrap();
    let (socket, path) = (
        directory.path().join("socket"),
        directory.path().join("file"),
    );
    let listener = UnixListener::bind(&socket).unwrap();
    let spec = format!("unix:{},ack=yes", socket.display());
    for run in 1..=2 {
        let handle = Butler::builder(spec.parse::<Output>().unwrap())
            .start()
            .unwrap();
        let mut log = handle.stream("log").open().unwrap();
        writeln!(log, "run {run}").unwrap();
        drop(log);
        let ended = handle.shutdown(Duration::from_secs(5));
        receive::receive(listener.accept().unwrap().0, &path).unwrap();
        assert!(ended.wait().unwrap().is_complete());
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .read(true)
            .open(&path)
            .unwrap();
        assert_eq!(scan(&mut file).unwrap().tail, Tail::Nothing);
        file.write_all(b"\x05\x08").unwrap();
    }
    let content = std::fs::read(&path).unwrap();
    let has = |text: &[u8]| content.windows(text.len()).any(|it| it == text);
    assert!(has(b"run 1") && has(b"run 2"));

    // What no butler wrote stays as it is.
    std::fs::write(&path, "my thesis").unwrap();
    assert!(receive::receive(std::io::empty(), &path).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"my thesis");
}
