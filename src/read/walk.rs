//! Walks through a directory output, for the descriptors of streams.

use std::io;
use std::path::PathBuf;

use super::event::Flow;
use super::finding::Finding;
use super::tree::{FileKind, Tree, join};
use crate::layout::mark::Marked;
use crate::layout::{self, MARK};
use crate::limits::READER_HELD_MAX;

/// Outputs in another one that are told by name.
const WITHIN_TOLD_MAX: usize = 10;

/// A walk, and what it still has to look at.
pub(super) struct Walk<'a> {
    tree: &'a Tree,
    marked: Marked,
    directories: Vec<String>,
    /// Bytes of all paths that are kept.
    held: usize,
    /// Paths of descriptors of streams that earlier runs have left.
    pub earlier: Vec<String>,
    /// Outputs of their own; the first few.
    pub within: Vec<PathBuf>,
    /// It has seen all that there is.
    pub is_whole: bool,
}

/// What stands in one directory.
#[derive(Default)]
struct Contents {
    /// It has a run's mark.
    is_marked: bool,
    /// The files that are descriptors, by name.
    metas: Vec<String>,
    directories: Vec<String>,
    /// Bytes of all that.
    held: usize,
    is_cut: bool,
}

/// What a path or name takes, about.
pub(super) fn size(text: &str) -> usize {
    text.len() + 2 * size_of::<String>()
}

/// The directory of a descriptor, and the name of the file that it describes.
pub(super) fn described(meta: &str) -> (&str, &str) {
    let (directory, name) = meta.rsplit_once('/').unwrap_or(("", meta));
    (directory, layout::component_of_meta(name).unwrap_or(name))
}

impl<'a> Walk<'a> {
    pub fn new(tree: &'a Tree, flow: &mut Flow<'_>) -> io::Result<Self> {
        let marked = match tree.file(MARK).and_then(Marked::read) {
            Ok(marked) => marked,
            Err(source) => {
                if source.kind() != io::ErrorKind::NotFound {
                    flow.find(Finding::NoMark(source))?;
                }
                Marked::default()
            }
        };
        Ok(Self {
            tree,
            marked,
            directories: vec![String::new()],
            held: 0,
            earlier: Vec::new(),
            within: Vec::new(),
            is_whole: true,
        })
    }

    /// Paths of the descriptors in the next directory that are of the last run;
    /// `None` when there is no directory left.
    pub fn next(&mut self, flow: &mut Flow<'_>) -> io::Result<Option<Vec<String>>> {
        let Some(directory) = self.directories.pop() else {
            return Ok(None);
        };
        self.held -= self.held.min(size(&directory));
        let contents = self.list(&directory, flow)?;
        if contents.is_marked && !directory.is_empty() {
            if self.within.len() < WITHIN_TOLD_MAX {
                self.within.push(self.tree.shown(&directory));
            }
            return Ok(Some(Vec::new()));
        }
        for name in contents.directories {
            let path = join(&directory, &name);
            self.held += size(&path);
            self.directories.push(path);
        }
        let mut metas = contents.metas;
        // So that of two that describe the same stream the same one wins.
        metas.sort_unstable();
        let mut found = Vec::new();
        for name in metas {
            let meta = join(&directory, &name);
            let (_, file) = described(&meta);
            if self.marked.is_earlier(&join(&directory, file)) {
                self.held += size(&meta);
                self.earlier.push(meta);
            } else {
                found.push(meta);
            }
            if self.held > READER_HELD_MAX {
                self.cut(flow);
                break;
            }
        }
        Ok(Some(found))
    }

    fn list(&mut self, directory: &str, flow: &mut Flow<'_>) -> io::Result<Contents> {
        let mut contents = Contents::default();
        let room = READER_HELD_MAX.saturating_sub(self.held);
        let each = |name: &str, kind| contents.add(name, kind, room);
        if let Err(source) = self.tree.list(directory, each) {
            self.is_whole = false;
            let path = self.tree.shown(directory);
            flow.find(Finding::Directory(path, source))?;
        }
        if contents.is_cut {
            self.cut(flow);
        }
        Ok(contents)
    }

    /// There is no room for all that there is.
    fn cut(&mut self, flow: &mut Flow<'_>) {
        self.is_whole = false;
        flow.catalog.has_room(usize::MAX);
    }
}

impl Contents {
    fn add(&mut self, name: &str, kind: FileKind, room: usize) {
        if self.held > room {
            self.is_cut = true;
            return;
        }
        match kind {
            FileKind::Directory => {
                self.held += size(name);
                self.directories.push(name.to_owned());
            }
            FileKind::File if name == MARK => self.is_marked = true,
            FileKind::File if layout::component_of_meta(name).is_some() => {
                self.held += size(name);
                self.metas.push(name.to_owned());
            }
            FileKind::File | FileKind::Other => {}
        }
    }
}
