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
//!
//! While it is followed another run may begin in it: a stream that it writes
//! has a new descriptor then, and is read from its beginning.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};

use super::content::Bytes;
use super::datagrams::Datagrams;
use super::meta;
use super::report::Report;
use super::sink::Sink;
use super::streams::{Origin, StreamId, Streams};
use super::trace::Trace;
use super::tree::{Identity, Kind, Tree, join};
use crate::layout::mark::Marked;
use crate::layout::{self, MARK};
use crate::limits::CAT_HELD_MAX;
use crate::proto::logpb::LogStreamDescriptor;
use crate::wire::descriptor::StreamType;

/// A directory output.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    origin: Origin,
    /// Whether it is read again and again.
    follows: bool,
    /// `None`: there is none, or it can't be read.
    tree: Option<Tree>,
    /// By the path of their `.meta` files.
    streams: BTreeMap<String, DirStream>,
    not_shown: NotShown,
    earlier: Earlier,
    /// Streams of earlier runs that the last walk left out.
    pub left_out: usize,
    /// Outputs of their own that it found, and left out too; the first few.
    pub within: Vec<PathBuf>,
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
    /// Of the descriptor.
    meta: Identity,
    content: Content,
    /// The last walk did not find it.
    is_gone: bool,
}

#[derive(Debug)]
enum Content {
    Bytes(Bytes),
    Datagrams(Datagrams),
}

/// Descriptors that were read and are not wanted, or are none, so that they
/// are read once: hashes of their paths and identities.
#[derive(Debug, Default)]
struct NotShown {
    hashes: HashSet<u64>,
    hasher: RandomState,
}

/// What one of those costs.
const NOT_SHOWN_COST: usize = 32;

/// Outputs in another one that are told by name.
const WITHIN_TOLD_MAX: usize = 10;

impl NotShown {
    fn hash(&self, meta: &str, identity: Identity) -> u64 {
        self.hasher.hash_one((meta, identity))
    }
}

/// What a walk has found, and still has to look at.
#[derive(Default)]
struct Walk {
    directories: Vec<String>,
    earlier: Vec<(String, String)>,
    /// Bytes of all that.
    held: usize,
}

/// What stands in one directory.
#[derive(Default)]
struct Found {
    /// It has a run's mark.
    is_marked: bool,
    /// The F of every `.meta.F`.
    files: Vec<String>,
    directories: Vec<String>,
    /// Bytes of all that.
    held: usize,
    is_cut: bool,
}

/// What a path or name takes, about.
fn size(text: &str) -> usize {
    text.len() + 2 * size_of::<String>()
}

impl Directory {
    pub fn new(path: &Path, earlier: Earlier, follows: bool) -> Self {
        Self {
            path: path.to_owned(),
            origin: Origin::Directory(path.display().to_string()),
            follows,
            tree: None,
            streams: BTreeMap::new(),
            not_shown: NotShown::default(),
            earlier,
            left_out: 0,
            within: Vec::new(),
        }
    }

    /// Finds streams that were not there before, and misses those that are
    /// gone.
    pub fn walk(&mut self, report: &mut Report<'_>, streams: &mut Streams) {
        // It may have been removed, and made again.
        let tree = match Tree::open(&self.path) {
            Ok(tree) => tree,
            Err(error) => {
                let is_gone = error.kind() == io::ErrorKind::NotFound;
                if self.tree.take().is_some() && is_gone {
                    report.note(format_args!(
                        "{}: the directory is gone",
                        self.path.display()
                    ));
                } else if !is_gone {
                    report.error(format_args!(
                        "{}: can't be read: {error}",
                        self.path.display()
                    ));
                }
                return;
            }
        };
        for stream in self.streams.values_mut() {
            stream.is_gone = true;
        }
        let is_whole = self.walk_in(&tree, report, streams);
        if !is_whole {
            for stream in self.streams.values_mut() {
                stream.is_gone = false;
            }
        }
        self.tree = Some(tree);
    }

    /// Says whether it has seen all that there is.
    fn walk_in(&mut self, tree: &Tree, report: &mut Report<'_>, streams: &mut Streams) -> bool {
        let marked = marked(tree, report);
        let mut walk = Walk::default();
        self.within.clear();
        walk.directories.push(String::new());
        let mut is_whole = true;
        while let Some(directory) = walk.directories.pop() {
            walk.held -= walk.held.min(size(&directory));
            let mut found = Found::default();
            let room = CAT_HELD_MAX.saturating_sub(walk.held);
            let listed = tree.list(&directory, |name, kind| found.add(name, kind, room));
            if let Err(error) = listed {
                is_whole = false;
                report.error(format_args!(
                    "{}: can't be read: {error}",
                    tree.shown(&directory).display()
                ));
            }
            if found.is_cut {
                is_whole = false;
                streams.has_room(usize::MAX);
            }
            if found.is_marked && !directory.is_empty() {
                if self.within.len() < WITHIN_TOLD_MAX {
                    self.within.push(tree.shown(&directory));
                }
                continue;
            }
            for name in found.directories {
                let path = join(&directory, &name);
                walk.held += size(&path);
                walk.directories.push(path);
            }
            // So that of two that describe the same stream the same one wins.
            found.files.sort_unstable();
            for file in found.files {
                if marked.is_earlier(&join(&directory, &file)) {
                    walk.held += size(&directory) + size(&file);
                    walk.earlier.push((directory.clone(), file));
                } else {
                    self.found(tree, report, streams, (&directory, &file), false);
                }
                if walk.held > CAT_HELD_MAX {
                    is_whole = false;
                    streams.has_room(usize::MAX);
                    break;
                }
            }
        }
        self.left_out = 0;
        for (directory, file) in &walk.earlier {
            let meta = join(directory, &layout::meta_file(file));
            match (self.earlier, self.streams.get_mut(&meta)) {
                // The run that wrote it was followed.
                (_, Some(known)) => known.is_gone = false,
                (Earlier::LeftOut, None) => self.left_out += 1,
                // After the others: a name is the last run's if both have it.
                (Earlier::Shown | Earlier::Listed, None) => {
                    self.found(tree, report, streams, (directory, file), true);
                }
            }
        }
        is_whole
    }

    /// The descriptor of the file with that name in that directory is there.
    fn found(
        &mut self,
        tree: &Tree,
        report: &mut Report<'_>,
        streams: &mut Streams,
        (directory, file): (&str, &str),
        is_earlier: bool,
    ) {
        let meta = join(directory, &layout::meta_file(file));
        if let Some(known) = self.streams.get_mut(&meta) {
            known.is_gone = false;
            return;
        }
        let Ok(Some(identity)) = tree.identity(&meta) else {
            // It was removed since.
            return;
        };
        let hash = self.not_shown.hash(&meta, identity);
        if self.not_shown.hashes.contains(&hash) {
            return;
        }
        let Some(stream) = self.stream(tree, report, streams, (directory, file), is_earlier) else {
            if self.follows && streams.has_room(NOT_SHOWN_COST) {
                streams.hold(NOT_SHOWN_COST);
                self.not_shown.hashes.insert(hash);
            }
            return;
        };
        let (id, content) = stream;
        self.streams.insert(
            meta,
            DirStream {
                id,
                meta: identity,
                content,
                is_gone: false,
            },
        );
    }

    fn stream(
        &self,
        tree: &Tree,
        report: &mut Report<'_>,
        streams: &mut Streams,
        (directory, file): (&str, &str),
        is_earlier: bool,
    ) -> Option<(StreamId, Content)> {
        let meta = join(directory, &layout::meta_file(file));
        let descriptor = self.describe(tree, report, streams, &meta)?;
        let name = descriptor.name.as_str();
        if streams.find(&self.origin, name).is_some() {
            if !is_earlier {
                report.error(format_args!(
                    "{}: describes stream {name}, as another file does",
                    tree.shown(&meta).display(),
                ));
            }
            return None;
        }
        if !streams.wants(&self.origin, name) {
            return None;
        }
        let besides = size_of::<DirStream>() + Trace::COST + 2 * size(&meta);
        let id = streams.add(&self.origin, descriptor, besides)?;
        if is_earlier {
            streams.set_earlier(id);
            if self.earlier == Earlier::Shown {
                let (path, name) = (self.path.display(), streams.get(id).name());
                report.note(format_args!("{path}: stream {name} is of an earlier run"));
            }
        }
        let kind = streams.get(id).kind();
        Some((id, Content::new(kind, directory, file)))
    }

    /// Reads a descriptor. `None`: it is none, and that is told, or it has no
    /// room.
    fn describe(
        &self,
        tree: &Tree,
        report: &mut Report<'_>,
        streams: &mut Streams,
        meta: &str,
    ) -> Option<LogStreamDescriptor> {
        let read = tree.file(meta).map_err(|error| error.to_string());
        match read.and_then(|file| meta::read(file, |cost| streams.has_room(cost))) {
            Ok(descriptor) => descriptor,
            Err(why) => {
                report.error(format_args!(
                    "{}: is not a stream's descriptor: {why}",
                    tree.shown(meta).display()
                ));
                None
            }
        }
    }

    /// Gives what is new of the streams, in the order of their names. Errors
    /// are those of writing; those of the files are reported.
    pub fn read(
        &mut self,
        report: &mut Report<'_>,
        streams: &mut Streams,
        sink: &mut dyn Sink,
    ) -> io::Result<()> {
        let Some(tree) = self.tree.take() else {
            return Ok(());
        };
        let mut order: Vec<_> = self
            .streams
            .iter()
            .map(|(meta, it)| (it.id, meta.clone()))
            .collect();
        order.sort_by(|(a, _), (b, _)| streams.get(*a).name().cmp(streams.get(*b).name()));
        for (_, meta) in order {
            self.read_stream(&tree, report, streams, sink, &meta)?;
        }
        self.tree = Some(tree);
        Ok(())
    }

    fn read_stream(
        &mut self,
        tree: &Tree,
        report: &mut Report<'_>,
        streams: &mut Streams,
        sink: &mut dyn Sink,
        meta: &str,
    ) -> io::Result<()> {
        if self.follows && !self.is_there(tree, report, streams, sink, meta)? {
            return Ok(());
        }
        let Some(stream) = self.streams.get_mut(meta) else {
            return Ok(());
        };
        let id = stream.id;
        match &mut stream.content {
            Content::Bytes(content) => {
                content.read(tree, report, streams, id, sink, self.follows)?;
            }
            Content::Datagrams(content) => {
                let is_current = || tree.identity(meta).ok().flatten() == Some(stream.meta);
                content.read(tree, report, streams, id, sink, self.follows, is_current)?;
            }
        }
        sink.caught_up(streams, id)?;
        if !self.follows {
            sink.ended(streams, id)?;
        }
        Ok(())
    }

    /// Is the stream there, to be read? If another run writes it by now, it
    /// begins anew.
    fn is_there(
        &mut self,
        tree: &Tree,
        report: &mut Report<'_>,
        streams: &mut Streams,
        sink: &mut dyn Sink,
        meta: &str,
    ) -> io::Result<bool> {
        let Some(stream) = self.streams.get(meta) else {
            return Ok(false);
        };
        let (id, known, is_gone) = (stream.id, stream.meta, stream.is_gone);
        let Ok(Some(found)) = tree.identity(meta) else {
            // A new one is made after the old one was removed.
            if is_gone {
                report.note(format_args!("stream {}: it is gone", streams.label(id)));
                self.forget(streams, sink, meta)?;
            }
            return Ok(false);
        };
        if found == known {
            return Ok(true);
        }
        let Some(descriptor) = self.describe(tree, report, streams, meta) else {
            if let Some(stream) = self.streams.get_mut(meta) {
                stream.meta = found;
            }
            return Ok(true);
        };
        if descriptor.name != streams.get(id).name() {
            // The next walk finds what it is now.
            self.forget(streams, sink, meta)?;
            return Ok(false);
        }
        let Some(stream) = self.streams.get_mut(meta) else {
            return Ok(false);
        };
        stream.meta = found;
        // Its file may have been seen to be new before.
        if !stream.content.is_current(tree) {
            report.note(format_args!(
                "stream {}: it is written anew, and read from its beginning",
                streams.label(id)
            ));
            sink.restarted(streams, id)?;
        }
        let kind = streams.get(id).kind();
        streams.redescribe(id, descriptor);
        let is_same = kind == streams.get(id).kind() && stream.content.is_current(tree);
        if !is_same {
            let (directory, file) = meta.rsplit_once('/').unwrap_or(("", meta));
            let file = layout::component_of_meta(file).unwrap_or(file);
            stream.content = Content::new(streams.get(id).kind(), directory, file);
        }
        Ok(true)
    }

    fn forget(&mut self, streams: &mut Streams, sink: &mut dyn Sink, meta: &str) -> io::Result<()> {
        if let Some(stream) = self.streams.remove(meta) {
            sink.restarted(streams, stream.id)?;
            streams.retire(stream.id);
        }
        Ok(())
    }
}

impl Content {
    fn new(kind: StreamType, directory: &str, file: &str) -> Self {
        match kind {
            StreamType::Text => Self::Bytes(Bytes::lines(join(directory, file))),
            StreamType::Binary => Self::Bytes(Bytes::binary(join(directory, file))),
            StreamType::Datagram => Self::Datagrams(Datagrams::new(directory, file)),
        }
    }

    /// Is what has been read of it of the files that are there?
    fn is_current(&self, tree: &Tree) -> bool {
        match self {
            Self::Bytes(content) => content.is_current(tree),
            Self::Datagrams(_) => false,
        }
    }
}

impl Found {
    fn add(&mut self, name: &str, kind: Kind, room: usize) {
        if self.held > room {
            self.is_cut = true;
            return;
        }
        match kind {
            Kind::Directory => {
                self.held += size(name);
                self.directories.push(name.to_owned());
            }
            Kind::File if name == MARK => self.is_marked = true,
            Kind::File => {
                if let Some(file) = layout::component_of_meta(name) {
                    self.held += size(name);
                    self.files.push(file.to_owned());
                }
            }
            Kind::Other => {}
        }
    }
}

/// What the mark says; nothing if there is none.
fn marked(tree: &Tree, report: &mut Report<'_>) -> Marked {
    tree.file(MARK)
        .and_then(Marked::read)
        .unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                report.note(format_args!(
                    "{MARK} can't be read, so streams of earlier runs are not told apart: {error}",
                ));
            }
            Marked::default()
        })
}
