//! What clients may do to a butler, and how it takes it.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use butler::wire::varint;
use common::process::{self, Ended, Serve, datagram, header, open, parse_file};
use common::{Stream, reassemble};
use tempfile::TempDir;

/// A butler that writes to a file.
struct Bench {
    serve: Serve,
    logs: PathBuf,
    _dir: TempDir,
}

/// What came of it.
struct Outcome {
    ended: Ended,
    streams: BTreeMap<String, Stream>,
}

impl Bench {
    fn new(options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let logs = dir.path().join("logs");
        let output = format!("file,path={}", logs.display());
        let options = [&["--output", &output], options].concat();
        Self {
            serve: Serve::start(dir.path(), &options),
            logs,
            _dir: dir,
        }
    }

    fn socket(&self) -> &Path {
        &self.serve.socket
    }

    fn connect(&self) -> UnixStream {
        UnixStream::connect(self.socket()).unwrap()
    }

    fn open(&self, name: &str, stream_type: &str) -> UnixStream {
        open(self.socket(), name, stream_type)
    }

    fn finish(self) -> Outcome {
        let ended = self.serve.terminate();
        ended.expect_success();
        let streams = reassemble(&parse_file(&self.logs));
        Outcome { ended, streams }
    }
}

/// Waits until the other side has closed the connection.
fn wait_for_close(mut stream: UnixStream) {
    // Nothing ever comes; that it is reset is as good an end.
    assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
}

#[expect(clippy::too_many_lines, reason = "a table")]
#[test]
fn bad_headers_disturb_nobody() {
    let raw = |len: u64, json: &str| {
        let mut bytes = b"BTLR1\x1e".to_vec();
        varint::push(&mut bytes, len);
        [bytes, json.as_bytes().to_vec()].concat()
    };
    let long_value = format!(r#"{{"name":"x","tags":{{"k":"{}"}}}}"#, "v".repeat(4097));
    let cases = [
        (b"GET / HTTP/1.1\r\n".to_vec(), r#"begins with \"GET / \""#),
        (b"BTLR2\x1e\x02{}".to_vec(), r"BTLR2"),
        (raw((1 << 20) + 1, ""), "1048577 bytes, more than 1048576"),
        (raw(u64::MAX, ""), "18446744073709551615 bytes"),
        (
            [&raw(0, "")[..6], &[0xff; 10]].concat(),
            "more than 64 bits",
        ),
        (raw(20, r#"{"name":"#), "ended inside the header, after 15"),
        (b"BTL".to_vec(), "ended inside the header, after 3"),
        (header(""), "the header's JSON: "),
        (header(r#"{"name":"x""#), "the header's JSON: "),
        (header(r#"{"name":"x"} x"#), "the header's JSON: "),
        (header(r#"["x"]"#), "the header's JSON: "),
        (header(r#"{"name":7}"#), "the header's JSON: "),
        (header("{\"name\":\"\u{1b}\"}"), "the header's JSON: "),
        (
            header(r#"{"type":"text"}"#),
            r#"the header has no \"name\""#,
        ),
        (header(r#"{"name":"a//b"}"#), r#"\"a//b\" is not valid"#),
        (header(r#"{"name":"../b"}"#), r#"\"../b\" is not valid"#),
        (header(r#"{"name":"a b"}"#), r#"\"a b\" is not valid"#),
        (
            header(r#"{"name":"x","type":"Text"}"#),
            r#"\"Text\" is none of"#,
        ),
        (header(r#"{"name":"x","type":""}"#), r#"\"\" is none of"#),
        (header(r#"{"name":"x","type":null}"#), "type is null"),
        (
            header(r#"{"name":"x","timestamp":"today"}"#),
            r#"\"today\" is not"#,
        ),
        (header(r#"{"name":"x","tags":{"/":""}}"#), "tag"),
        (header(&long_value), "tag"),
    ];
    let bench = Bench::new(&[]);
    let mut good = bench.open("good", "text");
    for (at, (bytes, says)) in cases.iter().enumerate() {
        writeln!(good, "{at}").unwrap();
        let mut bad = bench.connect();
        bad.write_all(bytes).unwrap();
        bad.shutdown(Shutdown::Write).unwrap();
        wait_for_close(bad);
        let refused = || {
            let stderr = bench.serve.stderr();
            let lines = stderr
                .lines()
                .filter(|line| line.contains("error: stream refused: "));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        process::wait_until("it is told", || refused().len() > at);
        let says = says.replace("\\\"", "\"");
        assert!(refused()[at].contains(&says), "{says}: {}", refused()[at]);
    }
    let stats = bench.serve.statistics();
    assert_eq!(stats["streams_refused"], cases.len());
    assert_eq!(stats["streams"], 1);
    drop(good);
    let outcome = bench.finish();
    let expected: String = (0..cases.len()).map(|at| format!("{at}\n")).collect();
    assert_eq!(outcome.streams.len(), 1);
    assert_eq!(outcome.streams["good"].bytes, expected.as_bytes());
}

/// The largest that there may be, and everything that is optional.
#[test]
fn headers_that_are_good() {
    let bench = Bench::new(&[]);
    let pad = |json: &str, len: usize| format!("{json}{}", " ".repeat(len - json.len()));
    let name = "n".repeat(4096);
    for json in [
        pad(r#"{"name":"padded"}"#, 1 << 20),
        format!(r#"{{"name":"{name}"}}"#),
        r#"{"NAME":"any/case","Type":"binary","unknown":[{}],"contentType":null}"#.into(),
        r#"{"name":"first","name":"last/wins"}"#.into(),
        r#"{"name":"dated","timestamp":"2024-02-29T12:34:56.7+02:00"}"#.into(),
        r#"{"name":"future","timestamp":"9999-01-01T00:00:00Z"}"#.into(),
    ] {
        let mut stream = bench.connect();
        stream.write_all(&header(&json)).unwrap();
        stream.write_all(b"x\n").unwrap();
    }
    let outcome = bench.finish();
    let names = ["any/case", "dated", "future", "last/wins", &name, "padded"];
    assert!(outcome.streams.keys().eq(names), "{:?}", outcome.ended);
    for (name, stream) in &outcome.streams {
        assert_eq!(stream.bytes, b"x\n", "{name}");
    }
    let time = outcome.streams["dated"].desc.timestamp.unwrap();
    assert_eq!(time.to_string(), "2024-02-29T10:34:56.700Z");
    assert_eq!(outcome.streams["future"].last_offset, (0, 0));
    let desc = &outcome.streams["any/case"].desc;
    assert_eq!(desc.content_type, "application/octet-stream");
}

/// As the reference reads them: what is no character in a string becomes
/// U+FFFD, which Python clients send for file names that are not UTF-8.
#[test]
fn headers_with_what_is_no_character() {
    let bench = Bench::new(&[]);
    let strings: [(&[u8], &str); 5] = [
        (br"a\udcffb\ud800", "a\u{fffd}b\u{fffd}"),
        (br"\ud83d\ude00\\ud800", "\u{1f600}\\ud800"),
        (b"\xff\xe2\x82", "\u{fffd}\u{fffd}\u{fffd}"),
        (b"\xed\xa0\x80", "\u{fffd}\u{fffd}\u{fffd}"),
        ("\u{e9}".as_bytes(), "\u{e9}"),
    ];
    for (at, (string, _)) in strings.iter().enumerate() {
        let time = r#""time\u017ftamp":"2024-02-29T12:34:56,7Z""#;
        let start = format!(r#"{{"name":"s{at}",{time},"tag\u017f":{{"t":""#);
        let json = [
            start.as_bytes(),
            string,
            br#""},"contentType":""#,
            string,
            br#"","unknown":""#,
            string,
            br#""}"#,
        ];
        let json = json.concat();
        let mut wire = b"BTLR1\x1e".to_vec();
        varint::push(&mut wire, json.len() as u64);
        let mut stream = bench.connect();
        stream.write_all(&[wire, json].concat()).unwrap();
        stream.write_all(b"x\n").unwrap();
    }
    let outcome = bench.finish();
    for (at, (_, expected)) in strings.iter().enumerate() {
        let desc = &outcome.streams[&format!("s{at}")].desc;
        assert_eq!(desc.content_type, *expected);
        assert_eq!(desc.tags["t"], *expected);
        assert_eq!(
            desc.timestamp.unwrap().to_string(),
            "2024-02-29T12:34:56.700Z"
        );
    }
}

#[test]
fn headers_in_any_pieces() {
    let bench = Bench::new(&[]);
    let json = r#"{"name":"bytewise"}"#;
    let mut stream = bench.connect();
    for byte in [&header(json)[..], b"one\ntwo\n"].concat() {
        stream.write_all(&[byte]).unwrap();
    }
    drop(stream);
    let mut stream = bench.connect();
    let at_once = [&header(&json.replace("byte", "data"))[..], b"one\n", b"two"].concat();
    stream.write_all(&at_once).unwrap();
    drop(stream);
    let outcome = bench.finish();
    assert_eq!(outcome.streams["bytewise"].bytes, b"one\ntwo\n");
    assert_eq!(outcome.streams["datawise"].bytes, b"one\ntwo");
}

#[test]
fn a_name_is_used_once() {
    let bench = Bench::new(&[]);
    let mut first = bench.open("name", "text");
    first.write_all(b"before\n").unwrap();
    bench.serve.wait_for_counter("streams", 1);
    for at in 1..=2 {
        let mut second = bench.open("name", "binary");
        // It may be closed already.
        let _ = second.write_all(b"not mine");
        wait_for_close(second);
        bench.serve.wait_for_counter("streams_refused", at);
        if at == 1 {
            first.write_all(b"after\n").unwrap();
            first.shutdown(Shutdown::Write).unwrap();
            bench.serve.wait_for_counter("streams_open", 0);
        }
    }
    let outcome = bench.finish();
    let says = "error: stream refused: the stream name name was used before";
    assert_eq!(outcome.ended.stderr.matches(says).count(), 2);
    assert_eq!(outcome.streams["name"].bytes, b"before\nafter\n");
    assert_eq!(outcome.streams.len(), 1);
}

/// It ends when the last of those who share it has closed it.
#[test]
fn processes_share_a_connection() {
    let bench = Bench::new(&[]);
    let mut ours = bench.open("shared", "text");
    ours.write_all(b"ours\n").unwrap();
    let theirs = || OwnedFd::from(ours.try_clone().unwrap());
    let script = "echo out; echo err >&2; read -r go; echo last";
    let mut child = Command::new("sh")
        .args(["-c", script])
        .stdin(std::process::Stdio::piped())
        .stdout(theirs())
        .stderr(theirs())
        .spawn()
        .unwrap();
    bench.serve.wait_for_counter("bytes_in", 13);
    ours.write_all(b"again\n").unwrap();
    drop(ours);
    bench.serve.wait_for_counter("bytes_in", 19);
    assert_eq!(bench.serve.statistics()["streams_open"], 1);
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert!(child.wait().unwrap().success());
    bench.serve.wait_for_counter("streams_open", 0);
    let outcome = bench.finish();
    let expected = b"ours\nout\nerr\nagain\nlast\n";
    assert_eq!(outcome.streams["shared"].bytes, expected);
}

#[test]
fn a_half_closed_connection_has_ended() {
    let bench = Bench::new(&[]);
    let mut stream = bench.open("half", "text");
    stream.write_all(b"all").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    bench.serve.wait_for_counter("streams_open", 0);
    wait_for_close(stream);
    let outcome = bench.finish();
    assert_eq!(outcome.streams["half"].bytes, b"all");
    assert_eq!(outcome.streams["half"].terminal, Some(0));
}

/// Killed anywhere, a client leaves a stream with all that it wrote.
#[test]
fn clients_are_killed() {
    let bench = Bench::new(&[]);
    // As printf writes it, and what content that is.
    let cases = [
        ("line", "text", r"whole\npart", &b"whole\npart"[..]),
        ("character", "text", r"x\342\230", b"x\xe2\x98"),
        ("cr", "text", r"x\r", b"x\r"),
        ("binary", "binary", r"\000\001", b"\0\x01"),
        ("datagram", "datagram", r"\003abc\005abc", b"abcabc"),
        ("size", "datagram", r"\003abc\200", b"abc"),
        ("empty", "datagram", r"\003abc\005", b"abc"),
    ];
    for (name, stream_type, written, _) in cases {
        let stdout = OwnedFd::from(bench.open(name, stream_type));
        let status = Command::new("sh")
            .args(["-c", "printf \"$1\"; kill -9 $$", "sh", written])
            .stdout(stdout)
            .status()
            .unwrap();
        assert_eq!(status.code(), None, "{name} was killed");
        bench.serve.wait_for_counter("streams_open", 0);
    }
    let outcome = bench.finish();
    for (name, _, _, bytes) in cases {
        let stream = &outcome.streams[name];
        assert_eq!(stream.bytes, bytes, "{name}");
        assert_eq!(stream.terminal, Some(stream.entries - 1), "{name}");
        assert_eq!(stream.datagram_open, name == "datagram", "{name}");
    }
}

/// What came before is delivered, and the stream has ended.
#[test]
fn oversize_datagrams_end_their_stream() {
    let bench = Bench::new(&[]);
    let mut good = bench.open("good", "datagram");
    let mut size = Vec::new();
    varint::push(&mut size, 10 * 1024 * 1024 + 1);
    for (name, bad, says) in [
        ("large", &size[..], "a datagram of 10485761 bytes"),
        ("overflow", &[0xff; 11], "size has more than 64 bits"),
    ] {
        good.write_all(&datagram(b"before")).unwrap();
        let mut stream = bench.open(name, "datagram");
        stream.write_all(&datagram(b"fine")).unwrap();
        stream.write_all(bad).unwrap();
        wait_for_close(stream);
        bench
            .serve
            .wait_for_stderr(&format!("error: stream {name} ends: "));
        bench.serve.wait_for_stderr(says);
    }
    let largest = vec![b'x'; 10 * 1024 * 1024];
    good.write_all(&datagram(&largest)).unwrap();
    drop(good);
    let outcome = bench.finish();
    for name in ["large", "overflow"] {
        assert_eq!(outcome.streams[name].datagrams, [b"fine"]);
        assert_eq!(outcome.streams[name].terminal, Some(0));
    }
    let expected = [&b"before"[..], b"before", &largest];
    assert!(outcome.streams["good"].datagrams == expected);
}

/// A client that says nothing, or never all, is not waited for.
#[test]
fn stalled_headers_do_not_hold_up_the_end() {
    let bench = Bench::new(&["--drain-timeout", "10m"]);
    let silent = bench.connect();
    let mut stalled = bench.connect();
    stalled.write_all(b"BTLR1\x1e\x40{").unwrap();
    bench.open("good", "text").write_all(b"x").unwrap();
    let outcome = bench.finish();
    wait_for_close(silent);
    wait_for_close(stalled);
    assert_eq!(outcome.streams.len(), 1);
}
