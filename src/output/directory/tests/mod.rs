//! The sink on real file systems, fed by a real core.

mod content;
mod failures;
mod hostile;
mod marks;

use crate::output::testing::start;
use std::fs;
use std::path::{Path, PathBuf};

use prost_types::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::core::{Core, CoreConfig};
use crate::delivery::message::{BundleLimits, Identity};
use crate::layout;
use crate::stream::StreamKey;
use crate::time::Moment;
use crate::wire::descriptor::{StreamProperties, Tags};
use crate::wire::name::StreamName;
use crate::wire::varint;

/// A core whose bundles go to a sink.
struct Bench {
    core: Core,
    sink: DirectorySink,
}

const NOW: Moment = Moment {
    mono_ns: 1,
    wall: Timestamp {
        seconds: 1_430_962_191,
        nanos: 0,
    },
};

impl Bench {
    fn new(path: &Path, open_files: usize) -> Self {
        let core = Core::new(CoreConfig {
            bundle_limits: BundleLimits {
                target: 256 * 1024,
                max: 10_485_759,
            },
            text_in_lines: false,
            identity: Identity::default(),
            global_tags: Tags::default(),
            age_max_ns: 0,
            buffered_max: 64 << 20,
            stream_size_max: u64::MAX,
        });
        let sink = DirectorySink::with_open_files(path, open_files).unwrap();
        Self { core, sink }
    }

    fn open(&mut self, name: &str, stream_type: StreamType) -> StreamKey {
        let name = StreamName::new(name).unwrap();
        let properties = StreamProperties::new(name, stream_type);
        self.core.open(&NOW, &properties).unwrap()
    }

    /// What is there goes to the sink, as one bundle if it fits.
    async fn pump(&mut self) {
        while let Some(message) = self.core.poll_message(&NOW) {
            let mut outcome = Outcome::default();
            outcome.begin(message.ticket());
            self.sink.deliver(&message, &mut outcome).await;
            self.core.settle(&NOW, &mut outcome);
        }
    }

    /// Waits for what is held.
    async fn settle(&mut self) {
        let mut outcome = Outcome::default();
        self.sink.finish(&mut outcome).await;
        self.core.settle(&NOW, &mut outcome);
    }

    /// Brings all to its end.
    async fn finish(&mut self) {
        self.settle().await;
        let mut outcome = Outcome::default();
        self.sink.give_up(&mut outcome);
        self.core.settle(&NOW, &mut outcome);
        assert_eq!(self.core.account().pending(), 0);
    }

    fn close_files(&mut self) {
        self.sink.streams.close_all();
    }

    /// What was lost for that reason.
    fn lost(&self, reason: DropReason) -> u64 {
        self.core.account().dropped(reason)
    }

    async fn data(&mut self, key: StreamKey, data: &[u8]) {
        self.core.data(&NOW, key, data).unwrap();
        self.pump().await;
    }

    async fn end(&mut self, key: StreamKey) {
        self.core.end(&NOW, key);
        self.pump().await;
    }

    /// A whole text stream.
    async fn text(&mut self, name: &str, data: &[u8]) {
        let key = self.open(name, StreamType::Text);
        self.data(key, data).await;
        self.end(key).await;
    }

    /// A whole stream of datagrams.
    async fn datagrams(&mut self, name: &str, datagrams: &[&[u8]]) {
        let key = self.open(name, StreamType::Datagram);
        for datagram in datagrams {
            self.data(key, &framed(datagram)).await;
        }
        self.end(key).await;
    }
}

fn run(test: impl Future<Output = ()>) {
    start(test);
}

fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn framed(datagram: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    varint::push(&mut wire, datagram.len() as u64);
    wire.extend_from_slice(datagram);
    wire
}

fn read(directory: &Path, name: &str) -> Vec<u8> {
    fs::read(directory.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A stream as a reader finds it, who only knows the layout.
#[derive(Debug, PartialEq)]
struct Found {
    name: String,
    path: PathBuf,
    content: Vec<Vec<u8>>,
}

/// All streams beneath the directory, sorted by name. Follows no links.
fn find(directory: &Path) -> Vec<Found> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(find(&entry.path()));
            continue;
        }
        let file = entry.file_name().into_string().unwrap();
        let Some(component) = layout::component_of_meta(&file) else {
            continue;
        };
        let meta: Value = serde_json::from_slice(&fs::read(entry.path()).unwrap()).unwrap();
        let path = directory.join(component);
        let content = if meta["stream_type"] == "DATAGRAM" {
            (0..)
                .map_while(|number| {
                    let name = layout::datagram_file(component, number, 0);
                    fs::read(directory.join(name)).ok()
                })
                .collect()
        } else {
            vec![fs::read(&path).unwrap()]
        };
        found.push(Found {
            name: meta["name"].as_str().unwrap().into(),
            path,
            content,
        });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}
