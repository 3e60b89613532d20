//! What a stream's name may cost in a directory, of however many segments and
//! however long ones it is.

use std::fs;
use std::io::Write;
use std::path::Path;

use butler::limits::{BUFFERED_MIN, DEPTH_MAX, Resident};

use crate::common::process::{Serve, command, datagram, open, wait_until};
use crate::turn;

fn serve(dir: &Path) -> Serve {
    let output = format!("directory,path={}", dir.join("out").display());
    let buffered = format!("--max-buffered={BUFFERED_MIN}");
    Serve::start(
        dir,
        &[
            "--output",
            &output,
            &buffered,
            "--output-max-buffer-age=50ms",
        ],
    )
}

/// Files and directories beneath it.
fn count(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap())
        .map(|entry| match entry.file_type().unwrap().is_dir() {
            true => 1 + count(&entry.path()),
            false => 1,
        })
        .sum()
}

/// Each segment is shortened on disk, and no map of them is kept.
#[test]
fn memory_keeps_to_the_formula() {
    const NAMES: usize = 1000;
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let serve = serve(dir.path());
    let mut name_bytes = 0;
    for number in 0..NAMES {
        let segment = format!("{number:05}{}", "x".repeat(201));
        let name = [&*segment; 19].join("/");
        name_bytes += name.len() as u64;
        open(&serve.socket, &name, "text")
            .write_all(b"x\n")
            .unwrap();
    }
    serve.wait_for_counter("streams_open", 0);
    serve.wait_for_counter("bytes_pending", 0);
    let bound = Resident {
        buffered_max: BUFFERED_MIN,
        open_streams: 0,
        descriptor_bytes: 0,
        names: NAMES as u64,
        name_bytes,
    };
    let (resident, peak) = serve.resident();
    serve.terminate().expect_success();
    let mib = |bytes: u64| bytes / 1024 / 1024;
    println!(
        "resident {} MiB, at most {}, by the formula {}",
        mib(resident),
        mib(peak),
        mib(bound.max())
    );
    assert!(peak <= bound.max(), "{peak} bytes");
}

fn deep(end: &str) -> String {
    "d/".repeat(2044) + end
}

#[test]
fn inodes_of_deep_names() {
    const STREAMS: usize = 100;
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let serve = serve(dir.path());
    // They have no directory in common.
    let names: Vec<_> = (0..STREAMS)
        .map(|at| deep("e").replace('d', &((b'A' + (at % 26) as u8) as char).to_string()))
        .zip(0..)
        .map(|(name, at)| name.replacen('/', &format!("{at:02}/"), 1))
        .collect();
    for name in &names {
        open(&serve.socket, name, "text").write_all(b"x\n").unwrap();
    }
    serve.wait_for_counter("streams_open", 0);
    serve.terminate().expect_success();
    let out = dir.path().join("out");
    let inodes = count(&out);
    println!("{inodes} inodes");
    // Its directories, its file, its descriptor; and the mark of the run.
    assert!(inodes <= STREAMS * (DEPTH_MAX + 1) + 1, "{inodes}");
    let list = command(["cat", "--list"]).arg(&out).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    for name in &names {
        assert!(list.contains(name), "{name}");
    }
}

/// Its directory is not sought for each of its datagrams, and others do not
/// wait for it.
#[test]
fn many_datagrams_of_a_deep_name() {
    const DATAGRAMS: usize = 20_000;
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let serve = serve(dir.path());
    let mut stream = open(&serve.socket, &deep("e"), "datagram");
    stream.write_all(&datagram(b"x").repeat(DATAGRAMS)).unwrap();
    let mut other = open(&serve.socket, "other", "text");
    other.write_all(b"line\n").unwrap();
    drop((stream, other));
    wait_until("all is written", || {
        serve.statistics()["bytes_delivered"] == 2 * DATAGRAMS + 5
    });
    serve.terminate().expect_success();
    let other = fs::read(dir.path().join("out/other")).unwrap();
    assert_eq!(other, b"line\n");
    // Files, the descriptor, directories; the other stream; the mark.
    let count = count(&dir.path().join("out"));
    assert_eq!(count, DATAGRAMS + 1 + (DEPTH_MAX - 1) + 2 + 1);
}
