//! Reads the datagrams of one stream of a directory output: a file each.

use std::collections::BinaryHeap;
use std::fs::Metadata;
use std::io::{self, Read};

use super::content::modified;
use super::report::Report;
use super::sink::{Piece, Sink};
use super::streams::{StreamId, Streams};
use super::tree::{Kind, Tree, join};
use crate::layout;
use crate::limits::DATAGRAM_MAX;

/// How many numbers are found at a time behind one that is missing.
const LATER_MAX: usize = 65_536;
/// How often a directory may stand in a datagram's place.
const DISPLACED_MAX: usize = 32;

/// The files of a datagram stream.
#[derive(Debug)]
pub struct Datagrams {
    directory: String,
    file: String,
    next: u64,
}

impl Datagrams {
    pub fn new(directory: &str, file: &str) -> Self {
        Self {
            directory: directory.to_owned(),
            file: file.to_owned(),
            next: 0,
        }
    }

    /// `is_current` says whether the stream is still the one that it was.
    #[allow(clippy::too_many_arguments)]
    pub fn read(
        &mut self,
        tree: &Tree,
        report: &mut Report<'_>,
        streams: &Streams,
        id: StreamId,
        sink: &mut dyn Sink,
        follow: bool,
        is_current: impl Fn() -> bool,
    ) -> io::Result<()> {
        loop {
            self.read_on(tree, report, streams, id, sink, || !follow || is_current())?;
            // What is missing may be on its way.
            if follow {
                return Ok(());
            }
            let later = match self.later(tree) {
                Ok(later) => later,
                Err(error) => {
                    let path = tree.shown(&self.directory);
                    report.error(format_args!("{}: {error}", path.display()));
                    return Ok(());
                }
            };
            if later.is_empty() {
                return Ok(());
            }
            for number in later {
                if number > self.next {
                    self.skip_to(number, report, streams, id);
                }
                self.read_on(tree, report, streams, id, sink, || true)?;
                if self.next == number {
                    // It was removed since.
                    self.skip_to(number + 1, report, streams, id);
                }
            }
        }
    }

    /// Reads those that follow without a gap. What was read is shown if it may be.
    fn read_on(
        &mut self,
        tree: &Tree,
        report: &mut Report<'_>,
        streams: &Streams,
        id: StreamId,
        sink: &mut dyn Sink,
        may: impl Fn() -> bool,
    ) -> io::Result<()> {
        loop {
            let sequence = self.next;
            let read = self.datagram(tree, sequence);
            if matches!(&read, Err(error) if error.kind() == io::ErrorKind::NotFound) || !may() {
                return Ok(());
            }
            self.next = sequence.saturating_add(1);
            match read {
                Ok((data, metadata)) => {
                    let data = &data[..];
                    sink.piece(streams, id, &Piece::Datagram { sequence, data })?;
                    sink.modified(id, modified(&metadata));
                }
                Err(error) => {
                    let name = layout::datagram_file(&self.file, sequence, 0);
                    let path = tree.shown(&join(&self.directory, &name));
                    report.error(format_args!("{}: {error}", path.display()));
                }
            }
        }
    }

    fn skip_to(&mut self, number: u64, report: &mut Report<'_>, streams: &Streams, id: StreamId) {
        let (first, last) = (self.next, number - 1);
        let name = streams.get(id).name();
        match first == last {
            true => report.error(format_args!("datagram {first} of stream {name} is missing")),
            false => report.error(format_args!(
                "datagrams {first} to {last} of stream {name} are missing"
            )),
        }
        self.next = number;
    }

    /// The first numbers from `next` on that there are, in order.
    fn later(&self, tree: &Tree) -> io::Result<Vec<u64>> {
        let mut later = BinaryHeap::new();
        tree.list(&self.directory, |name, kind| {
            if kind != Kind::File {
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
