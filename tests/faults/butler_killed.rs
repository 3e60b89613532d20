//! Butler is killed (SIGKILL) at any moment: its file holds whole messages
//! and at most one torn tail, and the next butler goes on behind them.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::pattern::Content;
use crate::common::process::{Serve, command, header, open, wait_until};
use crate::common::tracker::{Tracker, name};
use crate::messages;
use crate::random::Random;
use crate::seed;

const KILLS: u64 = 300;
/// Files that are written at the same time.
const LANES: u64 = 4;
/// After so many kills a butler ends well, and a new file is begun: they
/// shall not get long.
const KILLS_A_FILE: u64 = 15;

/// What came of some kills.
#[derive(Default)]
struct Tally {
    messages: usize,
    torn: usize,
}

#[test]
fn killed_at_three_hundred_moments() {
    let mut random = Random::new(seed());
    let content = Arc::new(Content::lines());
    let lanes: Vec<_> = (0..LANES)
        .map(|_| {
            let (random, content) = (Random::new(random.bits()), Arc::clone(&content));
            std::thread::spawn(move || lane(random, &content))
        })
        .collect();
    let mut all = Tally::default();
    for lane in lanes {
        let tally = lane.join().expect("every file is right");
        all.messages += tally.messages;
        all.torn += tally.torn;
    }
    println!(
        "{KILLS} kills: {} whole messages, {} torn",
        all.messages, all.torn
    );
    // Most had begun to write.
    assert!(all.messages as u64 > KILLS, "{}", all.messages);
}

fn lane(mut random: Random, content: &Arc<Content>) -> Tally {
    let mut tally = Tally::default();
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..KILLS / LANES / KILLS_A_FILE {
        let mut log = Log::new(dir.path());
        for _ in 0..KILLS_A_FILE {
            let life = Life::draw(&mut random);
            life.live(
                dir.path(),
                &output(dir.path(), life.compress),
                "text",
                content,
            );
            log.check(content, &mut tally);
        }
        log.goes_on(dir.path());
        fs::remove_file(&log.path).unwrap();
    }
    tally
}

/// How a butler is run until it is killed.
#[derive(Debug)]
pub struct Life {
    options: &'static [&'static str],
    compress: &'static str,
    /// Of the streams `s/0`, `s/1` and so on.
    pub writers: usize,
    /// Bytes that each writes; then it waits.
    goal: u64,
    /// Bytes of one write at most.
    piece: usize,
    killed_after: Duration,
    /// That time begins when it listens, not with its process.
    listens: bool,
}

impl Life {
    pub fn draw(random: &mut Random) -> Self {
        let options: [&[&str]; 3] = [
            &["--output-no-buffer"],
            &["--output-max-buffer-age=3ms"],
            &["--max-buffered=4MiB"],
        ];
        Self {
            options: random.pick(&options),
            compress: random.pick(&["none", "zlib"]),
            writers: random.size(1, 3),
            goal: random.within(1000, 3_000_000),
            piece: random.pick(&[50, 5000, 1_000_000]),
            killed_after: Duration::from_micros(random.below(80_000)),
            listens: random.below(4) > 0,
        }
    }

    pub fn live(&self, dir: &Path, output: &str, stream_type: &str, content: &Content) {
        let socket = dir.join("streams.sock");
        let mut butler = command(["--log-level=info"]);
        butler
            .arg(format!("--stream-server=unix:{}", socket.display()))
            .args(["--output", output])
            .args(self.options);
        let mut serve = Serve::begin(butler, socket.clone());
        let gone = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let socket = &socket;
            for number in 0..self.writers {
                let gone = &gone;
                let json = format!(r#"{{"name":"{}","type":"{stream_type}"}}"#, name(number));
                scope.spawn(move || self.write(socket, &header(&json), number, content, gone));
            }
            if self.listens {
                wait_until("it listens", || UnixStream::connect(socket).is_ok());
            }
            std::thread::sleep(self.killed_after);
            serve.child.kill().unwrap();
            serve.child.wait().unwrap();
            gone.store(true, Ordering::SeqCst);
        });
        let ended = serve.wait();
        // It did not end by itself, and had nothing to complain of.
        assert_eq!(ended.status.signal(), Some(9), "{self:?}: {ended:?}");
        assert!(!ended.stderr.contains("error"), "{self:?}: {ended:?}");
    }

    /// Ends when the butler has.
    #[expect(clippy::too_many_arguments, reason = "one use, and all are told apart")]
    fn write(
        &self,
        socket: &Path,
        header: &[u8],
        number: usize,
        content: &Content,
        gone: &AtomicBool,
    ) {
        let mut stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(_) if gone.load(Ordering::SeqCst) => return,
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        let mut at = 0;
        let mut written = stream.write_all(header);
        while written.is_ok() && at < self.goal {
            let data = content.written(number, at);
            let left = usize::try_from(self.goal - at).unwrap();
            let data = &data[..data.len().min(self.piece).min(left)];
            written = stream.write_all(data);
            at += data.len() as u64;
        }
        // Nothing ever comes but the end.
        let _ = stream.read(&mut [0]);
    }
}

/// The kernel takes rings apart after the process has gone: for some
/// milliseconds a socket still takes connections that nobody serves. The next
/// butler knows that; we would take it for the next butler.
pub fn wait_until_nobody_listens(dir: &Path) {
    let socket = dir.join("streams.sock");
    wait_until("nobody listens", || UnixStream::connect(&socket).is_err());
}

fn output(dir: &Path, compress: &str) -> String {
    format!(
        "file,path={},compress={compress}",
        dir.join("logs").display()
    )
}

/// A file, as far as it is whole.
struct Log {
    path: PathBuf,
    whole: Vec<u8>,
}

impl Log {
    fn new(dir: &Path) -> Self {
        Self {
            path: dir.join("logs"),
            whole: Vec::new(),
        }
    }

    /// What was whole has not changed; what has come is what was written.
    fn check(&mut self, content: &Arc<Content>, tally: &mut Tally) {
        // Killed before it could make the file.
        let bytes = fs::read(&self.path).unwrap_or_default();
        let new = bytes.strip_prefix(&self.whole[..]);
        let new = new.expect("whole messages stay as they are");
        let found = messages::parse(new);
        let mut tracker = Tracker::new(Arc::clone(content));
        for bundle in &found.bundles {
            tracker.take(bundle);
        }
        tally.messages += found.bundles.len();
        tally.torn += usize::from(found.torn > 0);
        self.whole.extend_from_slice(&new[..found.end]);
    }

    /// The next butler delivers, takes a torn tail away and nothing else.
    fn goes_on(&self, dir: &Path) {
        wait_until_nobody_listens(dir);
        let serve = Serve::start(dir, &["--output", &output(dir, "none")]);
        let mut stream = open(&serve.socket, "after", "text");
        stream.write_all(b"it goes on\n").unwrap();
        drop(stream);
        serve.terminate().expect_success();
        let bytes = fs::read(&self.path).unwrap();
        let new = bytes.strip_prefix(&self.whole[..]);
        let found = messages::parse(new.expect("whole messages stay as they are"));
        assert_eq!(found.torn, 0);
        let streams = crate::common::reassemble(&found.bundles);
        assert_eq!(streams["after"].bytes, b"it goes on\n");
    }
}
