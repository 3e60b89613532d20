//! What options make of streams while they run, and at the end.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use common::process::{self, Ended, Serve, header, open, parse_file};
use common::{Stream, reassemble};
use rustix::process::Signal;

fn serve(dir: &Path, options: &[&str]) -> Serve {
    let output = format!("file,path={}", dir.join("logs").display());
    Serve::start(dir, &[&["--output", &output], options].concat())
}

/// All streams, once the butler has ended.
fn streams(dir: &Path, ended: &Ended) -> BTreeMap<String, Stream> {
    ended.expect_success();
    reassemble(&parse_file(&dir.join("logs")))
}

/// Bytes that are sent out of band (`MSG_OOB`) are bytes like others: in the
/// header, between others, next to each other and at the end.
#[test]
fn out_of_band_is_in_line() {
    use rustix::net::{SendFlags, send};
    let dir = tempfile::tempdir().unwrap();
    let serve = serve(dir.path(), &[]);
    let mut written = Vec::new();
    let stream = UnixStream::connect(&serve.socket).unwrap();
    let header = header(r#"{"name":"oob"}"#);
    let (begin, end) = header.split_at(10);
    let parts: [&[u8]; 9] = [
        begin,
        end,
        b"a line\nx",
        b"y",
        b"\n",
        b"more",
        b" and\n",
        b"the",
        b" end",
    ];
    for (at, part) in parts.into_iter().enumerate() {
        let flags = match at % 2 {
            0 => SendFlags::OOB,
            _ => SendFlags::empty(),
        };
        assert_eq!(send(&stream, part, flags), Ok(part.len()));
        written.extend_from_slice(part);
        if at == 4 {
            // What follows finds an empty queue.
            serve.wait_for_counter("bytes_in", (written.len() - header.len()) as u64);
        }
    }
    drop(stream);
    let ended = serve.terminate();
    let streams = streams(dir.path(), &ended);
    assert_eq!(streams["oob"].bytes, written[header.len()..]);
}

#[test]
fn messages_are_no_source() {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    for kind in [SocketType::DGRAM, SocketType::SEQPACKET] {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
        let mut butler = process::command(["--output=null", "stream"]);
        let output = butler.stdin(ours).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(250), "{stderr}");
        assert!(stderr.contains("a socket of messages"), "{stderr}");
        drop(theirs);
    }
}

/// A `\r` at the end of what is given out waits for its next byte. When that
/// comes it leaves by its own age, not by that of what others have written
/// since.
#[test]
fn a_tail_that_goes_on_is_as_old_as_it_is() {
    /// False if it left with what is younger, or after it.
    fn leaves_first() -> bool {
        let dir = tempfile::tempdir().unwrap();
        let serve = serve(dir.path(), &["--output-max-buffer-age", "2s"]);
        let begun = Instant::now();
        let at = |millis| {
            let due = begun + Duration::from_millis(millis);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        };
        let [mut tail, mut young] = ["tail", "young"].map(|name| open(&serve.socket, name, "text"));
        tail.write_all(b"a").unwrap();
        at(1700);
        tail.write_all(b"\r").unwrap();
        at(2300);
        young.write_all(b"b").unwrap();
        // Both streams are read in the order in which they were written to.
        at(2350);
        tail.write_all(b"x").unwrap();
        at(5000);
        drop((tail, young));
        serve.terminate().expect_success();
        let bundles = parse_file(&dir.path().join("logs"));
        let first_with = |name: &str, lines: usize| {
            let mut seen = 0;
            bundles.iter().position(|bundle| {
                let entries = bundle.entries.iter();
                let of_it = entries.filter(|it| it.desc.as_ref().unwrap().name == name);
                seen += of_it.map(|entry| entry.logs.len()).sum::<usize>();
                seen >= lines
            })
        };
        first_with("tail", 2).unwrap() < first_with("young", 1).unwrap()
    }
    // A machine that stands still makes both late.
    assert!((0..3).any(|_| leaves_first()));
}

#[test]
fn streams_are_cut_at_their_maximum() {
    let dir = tempfile::tempdir().unwrap();
    let serve = serve(dir.path(), &["--max-stream-size", "10"]);
    for (name, stream_type, written) in [
        ("exact", "text", "12345\n789\n"),
        ("text", "text", "12345\n78901\nmore\n"),
        ("long", "text", "0123456789012"),
        ("binary", "binary", "0123456789012"),
    ] {
        let mut stream = open(&serve.socket, name, stream_type);
        stream.write_all(written.as_bytes()).unwrap();
    }
    let ended = serve.terminate();
    let streams = streams(dir.path(), &ended);
    let text = |name: &str| String::from_utf8(streams[name].bytes.clone()).unwrap();
    assert_eq!(text("exact"), "12345\n789\n");
    assert_eq!(text("binary"), "0123456789");
    let reached =
        "[butler] the stream has reached its maximum of 10 bytes; what follows is omitted\n";
    let omitted = |omitted: u32, total: u32| {
        format!("[butler] {omitted} bytes were omitted; the stream had {total} bytes\n")
    };
    assert_eq!(
        text("text"),
        format!("12345\n7890\n{reached}{}", omitted(7, 17))
    );
    assert_eq!(
        text("long"),
        format!("0123456789\n{reached}{}", omitted(3, 13))
    );
    for says in [
        "stream text: 7 of 17 bytes were beyond its maximum size",
        "stream long: 3 of 13 bytes were beyond its maximum size",
        "stream binary: 3 of 13 bytes were beyond its maximum size",
    ] {
        assert!(ended.stderr.contains(says), "{says}: {ended:?}");
    }
    assert!(!ended.stderr.contains("stream exact"), "{ended:?}");
}

#[test]
fn own_tags_win_over_global_ones() {
    let dir = tempfile::tempdir().unwrap();
    let options = ["--tag", "both=global", "-tag", "global=g", "--tag=bare"];
    let serve = serve(dir.path(), &options);
    for json in [
        r#"{"name":"own","tags":{"both":"own","mine":"ä","none":null}}"#,
        r#"{"name":"plain"}"#,
    ] {
        let mut stream = UnixStream::connect(&serve.socket).unwrap();
        stream.write_all(&header(json)).unwrap();
        stream.write_all(b"x").unwrap();
    }
    let streams = streams(dir.path(), &serve.terminate());
    let tags = |name: &str| {
        let tags = streams[name].desc.tags.iter();
        tags.map(|(key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(tags("own"), "bare= both=own global=g mine=ä none=");
    assert_eq!(tags("plain"), "bare= both=global global=g");
}

#[test]
fn project_and_prefix_are_on_every_bundle() {
    let dir = tempfile::tempdir().unwrap();
    for (options, project, prefix) in [
        (&["--project=p-1", "--prefix=a/b"] as &[&str], "p-1", "a/b"),
        (&[], "local", "butler/users/"),
    ] {
        let _ = std::fs::remove_file(dir.path().join("logs"));
        let serve = serve(dir.path(), options);
        open(&serve.socket, "s", "text").write_all(b"x").unwrap();
        serve.terminate().expect_success();
        let bundles = parse_file(&dir.path().join("logs"));
        assert_eq!(bundles.len(), 1);
        assert_eq!(bundles[0].project, project);
        assert!(
            bundles[0].prefix.starts_with(prefix),
            "{}",
            bundles[0].prefix
        );
    }
}

/// What leaves although its stream is open and its line is not complete.
#[test]
fn unfinished_lines_leave_after_a_time() {
    for options in [
        &["--output-max-buffer-age", "200ms"] as &[&str],
        &["--output-no-buffer", "--output-max-buffer-age=10m"],
    ] {
        let dir = tempfile::tempdir().unwrap();
        let serve = serve(dir.path(), options);
        let mut stream = open(&serve.socket, "s", "text");
        // The character that is cut has to wait for its rest, as has a \r.
        for (written, delivered) in [
            (&b"line\npart"[..], 9),
            (b" caf\xc3", 13),
            (b"\xa9 and\r", 19),
            (b"\nnext", 25),
        ] {
            stream.write_all(written).unwrap();
            process::wait_until("it is delivered", || {
                serve.statistics()["bytes_delivered"] == delivered
            });
        }
        drop(stream);
        let streams = streams(dir.path(), &serve.terminate());
        let stream = &streams["s"];
        assert_eq!(stream.bytes, "line\npart café and\r\nnext".as_bytes());
        assert_eq!(stream.lines.len(), 3);
        assert!(stream.entries >= 4, "{}", stream.entries);
    }
}

/// Without that it waits for company.
#[test]
fn young_data_waits() {
    let dir = tempfile::tempdir().unwrap();
    let serve = serve(dir.path(), &["--output-max-buffer-age=10m"]);
    let mut stream = open(&serve.socket, "s", "text");
    for line in 0..100 {
        writeln!(stream, "{line}").unwrap();
    }
    serve.wait_for_counter("bytes_in", 290);
    assert_eq!(serve.statistics()["bytes_delivered"], 0);
    drop(stream);
    serve.wait_for_counter("streams_open", 0);
    let streams = streams(dir.path(), &serve.terminate());
    assert_eq!(streams["s"].lines.len(), 100);
    assert_eq!(parse_file(&dir.path().join("logs")).len(), 1);
}

/// Who has a stream may go on for a while; nobody new comes.
#[test]
fn open_streams_go_on_after_the_signal() {
    let dir = tempfile::tempdir().unwrap();
    let serve = serve(dir.path(), &["--drain-timeout=10m"]);
    let mut stream = open(&serve.socket, "s", "text");
    stream.write_all(b"before\n").unwrap();
    serve.wait_for_counter("streams", 1);
    serve.signal(Signal::TERM);
    serve.wait_for_stderr("once more to end at once");
    process::wait_until("nobody new", || UnixStream::connect(&serve.socket).is_err());
    stream.write_all(b"after\n").unwrap();
    serve.wait_for_counter("bytes_in", 13);
    stream.write_all(b"at the end").unwrap();
    drop(stream);
    // It does not wait for the timeout.
    let streams = streams(dir.path(), &serve.wait());
    assert_eq!(streams["s"].bytes, b"before\nafter\nat the end");
}

/// At the timeout all is taken that was written by then, and that is no loss.
#[test]
fn streams_that_stay_open_are_ended() {
    let dir = tempfile::tempdir().unwrap();
    let serve = serve(dir.path(), &["--drain-timeout=300ms"]);
    let mut open_ones = Vec::new();
    for (name, stream_type) in [("text", "text"), ("binary", "binary"), ("idle", "text")] {
        open_ones.push(open(&serve.socket, name, stream_type));
    }
    serve.wait_for_counter("streams", 3);
    serve.signal(Signal::TERM);
    serve.wait_for_stderr("once more to end at once");
    for stream in &mut open_ones[..2] {
        stream.write_all(b"so far").unwrap();
    }
    let streams = streams(dir.path(), &serve.wait());
    assert_eq!(streams.len(), 2);
    for name in ["text", "binary"] {
        assert_eq!(streams[name].bytes, b"so far");
        assert_eq!(streams[name].terminal, Some(0));
    }
    // And the clients can see it.
    let error = open_ones[0].write_all(b"too late").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
}

/// Writers wait while the memory is full, and nothing is dropped.
#[test]
fn many_writers_with_little_memory() {
    let dir = tempfile::tempdir().unwrap();
    let serve = serve(dir.path(), &["--max-buffered=4MiB"]);
    let data = common::content::noise(1_500_000);
    let writers: Vec<_> = (0..16)
        .map(|at| {
            let mut stream = open(&serve.socket, &format!("s/{at}"), "binary");
            let data = data.clone();
            std::thread::spawn(move || stream.write_all(&data).unwrap())
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    serve.wait_for_counter("streams_open", 0);
    let peak = serve.statistics()["peak_buffered"].as_u64().unwrap();
    assert!(peak < 12 << 20, "{peak} bytes were buffered");
    let streams = streams(dir.path(), &serve.terminate());
    assert_eq!(streams.len(), 16);
    assert!(streams.values().all(|stream| stream.bytes == data));
}
