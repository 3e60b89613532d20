//! Resident memory keeps to the formula in `butler::limits`, with all that is
//! in it at its most at the same time: buffers, headers, streams, names.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use butler::limits::{HEADERS_BUFFERED_MAX, Resident};

use crate::common::pattern::Content;
use crate::common::process::{Serve, header, open, wait_until};
use crate::common::reader::Reader;
use crate::common::tracker::Tracker;
use crate::common::writers::Writers;
use crate::{COUNTABLE, settled_descriptors, turn};

const MIB: u64 = 1024 * 1024;
/// Streams that come and go without a byte.
const NAMES: usize = 5000;
/// Streams that stay open, with long descriptors.
const OPEN: usize = 2000;
/// Bytes of a tag of theirs.
const TAG: usize = 2000;
/// Streams that write until nobody can.
const WRITERS: usize = 300;

fn everything_at_once(max_buffered: u64, compress: &str, (stream_type, content): (&str, Content)) {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let content = Arc::new(content);
    let reader = Reader::listen(dir.path(), Tracker::new(Arc::clone(&content)));
    let output = format!("{},compress={compress}", reader.output());
    let buffered = format!("--max-buffered={max_buffered}");
    let serve = Serve::start(dir.path(), &["--output", &output, &buffered, COUNTABLE]);
    let descriptors = settled_descriptors(&serve, &reader);
    for number in 0..NAMES {
        open(&serve.socket, &passing(number), "text");
    }
    wait_until("they have passed", || serve.descriptors() <= descriptors);
    let open_streams: Vec<_> = (0..OPEN).map(|at| open_long(&serve, at)).collect();
    let headers = unfinished_headers(&serve);
    let goal = max_buffered / 50 + 50_000;
    reader.hold(true);
    let mut writers = Writers::open(&serve.socket, WRITERS, stream_type, &content, goal);
    writers.push_until_stuck(Duration::from_secs(1));
    assert!(writers.open_count() > 0, "all could write everything");
    let bound = Resident {
        buffered_max: max_buffered,
        open_streams: (OPEN + WRITERS) as u64,
        descriptor_bytes: (OPEN * (TAG + 50) + WRITERS * 50) as u64,
        names: (NAMES + OPEN + WRITERS) as u64,
        name_bytes: (NAMES * passing(NAMES).len()) as u64,
    };
    reader.hold(false);
    writers.push_to_end();
    let (_, peak) = serve.resident();
    drop((open_streams, headers));
    let ended = serve.terminate();
    assert!(ended.status.success(), "{}", ended.stderr);
    let tracker = reader.finish();
    for number in 0..WRITERS {
        assert_eq!(tracker.stream(number).bytes, goal, "{number}");
    }
    println!(
        "{} MiB buffered, compress={compress}: resident at most {} MiB, by the formula {} MiB",
        max_buffered / MIB,
        peak / MIB,
        bound.max() / MIB
    );
    assert!(peak <= bound.max(), "{peak} bytes");
}

fn passing(number: usize) -> String {
    format!("passing/{number:0>100}")
}

/// A stream whose descriptor is long.
fn open_long(serve: &Serve, at: usize) -> UnixStream {
    let mut stream = UnixStream::connect(&serve.socket).unwrap();
    let tag = "v".repeat(TAG);
    let json = format!(r#"{{"name":"open/{at}","tags":{{"tag":"{tag}"}}}}"#);
    stream.write_all(&header(&json)).unwrap();
    stream
}

/// Clients whose headers hold all that such may hold, or nearly.
fn unfinished_headers(serve: &Serve) -> Vec<UnixStream> {
    let of_each = 1_000_000;
    let clients = (0..HEADERS_BUFFERED_MAX / of_each).map(|_| {
        let mut stream = UnixStream::connect(&serve.socket).unwrap();
        stream.write_all(b"BTLR1\x1e\x80\x80\x40{").unwrap();
        stream.write_all(&vec![b' '; of_each]).unwrap();
        stream
    });
    clients.collect()
}

#[test]
fn much_may_be_buffered() {
    everything_at_once(96 * MIB, "none", ("text", Content::endless_line()));
}

#[test]
fn little_may_be_buffered_and_is_compressed() {
    // What can be compressed would not fill it.
    everything_at_once(4 * MIB, "zlib", ("binary", Content::noise()));
}
