//! Clients are processes that are killed (SIGKILL) anywhere: what they wrote
//! is delivered, their stream ends, and nobody else notices.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::common::process::{Ended, Serve, datagram, header, open, parse_file};
use crate::common::{Stream, reassemble};
use crate::random::Random;
use crate::seed;

/// A butler with a file, and a stream that nobody may disturb.
struct Bench {
    serve: Serve,
    other: UnixStream,
    written: String,
    logs: PathBuf,
    dir: TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let logs = dir.path().join("logs");
        let output = format!("file,path={}", logs.display());
        let serve = Serve::start(dir.path(), &["--output", &output]);
        Self {
            other: open(&serve.socket, "other", "text"),
            written: String::new(),
            serve,
            logs,
            dir,
        }
    }

    /// The stream that nobody may disturb writes on.
    fn go_on(&mut self) {
        let line = format!("{} ✓\n", self.written.len());
        self.other.write_all(line.as_bytes()).unwrap();
        self.written += &line;
    }

    fn finish(self) -> (std::collections::BTreeMap<String, Stream>, Ended) {
        drop(self.other);
        let ended = self.serve.terminate();
        ended.expect_success();
        let mut streams = reassemble(&parse_file(&self.logs));
        let other = streams.remove("other").unwrap();
        assert_eq!(other.bytes, self.written.as_bytes());
        assert!(other.terminal.is_some());
        drop(self.dir);
        (streams, ended)
    }
}

/// A process that writes the first `len` bytes of a file and is killed before
/// it could do anything else.
fn write_and_die(path: &Path, len: usize, stdout: OwnedFd) {
    let status = Command::new("sh")
        .args(["-c", "head -c \"$1\" \"$2\"; kill -9 $$", "sh"])
        .arg(len.to_string())
        .arg(path)
        .stdout(stdout)
        .status()
        .unwrap();
    assert_eq!(status.code(), None, "it was killed");
}

/// The header ends in any byte.
#[test]
fn in_mid_header() {
    let mut bench = Bench::new();
    let whole = header(r#"{"name":"never/opened","type":"binary"}"#);
    let path = bench.dir.path().join("header");
    fs::write(&path, &whole).unwrap();
    for len in 1..whole.len() {
        let client = UnixStream::connect(&bench.serve.socket).unwrap();
        write_and_die(&path, len, client.into());
        bench.go_on();
    }
    let refused = whole.len() as u64 - 1;
    bench.serve.wait_for_counter("streams_refused", refused);
    let (streams, ended) = bench.finish();
    assert!(streams.is_empty(), "{:?}", streams.keys());
    for len in 1..whole.len() {
        let says = format!("ended inside the header, after {len} bytes");
        assert!(ended.stderr.contains(&says), "{says}: {ended:?}");
    }
}

/// Text whose characters have 1 to 4 bytes and whose lines end in every way.
const TEXT: &str = "a\r\nß✓\n\u{1f980}\r\r\n\n";

/// What a client writes of a type, long enough to be cut in many places.
fn content(stream_type: &str) -> Vec<u8> {
    match stream_type {
        "datagram" => [
            datagram(b"x"),
            datagram(b""),
            datagram(&[7; 300]),
            datagram(&[8; 20_000]),
        ]
        .concat(),
        _ => TEXT.repeat(2).into_bytes(),
    }
}

/// A stream ends in any byte of a line, character, datagram or its size.
#[test]
fn in_mid_line_character_and_datagram() {
    let mut bench = Bench::new();
    let mut cuts = Vec::new();
    for stream_type in ["text", "binary", "datagram"] {
        let content = content(stream_type);
        let path = bench.dir.path().join(stream_type);
        fs::write(&path, &content).unwrap();
        let step = content.len().div_ceil(2000);
        for len in (1..40).chain((300..310).map(|at| at * step)) {
            if len > content.len() {
                continue;
            }
            let name = format!("{stream_type}/{len}");
            let client = open(&bench.serve.socket, &name, stream_type);
            write_and_die(&path, len, client.into());
            bench.go_on();
            cuts.push((name, content[..len].to_vec()));
        }
    }
    let (streams, _) = bench.finish();
    for (name, written) in cuts {
        match streams.get(&name) {
            Some(stream) => check(stream, &written),
            // A datagram's size, or the beginning of one, is no entry.
            None => assert!(name.starts_with("datagram/") && split(&written).0.is_empty()),
        }
    }
}

/// Exactly what was written, in as many bytes as there are of it.
fn check(stream: &Stream, written: &[u8]) {
    let name = &stream.desc.name;
    assert!(stream.terminal.is_some(), "{name}");
    if name.starts_with("datagram") {
        let (datagrams, open) = split(written);
        assert!(stream.datagrams == datagrams, "{name}: other datagrams");
        assert_eq!(stream.datagram_open, open, "{name}");
    } else {
        assert!(stream.bytes == written, "{name}: other bytes");
    }
}

/// The datagrams, and whether the last of them is unfinished. One of whose
/// size not all came, or of whose data nothing, is none.
fn split(mut written: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut datagrams = Vec::new();
    while let Some((size, used)) = size(written) {
        let rest = &written[used..];
        if rest.len() < size {
            if !rest.is_empty() {
                datagrams.push(rest.to_vec());
            }
            return (datagrams, !rest.is_empty());
        }
        datagrams.push(rest[..size].to_vec());
        written = &rest[size..];
    }
    (datagrams, false)
}

fn size(bytes: &[u8]) -> Option<(usize, usize)> {
    let last = bytes.iter().position(|byte| byte & 0x80 == 0)?;
    let groups = bytes[..=last].iter().rev();
    let size = groups.fold(0, |size, byte| size << 7 | usize::from(byte & 0x7f));
    Some((size, last + 1))
}

/// A process that writes the same again and again, as fast as it can. `yes`
/// ends what it repeats with a line end, which is the datagram's last byte.
fn repeat(what: &[u8], stdout: OwnedFd) -> Child {
    Command::new("yes")
        .arg(OsStr::from_bytes(what))
        .stdin(Stdio::null())
        .stdout(stdout)
        .spawn()
        .unwrap()
}

/// All write at full speed and are killed at moments drawn by chance.
#[test]
fn at_any_moment_of_full_speed() {
    let mut random = Random::new(seed());
    let mut bench = Bench::new();
    let line = "[12.5] INFO linked ✓ \u{1f980} äöü".as_bytes().to_vec();
    // 99 bytes and the line end: a datagram of 100.
    let frame = [&[100][..], &[b'd'; 99]].concat();
    let mut clients: Vec<_> = (0..24)
        .map(|at| {
            let (stream_type, what) = match at % 3 {
                0 => ("text", &line),
                1 => ("binary", &line),
                _ => ("datagram", &frame),
            };
            let name = format!("{stream_type}/{at}");
            let client = open(&bench.serve.socket, &name, stream_type);
            let repeated = [what, &b"\n"[..]].concat();
            (name, repeated, repeat(what, client.into()))
        })
        .collect();
    for (_, _, client) in &mut clients {
        std::thread::sleep(Duration::from_micros(random.below(20_000)));
        client.kill().unwrap();
        client.wait().unwrap();
        bench.go_on();
    }
    let (streams, _) = bench.finish();
    let mut bytes = 0;
    for (name, repeated, _) in clients {
        // It may have been killed before it wrote.
        let Some(stream) = streams.get(&name) else {
            continue;
        };
        assert!(stream.terminal.is_some(), "{name}");
        bytes += stream.bytes.len();
        if name.starts_with("datagram") {
            let (last, whole) = stream.datagrams.split_last().unwrap();
            assert!(whole.iter().all(|data| *data == repeated[1..]), "{name}");
            assert!(repeated[1..].starts_with(last), "{name}");
            assert_eq!(stream.datagram_open, last.len() < 100, "{name}");
        } else {
            let expected = repeated.repeat(stream.bytes.len() / repeated.len() + 1);
            assert!(expected.starts_with(&stream.bytes), "{name}: other bytes");
        }
    }
    println!("{} MB of 24 clients that were killed", bytes / 1_000_000);
    assert!(bytes > 1_000_000, "{bytes}");
}
