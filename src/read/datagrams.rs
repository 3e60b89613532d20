//! Reads the datagrams of one stream of a directory output: a file each.

use std::collections::BinaryHeap;
use std::fs::Metadata;
use std::io::{self, Read};

use super::catalog::StreamId;
use super::content::modified;
use super::event::{Body, Entry, Event, Flow};
use super::finding::Finding;
use super::tree::{FileKind, Tree, join};
use crate::layout;
use crate::limits::{DATAGRAM_MAX, DISPLACED_MAX};

/// How many numbers are found at a time behind one that is missing.
const LATER_MAX: usize = 65_536;

/// The files of a datagram stream.
#[derive(Debug)]
pub(super) struct DatagramFiles {
    directory: String,
    file: String,
    next: u64,
}

impl DatagramFiles {
    pub fn new(directory: &str, file: &str) -> Self {
        Self {
            directory: directory.to_owned(),
            file: file.to_owned(),
            next: 0,
        }
    }

    /// Gives all that there are, and tells which are missing.
    pub fn read(&mut self, tree: &Tree, flow: &mut Flow<'_>, stream: StreamId) -> io::Result<()> {
        loop {
            self.follow(tree, flow, stream, || true)?;
            let later = match self.later(tree) {
                Ok(later) => later,
                Err(source) => {
                    let path = tree.shown(&self.directory);
                    return flow.find(Finding::Datagram(path, source));
                }
            };
            if later.is_empty() {
                return Ok(());
            }
            for number in later {
                if number > self.next {
                    self.skip_to(number, flow, stream)?;
                }
                self.follow(tree, flow, stream, || true)?;
                if self.next == number {
                    // It was removed since.
                    self.skip_to(number + 1, flow, stream)?;
                }
            }
        }
    }

    /// Gives those that come next without a gap: what is missing may be on its
    /// way. `is_current` says whether the stream is still the one that it was
    /// when a datagram was read.
    pub fn follow(
        &mut self,
        tree: &Tree,
        flow: &mut Flow<'_>,
        stream: StreamId,
        is_current: impl Fn() -> bool,
    ) -> io::Result<()> {
        loop {
            let sequence = self.next;
            let read = self.datagram(tree, sequence);
            let is_none = matches!(&read, Err(error) if error.kind() == io::ErrorKind::NotFound);
            if is_none || !is_current() {
                return Ok(());
            }
            self.next = sequence.saturating_add(1);
            match read {
                Ok((data, metadata)) => {
                    let entry = Entry::stored(sequence, Body::Datagram(&data, None));
                    flow.give(Event::Entry(stream, entry))?;
                    flow.give(Event::Modified(stream, modified(&metadata)))?;
                }
                Err(source) => {
                    let name = layout::datagram_file(&self.file, sequence, 0);
                    let path = tree.shown(&join(&self.directory, &name));
                    flow.find(Finding::Datagram(path, source))?;
                }
            }
        }
    }

    fn skip_to(&mut self, number: u64, flow: &mut Flow<'_>, stream: StreamId) -> io::Result<()> {
        let stream = flow.catalog.get(stream).name().to_owned();
        let (first, last) = (self.next, number - 1);
        self.next = number;
        flow.find(Finding::MissingDatagrams(stream, first, last))
    }

    /// The first numbers from `next` on that there are, in order.
    fn later(&self, tree: &Tree) -> io::Result<Vec<u64>> {
        let mut later = BinaryHeap::new();
        tree.list(&self.directory, |name, kind| {
            if kind != FileKind::File {
                return;
            }
            if let Some((number, file)) = datagram_name(name)
                && file == self.file
                && number >= self.next
                && number < u64::MAX
            {
                later.push(number);
                if later.len() > LATER_MAX {
                    later.pop();
                }
            }
        })?;
        Ok(later.into_sorted_vec())
    }

    fn datagram(&self, tree: &Tree, sequence: u64) -> io::Result<(Vec<u8>, Metadata)> {
        let mut displaced = 0;
        loop {
            let name = layout::datagram_file(&self.file, sequence, displaced);
            match read(tree, &join(&self.directory, &name)) {
                // A directory may stand there, and the datagram beside it.
                Err(error) if error.kind() == io::ErrorKind::Other && displaced < DISPLACED_MAX => {
                    displaced += 1;
                    continue;
                }
                result => return result,
            }
        }
    }
}

fn read(tree: &Tree, path: &str) -> io::Result<(Vec<u8>, Metadata)> {
    let file = tree.file(path)?;
    let metadata = file.metadata()?;
    if metadata.len() > DATAGRAM_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is larger than any datagram",
        ));
    }
    let mut data = Vec::new();
    file.take(DATAGRAM_MAX).read_to_end(&mut data)?;
    Ok((data, metadata))
}

fn datagram_name(name: &str) -> Option<(u64, &str)> {
    let (number, file) = name.strip_prefix('_')?.split_once('.')?;
    let number = number.trim_end_matches('~');
    let value = number.parse().ok()?;
    (format!("{value:05}") == number).then_some((value, file))
}
