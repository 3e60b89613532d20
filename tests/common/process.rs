//! The real binary under test, and clients of it.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use butler::proto::logpb::ButlerLogBundle;
use butler::wire::message::MessageView;
use butler::wire::varint;

/// The binary, with nothing set that a butler around the tests may have left.
pub fn command<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_butler"));
    command.args(args).stdin(Stdio::null());
    for name in std::env::vars_os().map(|(name, _)| name) {
        if name.to_string_lossy().starts_with("LOGDOG_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs it to its end.
pub fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    command(args).output().expect("the binary runs")
}

/// A `butler serve` that is running.
pub struct Serve {
    pub child: Child,
    pub socket: PathBuf,
    stderr: Option<JoinHandle<String>>,
}

/// How it ended.
pub struct Ended {
    pub status: ExitStatus,
    pub stderr: String,
}

impl Serve {
    /// Serves at `DIR/streams.sock` with the given options and waits until it
    /// listens.
    pub fn start(dir: &Path, options: &[&str]) -> Self {
        let socket = dir.join("streams.sock");
        let mut command = command(["--log-level", "info"]);
        command
            .arg("--stream-server")
            .arg(format!("unix:{}", socket.display()))
            .args(options)
            .stderr(Stdio::piped());
        Self::spawn(command, socket)
    }

    /// The same with a command of your own, which must log at info.
    pub fn spawn(mut command: Command, socket: PathBuf) -> Self {
        let mut child = command.spawn().expect("the binary runs");
        let stderr = child.stderr.take().expect("stderr is piped");
        let serve = Self {
            child,
            socket,
            stderr: Some(read_all(stderr)),
        };
        wait_until("it listens", || UnixStream::connect(&serve.socket).is_ok());
        serve
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid()).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("it is alive");
    }

    /// SIGTERM, and waits for the end.
    pub fn terminate(self) -> Ended {
        self.signal(rustix::process::Signal::TERM);
        self.wait()
    }

    /// Waits for the end, at most a minute.
    pub fn wait(mut self) -> Ended {
        let deadline = Instant::now() + Duration::from_secs(60);
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                break status;
            }
            if Instant::now() >= deadline {
                self.fail("it does not end");
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let stderr = self.stderr.take().expect("waited for once");
        Ended {
            status,
            stderr: stderr.join().expect("stderr is read"),
        }
    }

    /// Panics, with what it knows of itself.
    fn fail(&mut self, what: &str) -> ! {
        let descriptors = self.descriptors();
        self.signal(rustix::process::Signal::USR1);
        std::thread::sleep(Duration::from_secs(1));
        // The log is whole only once it is gone.
        let _ = self.child.kill();
        let log = self.stderr.take().map(JoinHandle::join);
        panic!("{what}, with {descriptors} descriptors open; its log: {log:#?}");
    }

    /// Resident memory in bytes, and its peak.
    pub fn resident(&self) -> (u64, u64) {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it is alive");
        let kib = |name: &str| -> u64 {
            let line = status.lines().find(|line| line.starts_with(name));
            let number = line.and_then(|line| line.split_whitespace().nth(1));
            number.and_then(|it| it.parse().ok()).expect("a number")
        };
        (kib("VmRSS:") * 1024, kib("VmHWM:") * 1024)
    }

    /// Open descriptors.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid()))
            .expect("it is alive")
            .count()
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(Some(status)) = self.child.try_wait()
        {
            eprintln!("the butler had ended: {status}");
        }
        // A test that failed leaves nothing running.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_all(stderr: ChildStderr) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut all = String::new();
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            all.push_str(&line);
            all.push('\n');
        }
        all
    })
}

/// Waits for at most a minute.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A header as a client writes it.
pub fn header(json: &str) -> Vec<u8> {
    let mut bytes = b"BTLR1\x1e".to_vec();
    varint::push(&mut bytes, json.len() as u64);
    bytes.extend_from_slice(json.as_bytes());
    bytes
}

/// Connects and opens a stream.
pub fn open(socket: &Path, name: &str, stream_type: &str) -> UnixStream {
    let mut stream = UnixStream::connect(socket).expect("it listens");
    let json = format!(r#"{{"name":"{name}","type":"{stream_type}"}}"#);
    stream.write_all(&header(&json)).expect("it reads headers");
    stream
}

/// A reader of a `unix:` output: collects all that comes, over any number of
/// connections one after the other.
pub struct Collector {
    pub path: PathBuf,
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    thread: JoinHandle<Vec<Vec<u8>>>,
}

impl Collector {
    pub fn listen(dir: &Path) -> Self {
        let path = dir.join("output.sock");
        let listener = UnixListener::bind(&path).expect("a socket can be bound");
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut connections = Vec::new();
            loop {
                let (mut connection, _) = listener.accept().expect("a connection comes");
                if stopped.load(std::sync::atomic::Ordering::SeqCst) {
                    return connections;
                }
                let mut all = Vec::new();
                // A connection that is reset ends like any other.
                let _ = connection.read_to_end(&mut all);
                connections.push(all);
            }
        });
        Self { path, stop, thread }
    }

    pub fn output(&self) -> String {
        format!("unix:{}", self.path.display())
    }

    /// All bundles, once the butler has ended.
    pub fn bundles(self) -> Vec<ButlerLogBundle> {
        self.stop.store(true, std::sync::atomic::Ordering::SeqCst);
        UnixStream::connect(&self.path).expect("it still listens");
        let connections = self.thread.join().expect("the collector works");
        connections.iter().flat_map(|bytes| parse(bytes)).collect()
    }
}

/// The bundles of whole messages back to back.
pub fn parse(mut bytes: &[u8]) -> Vec<ButlerLogBundle> {
    let mut bundles = Vec::new();
    while !bytes.is_empty() {
        let view = MessageView::parse(bytes)
            .expect("a message")
            .expect("no torn tail");
        bundles.push(view.bundle().expect("a bundle"));
        bytes = &bytes[view.len..];
    }
    bundles
}
