//! Nobody reads what a butler says on stderr.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::process::{command, open, parse_file, terminal, wait_until};
use crate::common::reassemble;

/// Killed when dropped: one that waits for its stderr does not end.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Has clients cause more messages than a pipe and the butler keep, and another
/// deliver a line meanwhile. Returns how the butler ended, and its stderr, read
/// either before it is told to end or only after.
fn unread(
    (mut reader, writer): (impl Read + Send + 'static, impl Into<Stdio>),
    read_before: bool,
) -> (ExitStatus, String) {
    let dir = tempfile::tempdir().unwrap();
    let (socket, logs) = (dir.path().join("s.sock"), dir.path().join("logs"));
    let mut butler = command(["--output-no-buffer"]);
    butler
        .arg(format!("--output=file,path={}", logs.display()))
        .arg(format!("--stream-server=unix:{}", socket.display()))
        .stderr(writer);
    let mut running = Running(butler.spawn().unwrap());
    let child = &mut running.0;
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
        let mut all = Vec::new();
        // A terminal ends with an error.
        let _ = reader.read_to_end(&mut all);
        String::from_utf8(all).unwrap()
    };
    let pid = Pid::from_child(child);
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
    let (status, said) = unread(std::io::pipe().unwrap(), false);
    assert!(status.success(), "{status}");
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert!(said.contains("stream refused"), "{said:.200}");
}

/// As where somebody has typed Ctrl-S.
#[test]
fn a_terminal_that_stands_still() {
    match terminal() {
        Ok((ours, theirs)) => {
            let (status, _) = unread((File::from(ours), theirs), false);
            assert!(status.success(), "{status}");
        }
        Err(error) => println!("skipped: no terminals here: {error}"),
    }
}

#[test]
fn somebody_reads_it_later() {
    let (status, said) = unread(std::io::pipe().unwrap(), true);
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
