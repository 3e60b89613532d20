//! Reads a directory output: finds its streams, and what is new of each.
//!
//! A stream is what a `.meta.F` describes; its content is the file `F` beside
//! it, or for datagrams the files `_00000.F`, `_00001.F` and so on. `F` is the
//! last segment of the stream's name, perhaps with `~` appended, and so may be
//! the directories above; the true name stands in the description. Symbolic
//! links are not followed.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::content::{Bytes, Datagrams};
use super::meta;
use super::report::Report;
use super::sink::Sink;
use super::streams::{Origin, OriginId, StreamId, Streams};
use crate::output::directory::layout;
use crate::wire::descriptor::StreamType;

/// A directory output.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    origin: OriginId,
    /// By the path of their `.meta` files; `None`: not a stream's.
    streams: BTreeMap<PathBuf, Option<DirStream>>,
}

#[derive(Debug)]
struct DirStream {
    id: StreamId,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Bytes(Bytes),
    Datagrams(Datagrams),
}

/// What a walk found in one directory.
#[derive(Default)]
struct Found {
    metas: Vec<(PathBuf, String)>,
    /// By F.
    datagrams: HashMap<String, Vec<u64>>,
    directories: Vec<PathBuf>,
}

impl Directory {
    pub fn new(path: &Path, streams: &mut Streams) -> Self {
        let origin = streams.origin(&Origin::Directory(path.display().to_string()));
        Self {
            path: path.to_owned(),
            origin,
            streams: BTreeMap::new(),
        }
    }

    /// Finds streams and datagrams that were not there before.
    pub fn walk(&mut self, report: &mut Report<'_>, streams: &mut Streams) {
        let mut left = vec![self.path.clone()];
        while let Some(directory) = left.pop() {
            let mut found = match Found::in_directory(&directory) {
                Ok(found) => found,
                Err(error) => {
                    let directory = directory.display();
                    report.error(format_args!("{directory}: can't be read: {error}"));
                    continue;
                }
            };
            left.append(&mut found.directories);
            for (meta, file) in found.metas {
                if !self.streams.contains_key(&meta) {
                    let stream = self.stream(report, streams, &directory, &meta, &file);
                    self.streams.insert(meta.clone(), stream);
                }
                if let Some(Some(stream)) = self.streams.get_mut(&meta)
                    && let Content::Datagrams(content) = &mut stream.content
                {
                    let numbers = found.datagrams.remove(&file);
                    content.found(numbers.unwrap_or_default());
                }
            }
        }
    }

    /// Gives what is new of the selected streams, in the order of their
    /// names. Errors are those of writing; those of the files are reported.
    pub fn read(
        &mut self,
        report: &mut Report<'_>,
        streams: &Streams,
        sink: &mut dyn Sink,
        follow: bool,
    ) -> io::Result<()> {
        let mut selected: Vec<_> = self
            .streams
            .values_mut()
            .flatten()
            .filter(|stream| streams.get(stream.id).selected)
            .collect();
        selected.sort_by_key(|stream| streams.get(stream.id).name());
        for stream in selected {
            let id = stream.id;
            match &mut stream.content {
                Content::Bytes(content) => content.read(report, streams, id, sink, follow)?,
                Content::Datagrams(content) => content.read(report, streams, id, sink, follow)?,
            }
            sink.caught_up(streams, id)?;
            if !follow {
                sink.ended(streams, id)?;
            }
        }
        Ok(())
    }

    fn stream(
        &self,
        report: &mut Report<'_>,
        streams: &mut Streams,
        directory: &Path,
        meta: &Path,
        file: &str,
    ) -> Option<DirStream> {
        let descriptor = match meta::read(meta) {
            Ok(descriptor) => descriptor,
            Err(why) => {
                let meta = meta.display();
                report.error(format_args!("{meta}: is not a stream's descriptor: {why}"));
                return None;
            }
        };
        if streams.find(self.origin, &descriptor.name).is_some() {
            report.error(format_args!(
                "{}: describes stream {}, as another file does",
                meta.display(),
                descriptor.name
            ));
            return None;
        }
        let id = streams.add(self.origin, descriptor);
        let content = match streams.get(id).kind() {
            StreamType::Text => Content::Bytes(Bytes::lines(directory.join(file))),
            StreamType::Binary => Content::Bytes(Bytes::binary(directory.join(file))),
            StreamType::Datagram => Content::Datagrams(Datagrams::new(directory, file)),
        };
        Some(DirStream { id, content })
    }
}

impl Found {
    fn in_directory(path: &Path) -> io::Result<Self> {
        let mut found = Self::default();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // This is the entry's own type, not that of a link's target.
            let file_type = entry.file_type()?;
            // None of an output's names is anything but ASCII.
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if file_type.is_dir() {
                found.directories.push(entry.path());
            } else if !file_type.is_file() {
            } else if let Some(file) = layout::component_of_meta(&name) {
                found.metas.push((entry.path(), file.to_owned()));
            } else if let Some((number, file)) = datagram_name(&name) {
                let numbers = found.datagrams.entry(file.to_owned()).or_default();
                numbers.push(number);
            }
        }
        // So that of two that describe the same stream the same one wins.
        found.metas.sort_unstable();
        Ok(found)
    }
}

fn datagram_name(name: &str) -> Option<(u64, &str)> {
    let (number, file) = name.strip_prefix('_')?.split_once('.')?;
    let value = number.parse().ok()?;
    (format!("{value:05}") == number).then_some((value, file))
}
