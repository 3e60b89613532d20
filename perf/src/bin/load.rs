//! Streams for a butler: opens them, writes them, and says what it took.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use butler_perf::args::{seconds, size, size_range, value};
use butler_perf::header::header;
use butler_perf::pacer::Pacer;
use butler_perf::payload::{Kind, Lines, Payload, Random};
use butler_perf::{Result, clock, report, stamp};
use serde_json::json;

const USAGE: &str = "load --socket PATH [OPTIONS]

  --streams N        how many streams (1)
  --bytes SIZE       how much in all, headers not counted (1GB)
  --write SIZE       bytes of a write, or a range: 16KiB-64KiB (the default)
  --kind KIND        text (the default), binary, or datagrams=SIZE
  --line N           mean length of text lines (100), their ends included
  --fixed            all lines have that length
  --rate SIZE        bytes a second in all, in even distances; otherwise it
                     writes as fast as it can
  --stamps           each write, which must hold one line, tells when it was
                     written, for `sink --latency`
  --wait             writes nothing until a line comes on stdin
  --hold S           writes nothing at all, and keeps the streams open so long

One thread. Streams take turns, write by write. Prints {\"opened\": N} when all
headers are written, and what it took at the end.";

fn main() -> ExitCode {
    report::exit("load", run())
}

struct Options {
    socket: PathBuf,
    streams: usize,
    bytes: u64,
    write: (usize, usize),
    kind: Kind,
    rate: Option<u64>,
    stamps: bool,
    wait: bool,
    hold: Option<Duration>,
}

fn run() -> Result<()> {
    let Some(options) = parse()? else {
        println!("{USAGE}");
        return Ok(());
    };
    butler_perf::raise_descriptor_limit()?;
    let payload = Payload::new(options.kind, options.write.1);
    let mut load = Load::open(&options, &payload)?;
    report::say(&json!({"opened": load.streams.len()}))?;
    if options.wait {
        io::stdin().read_line(&mut String::new())?;
    }
    // What is measured is the writing.
    let cpu_before = clock::own_cpu();
    let start = Instant::now();
    match (options.hold, options.rate) {
        (Some(hold), _) => std::thread::sleep(hold),
        (None, Some(rate)) => load.at_rate(rate)?,
        (None, None) => load.at_full_speed()?,
    }
    let bytes = load.bytes;
    let writes = load.writes;
    drop(load);
    let seconds = start.elapsed().as_secs_f64();
    let cpu = clock::own_cpu() - cpu_before;
    Ok(report::say(&json!({
        "bytes": bytes,
        "seconds": seconds,
        "writes": writes,
        "cpu_seconds": cpu.as_secs_f64(),
    }))?)
}

fn parse() -> Result<Option<Options>> {
    let mut socket: Option<PathBuf> = None;
    let mut kind = "text".to_owned();
    let mut line = 100;
    let mut fixed = false;
    let mut options = Options {
        socket: PathBuf::new(),
        streams: 1,
        bytes: 1_000_000_000,
        write: (16 << 10, 64 << 10),
        kind: Kind::Binary,
        rate: None,
        stamps: false,
        wait: false,
        hold: None,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            lexopt::Arg::Long("socket") => socket = Some(value(&mut parser)?),
            lexopt::Arg::Long("streams") => options.streams = value(&mut parser)?,
            lexopt::Arg::Long("bytes") => options.bytes = size(&value::<String>(&mut parser)?)?,
            lexopt::Arg::Long("write") => {
                options.write = size_range(&value::<String>(&mut parser)?)?;
            }
            lexopt::Arg::Long("kind") => kind = value(&mut parser)?,
            lexopt::Arg::Long("line") => line = value(&mut parser)?,
            lexopt::Arg::Long("fixed") => fixed = true,
            lexopt::Arg::Long("rate") => {
                options.rate = Some(size(&value::<String>(&mut parser)?)?);
            }
            lexopt::Arg::Long("stamps") => options.stamps = true,
            lexopt::Arg::Long("wait") => options.wait = true,
            lexopt::Arg::Long("hold") => {
                options.hold = Some(seconds(&value::<String>(&mut parser)?)?);
            }
            lexopt::Arg::Long("help") => return Ok(None),
            other => return Err(other.unexpected().into()),
        }
    }
    options.socket = socket.ok_or(USAGE)?;
    options.kind = match kind.split_once('=') {
        None if kind == "text" && fixed => Kind::Text(Lines::Fixed(line)),
        None if kind == "text" => Kind::Text(Lines::Mean(line)),
        None if kind == "binary" => Kind::Binary,
        Some(("datagrams", len)) => Kind::Datagrams(size(len)? as usize),
        _ => return Err(format!("there is no kind {kind:?}").into()),
    };
    if options.streams == 0 || options.rate == Some(0) {
        return Err("neither streams nor rate can be 0".into());
    }
    if options.stamps && options.write.0 < stamp::LEN + 1 {
        return Err(format!("a timestamp needs writes of {} bytes", stamp::LEN + 1).into());
    }
    Ok(Some(options))
}

struct Stream {
    socket: UnixStream,
    /// Where in the payload its next write begins.
    at: usize,
    /// Bytes still to be written, apart from those in `late`.
    left: u64,
    /// What was due and had no room.
    late: Vec<u8>,
}

struct Load<'a> {
    payload: &'a Payload,
    streams: Vec<Stream>,
    /// Sizes of writes, in the order in which they are taken.
    sizes: Vec<usize>,
    stamps: bool,
    bytes: u64,
    writes: u64,
}

impl<'a> Load<'a> {
    fn open(options: &Options, payload: &'a Payload) -> Result<Self> {
        let mut rng = Random::new(1);
        let (least, largest) = options.write;
        let sizes = (0..1021).map(|_| rng.between(least, largest)).collect();
        let unit = payload.unit() as u64;
        let each = (options.bytes / options.streams as u64).next_multiple_of(unit);
        let mut streams = Vec::with_capacity(options.streams);
        for index in 0..options.streams {
            let mut socket = connect(&options.socket)?;
            let name = format!("bench/{}/{index}", options.kind.stream_type());
            socket.write_all(&header(&name, options.kind.stream_type()))?;
            streams.push(Stream {
                socket,
                at: payload.start(index),
                left: each,
                late: Vec::new(),
            });
        }
        Ok(Self {
            payload,
            streams,
            sizes,
            stamps: options.stamps,
            bytes: 0,
            writes: 0,
        })
    }

    /// Blocking writes: a stream whose buffer is full holds the next ones for
    /// as long as it takes to drain. There is nothing else for them to do,
    /// and polling thousands of sockets for room would cost the reader, who
    /// has to wake the poller, more than it tells.
    fn at_full_speed(&mut self) -> Result<()> {
        let mut sizes = self.sizes.iter().cycle();
        while !self.streams.is_empty() {
            // A stream that is done closes at once; another takes its turn.
            let mut index = 0;
            while index < self.streams.len() {
                let stream = &mut self.streams[index];
                let size = *sizes.next().ok_or("no sizes")?;
                let len = stream.left.min(size as u64) as usize;
                let (data, next) = self.payload.slice(stream.at, len);
                let mut rest = data;
                while !rest.is_empty() {
                    let written = retry(|| stream.socket.write(rest))?;
                    self.writes += 1;
                    rest = &rest[written..];
                }
                stream.at = next;
                stream.left -= len as u64;
                self.bytes += len as u64;
                if stream.left == 0 {
                    self.streams.swap_remove(index);
                } else {
                    index += 1;
                }
            }
        }
        Ok(())
    }

    /// Writes that don't block, in turn, at even distances. What a stream has
    /// no room for is tried again with every write of another, and holds
    /// nobody.
    fn at_rate(&mut self, rate: u64) -> Result<()> {
        for stream in &self.streams {
            stream.socket.set_nonblocking(true)?;
        }
        let mean = self.sizes.iter().sum::<usize>() as f64 / self.sizes.len() as f64;
        let mut pacer = Pacer::new(Duration::from_secs_f64(mean / rate as f64));
        let sizes = std::mem::take(&mut self.sizes);
        let mut sizes = sizes.iter().cycle();
        let mut late: Vec<usize> = Vec::new();
        let mut unfinished: VecDeque<usize> = (0..self.streams.len()).collect();
        while !unfinished.is_empty() || !late.is_empty() {
            pacer.wait();
            let mut still_late = Vec::new();
            for index in late.drain(..) {
                if !self.write_late(index)? {
                    still_late.push(index);
                }
            }
            late = still_late;
            let Some(index) = unfinished.pop_front() else {
                continue;
            };
            let stream = &mut self.streams[index];
            let size = *sizes.next().ok_or("no sizes")?;
            let len = stream.left.min(size as u64) as usize;
            let (data, next) = self.payload.slice(stream.at, len);
            stream.at = next;
            stream.left -= len as u64;
            if stream.left > 0 {
                unfinished.push_back(index);
            }
            let was_late = !stream.late.is_empty();
            let begin = stream.late.len();
            stream.late.extend_from_slice(data);
            if self.stamps && len > stamp::LEN {
                stamp::put(&mut stream.late[begin..], clock::monotonic_ns());
            }
            if !was_late && !self.write_late(index)? {
                late.push(index);
            }
        }
        Ok(())
    }

    /// Writes what a stream is due, as far as there is room. Is it all?
    fn write_late(&mut self, index: usize) -> Result<bool> {
        let stream = &mut self.streams[index];
        if stream.late.is_empty() {
            return Ok(true);
        }
        match retry(|| stream.socket.write(&stream.late)) {
            Ok(written) => {
                self.writes += 1;
                self.bytes += written as u64;
                stream.late.drain(..written);
                Ok(stream.late.is_empty())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Connects; whoever listens may need a moment to begin.
fn connect(socket: &Path) -> Result<UnixStream> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match UnixStream::connect(socket) {
            Ok(connection) => return Ok(connection),
            Err(error) if Instant::now() >= deadline => {
                return Err(format!("{}: {error}", socket.display()).into());
            }
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}
