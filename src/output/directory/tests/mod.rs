//! The output on real file systems, fed by a real core.

mod content;
mod failures;
mod hostile;
mod marks;

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use prost_types::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::core::{Core, CoreConfig};
use crate::delivery::message::{BundleLimits, Identity};
use crate::delivery::window::Capacity;
use crate::edge::files::Files;
use crate::keys::StreamKey;
use crate::layout;
use crate::output::testing;
use crate::time::Moment;
use crate::wire::descriptor::{StreamProperties, Tags};
use crate::wire::name::StreamName;
use crate::wire::varint;

/// A core whose messages go to an output.
struct Bench {
    core: Core,
    output: testing::Bench<DirectoryWriter<OwnedFd>>,
}

/// Files as they are.
struct Real;

impl Files for Real {
    type Fd = OwnedFd;
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
        let mut core = Core::new(CoreConfig {
            bundle_limits: BundleLimits {
                early: 256 * 1024,
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
        core.set_capacity(Capacity::ONE);
        let output = testing::Bench::new(|io| {
            DirectoryWriter::with_open_files(io, path, open_files).unwrap()
        });
        Self { core, output }
    }

    fn open(&mut self, name: &str, stream_type: StreamType) -> StreamKey {
        let name = StreamName::new(name).unwrap();
        let properties = StreamProperties::new(name, stream_type);
        self.core.open(&NOW, &properties).unwrap()
    }

    /// What is there goes to the output, as one message if it fits.
    fn pump(&mut self) {
        while let Some(message) = self.core.poll_message(&NOW) {
            self.output.start(&message);
            drop(message);
            self.take();
            while self.core.in_flight() > 0 {
                self.output.poll();
                self.take();
            }
        }
    }

    /// Takes what the output has to tell.
    fn take(&mut self) {
        self.output.unsettle();
        self.core.take(&NOW, &mut self.output.outcomes);
    }

    /// Waits for what is held.
    fn settle(&mut self) {
        self.output.poll_for(Duration::from_secs(60), |it| {
            it.output.streams.due_ns().is_none()
        });
        self.take();
    }

    /// Brings all to its end.
    fn finish(&mut self) {
        self.output.finish();
        self.take();
        assert_eq!(self.core.account().pending(), 0);
    }

    fn close_files(&mut self) {
        self.output.output.streams.close_all();
    }

    /// What was lost for that reason.
    fn lost(&self, reason: DropReason) -> u64 {
        self.core.account().dropped(reason)
    }

    fn data(&mut self, key: StreamKey, data: &[u8]) {
        self.core.data(&NOW, key, data).unwrap();
        self.pump();
    }

    fn end(&mut self, key: StreamKey) {
        self.core.end(&NOW, key);
        self.pump();
    }

    /// A whole text stream.
    fn text(&mut self, name: &str, data: &[u8]) {
        let key = self.open(name, StreamType::Text);
        self.data(key, data);
        self.end(key);
    }

    /// A whole stream of datagrams.
    fn datagrams(&mut self, name: &str, datagrams: &[&[u8]]) {
        let key = self.open(name, StreamType::Datagram);
        for datagram in datagrams {
            self.data(key, &framed(datagram));
        }
        self.end(key);
    }
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
