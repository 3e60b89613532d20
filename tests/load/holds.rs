//! What clients can make a butler hold is within the formula, however they go
//! about it; and those who hold nothing have their room.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use butler::limits::{HEADERS_BUFFERED_MAX, Resident};

use crate::common::process::{Serve, header, open, wait_until};
use crate::descriptors::allow_descriptors;
use crate::turn;

const MIB: u64 = 1024 * 1024;
const MAX_BUFFERED: u64 = 4 * MIB;

/// A butler with little to buffer in; `None` where there are not as many
/// descriptors.
fn start(clients: usize, options: &[&str]) -> Option<(Serve, tempfile::TempDir)> {
    if !allow_descriptors(clients as u64 + 200) {
        println!("skipped: the hard limit of open files is too low for {clients} clients");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let buffered = format!("--max-buffered={MAX_BUFFERED}");
    let serve = Serve::start(
        dir.path(),
        &[&["--output=null", &buffered], options].concat(),
    );
    Some((serve, dir))
}

/// The peak is within the formula for so many streams, with short names.
fn check(serve: &Serve, what: &str, open_streams: u64, names: u64) {
    let bound = Resident {
        buffered_max: MAX_BUFFERED,
        open_streams,
        descriptor_bytes: open_streams * 100,
        names,
        name_bytes: names * 50,
    };
    let (_, peak) = serve.resident();
    println!(
        "{what}: resident at most {} KiB, by the formula {} KiB",
        peak / 1024,
        bound.max() / 1024
    );
    assert!(peak <= bound.max(), "{what}: {peak} bytes");
}

/// A client with a header of about `size` bytes, and a line.
fn write_large(socket: &Path, number: usize, size: usize) -> UnixStream {
    let value = "v".repeat(4000);
    let tags: Vec<_> = (0..size / 4000)
        .map(|at| format!(r#""t{at}":"{value}""#))
        .collect();
    let tags = tags.join(",");
    let json = format!(r#"{{"name":"honest/{number}","tags":{{{tags}}}}}"#);
    let mut stream = UnixStream::connect(socket).unwrap();
    let bytes = [&header(&json)[..], b"a line\n"].concat();
    stream.write_all(&bytes).unwrap();
    stream
}

/// Small ones and many: each is too small to be worth a look. Honest clients that
/// come with them, with headers much larger than any of theirs, wait for room, and
/// have it once it is clear who stalls.
#[test]
fn a_crowd_of_unfinished_headers() {
    let _turn = turn();
    const CROWD: usize = 4000;
    const OF_EACH: usize = 15_000;
    const { assert!(CROWD * OF_EACH > 5 * HEADERS_BUFFERED_MAX) };
    let Some((serve, _dir)) = start(CROWD, &[]) else {
        return;
    };
    let mut begun = b"BTLR1\x1e\x80\x80\x40{".to_vec();
    begun.resize(OF_EACH, b' ');
    let crowd = |count: usize| -> Vec<UnixStream> {
        let stalled = (0..count).map(|_| {
            let mut client = UnixStream::connect(&serve.socket).unwrap();
            client.write_all(&begun).unwrap();
            client
        });
        stalled.collect()
    };
    let socket = &serve.socket;
    let (stalled, honest) = thread::scope(|scope| {
        let honest: Vec<_> = (0..10)
            .map(|number| scope.spawn(move || write_large(socket, number, 160_000)))
            .collect();
        let stalled = crowd(CROWD);
        let honest: Vec<_> = honest.into_iter().map(|it| it.join().unwrap()).collect();
        (stalled, honest)
    });
    serve.wait_for_counter("streams", 10);
    serve.wait_for_counter("bytes_in", 70);
    // Those that came last wait for nobody, and nobody waits for them.
    let refused = || serve.statistics()["streams_refused"].as_u64().unwrap();
    let must_go = (CROWD - HEADERS_BUFFERED_MAX / OF_EACH) as u64;
    wait_until("all that have no room are refused", || refused() >= must_go);
    check(&serve, "unfinished headers", CROWD as u64, 10);
    drop((stalled, honest));
    serve.terminate().expect_success();
}

/// All at once, and together much larger than what unfinished headers may hold:
/// each has its turn.
#[test]
fn large_headers_at_once() {
    let _turn = turn();
    const CLIENTS: usize = 200;
    const SIZE: usize = 800_000;
    const { assert!(CLIENTS * SIZE > 15 * HEADERS_BUFFERED_MAX) };
    let Some((serve, _dir)) = start(CLIENTS, &[]) else {
        return;
    };
    let socket = &serve.socket;
    let streams: Vec<_> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| scope.spawn(move || write_large(socket, number, SIZE)))
            .collect();
        clients.into_iter().map(|it| it.join().unwrap()).collect()
    });
    serve.wait_for_counter("streams", CLIENTS as u64);
    serve.wait_for_counter("bytes_in", 7 * CLIENTS as u64);
    assert_eq!(serve.statistics()["streams_refused"], 0);
    let bound = Resident {
        buffered_max: MAX_BUFFERED,
        open_streams: CLIENTS as u64,
        descriptor_bytes: (CLIENTS * (SIZE + 4000)) as u64,
        names: CLIENTS as u64,
        name_bytes: CLIENTS as u64 * 50,
    };
    let (_, peak) = serve.resident();
    assert!(peak <= bound.max(), "{peak} bytes, not {}", bound.max());
    drop(streams);
    serve.terminate().expect_success();
}

/// A line that is given out in part keeps its last byte, if that must wait for
/// the next: not the memory of all the others.
#[test]
fn tails_that_must_wait() {
    let _turn = turn();
    const STREAMS: usize = 3000;
    let age = "--output-max-buffer-age=200ms";
    let Some((serve, _dir)) = start(STREAMS, &[age]) else {
        return;
    };
    let of_each = 60_000;
    let mut streams = Vec::new();
    for number in 0..STREAMS {
        let mut stream = open(&serve.socket, &format!("tail/{number}"), "text");
        stream.write_all(&vec![b'x'; of_each]).unwrap();
        stream.write_all(b"\r").unwrap();
        streams.push(stream);
    }
    let given_out = (STREAMS * of_each) as u64;
    serve.wait_for_counter("bytes_delivered", given_out);
    check(&serve, "tails", STREAMS as u64, STREAMS as u64);
    drop(streams);
    serve.wait_for_counter("bytes_delivered", given_out + STREAMS as u64);
    let (resident, _) = serve.resident();
    assert!(resident <= 32 * MIB, "{} KiB are kept", resident / 1024);
    serve.terminate().expect_success();
}

/// Pieces of one size after the other, each a little too large for the holes
/// that the last ones left; what stays in between are names.
#[test]
fn lines_that_fit_no_hole() {
    let _turn = turn();
    const STREAMS: usize = 1000;
    let Some((serve, _dir)) = start(STREAMS, &["--output-max-buffer-age=1h"]) else {
        return;
    };
    let mut names = 0;
    let mut written = 0;
    for step in 0..40 {
        let len = 100 + step * 150 + step * step * 30;
        let count = (MAX_BUFFERED as usize * 3 / 4 / len).min(STREAMS);
        let mut streams = Vec::new();
        for _ in 0..count {
            names += 1;
            let mut stream = open(&serve.socket, &format!("hole/{names}"), "text");
            stream.write_all(&vec![b'x'; len]).unwrap();
            written += len as u64;
            streams.push(stream);
        }
        serve.wait_for_counter("bytes_in", written);
        drop(streams);
        wait_until("they have ended", || {
            serve.statistics()["streams_open"] == 0
        });
    }
    check(&serve, "lines of growing sizes", STREAMS as u64, names);
    serve.terminate().expect_success();
}
