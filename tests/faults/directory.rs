//! What stands in a directory, and what its butler says of it, when somebody
//! removes it, or when it can't be written to.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use butler::wire::varint;
use serde_json::Value;

use crate::common::process::{Ended, Serve};

/// What a butler says at its end: the statistics, and what is lost of each
/// stream.
#[derive(Debug)]
pub struct Said {
    pub stats: Value,
    pub lost: BTreeMap<String, u64>,
    pub ended: Ended,
}

/// A butler that writes to a directory, by its absolute path.
pub struct Bench {
    pub serve: Serve,
    pub out: PathBuf,
    /// Does a datagram of that length lack nothing?
    pub is_whole: fn(usize) -> bool,
    stats: PathBuf,
    _dir: tempfile::TempDir,
}

impl Bench {
    pub fn new(out: &Path, options: &[&str]) -> Self {
        Self::start(out, options, Serve::start)
    }

    pub fn start(
        out: &Path,
        options: &[&str],
        start: impl FnOnce(&Path, &[&str]) -> Serve,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let stats = dir.path().join("stats");
        let output = format!("directory,path={}", out.display());
        let mine = [
            "--output",
            &output,
            "--output-max-buffer-age=20ms",
            "--stats-path",
            stats.to_str().unwrap(),
        ];
        Self {
            serve: start(dir.path(), &[&mine, options].concat()),
            out: out.to_owned(),
            is_whole: |_| true,
            stats,
            _dir: dir,
        }
    }

    pub fn open(&self, name: &str, stream_type: &str) -> UnixStream {
        crate::common::process::open(&self.serve.socket, name, stream_type)
    }

    /// Ends by SIGTERM; see [`told`](Self::told).
    pub fn end(self) -> Said {
        self.serve.signal(rustix::process::Signal::TERM);
        self.told()
    }

    /// Waits for the end. All that came in is accounted for, by stream and in
    /// all, and what it says is delivered is what stands in the directory.
    pub fn told(self) -> Said {
        let Self {
            serve,
            out,
            is_whole,
            stats,
            ..
        } = self;
        let ended = serve.wait();
        let stats: Value = serde_json::from_slice(&fs::read(&stats).unwrap()).unwrap();
        let mut lost: BTreeMap<String, u64> = BTreeMap::new();
        for line in ended.stderr.lines() {
            // "butler: error: stream NAME: 12 bytes lost, because"
            if let Some((before, _)) = line.split_once(" lost, ")
                && let Some((_, loss)) = before.split_once("error: stream ")
                && let Some((name, bytes)) = loss.split_once(": ")
            {
                let bytes = bytes.split(' ').next().unwrap();
                *lost.entry(name.into()).or_default() += bytes.parse::<u64>().unwrap();
            }
        }
        let said = Said { stats, lost, ended };
        let count = |name: &str| said.stats[name].as_u64().unwrap();
        let dropped = count("bytes_dropped");
        assert_eq!(
            count("bytes_in"),
            count("bytes_delivered") + dropped,
            "{said:?}"
        );
        assert_eq!(said.lost.values().sum::<u64>(), dropped, "{said:?}");
        let code = if dropped > 0 { 250 } else { 0 };
        assert_eq!(said.ended.status.code(), Some(code), "{said:?}");
        assert!(!said.ended.stderr.contains(" 0 bytes"), "{said:?}");
        let there: u64 = contents(&out)
            .values()
            .map(|found| found.client_bytes(is_whole))
            .sum();
        assert_eq!(count("bytes_delivered"), there, "{said:?}");
        said
    }
}

/// A stream, as it is in a directory.
#[derive(Debug, Default, PartialEq)]
pub struct Found {
    pub bytes: Vec<u8>,
    /// The length of each datagram.
    pub datagrams: Vec<usize>,
}

impl Found {
    /// What its client wrote for that: before a datagram stands its size, which
    /// is delivered when the datagram is.
    fn client_bytes(&self, is_whole: fn(usize) -> bool) -> u64 {
        let whole = self.datagrams.iter().filter(|len| is_whole(**len));
        let sizes: usize = whole.map(|len| varint::len(*len as u64)).sum();
        (self.bytes.len() + sizes) as u64
    }
}

/// All streams in a directory, by their names.
pub fn contents(directory: &Path) -> BTreeMap<String, Found> {
    let mut all = BTreeMap::new();
    let Ok(entries) = fs::read_dir(directory) else {
        return all;
    };
    let entries: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    for path in &entries {
        if path.is_dir() {
            all.extend(contents(path));
            continue;
        }
        let file = path.file_name().unwrap().to_str().unwrap();
        let Some(file) = file.strip_prefix(".meta.") else {
            continue;
        };
        let meta: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let found = match meta["stream_type"] == "DATAGRAM" {
            true => datagrams(&entries, file),
            false => Found {
                bytes: fs::read(directory.join(file)).unwrap(),
                datagrams: Vec::new(),
            },
        };
        all.insert(meta["name"].as_str().unwrap().to_owned(), found);
    }
    all
}

fn datagrams(entries: &[PathBuf], file: &str) -> Found {
    let mut found = Found::default();
    let mut mine: Vec<_> = entries
        .iter()
        .filter(|path| is_datagram(path, file))
        .collect();
    mine.sort_unstable();
    for path in mine {
        let data = fs::read(path).unwrap();
        found.datagrams.push(data.len());
        found.bytes.extend(data);
    }
    found
}

fn is_datagram(path: &Path, file: &str) -> bool {
    let name = path.file_name().unwrap().to_str().unwrap();
    let number = name
        .strip_prefix('_')
        .and_then(|name| name.split_once('.'))
        .filter(|(_, rest)| *rest == file);
    number.is_some()
}
