//! What a run did not write is not shown as its own.

use std::fs;
use std::path::Path;

use super::common::content::{Sent, send_all};
use super::common::process::{Serve, open, wait_until};
use super::{butler, cat, text};

/// `echo SAYS` as the stream NAME, in the directory `logs`.
fn say(dir: &Path, name: &str, says: &str) {
    let stdout = format!("--stdout=name={name}");
    let args = ["--output", "directory,path=logs", "run", &stdout];
    let output = butler(dir, &[&args[..], &["--", "printf", "%s", says]].concat());
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn what_an_earlier_run_left_is_told() {
    let dir = tempfile::tempdir().unwrap();
    say(dir.path(), "a/old", "old");
    say(dir.path(), "new", "new");
    let shown = butler(dir.path(), &["cat", "logs"]);
    assert_eq!(text(&shown.stdout), "new");
    let stderr = text(&shown.stderr);
    assert!(
        stderr.contains("streams of earlier runs, not shown: 1"),
        "{stderr}"
    );
    assert!(shown.status.success());

    let list = cat(dir.path(), &["--list", "logs"]);
    let state = |name| {
        let row = list.lines().find(|row| row.starts_with(name)).unwrap();
        row.split_whitespace().nth_back(0).unwrap().to_owned()
    };
    assert_eq!(
        (&*state("a/old"), &*state("new")),
        ("earlier", "-"),
        "{list}"
    );
    let json = cat(dir.path(), &["--list", "--json", "--stream=a/old", "logs"]);
    assert!(json.contains("\"earlier_run\":true"), "{json}");

    // Asked for, it is shown as what it is.
    let shown = butler(dir.path(), &["cat", "--stream", "a/old", "logs"]);
    assert_eq!(text(&shown.stdout), "old");
    let stderr = text(&shown.stderr);
    assert!(stderr.contains("a/old is of an earlier run"), "{stderr}");
}

/// A directory in which another butler wrote is an output of its own.
#[test]
fn an_output_in_another() {
    let dir = tempfile::tempdir().unwrap();
    say(dir.path(), "x", "outer");
    let inner = [
        "--output",
        "directory,path=logs/in",
        "run",
        "--stdout=name=x",
        "--",
    ];
    let output = butler(dir.path(), &[&inner[..], &["printf", "inner"]].concat());
    assert!(output.status.success(), "{output:?}");
    let shown = butler(dir.path(), &["cat", "logs"]);
    assert_eq!(text(&shown.stdout), "outer");
    let stderr = text(&shown.stderr);
    assert!(
        stderr.contains("logs/in: an output of its own, not shown"),
        "{stderr}"
    );
    // One directory that holds several is none itself.
    let around = butler(dir.path(), &["cat", "."]);
    let stderr = text(&around.stderr);
    assert!(
        stderr.contains("./logs: an output of its own, not shown"),
        "{stderr}"
    );
    assert_eq!(cat(dir.path(), &["logs/in"]), "inner");
}

/// Streams of all types: `t`, `b`, `d`, `a/x` and, displaced, `a`.
fn an_earlier_run(dir: &Path, output: &str) {
    let serve = Serve::start(dir, &["--output", output, "--output-no-buffer"]);
    send_all(
        &serve.socket,
        &[
            Sent::text("t", b"old\n"),
            Sent::binary("b", b"old"),
            Sent::datagrams("d", &[b"0", b"1", b"2"]),
            Sent::text("a/x", b"old\n"),
        ],
    );
    // Behind the directory that has its name.
    wait_until("a/x is there", || dir.join("logs/a/x").exists());
    Sent::text("a", b"old\n").send(&serve.socket);
    serve.terminate().expect_success();
    assert!(dir.join("logs/a~").exists());
}

/// It goes when a stream of its name is registered, of whatever type, and not
/// with the first byte.
#[test]
fn a_stream_takes_the_place_of_an_earlier_one() {
    let dir = tempfile::tempdir().unwrap();
    let logs = dir.path().join("logs");
    let output = format!("directory,path={}", logs.display());
    an_earlier_run(dir.path(), &output);
    // What no butler wrote is not touched by a stream that writes nothing.
    fs::write(logs.join("mine"), "a user's").unwrap();
    let serve = Serve::start(dir.path(), &["--output", &output]);
    let open: Vec<_> = [
        ("t", "datagram"),
        ("d", "text"),
        ("a", "text"),
        ("mine", "text"),
        ("new/one", "text"),
    ]
    .map(|(name, kind)| open(&serve.socket, name, kind))
    .into();
    let files = [
        "t", ".meta.t", "_00000.d", "_00001.d", "_00002.d", ".meta.d", "a~", ".meta.a~",
    ];
    wait_until("what they replace is gone", || {
        files.iter().all(|file| !logs.join(file).exists())
    });
    // Before there is anything of theirs.
    for file in ["b", ".meta.b", "a/x", "a/.meta.x", "mine"] {
        assert!(logs.join(file).exists(), "{file}");
    }
    assert!(!logs.join("new").exists());
    drop(open);
    serve.terminate().expect_success();
    let list = cat(dir.path(), &["--list", "logs"]);
    let rows: Vec<Vec<_>> = list
        .lines()
        .map(|row| row.split_whitespace().collect())
        .collect();
    let states: Vec<_> = rows[1..]
        .iter()
        .map(|row| (row[0], row[row.len() - 1]))
        .collect();
    assert_eq!(states, [("a/x", "earlier"), ("b", "earlier")], "{list}");
}

/// Also if the run is over at once.
#[test]
fn a_stream_that_stays_empty_leaves_nothing_old() {
    let dir = tempfile::tempdir().unwrap();
    for (script, shown) in [("echo old", "old\n"), ("true", ""), ("echo new", "new\n")] {
        let args = [
            "--output",
            "directory,path=logs",
            "run",
            "--",
            "sh",
            "-c",
            script,
        ];
        let output = butler(dir.path(), &args);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(cat(dir.path(), &["logs"]), shown);
        assert_eq!(dir.path().join("logs/stdout").exists(), !shown.is_empty());
    }
}
