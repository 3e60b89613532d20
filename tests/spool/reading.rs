//! `butler cat` of a spool: what waits can be read where it waits.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Output, Stdio};

use crate::common::content::{Sent, noise};
use crate::common::process::{Serve, command, open, wait_until};
use crate::sending::Waiting;

fn cat(args: &[&str]) -> Output {
    command([&["cat"], args].concat()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn str(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn all_runs_are_shown_where_they_wait() {
    let one = [Sent::text("a", b"one\ntwo\n"), Sent::binary("b", b"\0\xff")];
    let waiting = Waiting::of(&[
        ("p/1", &one),
        ("p/2", &[Sent::text("a", b"of another run\n")]),
    ]);
    let before = waiting.look();
    let spool = waiting.spool();
    let shown = cat(&[str(&spool)]);
    assert_eq!(shown.status.code(), Some(0), "{}", text(&shown.stderr));
    let shown = text(&shown.stdout);
    for line in [
        "p/1/+/a | one\n",
        "p/1/+/a | two\n",
        "p/2/+/a | of another run\n",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
    // Exactly, if it is one stream; and also of one segment.
    let binary = cat(&[str(&spool), "--stream", "b"]);
    assert_eq!(binary.stdout, b"\0\xff");
    let second = &waiting.segments()[1];
    assert_eq!(cat(&[str(second)]).stdout, b"of another run\n");
    let list = text(&cat(&["--list", str(&spool)]).stdout);
    for cells in [
        "p/1     a     text",
        "p/1     b     binary",
        "p/2     a     text",
    ] {
        assert!(list.contains(cells), "{list}");
    }
    let json = text(&cat(&["--json", "--stream=b", str(&spool)]).stdout);
    assert!(json.contains(r#""prefix":"p/1""#), "{json}");
    assert!(waiting.look() == before);
}

#[test]
fn damage_is_told() {
    let waiting = Waiting::empty();
    waiting.leave("p/1", &[Sent::binary("a", &noise(2_000_000))]);
    waiting.leave("p/2", &[Sent::text("b", b"whole\n")]);
    waiting.leave("p/3", &[Sent::text("c", b"no header\n")]);
    let segments = waiting.segments();
    for (segment, at) in [(&segments[0], 1_000_000), (&segments[2], 10)] {
        let mut bytes = fs::read(segment).unwrap();
        bytes[at] ^= 1;
        fs::write(segment, bytes).unwrap();
    }
    let mut file = File::options().append(true).open(&segments[1]).unwrap();
    file.write_all(b"a torn record").unwrap();
    let shown = cat(&[str(&waiting.spool()), "--stream=b"]);
    assert_eq!(shown.stdout, b"whole\n");
    let told = text(&shown.stderr);
    for what in [
        " bytes are damaged, of a\n",
        ": nothing in it can be read: its header is damaged\n",
        "13 bytes of it are there and are left out\n",
    ] {
        assert!(told.contains(what), "{told}");
    }
    assert_eq!(shown.status.code(), Some(1));
}

#[test]
fn what_is_not_there_any_more_is_no_loss() {
    let waiting = Waiting::empty();
    let content = noise(9_000_000);
    // Several segments, of which the first has left.
    waiting.leave_in(",max=32MiB", "p/1", &[Sent::binary("a", &content)]);
    let segments = waiting.segments();
    assert!(segments.len() > 2, "{segments:?}");
    fs::remove_file(&segments[0]).unwrap();
    let shown = cat(&[str(&waiting.spool())]);
    let told = text(&shown.stderr);
    assert_eq!(shown.status.code(), Some(0), "{told}");
    assert!(shown.stdout.len() > 4_000_000);
    assert!(content.ends_with(&shown.stdout));
    let what = "stream a: not in the spool: entries from stream_index 0 on, ";
    assert!(told.contains(what), "{told}");
}

#[test]
fn the_spool_of_a_running_butler_is_followed() {
    let waiting = Waiting::empty();
    let spool = waiting.spool();
    let option = format!("{},when=always", spool.display());
    let options = [
        "--output=unix:/nobody",
        "--spool",
        &option,
        "--output-no-buffer",
    ];
    let serve = Serve::start(
        waiting.path(),
        &[&options[..], &["--flush-timeout=0s"]].concat(),
    );
    let mut stream = open(&serve.socket, "s", "text");
    stream.write_all(b"first\n").unwrap();
    wait_until("it waits", || !waiting.segments().is_empty());
    let mut following = command(["cat", "--follow", str(&spool)])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "first");
    stream.write_all(b"second\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "second");
    stream.write_all(b"last\n").unwrap();
    drop(stream);
    assert_eq!(lines.next().unwrap().unwrap(), "last");
    // It ends with its streams.
    assert!(lines.next().is_none());
    assert!(following.wait().unwrap().success());
    serve.terminate().expect_success();
}
