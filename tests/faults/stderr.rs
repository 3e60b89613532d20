//! Nobody reads what a butler says on stderr.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::process::{command, open, parse_file, wait_until};
use crate::common::reassemble;

/// Has clients cause more messages than a pipe and the butler keep, and another
/// deliver a line meanwhile. Returns how the butler ended, and its stderr, read
/// either before it is told to end or only after.
fn unread(read_before: bool) -> (ExitStatus, String) {
    let dir = tempfile::tempdir().unwrap();
    let (socket, logs) = (dir.path().join("s.sock"), dir.path().join("logs"));
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut butler = command(["--output-no-buffer"]);
    butler
        .arg(format!("--output=file,path={}", logs.display()))
        .arg(format!("--stream-server=unix:{}", socket.display()))
        .stderr(writer);
    let mut child = butler.spawn().unwrap();
    // The writing end that is still here.
    drop(butler);
    wait_until("it listens", || UnixStream::connect(&socket).is_ok());
    for _ in 0..3000 {
        let mut odd = UnixStream::connect(&socket).unwrap();
        odd.write_all(b"this is no header\n").unwrap();
    }
    let mut stream = open(&socket, "s", "text");
    stream.write_all(b"a line\n").unwrap();
    drop(stream);
    wait_until("the line is delivered", || {
        let delivered = reassemble(&parse_file(&logs));
        delivered.get("s").is_some_and(|it| it.terminal.is_some())
    });
    let mut read = move || {
        let mut all = String::new();
        reader.read_to_string(&mut all).unwrap();
        all
    };
    let pid = Pid::from_child(&child);
    let end = || kill_process(pid, Signal::TERM).unwrap();
    if read_before {
        let reading = std::thread::spawn(read);
        // Offered again at short intervals.
        std::thread::sleep(Duration::from_millis(500));
        end();
        return (child.wait().unwrap(), reading.join().unwrap());
    }
    end();
    (child.wait().unwrap(), read())
}

#[test]
fn nobody_reads_it() {
    let begun = Instant::now();
    let (status, said) = unread(false);
    assert!(status.success(), "{status}");
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert!(said.contains("stream refused"), "{said:.200}");
}

#[test]
fn somebody_reads_it_later() {
    let (status, said) = unread(true);
    assert!(status.success(), "{status}");
    let (before, after) = said
        .split_once(" messages are left out: nobody took them\n")
        .unwrap();
    let (before, left_out) = before.rsplit_once("butler: warning: ").unwrap();
    assert_eq!(after, "");
    // Each is there whole, or counted.
    let refused = |line: &&str| line.starts_with("butler: error: stream refused: ");
    assert_eq!(
        before.lines().filter(refused).count(),
        before.lines().count()
    );
    let left_out: usize = left_out.parse().unwrap();
    assert_eq!(before.lines().count() + left_out, 3000);
}
