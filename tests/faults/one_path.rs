//! One stream of a directory can't be written: nobody else waits for that, and
//! nothing else is lost.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

use crate::common::content::noise;
use crate::common::process::{Serve, command, datagram, wait_until};
use crate::directory::{Bench, contents};
use crate::file_limit::limit_files;

/// In files that may have so much.
const LIMIT: usize = 100_000;

fn write_others(bench: &Bench, from: usize) {
    for at in from..from + 5 {
        let mut other = bench.open(&format!("others/{at}"), "text");
        other
            .write_all(format!("line of {at}\n").as_bytes())
            .unwrap();
        let mut other = bench.open(&format!("others/d{at}"), "datagram");
        other.write_all(&datagram(b"whole")).unwrap();
    }
    wait_until("the others are written", || {
        let found = contents(&bench.out);
        (from..from + 5).all(|at| {
            let text = found.get(&format!("others/{at}"));
            let datagrams = found.get(&format!("others/d{at}"));
            text.is_some_and(|it| it.bytes == format!("line of {at}\n").as_bytes())
                && datagrams.is_some_and(|it| it.bytes == b"whole")
        })
    });
}

#[test]
fn a_file_that_may_not_grow() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(&dir.path().join("out"), &[]);
    limit_files(&bench.serve, Some(LIMIT as u64));
    let data = noise(3_000_000);
    let mut large = bench.open("large", "binary");
    // More than is held of it, and that holds up neither it nor the others.
    large.write_all(&data).unwrap();
    bench
        .serve
        .wait_for_stderr("stream large: File too large (os error 27); trying again");
    write_others(&bench, 0);
    drop(large);
    write_others(&bench, 5);
    let out = bench.out.clone();
    let said = bench.end();
    let left = contents(&out).remove("large").unwrap().bytes;
    assert!(left == data[..LIMIT], "{} bytes", left.len());
    assert_eq!(said.lost.len(), 1);
    assert_eq!(said.lost["large"], (data.len() - LIMIT) as u64);
    assert!(said.ended.stderr.contains("giving up"), "{said:?}");
}

/// A datagram is cut where it may not grow. Those behind it have files of
/// their own, once it is given up.
#[test]
fn a_datagram_that_may_not_grow() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(&dir.path().join("out"), &[]);
    bench.is_whole = |len| len < LIMIT;
    limit_files(&bench.serve, Some(LIMIT as u64));
    let data = noise(2 * LIMIT);
    let mut stream = bench.open("d", "datagram");
    stream.write_all(&datagram(&data)).unwrap();
    bench.serve.wait_for_stderr("giving up");
    wait_until("it is tried again", || {
        stream.write_all(&datagram(b"small")).unwrap();
        bench.serve.stderr().contains("works again")
    });
    stream.write_all(&datagram(b"last")).unwrap();
    drop(stream);
    write_others(&bench, 0);
    let out = bench.out.clone();
    let said = bench.end();
    assert_eq!(said.lost.len(), 1);
    assert!(fs::read(out.join("_00000.d")).unwrap() == data[..LIMIT]);
    assert_eq!(fs::read(out.join("_00001.d")).unwrap(), b"small");
    let bytes = contents(&out).remove("d").unwrap().bytes;
    assert!(bytes.ends_with(b"last"));
}

/// A butler whom permissions bind; `None`, with the reason printed, if there
/// is none to be had.
fn bound_by_permissions(out: &Path) -> Option<Bench> {
    if !rustix::process::getuid().is_root() {
        return Some(Bench::new(out, &[]));
    }
    let nobody = 65534;
    if let Err(error) = command(["version"]).uid(nobody).output() {
        println!("skipped: it can't run as another user: {error}");
        return None;
    }
    let start = |dir: &Path, options: &[&str]| {
        for path in [dir, out] {
            std::os::unix::fs::chown(path, Some(nobody), Some(nobody)).unwrap();
        }
        let socket = dir.join("streams.sock");
        let mut command = command(["--log-level", "info"]);
        command
            .arg("--stream-server")
            .arg(format!("unix:{}", socket.display()))
            .args(["--allow-uid", "0"])
            .args(options)
            .uid(nobody);
        Serve::spawn(command, socket)
    };
    Some(Bench::start(out, &[], start))
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_directory_that_may_not_be_entered() {
    for opens_again in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        set_mode(dir.path(), 0o755);
        let out = dir.path().join("out");
        fs::create_dir(&out).unwrap();
        let Some(bench) = bound_by_permissions(&out) else {
            return;
        };
        let mut before = bench.open("closed/before", "text");
        before.write_all(b"one\n").unwrap();
        wait_until("it is written", || out.join("closed/before").exists());
        let closed = out.join("closed");
        set_mode(&closed, 0);
        // A file that is open stays so; none can be made.
        before.write_all(b"two\n").unwrap();
        let mut text = bench.open("closed/text", "text");
        text.write_all(b"text\n").unwrap();
        let mut datagrams = bench.open("closed/d", "datagram");
        datagrams.write_all(&datagram(b"datagram")).unwrap();
        drop(text);
        bench
            .serve
            .wait_for_stderr("stream closed/text: Permission denied (os error 13); trying");
        let mut others = bench.open("other", "text");
        others.write_all(b"other\n").unwrap();
        wait_until("the other is written", || {
            fs::read(out.join("other")).is_ok_and(|bytes| bytes == b"other\n")
        });
        match opens_again {
            true => set_mode(&closed, 0o700),
            false => {
                bench.serve.wait_for_stderr(
                    "stream closed/text: Permission denied (os error 13); giving up",
                );
                bench
                    .serve
                    .wait_for_stderr("stream closed/d: Permission denied (os error 13); giving up");
                set_mode(&closed, 0o700);
            }
        }
        drop((before, datagrams, others));
        let said = bench.end();
        let found = contents(&out);
        assert_eq!(found["closed/before"].bytes, b"one\ntwo\n");
        match opens_again {
            true => {
                assert_eq!(found["closed/text"].bytes, b"text\n");
                assert_eq!(found["closed/d"].bytes, b"datagram");
                assert_eq!(said.lost.len(), 0);
            }
            false => {
                assert_eq!((said.lost["closed/text"], said.lost["closed/d"]), (5, 9));
                assert_eq!(found.len(), 2);
            }
        }
    }
}
