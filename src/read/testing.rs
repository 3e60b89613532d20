//! Outputs as butlers write them, for tests.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use prost::Message;

use crate::proto::logpb::{
    self, ButlerLogBundle, LogEntry, LogStreamDescriptor, StreamType, Text, butler_log_bundle,
    log_entry,
};
use crate::wire::message::{Compression, frames_len, put_frames};

/// When all streams began.
const BASE: i64 = 1_700_000_000;

/// Writes file outputs as a butler would.
pub struct Writer {
    prefix: &'static str,
    prefix_index: u64,
}

impl Writer {
    pub fn new(prefix: &'static str) -> Self {
        Self {
            prefix,
            prefix_index: 0,
        }
    }

    /// An entry read so many tenths of a second after the beginning as there
    /// were entries before it.
    pub fn log(&mut self, stream_index: u64, content: log_entry::Content) -> LogEntry {
        let prefix_index = self.prefix_index;
        self.prefix_index += 1;
        LogEntry {
            time_offset: Some(prost_types::Duration {
                seconds: 0,
                nanos: (prefix_index % 10) as i32 * 100_000_000,
            }),
            prefix_index,
            stream_index,
            sequence: stream_index,
            content: Some(content),
        }
    }

    /// A message with a bundle of these.
    pub fn bundle(&self, entries: Vec<butler_log_bundle::Entry>) -> Vec<u8> {
        self.compressed(entries, Compression::None)
    }

    pub fn compressed(&self, entries: Vec<butler_log_bundle::Entry>, how: Compression) -> Vec<u8> {
        let mut data = ButlerLogBundle {
            prefix: self.prefix.into(),
            entries,
            ..Default::default()
        }
        .encode_to_vec();
        if how == Compression::Zlib {
            let mut encoder =
                flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&data).unwrap();
            data = encoder.finish().unwrap();
        }
        let mut message = vec![0; frames_len(how, data.len())];
        put_frames(&mut message, how, data.len());
        message.extend(data);
        message
    }
}

/// Lines split at `\n` and `\r\n`; what comes after the last goes on.
pub fn text(text: &str) -> log_entry::Content {
    let lines = text.split_inclusive('\n').map(|line| {
        let value = match line.strip_suffix('\n') {
            Some(value) => value.strip_suffix('\r').unwrap_or(value),
            None => line,
        };
        logpb::text::Line {
            value: value.to_owned().into(),
            delimiter: line[value.len()..].into(),
        }
    });
    log_entry::Content::Text(Text {
        lines: lines.collect(),
    })
}

pub fn entry(name: &str, kind: StreamType, logs: &[&LogEntry]) -> butler_log_bundle::Entry {
    butler_log_bundle::Entry {
        desc: Some(LogStreamDescriptor {
            name: name.into(),
            stream_type: kind.into(),
            content_type: "c/t".into(),
            timestamp: Some(prost_types::Timestamp {
                seconds: BASE,
                nanos: 0,
            }),
            tags: [("k".to_owned(), "v w".to_owned())].into(),
            ..Default::default()
        }),
        logs: logs.iter().map(|&log| log.clone()).collect(),
        ..Default::default()
    }
}

/// The stream ends with that entry.
pub fn terminal(mut entry: butler_log_bundle::Entry, index: u64) -> butler_log_bundle::Entry {
    entry.terminal = true;
    entry.terminal_index = index;
    entry
}

pub fn file(directory: &tempfile::TempDir, name: &str, content: &[&[u8]]) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, content.concat()).unwrap();
    path
}

pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// A file beneath a directory output.
pub fn put(root: &Path, path: &str, content: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// A descriptor as it stands there.
pub fn meta(name: &str, kind: &str) -> Vec<u8> {
    let kind = match kind {
        "" => String::new(),
        kind => format!("\n  \"stream_type\": \"{kind}\","),
    };
    format!(
        "{{\n  \"name\": \"{name}\",{kind}\n  \"content_type\": \"c/t\",\n  \
         \"timestamp\": \"2025-01-02T03:04:05.678901234Z\",\n  \"tags\": {{\"k\": \"v\"}}\n}}"
    )
    .into_bytes()
}

pub fn append(path: &Path, bytes: &[u8]) {
    let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
}
