//! The real binary under test, and clients of it.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use butler::proto::logpb::ButlerLogBundle;
use butler::wire::message::{MessageHead, MessageView};
use butler::wire::varint;

/// The binary, with nothing set that a butler around the tests may have left;
/// with `--io` as the variable `BUTLER_TEST_IO` says.
pub fn command<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    // Tests of the library have these helpers too, and need no binary.
    let Some(binary) = option_env!("CARGO_BIN_EXE_butler") else {
        panic!("without the feature cli there is no binary");
    };
    let mut command = Command::new(binary);
    let mut args = args.into_iter().peekable();
    // Before the subcommand any of them may be given; cat has no such option.
    if let Ok(mode) = std::env::var("BUTLER_TEST_IO")
        && args
            .peek()
            .is_some_and(|first| !is_without_io(first.as_ref()))
    {
        command.arg("--io").arg(mode);
    }
    command.args(args).stdin(Stdio::null());
    for name in std::env::vars_os().map(|(name, _)| name) {
        if name.to_string_lossy().starts_with("LOGDOG_") {
            command.env_remove(name);
        }
    }
    command
}

fn is_without_io(subcommand: &OsStr) -> bool {
    ["cat", "help", "version"]
        .iter()
        .any(|name| subcommand == *name)
}

/// How a butler as a library works with the kernel, as the environment says
/// too.
pub fn io_mode() -> butler::IoMode {
    match std::env::var("BUTLER_TEST_IO") {
        Ok(mode) => mode.parse().expect("a mode"),
        Err(_) => butler::IoMode::Auto,
    }
}

/// Runs a butler as a library on this thread.
pub fn start<F: Future>(future: F) -> Result<F::Output, butler::Error> {
    butler::start_with(io_mode(), future)
}

/// Runs it to its end.
pub fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    command(args).output().expect("the binary runs")
}

/// A `butler serve` that is running.
pub struct Serve {
    pub child: Child,
    pub socket: PathBuf,
    stderr: Arc<Mutex<String>>,
    stderr_reader: Option<JoinHandle<()>>,
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stderr: String,
}

impl Ended {
    /// Panics unless all was delivered.
    pub fn expect_success(&self) {
        assert!(self.status.success(), "{self:?}");
    }
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
            .args(options);
        Self::spawn(command, socket)
    }

    /// The same with a command of your own, which must log at info.
    pub fn spawn(command: Command, socket: PathBuf) -> Self {
        let mut serve = Self::begin(command, socket);
        wait_until("it listens", || {
            let ended = serve.child.try_wait().expect("it can be waited for");
            assert_eq!(ended, None, "{}", serve.stderr());
            UnixStream::connect(&serve.socket).is_ok()
        });
        serve
    }

    /// The same without waiting for anything: `run` may end before anybody
    /// could connect.
    pub fn begin(mut command: Command, socket: PathBuf) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("it runs");
        let (stderr, reader) = read_all(child.stderr.take().expect("stderr is piped"));
        Self {
            child,
            socket,
            stderr,
            stderr_reader: Some(reader),
        }
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid()).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("it is alive");
    }

    /// The same as a demand of its own: what comes within a second of another
    /// one belongs to that.
    pub fn signal_again(&self, signal: rustix::process::Signal) {
        std::thread::sleep(Duration::from_millis(1200));
        self.signal(signal);
    }

    /// To its process group, which must be its own.
    pub fn signal_group(&self, signal: rustix::process::Signal) {
        let group = rustix::process::Pid::from_raw(self.pid()).expect("a pid");
        rustix::process::kill_process_group(group, signal).expect("it is alive");
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
        let reader = self.stderr_reader.take().expect("waited for once");
        reader.join().expect("stderr is read");
        Ended {
            status,
            stderr: self.stderr(),
        }
    }

    /// What it has said so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().expect("nobody panicked").clone()
    }

    /// Waits until it has said that.
    pub fn wait_for_stderr(&self, text: &str) {
        wait_until(text, || self.stderr().contains(text));
    }

    /// The statistics, asked for with SIGUSR1.
    pub fn statistics(&self) -> serde_json::Value {
        const SAYS: &str = "info: statistics: ";
        let count = || self.stderr().matches(SAYS).count();
        let before = count();
        self.signal(rustix::process::Signal::USR1);
        wait_until("it tells its statistics", || count() > before);
        let stderr = self.stderr();
        let (_, last) = stderr.rsplit_once(SAYS).expect("it was there");
        let line = last.lines().next().expect("it is a line");
        serde_json::from_str(line).expect("statistics are JSON")
    }

    /// Waits until one of the counters has that value.
    pub fn wait_for_counter(&self, name: &str, value: u64) {
        wait_until(name, || self.statistics()[name] == value);
    }

    /// What the kernel says of it and of its children: above all which signals
    /// wait, and which are handled.
    fn processes(&self) -> String {
        let pid = self.pid();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.unwrap_or_default();
        let pids = std::iter::once(pid.to_string()).chain(children.split(' ').map(str::to_owned));
        let statuses = pids.map(|pid| std::fs::read_to_string(format!("/proc/{pid}/status")));
        statuses
            .flatten()
            .map(|status| {
                let lines = status.lines().filter(|line| {
                    ["Name", "State", "Pid", "Sig", "ShdPnd"]
                        .iter()
                        .any(|key| line.starts_with(key))
                });
                lines.collect::<Vec<_>>().join(" ") + "\n"
            })
            .collect()
    }

    /// Panics, with what it knows of itself.
    fn fail(&mut self, what: &str) -> ! {
        let descriptors = self.descriptors();
        let processes = self.processes();
        self.signal(rustix::process::Signal::USR1);
        std::thread::sleep(Duration::from_secs(1));
        panic!(
            "{what}, with {descriptors} descriptors open; its log: {:#?}\n{processes}",
            self.stderr()
        );
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

fn read_all(stderr: ChildStderr) -> (Arc<Mutex<String>>, JoinHandle<()>) {
    let all = Arc::new(Mutex::new(String::new()));
    let shared = Arc::clone(&all);
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let mut all = shared.lock().expect("nobody panicked");
            all.push_str(&line);
            all.push('\n');
        }
    });
    (all, reader)
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

/// A new terminal: the end that reads what is shown, and that of a program in
/// it. Neither is left to children.
pub fn terminal() -> std::io::Result<(OwnedFd, OwnedFd)> {
    use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = openpt(flags)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let theirs = ioctl_tiocgptpeer(&ours, flags)?;
    Ok((ours, theirs))
}

/// A datagram as a client writes it.
pub fn datagram(data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint::push(&mut bytes, data.len() as u64);
    bytes.extend_from_slice(data);
    bytes
}

/// What a butler's output connects to.
pub enum Listener {
    Unix(UnixListener, PathBuf),
    Tcp(TcpListener),
}

/// One connection of an output.
pub enum Connection {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Listener {
    pub fn unix(dir: &Path) -> Self {
        let path = dir.join("output.sock");
        let listener = UnixListener::bind(&path).expect("a socket can be bound");
        Self::Unix(listener, path)
    }

    pub fn tcp() -> Self {
        Self::Tcp(TcpListener::bind("127.0.0.1:0").expect("a port is free"))
    }

    /// As `--output` names it.
    pub fn output(&self) -> String {
        match self {
            Self::Unix(_, path) => format!("unix:{}", path.display()),
            Self::Tcp(listener) => format!("tcp:{}", listener.local_addr().expect("it is bound")),
        }
    }

    pub fn accept(&self) -> Connection {
        const COMES: &str = "a connection comes";
        match self {
            Self::Unix(listener, _) => Connection::Unix(listener.accept().expect(COMES).0),
            Self::Tcp(listener) => Connection::Tcp(listener.accept().expect(COMES).0),
        }
    }
}

impl Read for Connection {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(bytes),
            Self::Tcp(stream) => stream.read(bytes),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(bytes),
            Self::Tcp(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Connection {
    /// Reads one whole message.
    pub fn read_message(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let head = loop {
            bytes.push(0);
            let last = bytes.last_mut().expect("it was pushed");
            self.read_exact(std::slice::from_mut(last))
                .expect("a message comes");
            if let Some(head) = MessageHead::parse(&bytes).expect("a message") {
                break head;
            }
        };
        let read = bytes.len();
        bytes.resize(head.message_len(), 0);
        self.read_exact(&mut bytes[read..]).expect("it is whole");
        bytes
    }

    /// Reads up to its end.
    pub fn read_all(mut self) -> Vec<u8> {
        let mut all = Vec::new();
        // A connection that is reset ends like any other.
        let _ = self.read_to_end(&mut all);
        all
    }
}

/// A reader of a `unix:` or `tcp:` output: collects all that comes, over any
/// number of connections one after the other.
pub struct Collector {
    output: String,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Vec<u8>>>,
}

impl Collector {
    pub fn listen(dir: &Path) -> Self {
        Self::new(Listener::unix(dir))
    }

    pub fn new(listener: Listener) -> Self {
        let output = listener.output();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut connections = Vec::new();
            loop {
                let read = listener.accept().read_all();
                // The one that ends it comes after those that wait.
                if read.is_empty() && stopped.load(Ordering::SeqCst) {
                    return connections;
                }
                connections.push(read);
            }
        });
        Self {
            output,
            stop,
            thread,
        }
    }

    pub fn output(&self) -> String {
        self.output.clone()
    }

    /// What came over each connection, once the butler has ended.
    pub fn connections(self) -> Vec<Vec<u8>> {
        self.stop.store(true, Ordering::SeqCst);
        match self.output.split_once(':').expect("it has a name") {
            ("unix", path) => drop(UnixStream::connect(path).expect("it still listens")),
            (_, address) => drop(TcpStream::connect(address).expect("it still listens")),
        }
        self.thread.join().expect("the collector works")
    }

    /// All bundles, once the butler has ended.
    pub fn bundles(self) -> Vec<ButlerLogBundle> {
        let connections = self.connections();
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

/// The same of a file.
pub fn parse_file(path: &Path) -> Vec<ButlerLogBundle> {
    parse(&std::fs::read(path).expect("the file is there"))
}
