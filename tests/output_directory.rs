//! The directory output has the very bytes that clients wrote.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use common::content::{Sent, every_kind, send_all};
use common::process::{self, Serve, header, open};

/// Serves with a directory output, to a good end.
fn serve(path: &Path, feed: impl FnOnce(&Path)) -> process::Ended {
    let dir = tempfile::tempdir().unwrap();
    let output = format!("directory,path={}", path.display());
    let serve = Serve::start(dir.path(), &["--output", &output]);
    feed(&serve.socket);
    let ended = serve.terminate();
    ended.expect_success();
    ended
}

/// The files below `path`, with their paths relative to it.
fn files(path: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut directories = vec![path.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap().path();
            match entry.is_dir() {
                true => directories.push(entry),
                false => assert!(found.insert(entry.strip_prefix(path).unwrap().into())),
            }
        }
    }
    found
}

fn meta(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn every_kind_of_stream() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made/by/it");
    fs::create_dir(dir.path().join("made")).unwrap();
    let all = every_kind();
    serve(&path, |socket| send_all(socket, &all));
    // Which streams are of this run.
    let mut expected = BTreeSet::from([".butler-run".into()]);
    for sent in &all {
        let (directory, name) = sent.name.rsplit_once('/').unwrap();
        let directory = Path::new(directory);
        let files = match sent.stream_type {
            "datagram" => sent
                .datagrams
                .iter()
                .enumerate()
                .map(|(at, data)| (format!("_{at:05}.{name}"), data))
                .collect(),
            _ => vec![(name.to_owned(), &sent.written)],
        };
        for (file, content) in files {
            let file = directory.join(file);
            assert!(fs::read(path.join(&file)).unwrap() == *content, "{file:?}");
            expected.insert(file);
        }
        let file = directory.join(format!(".meta.{name}"));
        let meta = meta(&path.join(&file));
        assert_eq!(meta["name"], sent.name);
        let stream_type = match sent.stream_type {
            "text" => serde_json::Value::Null,
            other => other.to_uppercase().into(),
        };
        assert_eq!(meta["stream_type"], stream_type, "{}", sent.name);
        expected.insert(file);
    }
    // And nothing of the stream without data.
    assert_eq!(files(&path), expected);
}

/// What the client says of its stream is in its descriptor.
#[test]
fn descriptor() {
    let dir = tempfile::tempdir().unwrap();
    serve(dir.path(), |socket| {
        let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
        let json = r#"{"name":"d","type":"binary","contentType":"image/png",
            "timestamp":"2024-02-29T12:34:56.789+02:00","tags":{"k":"<v>","empty":null}}"#;
        stream.write_all(&header(json)).unwrap();
        stream.write_all(b"x").unwrap();
    });
    let meta = meta(&dir.path().join(".meta.d"));
    assert_eq!(
        meta,
        serde_json::json!({
            "name": "d",
            "stream_type": "BINARY",
            "content_type": "image/png",
            "timestamp": "2024-02-29T10:34:56.789Z",
            "tags": {"k": "<v>", "empty": ""},
        })
    );
}

/// `a` and `a/b` can't both be files: whoever comes second gets a `~`.
#[test]
fn names_that_are_in_each_others_way_both_survive() {
    for (first, second, file) in [("a", "a/b", "a~/b"), ("a/b", "a", "a~")] {
        let dir = tempfile::tempdir().unwrap();
        serve(dir.path(), |socket| {
            let mut stream = open(socket, first, "text");
            stream.write_all(b"first\n").unwrap();
            drop(stream);
            let mut stream = open(socket, second, "text");
            stream.write_all(b"second\n").unwrap();
        });
        assert_eq!(fs::read(dir.path().join(first)).unwrap(), b"first\n");
        assert_eq!(fs::read(dir.path().join(file)).unwrap(), b"second\n");
    }
}

/// Links lead nowhere, neither those at a directory's place nor a file's.
#[test]
fn nothing_is_written_outside() {
    let dir = tempfile::tempdir().unwrap();
    let (inside, outside) = (dir.path().join("in"), dir.path().join("out"));
    fs::create_dir(&inside).unwrap();
    fs::create_dir(&outside).unwrap();
    let victim = outside.join("victim");
    fs::write(&victim, "untouched").unwrap();
    symlink(&outside, inside.join("link")).unwrap();
    symlink(&victim, inside.join("file")).unwrap();
    symlink(&victim, inside.join(".meta.file")).unwrap();
    let all = [
        Sent::text("link/victim", b"1"),
        Sent::text("link/new", b"2"),
        Sent::text("file", b"3"),
    ];
    serve(&inside, |socket| send_all(socket, &all));
    assert_eq!(files(&outside).len(), 1);
    assert_eq!(fs::read(&victim).unwrap(), b"untouched");
    // And all of it is inside.
    let contents: BTreeSet<_> = files(&inside)
        .into_iter()
        .filter(|path| {
            !path
                .file_name()
                .unwrap()
                .as_encoded_bytes()
                .starts_with(b".")
        })
        .map(|path| fs::read(inside.join(path)).unwrap())
        .collect();
    for sent in &all {
        assert!(contents.contains(&sent.written), "{}", sent.name);
    }
}

#[test]
fn an_earlier_run_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    for content in [&b"a long one\n"[..], b"short\n"] {
        serve(dir.path(), |socket| Sent::text("s", content).send(socket));
        assert_eq!(fs::read(dir.path().join("s")).unwrap(), content);
    }
}

#[test]
fn no_directory_can_be_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "in the way").unwrap();
    let output = format!("directory,path={}", path.display());
    let output = process::run(["--output", &output, "run", "--", "true"]);
    assert_eq!(output.status.code(), Some(250));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains(path.to_str().unwrap()), "{stderr}");
    assert_eq!(fs::read(&path).unwrap(), b"in the way");
}

/// What `run` does if it is told nothing else.
#[test]
fn default_output() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = process::command(["run", "--", "sh", "-c", "echo out; echo err >&2"]);
    let output = command.current_dir(dir.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let logs = dir.path().join("butler-logs/latest");
    assert_eq!(fs::read(logs.join("stdout")).unwrap(), b"out\n");
    assert_eq!(fs::read(logs.join("stderr")).unwrap(), b"err\n");
}
