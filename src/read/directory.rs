//! Reads a directory output: finds its streams, and what is new of each.
//!
//! A stream is what a `.meta.F` describes; its content is the file `F` beside
//! it, or for datagrams the files `_00000.F`, `_00001.F` and so on. `F` is the
//! last segment of the stream's name, perhaps with `~` appended, and so may be
//! the directories above; the true name stands in the description. Symbolic
//! links are not followed.
//!
//! The mark of the last run says which streams that has written. What earlier
//! runs have left is read when it is asked for, as theirs. A directory that
//! has a mark, in another one, is an output of its own and not read with it.
//!
//! While it is followed another run may begin in it: a stream that it writes
//! has a new descriptor then, and is read from its beginning.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};

use super::catalog::StreamId;
use super::content::ContentFile;
use super::datagrams::DatagramFiles;
use super::descriptor::{self, DescriptorError};
use super::event::{Event, Flow};
use super::finding::Finding;
use super::origin::Origin;
use super::trace::Trace;
use super::tree::{FileId, Tree, join};
use super::walk::{Walk, described, size};
use crate::proto::logpb::LogStreamDescriptor;
use crate::wire::descriptor::StreamType;

/// A directory output.
#[derive(Debug)]
pub(super) struct StreamDirectory {
    path: PathBuf,
    origin: Origin,
    /// Whether it is read again and again.
    follows: bool,
    /// `None`: there is none, or it can't be read.
    tree: Option<Tree>,
    /// By the path of their `.meta` files.
    streams: BTreeMap<String, DirectoryStream>,
    not_read: NotRead,
    earlier: EarlierRuns,
    /// Streams of earlier runs that the last walk left out.
    pub left_out: usize,
    /// Outputs of their own that it found, and left out too; the first few.
    pub within: Vec<PathBuf>,
}

/// What becomes of the streams that earlier runs have left in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EarlierRuns {
    /// They are left out, and counted.
    #[default]
    LeftOut,
    /// They are read too.
    Read,
    /// They are read too, and each is [told](Finding::OfEarlierRun).
    Told,
}

#[derive(Debug)]
struct DirectoryStream {
    id: StreamId,
    /// Of the descriptor.
    meta: FileId,
    files: Files,
    /// The last walk did not find it.
    is_gone: bool,
}

/// What a stream's content is in.
#[derive(Debug)]
enum Files {
    One(ContentFile),
    Datagrams(DatagramFiles),
}

/// Descriptors that were looked at and are not wanted, or are none, so that
/// they are looked at once: hashes of their paths and files.
#[derive(Debug, Default)]
struct NotRead {
    hashes: HashSet<u64>,
    hasher: RandomState,
}

/// What one of those costs.
const NOT_READ_COST: usize = 32;

impl StreamDirectory {
    pub fn new(path: &Path, earlier: EarlierRuns, follows: bool) -> Self {
        Self {
            path: path.to_owned(),
            origin: Origin::Directory(path.display().to_string()),
            follows,
            tree: None,
            streams: BTreeMap::new(),
            not_read: NotRead::default(),
            earlier,
            left_out: 0,
            within: Vec::new(),
        }
    }

    /// Finds streams that were not there before, and misses those that are
    /// gone.
    pub fn walk(&mut self, flow: &mut Flow<'_>) -> io::Result<()> {
        // It may have been removed, and made again.
        let tree = match Tree::open(&self.path) {
            Ok(tree) => tree,
            Err(source) => {
                let path = self.path.clone();
                let is_gone = source.kind() == io::ErrorKind::NotFound;
                return match self.tree.take() {
                    Some(_) if is_gone => flow.find(Finding::DirectoryGone(path)),
                    None if is_gone => Ok(()),
                    _ => flow.find(Finding::Directory(path, source)),
                };
            }
        };
        for stream in self.streams.values_mut() {
            stream.is_gone = true;
        }
        let is_whole = self.walk_in(&tree, flow)?;
        if !is_whole {
            for stream in self.streams.values_mut() {
                stream.is_gone = false;
            }
        }
        self.tree = Some(tree);
        Ok(())
    }

    /// Says whether it has seen all that there is.
    fn walk_in(&mut self, tree: &Tree, flow: &mut Flow<'_>) -> io::Result<bool> {
        let mut walk = Walk::new(tree, flow)?;
        while let Some(metas) = walk.next(flow)? {
            for meta in metas {
                self.found(tree, flow, meta, false)?;
            }
        }
        self.left_out = 0;
        for meta in walk.earlier {
            match (self.earlier, self.streams.get_mut(&meta)) {
                // The run that wrote it was followed.
                (_, Some(known)) => known.is_gone = false,
                (EarlierRuns::LeftOut, None) => self.left_out += 1,
                // After the others: a name is the last run's if both have it.
                (EarlierRuns::Read | EarlierRuns::Told, None) => {
                    self.found(tree, flow, meta, true)?;
                }
            }
        }
        self.within = walk.within;
        Ok(walk.is_whole)
    }

    /// That descriptor is there.
    fn found(
        &mut self,
        tree: &Tree,
        flow: &mut Flow<'_>,
        meta: String,
        is_earlier: bool,
    ) -> io::Result<()> {
        if let Some(known) = self.streams.get_mut(&meta) {
            known.is_gone = false;
            return Ok(());
        }
        let Ok(Some(file)) = tree.file_id(&meta) else {
            // It was removed since.
            return Ok(());
        };
        let hash = self.not_read.hasher.hash_one((&*meta, file));
        if self.not_read.hashes.contains(&hash) {
            return Ok(());
        }
        if let Some(id) = self.stream(tree, flow, &meta, is_earlier)? {
            let stream = DirectoryStream {
                id,
                meta: file,
                files: Files::new(flow.catalog.get(id).kind(), &meta),
                is_gone: false,
            };
            self.streams.insert(meta, stream);
        } else if self.follows && flow.catalog.has_room(NOT_READ_COST) {
            flow.catalog.hold(NOT_READ_COST);
            self.not_read.hashes.insert(hash);
        }
        Ok(())
    }

    /// The stream with that descriptor, if it is one that is to be read.
    fn stream(
        &self,
        tree: &Tree,
        flow: &mut Flow<'_>,
        meta: &str,
        is_earlier: bool,
    ) -> io::Result<Option<StreamId>> {
        let Some(descriptor) = self.describe(tree, flow, meta)? else {
            return Ok(None);
        };
        let name = descriptor.name.clone();
        if flow.catalog.find(&self.origin, &name).is_some() {
            if !is_earlier {
                let path = tree.shown(meta);
                flow.find(Finding::DescribedTwice(path, name))?;
            }
            return Ok(None);
        }
        if !flow.catalog.wants(&self.origin, &name) {
            return Ok(None);
        }
        let besides = size_of::<DirectoryStream>() + Trace::COST + 2 * size(meta);
        let id = flow.catalog.add(&self.origin, descriptor, besides);
        if let (Some(id), true) = (id, is_earlier) {
            flow.catalog.set_earlier(id);
            if self.earlier == EarlierRuns::Told {
                flow.find(Finding::OfEarlierRun(self.path.clone(), name))?;
            }
        }
        Ok(id)
    }

    /// Reads a descriptor. `None`: it is none, and that is told, or it has no
    /// room.
    fn describe(
        &self,
        tree: &Tree,
        flow: &mut Flow<'_>,
        meta: &str,
    ) -> io::Result<Option<LogStreamDescriptor>> {
        let read = tree.file(meta).map_err(DescriptorError::from);
        match read.and_then(|file| descriptor::read(file, |cost| flow.catalog.has_room(cost))) {
            Ok(descriptor) => Ok(descriptor),
            Err(source) => {
                let path = tree.shown(meta);
                flow.find(Finding::NoDescriptor(path, source))?;
                Ok(None)
            }
        }
    }

    /// Gives what is new of the streams, in the order of their names.
    pub fn read(&mut self, flow: &mut Flow<'_>) -> io::Result<()> {
        let Some(tree) = self.tree.take() else {
            return Ok(());
        };
        let of_stream = |(meta, it): (&String, &DirectoryStream)| (it.id, meta.clone());
        let mut order: Vec<_> = self.streams.iter().map(of_stream).collect();
        let name = |id| flow.catalog.get(id).name();
        order.sort_by(|(a, _), (b, _)| name(*a).cmp(name(*b)));
        for (_, meta) in order {
            self.read_stream(&tree, flow, &meta)?;
        }
        self.tree = Some(tree);
        Ok(())
    }

    fn read_stream(&mut self, tree: &Tree, flow: &mut Flow<'_>, meta: &str) -> io::Result<()> {
        if self.follows && !self.is_there(tree, flow, meta)? {
            return Ok(());
        }
        let Some(stream) = self.streams.get_mut(meta) else {
            return Ok(());
        };
        let id = stream.id;
        match &mut stream.files {
            Files::One(content) => content.read(tree, flow, id, self.follows)?,
            Files::Datagrams(content) if self.follows => {
                let is_current = || tree.file_id(meta).ok().flatten() == Some(stream.meta);
                content.follow(tree, flow, id, is_current)?;
            }
            Files::Datagrams(content) => content.read(tree, flow, id)?,
        }
        flow.give(Event::CaughtUp(id))?;
        if !self.follows {
            flow.give(Event::Ended(id))?;
        }
        Ok(())
    }

    /// Is the stream there, to be read? If another run writes it by now, it
    /// begins anew.
    fn is_there(&mut self, tree: &Tree, flow: &mut Flow<'_>, meta: &str) -> io::Result<bool> {
        let Some(stream) = self.streams.get(meta) else {
            return Ok(false);
        };
        let (id, known, is_gone) = (stream.id, stream.meta, stream.is_gone);
        let Ok(Some(found)) = tree.file_id(meta) else {
            // A new one is made after the old one was removed.
            if is_gone {
                let stream = flow.catalog.label(id);
                flow.find(Finding::StreamGone(stream))?;
                self.forget(flow, meta)?;
            }
            return Ok(false);
        };
        if found == known {
            return Ok(true);
        }
        let descriptor = self.describe(tree, flow, meta)?;
        let is_other = |it: &LogStreamDescriptor| it.name != flow.catalog.get(id).name();
        if descriptor.as_ref().is_some_and(is_other) {
            // The next walk finds what it is now.
            self.forget(flow, meta)?;
            return Ok(false);
        }
        if let Some(stream) = self.streams.get_mut(meta) {
            stream.meta = found;
            if let Some(descriptor) = descriptor {
                stream.begin_anew(tree, flow, meta, descriptor)?;
            }
        }
        Ok(true)
    }

    fn forget(&mut self, flow: &mut Flow<'_>, meta: &str) -> io::Result<()> {
        if let Some(stream) = self.streams.remove(meta) {
            flow.give(Event::Restarted(stream.id))?;
            flow.catalog.retire(stream.id);
        }
        Ok(())
    }
}

impl DirectoryStream {
    /// Another run has described a stream of the same name.
    fn begin_anew(
        &mut self,
        tree: &Tree,
        flow: &mut Flow<'_>,
        meta: &str,
        descriptor: LogStreamDescriptor,
    ) -> io::Result<()> {
        // Its file may have been seen to be new before.
        let is_current = self.files.is_current(tree);
        if !is_current {
            let stream = flow.catalog.label(self.id);
            flow.find(Finding::StreamBegunAnew(stream))?;
            flow.give(Event::Restarted(self.id))?;
        }
        let old = flow.catalog.get(self.id).kind();
        flow.catalog.redescribe(self.id, descriptor);
        let new = flow.catalog.get(self.id).kind();
        if old != new || !is_current {
            self.files = Files::new(new, meta);
        }
        Ok(())
    }
}

impl Files {
    /// Those of the stream with that descriptor.
    fn new(kind: StreamType, meta: &str) -> Self {
        let (directory, file) = described(meta);
        match kind {
            StreamType::Text => Self::One(ContentFile::lines(join(directory, file))),
            StreamType::Binary => Self::One(ContentFile::binary(join(directory, file))),
            StreamType::Datagram => Self::Datagrams(DatagramFiles::new(directory, file)),
        }
    }

    /// Is what has been read of the files that are there?
    fn is_current(&self, tree: &Tree) -> bool {
        match self {
            Self::One(content) => content.is_current(tree),
            Self::Datagrams(_) => false,
        }
    }
}
