//! What a butler says that it has delivered is what is there, however it was
//! kept from delivering the rest. (The directory's tests look at that each.)

use std::io::Write;
use std::time::Duration;

use rustix::process::Signal;

use crate::common::content::noise;
use crate::common::process::{Listener, Serve, datagram, open};
use crate::directory::Bench;
use crate::full_disk::Disk;

const DATAGRAM: usize = 20_000;

/// Streams of every kind, each with more than there is room for.
fn fill(bench: &Bench) {
    let data = noise(400_000);
    let mut streams: Vec<_> = (0..3)
        .map(|at| bench.open(&format!("binary/{at}"), "binary"))
        .collect();
    let mut datagrams = bench.open("datagrams", "datagram");
    for piece in data.chunks(DATAGRAM) {
        for stream in &mut streams {
            stream.write_all(piece).unwrap();
        }
        datagrams.write_all(&datagram(piece)).unwrap();
    }
    drop((streams, datagrams));
    bench.serve.wait_for_stderr("; trying again");
    // All is read, and part of it in the bundle that is being written.
    bench.serve.wait_for_counter("streams_open", 0);
}

#[test]
fn a_full_disk_at_the_end() {
    for twice in [false, true] {
        let Some(disk) = Disk::mount("size=1100k") else {
            return;
        };
        let out = disk.path().join("out");
        let timeout = if twice { "100s" } else { "500ms" };
        let mut bench = Bench::new(&out, &["--flush-timeout", timeout]);
        bench.is_whole = |len| len == DATAGRAM;
        fill(&bench);
        if twice {
            bench.serve.signal(Signal::TERM);
            bench.serve.wait_for_stderr("ending");
            std::thread::sleep(Duration::from_millis(1200));
        }
        let said = bench.end();
        let lost = &said.stats["bytes_dropped_by_reason"]["undelivered"];
        assert_eq!(lost, &said.stats["bytes_dropped"]);
        assert!(
            said.stats["bytes_delivered"].as_u64().unwrap() > 700_000,
            "{said:?}"
        );
    }
}

/// A stream's end is no byte, and lost all the same.
#[test]
fn an_end_that_nobody_took() {
    let dir = tempfile::tempdir().unwrap();
    let listener = Listener::unix(dir.path());
    let serve = Serve::start(
        dir.path(),
        &[
            "--output",
            &listener.output(),
            "--output-max-buffer-age=20ms",
            "--flush-timeout=500ms",
        ],
    );
    let mut stream = open(&serve.socket, "s", "text");
    stream.write_all(b"line\n").unwrap();
    let mut connection = listener.accept();
    connection.read_message();
    serve.wait_for_counter("bytes_delivered", 5);
    // Nobody listens any more.
    drop((listener, connection));
    std::fs::remove_file(dir.path().join("output.sock")).unwrap();
    drop(stream);
    let ended = serve.terminate();
    assert_eq!(ended.status.code(), Some(250), "{ended:?}");
    for told in [
        "error: stream s: its end is lost, not delivered in time",
        "error: logs were lost: the end of 1 stream",
    ] {
        assert!(ended.stderr.contains(told), "{ended:?}");
    }
}
