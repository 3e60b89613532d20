//! A disk that is full, for a while or for good.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::content::noise;
use crate::common::process::{Serve, datagram, open, parse_file};
use crate::common::reassemble;
use crate::messages;

/// A file system of its own, unmounted when dropped.
pub struct Disk(TempDir);

impl Disk {
    /// `None`, with the reason printed, where we may not mount.
    pub fn mount(options: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(dir.path())
            .output();
        match mount {
            Ok(output) if output.status.success() => Some(Self(dir)),
            other => {
                println!("skipped: no file system of our own: {other:?}");
                None
            }
        }
    }

    /// Room comes.
    fn grow(&self) {
        let mount = Command::new("mount")
            .args(["-o", "remount,size=64m,nr_inodes=1000"])
            .arg(self.0.path())
            .status();
        assert!(mount.unwrap().success());
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

/// A butler on a disk, and what it says at its end.
struct Bench {
    serve: Serve,
    stats: PathBuf,
    _dir: TempDir,
}

impl Bench {
    fn new(output: &str, options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let stats = dir.path().join("stats");
        let common = [
            "--output",
            output,
            "--output-max-buffer-age=20ms",
            "--max-buffered=4MiB",
            "--stats-path",
            stats.to_str().unwrap(),
        ];
        Self {
            serve: Serve::start(dir.path(), &[&common, options].concat()),
            stats,
            _dir: dir,
        }
    }

    /// Has a client write `data`, and calls `meanwhile` again and again until
    /// all of it is delivered. Returns the stream, which is still open.
    fn deliver(&self, data: &[u8], mut meanwhile: impl FnMut()) -> UnixStream {
        let mut stream = open(&self.serve.socket, "large", "binary");
        let late = Instant::now() + Duration::from_secs(120);
        std::thread::scope(|scope| {
            let client = scope.spawn(|| stream.write_all(data).unwrap());
            while !client.is_finished() || self.count("bytes_delivered") != data.len() as u64 {
                if Instant::now() >= late {
                    // The client waits for it.
                    self.serve.signal(Signal::KILL);
                    panic!("it is stuck: {}", self.serve.stderr());
                }
                meanwhile();
            }
        });
        stream
    }

    fn count(&self, name: &str) -> u64 {
        self.serve.statistics()[name].as_u64().unwrap()
    }

    /// Ends with a loss, which the ledger has to the byte; returns the
    /// statistics.
    fn ends_with_loss(self) -> Value {
        let ended = self.serve.terminate();
        assert_eq!(ended.status.code(), Some(250), "{ended:?}");
        assert!(
            ended.stderr.contains("error: logs were lost: "),
            "{ended:?}"
        );
        let stats: Value = serde_json::from_slice(&fs::read(&self.stats).unwrap()).unwrap();
        let count = |name: &str| stats[name].as_u64().unwrap();
        let accounted = count("bytes_delivered") + count("bytes_dropped");
        assert_eq!(count("bytes_in"), accounted, "{stats}");
        assert!(count("bytes_dropped") > 0, "{stats}");
        stats
    }
}

fn file_on(disk: &Disk, compress: &str) -> (PathBuf, String) {
    let path = disk.path().join("logs");
    let output = format!("file,path={},compress={compress}", path.display());
    (path, output)
}

fn truncate(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(0).unwrap();
}

#[test]
fn a_file_goes_on_when_there_is_room_again() {
    for compress in ["none", "zlib"] {
        let Some(disk) = Disk::mount("size=256k") else {
            return;
        };
        let (path, output) = file_on(&disk, compress);
        let bench = Bench::new(&output, &[]);
        // More than may be buffered: the writer is kept waiting too.
        let data = noise(8_000_000);
        let client = std::thread::spawn({
            let (socket, data) = (bench.serve.socket.clone(), data.clone());
            move || {
                open(&socket, "large", "binary").write_all(&data).unwrap();
                let mut after = open(&socket, "after", "text");
                after.write_all(b"whatever came before\n").unwrap();
            }
        });
        bench.serve.wait_for_stderr("; trying again");
        let full = messages::parse(&fs::read(&path).unwrap());
        println!("{} bytes and {} torn fit", full.end, full.torn);
        assert!(full.end + full.torn > 200_000);
        assert!(!client.is_finished());
        // It is full, and not dead.
        assert_eq!(bench.serve.statistics()["bytes_dropped"], 0);

        disk.grow();
        client.join().unwrap();
        let ended = bench.serve.terminate();
        ended.expect_success();
        assert!(ended.stderr.contains("works again"), "{ended:?}");
        let streams = reassemble(&parse_file(&path));
        assert!(streams["large"].bytes == data, "other bytes");
        assert_eq!(streams["after"].bytes, b"whatever came before\n");
    }
}

/// Somebody copies the file away and truncates it, whenever the disk is full:
/// the message that was cut by that is written again.
#[test]
fn a_file_goes_on_when_it_is_truncated() {
    // A message must fit.
    let Some(disk) = Disk::mount("size=1500k") else {
        return;
    };
    let (path, output) = file_on(&disk, "none");
    let bench = Bench::new(&output, &["--flush-timeout=60s"]);
    let data = noise(6_000_000);
    let (mut bundles, mut cut) = (Vec::new(), 0);
    let stream = bench.deliver(&data, || {
        let full = fs::read(&path).unwrap();
        let before = bench.count("output_errors");
        std::thread::sleep(Duration::from_millis(50));
        // It has failed between two looks that saw the same: not a byte more
        // fits, whenever it tries again.
        if bench.count("output_errors") > before && fs::read(&path).unwrap() == full {
            let found = messages::parse(&full);
            bundles.extend(found.bundles);
            cut += usize::from(found.torn > 0);
            truncate(&path);
        }
    });
    drop(stream);
    let ended = bench.serve.terminate();
    ended.expect_success();
    assert!(ended.stderr.contains("the file was truncated"), "{ended:?}");
    bundles.extend(parse_file(&path));
    assert!(reassemble(&bundles)["large"].bytes == data, "other bytes");
    println!("truncated with {cut} messages cut");
    assert!(cut > 0);
}

/// Also between two writes of one message, and while one is under way: what
/// remains is whole messages.
#[test]
fn a_file_is_truncated_at_any_moment() {
    // One message fits, and of the next a part.
    let Some(disk) = Disk::mount("size=1200k") else {
        return;
    };
    let (path, output) = file_on(&disk, "none");
    let bench = Bench::new(&output, &["--flush-timeout=60s"]);
    let data = noise(20_000_000);
    let mut pauses = noise(5000).into_iter().cycle();
    let stream = bench.deliver(&data, || {
        for pause in pauses.by_ref().take(20) {
            truncate(&path);
            std::thread::sleep(Duration::from_micros(20 * u64::from(pause)));
        }
    });
    disk.grow();
    drop(stream);
    let ended = bench.serve.terminate();
    ended.expect_success();
    assert!(ended.stderr.contains("the file was truncated"), "{ended:?}");
    assert!(!ended.stderr.contains("is left alone"), "{ended:?}");
    let bytes = fs::read(&path).unwrap();
    let left = messages::parse(&bytes);
    assert_eq!((left.end, left.torn), (bytes.len(), 0));
    // Whatever else it has: its end was delivered after all that.
    let last = left.bundles.last().unwrap().entries.last().unwrap();
    assert!(last.terminal);
}

/// What was delivered is in the file, the rest is told, and the next butler
/// goes on where there is room again.
#[test]
fn a_file_on_a_disk_that_stays_full() {
    let Some(disk) = Disk::mount("size=256k") else {
        return;
    };
    let (path, output) = file_on(&disk, "none");
    let bench = Bench::new(&output, &["--flush-timeout=1s"]);
    let data = noise(400_000);
    let mut streams: Vec<_> = (0..4)
        .map(|at| open(&bench.serve.socket, &format!("s/{at}"), "binary"))
        .collect();
    for piece in data.chunks(10_000) {
        for stream in &mut streams {
            stream.write_all(piece).unwrap();
        }
    }
    drop(streams);
    bench.serve.wait_for_stderr("; trying again");
    let stats = bench.ends_with_loss();
    let bytes = fs::read(&path).unwrap();
    let full = messages::parse(&bytes);
    let streams = reassemble(&full.bundles);
    let mut delivered = 0;
    for stream in streams.values() {
        assert!(data.starts_with(&stream.bytes), "{}", stream.desc.name);
        delivered += stream.bytes.len();
    }
    assert_eq!(stats["bytes_delivered"], delivered);

    disk.grow();
    let bench = Bench::new(&output, &[]);
    let mut stream = open(&bench.serve.socket, "next", "text");
    stream.write_all(b"there is room\n").unwrap();
    drop(stream);
    bench.serve.terminate().expect_success();
    let after = fs::read(&path).unwrap();
    assert_eq!(after[..full.end], bytes[..full.end]);
    let next = messages::parse(&after[full.end..]);
    assert_eq!(next.torn, 0);
    assert_eq!(reassemble(&next.bundles)["next"].bytes, b"there is room\n");
}

/// What is written to a directory: by path, as it must stand there.
fn write_streams(socket: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut expected = BTreeMap::new();
    let data = noise(20_000);
    for at in 0..20 {
        let content = data[..20_000 - at * 10].to_vec();
        let mut stream = open(socket, &format!("d{}/binary{at}", at % 7), "binary");
        stream.write_all(&content).unwrap();
        expected.insert(format!("d{}/binary{at}", at % 7), content);

        let mut stream = open(socket, &format!("datagrams{at}"), "datagram");
        for number in 0..3 {
            let content = data[number..5000].to_vec();
            stream.write_all(&datagram(&content)).unwrap();
            expected.insert(format!("_0000{number}.datagrams{at}"), content);
        }
    }
    expected
}

/// Bytes and inodes run out.
const TIGHT: [&str; 2] = ["size=256k,nr_inodes=1000", "size=64m,nr_inodes=30"];

#[test]
fn a_directory_goes_on_when_there_is_room_again() {
    for tight in TIGHT {
        let Some(disk) = Disk::mount(tight) else {
            return;
        };
        let dir = disk.path().join("out");
        let bench = Bench::new(&format!("directory,path={}", dir.display()), &[]);
        let expected = write_streams(&bench.serve.socket);
        bench.serve.wait_for_stderr("; trying again");
        disk.grow();
        let ended = bench.serve.terminate();
        ended.expect_success();
        assert!(ended.stderr.contains("works again"), "{ended:?}");
        for (path, content) in expected {
            let found = fs::read(dir.join(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
            assert!(found == content, "{path}: other bytes");
        }
    }
}

/// Whatever is there is the beginning of what was written.
#[test]
fn a_directory_on_a_disk_that_stays_full() {
    for tight in TIGHT {
        let Some(disk) = Disk::mount(tight) else {
            return;
        };
        let dir = disk.path().join("out");
        let output = format!("directory,path={}", dir.display());
        let bench = Bench::new(&output, &["--flush-timeout=1s"]);
        let expected = write_streams(&bench.serve.socket);
        bench.serve.wait_for_stderr("; trying again");
        bench.ends_with_loss();
        let mut there = 0;
        for (path, content) in expected {
            let found = fs::read(dir.join(&path)).unwrap_or_default();
            assert!(content.starts_with(&found), "{path}: other bytes");
            there += usize::from(!found.is_empty());
        }
        assert!(there > 0);
    }
}
