//! `butler cat` shows what outputs wrote, as it was written.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod bounds;
mod following;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use butler::read::{Catalog, Event, Reader};
use common::content::{Sent, every_kind, send_all};
use common::process::{self, Serve, open};

/// An output and what is in it.
struct Written {
    path: PathBuf,
    all: Vec<Sent>,
}

/// One of each output that can be read back.
fn written(dir: &Path) -> Vec<Written> {
    let mut outputs = Vec::new();
    for (name, spec) in [
        ("plain", "file,compress=none"),
        ("zlib", "file,compress=zlib"),
        ("directory", "directory"),
    ] {
        let path = dir.join(name);
        let all = every_kind();
        let output = format!("{spec},path={}", path.display());
        let serve = Serve::start(dir, &["--output", &output, "--tag", "k=v"]);
        send_all(&serve.socket, &all);
        serve.terminate().expect_success();
        outputs.push(Written { path, all });
    }
    outputs
}

fn cat(path: &Path, options: &[&str]) -> Output {
    let mut command = process::command(["cat"]);
    command.args(options).arg(path).output().unwrap()
}

/// Its lines, each of which must be JSON; nothing may be wrong.
fn cat_json(path: &Path, options: &[&str]) -> Vec<serde_json::Value> {
    let output = cat(path, options);
    assert!(output.status.success(), "{output:?}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    let lines = stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn one_stream_is_shown_exactly() {
    let dir = tempfile::tempdir().unwrap();
    for Written { path, all } in written(dir.path()) {
        for sent in all {
            let output = cat(&path, &["--stream", sent.name]);
            assert!(output.status.success(), "{} of {path:?}", sent.name);
            assert_eq!(output.stderr, b"");
            assert!(output.stdout == sent.content(), "{} of {path:?}", sent.name);
        }
    }
}

#[test]
fn the_library_gives_it_back() {
    let dir = tempfile::tempdir().unwrap();
    for Written { path, all } in written(dir.path()) {
        let mut contents = BTreeMap::<String, Vec<u8>>::new();
        let mut ended = 0;
        let each = &mut |catalog: &Catalog, event: Event<'_>| {
            match event {
                Event::Entry(id, entry) => {
                    let name = catalog.get(id).name().to_owned();
                    entry.write_to(contents.entry(name).or_default())?;
                }
                Event::Ended(_) => ended += 1,
                Event::Finding(finding) => panic!("{finding}"),
                _ => {}
            }
            Ok(())
        };
        let mut reader = Reader::new(|_, _| true);
        reader.open(&path, each).unwrap();
        reader.read(each).unwrap();
        assert_eq!((contents.len(), ended), (all.len(), all.len()));
        for sent in all {
            assert!(contents[sent.name] == sent.content(), "{}", sent.name);
        }
    }
}

#[test]
fn several_streams_are_shown_with_their_names() {
    let dir = tempfile::tempdir().unwrap();
    for Written { path, .. } in written(dir.path()) {
        let output = cat(&path, &["--stream", "text/{lf,partial}"]);
        assert!(output.status.success(), "{output:?}");
        let stdout = String::from_utf8(output.stdout).unwrap();
        let of = |name: &str| -> Vec<_> {
            let lines = stdout.lines().filter(|line| line.starts_with(name));
            lines
                .map(|line| line[name.len()..].trim_matches([':', '|', ' ']).to_owned())
                .collect()
        };
        assert_eq!(of("text/lf"), ["one", "two", "", "four"], "{stdout}");
        assert_eq!(of("text/partial"), ["whole", "without an end"], "{stdout}");
        assert_eq!(stdout.lines().count(), 6, "{stdout}");
    }
}

#[test]
fn list() {
    let dir = tempfile::tempdir().unwrap();
    for Written { path, all } in written(dir.path()) {
        let table = cat(&path, &["--list"]);
        assert!(table.status.success(), "{table:?}");
        let table = String::from_utf8(table.stdout).unwrap();
        assert_eq!(table.lines().count(), 1 + all.len(), "{table}");
        let rows = cat_json(&path, &["--list", "--json"]);
        assert_eq!(rows.len(), all.len());
        for sent in &all {
            let row = rows.iter().find(|row| row["stream"] == sent.name).unwrap();
            assert_eq!(row["type"], sent.stream_type);
            assert_eq!(row["bytes"], sent.content().len(), "{}", sent.name);
            assert_eq!(row["tags"], serde_json::json!({"k": "v"}));
            match sent.stream_type {
                "text" => assert_eq!(row["lines"], common::lines(&sent.written).len()),
                "binary" => {}
                _ => assert_eq!(row["datagrams"], sent.datagrams.len(), "{}", sent.name),
            }
            if !path.is_dir() {
                assert_eq!(row["terminal"], true);
            }
            assert!(table.contains(&format!("{}  ", sent.name)), "{table}");
        }
    }
}

/// The values of a text stream, joined again.
fn text_of(entries: &[serde_json::Value], name: &str) -> String {
    let mut text = String::new();
    for entry in entries.iter().filter(|entry| entry["stream"] == name) {
        // An entry of a file output, or a line of a directory.
        let one = std::slice::from_ref(entry);
        for line in entry["lines"].as_array().map_or(one, |lines| lines) {
            text += line["value"].as_str().unwrap();
            text += line["delimiter"].as_str().unwrap();
        }
    }
    text
}

#[test]
fn json() {
    let dir = tempfile::tempdir().unwrap();
    for Written { path, all } in written(dir.path()) {
        let entries = cat_json(&path, &["--json"]);
        for sent in &all {
            let of = entries.iter().filter(|entry| entry["stream"] == sent.name);
            assert!(of.count() > 0, "{} of {path:?}", sent.name);
            if let (true, Ok(text)) = (
                sent.stream_type == "text",
                std::str::from_utf8(&sent.written),
            ) {
                assert!(text_of(&entries, sent.name) == text, "{}", sent.name);
            }
        }
        // Datagrams keep their boundaries.
        let small: Vec<_> = entries
            .iter()
            .filter(|entry| entry["stream"] == "datagram/small")
            .map(|entry| (entry["sequence"].as_u64(), entry["data"].as_str()))
            .collect();
        let base64 = ["YQ==", "", "YmNkCg=="];
        let expected: Vec<_> = (0..).map(Some).zip(base64.map(Some)).collect();
        assert_eq!(small, expected);
    }
}

/// All that is whole is shown, and what is cut is said.
#[test]
fn torn_tail_is_tolerated() {
    let dir = tempfile::tempdir().unwrap();
    for compression in ["none", "zlib"] {
        let path = dir.path().join(compression);
        for name in ["first", "second"] {
            let output = format!("file,path={},compress={compression}", path.display());
            let serve = Serve::start(dir.path(), &["--output", &output]);
            let text = format!("{name}\n").repeat(1000);
            let mut stream = open(&serve.socket, name, "text");
            stream.write_all(text.as_bytes()).unwrap();
            drop(stream);
            serve.terminate().expect_success();
        }
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 10]).unwrap();
        let output = cat(&path, &[]);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(output.stdout, b"first\n".repeat(1000));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(
            stderr.contains("ends inside the message at offset"),
            "{stderr}"
        );
    }
}

#[test]
fn what_is_not_there_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("logs");
    let missing = cat(&path, &[]);
    assert_eq!(missing.status.code(), Some(1));
    let stderr = String::from_utf8(missing.stderr).unwrap();
    assert!(stderr.contains("logs: can't be opened"), "{stderr}");

    fs::write(&path, "no butler wrote this\n".repeat(100)).unwrap();
    let foreign = cat(&path, &[]);
    assert_eq!(foreign.status.code(), Some(1));
    let stderr = String::from_utf8(foreign.stderr).unwrap();
    assert!(stderr.contains("at offset 0"), "{stderr}");
}

/// It shows what comes, as it comes, and ends with the last stream.
#[test]
fn follow_ends_when_the_streams_have_ended() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("logs");
    let output = format!("file,path={}", path.display());
    let serve = Serve::start(dir.path(), &["--output", &output, "--output-no-buffer"]);
    let mut one = open(&serve.socket, "one", "text");
    let mut two = open(&serve.socket, "two", "text");
    one.write_all(b"a\n").unwrap();
    two.write_all(b"b\n").unwrap();

    let shown = dir.path().join("shown");
    let mut command = process::command(["cat", "--follow"]);
    let mut follow = command
        .arg(&path)
        .stdout(fs::File::create(&shown).unwrap())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let shows = |text: &str| fs::read_to_string(&shown).unwrap().contains(text);
    process::wait_until("the first lines", || shows("a\n") && shows("b\n"));
    one.write_all(b"later\n").unwrap();
    process::wait_until("a later line", || shows("later\n"));
    drop(one);
    serve.wait_for_counter("streams_open", 1);
    assert_eq!(follow.try_wait().unwrap(), None, "two is open");
    two.write_all(b"last").unwrap();
    drop(two);
    process::wait_until("it ends", || follow.try_wait().unwrap().is_some());
    assert!(follow.wait().unwrap().success());
    assert!(shows("last"));
    // The butler still runs: it was not its end.
    serve.terminate().expect_success();
}

/// A prefix that is given stays the same from run to run, and a file is
/// appended to: what the later runs wrote are streams of their own.
#[test]
fn runs_with_the_same_prefix() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("logs");
    let output = format!("--output=file,path={}", path.display());
    for says in ["one", "two", "three"] {
        let args = ["--prefix=p", &output, "run", "--stdout=name=s", "--"];
        let ran = process::run(args.iter().chain(&["echo", says]));
        assert!(ran.status.success(), "{ran:?}");
    }
    let shown = cat(&path, &[]);
    assert!(shown.status.success(), "{shown:?}");
    assert_eq!(
        String::from_utf8(shown.stdout).unwrap(),
        "p/+/s     | one\np/+/s (2) | two\np/+/s (3) | three\n"
    );
    let list = cat(&path, &["--list"]);
    let list = String::from_utf8(list.stdout).unwrap();
    assert_eq!(list.lines().count(), 4, "{list}");
    assert!(list.contains("\np (3)   s "), "{list}");
    let rows = cat_json(&path, &["--json"]);
    let runs: Vec<_> = rows.iter().map(|row| row["run"].as_u64()).collect();
    assert_eq!(runs, [None, Some(2), Some(3)]);
}
