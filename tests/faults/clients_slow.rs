//! Clients that never come to the end of their header: they have 30 s and
//! little memory, and others go on.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use butler::limits::{HEADER_TIMEOUT, HEADERS_BUFFERED_MAX};

use rustix::process::Signal;

use crate::common::process::{Serve, open, parse_file, wait_until};
use crate::common::reassemble;

const CLIENTS: usize = 64;

/// A client that has begun a header of 1 MiB.
struct Slow {
    /// Gone once it was sent away.
    socket: Option<UnixStream>,
    /// White space that it has written.
    written: usize,
}

impl Slow {
    fn connect(serve: &Serve) -> Self {
        let mut socket = UnixStream::connect(&serve.socket).unwrap();
        socket.write_all(b"BTLR1\x1e\x80\x80\x40{").unwrap();
        socket.set_nonblocking(true).unwrap();
        Self {
            socket: Some(socket),
            written: 0,
        }
    }

    /// Writes so many bytes, or what there is room for.
    fn write(&mut self, len: usize) {
        if let Some(socket) = &mut self.socket {
            match socket.write(&vec![b' '; len]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => self.socket = None,
            }
        }
    }

    fn is_open(&mut self) -> bool {
        if let Some(socket) = &mut self.socket
            && !matches!(socket.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
        {
            self.socket = None;
        }
        self.socket.is_some()
    }
}

fn count_open(slow: &mut [Slow]) -> usize {
    slow.iter_mut().map(Slow::is_open).filter(|it| *it).count()
}

/// A stream from beginning to end, delivered while the others are slow.
fn pass(serve: &Serve, at: usize) {
    let before = serve.statistics()["bytes_delivered"].as_u64().unwrap();
    let line = format!("passes number {at}\n");
    let mut stream = open(&serve.socket, &format!("passes/{at}"), "text");
    stream.write_all(line.as_bytes()).unwrap();
    drop(stream);
    serve.wait_for_counter("bytes_delivered", before + line.len() as u64);
}

fn start(dir: &std::path::Path) -> Serve {
    let output = format!("file,path={}", dir.join("logs").display());
    // In its sandbox only root can count a butler's descriptors.
    let countable = "--sandbox=off";
    Serve::start(dir, &["--output", &output, "--output-no-buffer", countable])
}

fn finish(serve: Serve, dir: &std::path::Path, passed: usize) {
    serve.terminate().expect_success();
    let streams = reassemble(&parse_file(&dir.join("logs")));
    assert_eq!(streams.len(), passed);
    for at in 0..passed {
        let stream = &streams[&format!("passes/{at}")];
        assert_eq!(stream.bytes, format!("passes number {at}\n").into_bytes());
        assert!(stream.terminal.is_some());
    }
}

/// A butler that does not run while its client writes a header.
struct Stopped {
    serve: Serve,
    dir: tempfile::TempDir,
    client: UnixStream,
}

impl Stopped {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let serve = start(dir.path());
        let mut client = UnixStream::connect(&serve.socket).unwrap();
        // Whoever connected before is accepted then.
        pass(&serve, 0);
        serve.signal(Signal::STOP);
        client
            .write_all(b"BTLR1\x1e\x13{\"name\":\"passes/1\"}passes number 1\n")
            .unwrap();
        Self { serve, dir, client }
    }

    /// It was in time.
    fn goes_on(self) {
        self.serve.signal(Signal::CONT);
        drop(self.client);
        finish(self.serve, self.dir.path(), 2);
    }
}

/// A byte now and then does not give them more time; that a butler was stopped
/// takes nobody's.
#[test]
fn sixty_four_that_never_finish() {
    let stopped = Stopped::start();
    let dir = tempfile::tempdir().unwrap();
    let serve = start(dir.path());
    pass(&serve, 0);
    // All that it opens for itself is open.
    let descriptors = serve.descriptors();
    let connected = Instant::now();
    let mut slow: Vec<_> = (0..CLIENTS).map(|_| Slow::connect(&serve)).collect();
    let mut passed = 1;
    wait_until("the slow ones are sent away", || {
        let begun = connected.elapsed();
        slow.iter_mut().for_each(|it| it.write(1));
        let open = count_open(&mut slow);
        // Only a butler that was held up itself would do it later.
        assert!(
            open == CLIENTS || begun >= HEADER_TIMEOUT,
            "{open}, {begun:?}"
        );
        pass(&serve, passed);
        passed += 1;
        std::thread::sleep(Duration::from_millis(200));
        open == 0
    });
    let refused = || serve.stderr().matches("error: stream refused: ").count();
    wait_until("each is told", || refused() >= CLIENTS);
    assert!(serve.stderr().contains("30 s"), "{}", serve.stderr());
    // Their descriptors are free again.
    wait_until("they are closed", || serve.descriptors() <= descriptors);
    assert!(connected.elapsed() > HEADER_TIMEOUT);
    stopped.goes_on();
    println!("{passed} streams passed by 64 slow headers");
    finish(serve, dir.path(), passed);
}

/// All of them want as much memory as a header may.
#[test]
fn large_headers_share_little_memory() {
    let dir = tempfile::tempdir().unwrap();
    let serve = start(dir.path());
    pass(&serve, 0);
    let (before, _) = serve.resident();
    let mut slow: Vec<_> = (0..CLIENTS).map(|_| Slow::connect(&serve)).collect();
    let mut passed = 1;
    // Many times what all of them may hold.
    let each = 800_000;
    wait_until("each has written all, or was sent away", || {
        for client in &mut slow {
            client.write((each - client.written).min(20_000));
        }
        if passed < 20 {
            pass(&serve, passed);
            passed += 1;
        }
        count_open(&mut slow);
        slow.iter()
            .all(|it| it.socket.is_none() || it.written == each)
    });
    wait_until("it has read them", || {
        count_open(&mut slow) * each <= HEADERS_BUFFERED_MAX
    });
    let (_, peak) = serve.resident();
    println!(
        "resident {} KiB, at most {} KiB",
        before / 1024,
        peak / 1024
    );
    let bound = before + 2 * HEADERS_BUFFERED_MAX as u64;
    assert!(peak <= bound, "{peak}, {bound}");
    pass(&serve, passed);
    finish(serve, dir.path(), passed + 1);
}
