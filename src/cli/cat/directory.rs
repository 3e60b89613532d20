//! Reads a directory output: finds its streams, and what is new of each.
//!
//! A stream is what a `.meta.F` describes; its content is the file `F` beside
//! it, or for datagrams the files `_00000.F`, `_00001.F` and so on. `F` is the
//! last segment of the stream's name, perhaps with `~` appended, and so may be
//! the directories above; the true name stands in the description. Symbolic
//! links are not followed.
//!
//! The mark of the last run says which streams that has written. What earlier
//! runs have left is shown when it is asked for, as theirs. A directory that
//! has a mark, in another one, is an output of its own and not read with it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::content::{Bytes, Datagrams};
use super::meta;
use super::open::open_file;
use super::report::Report;
use super::sink::Sink;
use super::streams::{Origin, OriginId, StreamId, Streams};
use crate::output::directory::layout;
use crate::output::directory::mark::{MARK, Marked};
use crate::wire::descriptor::StreamType;

/// A directory output.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    origin: OriginId,
    /// By the path of their `.meta` files; `None`: not a stream's.
    streams: BTreeMap<PathBuf, Option<DirStream>>,
    earlier: Earlier,
    /// Streams of earlier runs that the last walk left out.
    pub left_out: usize,
}

/// What becomes of the streams of earlier runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Earlier {
    /// They are left out, and counted.
    LeftOut,
    /// They are shown too, and told.
    Shown,
    /// They are in a list, which has the difference.
    Listed,
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

/// A stream that a walk found.
struct FoundStream {
    directory: PathBuf,
    meta: PathBuf,
    /// F.
    file: String,
    datagrams: Vec<u64>,
}

/// What a walk found in one directory.
#[derive(Default)]
struct Found {
    /// It has a run's mark.
    is_marked: bool,
    metas: Vec<(PathBuf, String)>,
    /// By F.
    datagrams: HashMap<String, Vec<u64>>,
    directories: Vec<PathBuf>,
}

impl Directory {
    pub fn new(path: &Path, earlier: Earlier, streams: &mut Streams) -> Self {
        let origin = streams.origin(&Origin::Directory(path.display().to_string()));
        Self {
            path: path.to_owned(),
            origin,
            streams: BTreeMap::new(),
            earlier,
            left_out: 0,
        }
    }

    /// Finds streams and datagrams that were not there before.
    pub fn walk(&mut self, report: &mut Report<'_>, streams: &mut Streams) {
        let marked = self.marked(report);
        let mut earlier = Vec::new();
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
            if found.is_marked && directory != self.path {
                continue;
            }
            left.append(&mut found.directories);
            for (meta, file) in found.metas {
                let datagrams = found.datagrams.remove(&file).unwrap_or_default();
                let found = FoundStream {
                    directory: directory.clone(),
                    meta,
                    file,
                    datagrams,
                };
                match self.is_earlier(&marked, &found) {
                    true => earlier.push(found),
                    false => self.found(report, streams, found, false),
                }
            }
        }
        match self.earlier {
            Earlier::LeftOut => self.left_out = earlier.len(),
            // After the others: a name is the last run's if both have it.
            Earlier::Shown | Earlier::Listed => {
                for stream in earlier {
                    self.found(report, streams, stream, true);
                }
            }
        }
    }

    /// What the mark says; nothing if there is none.
    fn marked(&self, report: &mut Report<'_>) -> Marked {
        let path = self.path.join(MARK);
        let read = open_file(&path).and_then(Marked::read);
        read.unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                report.note(format_args!(
                    "{}: can't be read, so streams of earlier runs are not told apart: {error}",
                    path.display()
                ));
            }
            Marked::default()
        })
    }

    fn is_earlier(&self, marked: &Marked, stream: &FoundStream) -> bool {
        let directory = stream.directory.strip_prefix(&self.path);
        let path = directory.unwrap_or(&stream.directory).join(&stream.file);
        path.to_str().is_some_and(|path| marked.is_earlier(path))
    }

    fn found(
        &mut self,
        report: &mut Report<'_>,
        streams: &mut Streams,
        found: FoundStream,
        is_earlier: bool,
    ) {
        if !self.streams.contains_key(&found.meta) {
            let stream = self.stream(report, streams, &found, is_earlier);
            self.streams.insert(found.meta.clone(), stream);
        }
        if let Some(Some(stream)) = self.streams.get_mut(&found.meta)
            && let Content::Datagrams(content) = &mut stream.content
        {
            content.found(found.datagrams);
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
        found: &FoundStream,
        is_earlier: bool,
    ) -> Option<DirStream> {
        let FoundStream {
            directory,
            meta,
            file,
            ..
        } = found;
        let descriptor = match meta::read(meta) {
            Ok(descriptor) => descriptor,
            Err(why) => {
                let meta = meta.display();
                report.error(format_args!("{meta}: is not a stream's descriptor: {why}"));
                return None;
            }
        };
        if streams.find(self.origin, &descriptor.name).is_some() {
            if is_earlier {
                return None;
            }
            report.error(format_args!(
                "{}: describes stream {}, as another file does",
                meta.display(),
                descriptor.name
            ));
            return None;
        }
        let id = streams.add(self.origin, descriptor);
        if is_earlier {
            streams.set_earlier(id);
            if self.earlier == Earlier::Shown && streams.get(id).selected {
                let (path, name) = (self.path.display(), streams.get(id).name());
                report.note(format_args!("{path}: stream {name} is of an earlier run"));
            }
        }
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
            } else if name == MARK {
                found.is_marked = true;
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
