//! What is long, deep or too much.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use prost::Message;

use butler::proto::logpb::{ButlerLogBundle, LogEntry, LogStreamDescriptor, butler_log_bundle};
use butler::proto::logpb::{Text, log_entry, text};
use butler::wire::message::{Compression, frames_len, put_frames};

use crate::cat;
use crate::common::process::{self, Serve, open};

/// A stream with one line, which is its name's end, and many small tags: they
/// take little room where they are encoded, and much where they are not.
fn entry(name: String, prefix_index: u64) -> butler_log_bundle::Entry {
    let line = text::Line {
        value: name.rsplit('/').next().unwrap().to_owned().into(),
        delimiter: "\n".into(),
    };
    butler_log_bundle::Entry {
        desc: Some(LogStreamDescriptor {
            name,
            tags: (0..250).map(|n| (n.to_string(), "v".into())).collect(),
            ..Default::default()
        }),
        terminal: true,
        logs: vec![LogEntry {
            prefix_index,
            content: Some(log_entry::Content::Text(Text { lines: vec![line] })),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// That many streams, 2,000 in each message, with zlib.
fn write_streams(path: &Path, count: usize, name: impl Fn(usize) -> String) {
    let mut file = fs::File::create(path).unwrap();
    for first in (0..count).step_by(2000) {
        let entries = (first..count.min(first + 2000)).map(|at| entry(name(at), at as u64));
        let bundle = ButlerLogBundle {
            prefix: "p".into(),
            entries: entries.collect(),
            ..Default::default()
        };
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(&bundle.encode_to_vec()).unwrap();
        let data = zlib.finish().unwrap();
        let mut frames = vec![0; frames_len(Compression::Zlib, data.len())];
        put_frames(&mut frames, Compression::Zlib, data.len());
        file.write_all(&frames).unwrap();
        file.write_all(&data).unwrap();
    }
}

/// `cat` with 512 MiB of memory, and some for the program itself.
fn cat_in_512_mib(path: &Path, options: &[&str]) -> Output {
    let butler = process::command(["cat"]);
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "ulimit -v 600000; exec \"$@\"", "sh"])
        .arg(butler.get_program())
        .args(butler.get_args())
        .args(options)
        .arg(path);
    shell.output().unwrap()
}

/// More streams than there is room for: some are left out, which is told. One
/// that is asked for is shown, wherever it is.
#[test]
fn more_streams_than_fit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let name = |at: usize| format!("{}/{at}", "n".repeat(200));
    const COUNT: usize = 10_000;
    write_streams(&path, COUNT, name);
    assert!(fs::metadata(&path).unwrap().len() < 1_000_000);

    let ran = cat_in_512_mib(&path, &["--list"]);
    let stderr = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("there are more streams than"), "{stderr}");
    let lines = ran.stdout.iter().filter(|byte| **byte == b'\n').count();
    assert!(lines > 5_000 && lines < COUNT, "{lines}");

    let last = name(COUNT - 1);
    let ran = cat_in_512_mib(&path, &["--stream", &last]);
    assert!(ran.status.success(), "{ran:?}");
    assert_eq!(ran.stdout, format!("{}\n", COUNT - 1).as_bytes());
}

/// A path that no system call takes at once.
#[test]
fn a_path_of_more_than_4096_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d".repeat(200)).join("logs");
    let output = format!("directory,path={}", path.display());
    let serve = Serve::start(dir.path(), &["--output", &output]);
    // 20 segments that fit, and one more.
    let name = vec!["s".repeat(190); 20].join("/") + "/last";
    let mut stream = open(&serve.socket, &name, "text");
    stream.write_all(b"a line\nand more").unwrap();
    drop(stream);
    let grams = vec!["g".repeat(190); 20].join("/") + "/grams";
    let mut stream = open(&serve.socket, &grams, "datagram");
    stream.write_all(&process::datagram(b"one")).unwrap();
    stream.write_all(&process::datagram(b"two")).unwrap();
    drop(stream);
    serve.terminate().expect_success();
    for (name, content) in [(&name, "a line\nand more"), (&grams, "onetwo")] {
        let shown = cat(&path, &["--stream", name]);
        assert!(shown.status.success(), "{shown:?}");
        assert_eq!(String::from_utf8(shown.stdout).unwrap(), content);
    }
    let removed = Command::new("rm").arg("-rf").arg(path).status().unwrap();
    assert!(removed.success());
}

#[test]
fn a_directory_has_no_times() {
    let dir = tempfile::tempdir().unwrap();
    let output = format!("--output=directory,path={}", dir.path().display());
    let ran = process::run([&output, "run", "--stdout=name=s", "--", "echo", "a line"]);
    assert!(ran.status.success(), "{ran:?}");
    let shown = cat(dir.path(), &["--timestamps"]);
    assert_eq!(shown.status.code(), Some(1));
    assert_eq!(shown.stdout, b"a line\n");
    let stderr = String::from_utf8(shown.stderr).unwrap();
    assert!(
        stderr.contains("a directory output has no times"),
        "{stderr}"
    );
}
