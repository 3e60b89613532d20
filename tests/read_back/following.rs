//! `cat --follow` while runs begin anew: no line is cut, and none is left out.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Child;

use butler::wire::message::MessageHead;

use crate::common::process::{self, wait_until};

/// `cat --follow` of a path, into a file.
struct Follow {
    child: Child,
    shown: PathBuf,
    said: PathBuf,
}

impl Follow {
    fn start(dir: &Path, path: &Path) -> Self {
        let (shown, said) = (dir.join("shown"), dir.join("said"));
        let mut command = process::command(["cat", "--follow"]);
        let child = command
            .arg(path)
            .stdout(fs::File::create(&shown).unwrap())
            .stderr(fs::File::create(&said).unwrap())
            .spawn()
            .unwrap();
        Self { child, shown, said }
    }

    fn shown(&self) -> String {
        fs::read_to_string(&self.shown).unwrap()
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap()
    }

    fn wait_for(&self, text: &str) {
        wait_until(text, || self.shown().contains(text));
    }

    /// By itself, and well.
    fn ends(&mut self) {
        let mut status = None;
        wait_until("it ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(status.unwrap().success(), "{}", self.said());
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("shown: {:?}\nsaid: {}", self.shown(), self.said());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a shell script as a job, its stdout as the stream `s`.
fn run(prefix: &str, output: &str, script: &str) {
    let mut command = process::command(["--output-no-buffer", "--prefix", prefix]);
    let ran = command
        .args(["--output", output, "run", "--stdout=name=s"])
        .args(["--", "sh", "-c", script])
        .output()
        .unwrap();
    assert!(ran.status.success(), "{ran:?}");
}

/// What a job leaves in a file output.
fn file_of(dir: &Path, prefix: &str, script: &str) -> Vec<u8> {
    let path = dir.join("one");
    run(prefix, &format!("file,path={}", path.display()), script);
    let bytes = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    bytes
}

/// The first message of a file.
fn first(bytes: &[u8]) -> &[u8] {
    let head = MessageHead::parse(bytes).unwrap().unwrap();
    &bytes[..head.message_len()]
}

/// Whoever writes it anew may come to the very length that was read.
#[test]
fn a_file_is_written_anew_to_the_same_length() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    // What comes later is in a second message.
    let job = |lines: &str| format!("printf '{lines}'; sleep 0.2; echo last");
    let old = file_of(dir.path(), "p", &job("old\\nolder"));
    // Times take one byte more or less.
    let new = (0..100)
        .map(|_| file_of(dir.path(), "p", &job("new\\nnewer")))
        .find(|new| first(new).len() == first(&old).len())
        .unwrap();
    fs::write(&path, first(&old)).unwrap();
    let mut follow = Follow::start(dir.path(), &path);
    follow.wait_for("older");
    fs::write(&path, first(&new)).unwrap();
    follow.wait_for("newer");
    let mut file = fs::File::options().append(true).open(&path).unwrap();
    file.write_all(&new[first(&new).len()..]).unwrap();
    follow.ends();
    assert_eq!(follow.shown(), "old\nolder\nnew\nnewerlast\n");
    assert!(follow.said().contains("truncated"), "{}", follow.said());
}

/// By that of a run with another prefix: the first one's streams are over.
#[test]
fn a_file_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let old = file_of(dir.path(), "p", "printf 'one\\ntw'; sleep 0.2; echo o");
    fs::write(&path, first(&old)).unwrap();
    let mut follow = Follow::start(dir.path(), &path);
    follow.wait_for("one\ntw");
    let other = dir.path().join("other");
    fs::write(&other, file_of(dir.path(), "q", "echo new")).unwrap();
    fs::rename(&other, &path).unwrap();
    follow.ends();
    assert_eq!(follow.shown(), "one\ntw\nnew\n");
    assert!(follow.said().contains("replaced"), "{}", follow.said());
}

/// A second run in the same directory, whose stream begins with the same line
/// and becomes longer; and a third after the directory was removed.
#[test]
fn runs_in_the_same_directory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("logs");
    let output = format!("directory,path={}", path.display());
    run("p", &output, "echo begin; printf 'no end of one'");
    let follow = Follow::start(dir.path(), &path);
    follow.wait_for("no end of one");
    run("p", &output, "echo begin; seq 3; printf 'no end of two'");
    follow.wait_for("no end of two");
    fs::remove_dir_all(&path).unwrap();
    run("p", &output, "echo begin; seq 9; printf 'no end of three'");
    follow.wait_for("no end of three");
    let numbers = |to: u32| (1..=to).map(|n| format!("{n}\n")).collect::<String>();
    let expected = format!(
        "begin\nno end of one\nbegin\n{}no end of two\nbegin\n{}no end of three",
        numbers(3),
        numbers(9)
    );
    assert_eq!(follow.shown(), expected, "{}", follow.said());
    assert!(follow.said().contains("stream s: "), "{}", follow.said());
}
