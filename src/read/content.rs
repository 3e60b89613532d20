//! Reads the content of one stream of a directory output, from where the last
//! reading came.

use std::fs::{File, Metadata};
use std::io;
use std::time::UNIX_EPOCH;

use memchr::memchr_iter;
use prost_types::Timestamp;

use super::catalog::StreamId;
use super::event::{Body, Entry, Event, Flow};
use super::finding::Finding;
use super::trace::Trace;
use super::tree::{FileId, Tree};
use crate::limits::READER_LINE_MAX;

const READ: usize = 64 * 1024;

/// The file of a text or binary stream.
#[derive(Debug)]
pub(super) struct ContentFile {
    path: String,
    /// Which file has been read.
    id: Option<FileId>,
    trace: Trace,
    /// `None`: it is binary.
    lines: Option<LineCutter>,
    is_broken: bool,
}

/// Cuts text into lines.
#[derive(Debug, Default)]
struct LineCutter {
    /// Complete lines before.
    count: u64,
    /// A line that is not complete.
    rest: Vec<u8>,
}

impl ContentFile {
    pub fn lines(path: String) -> Self {
        Self {
            lines: Some(LineCutter::default()),
            ..Self::binary(path)
        }
    }

    pub fn binary(path: String) -> Self {
        Self {
            path,
            id: None,
            trace: Trace::default(),
            lines: None,
            is_broken: false,
        }
    }

    /// Is the file that has its path the one that has been read?
    pub fn is_current(&self, tree: &Tree) -> bool {
        let found = tree.file_id(&self.path).ok().flatten();
        self.id.is_some() && found == self.id
    }

    /// Gives what is new of it.
    pub fn read(
        &mut self,
        tree: &Tree,
        flow: &mut Flow<'_>,
        stream: StreamId,
        follow: bool,
    ) -> io::Result<()> {
        if self.is_broken {
            return Ok(());
        }
        let (file, id) = match self.open(tree) {
            Ok(opened) => opened,
            // It may be there later.
            Err(error) if follow && error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return self.fail(tree, flow, error),
        };
        if self.id.is_some_and(|known| known != id) {
            self.begin_anew(Finding::Replaced(tree.shown(&self.path)), flow, stream)?;
        }
        self.id = Some(id);
        if follow && self.has_nothing_new(&file) {
            return Ok(());
        }
        let mut buffer = vec![0; READ];
        loop {
            let offset = self.trace.read();
            let data = match self.trace.read_on(&file, &mut buffer) {
                Ok(Some(0)) => break,
                Ok(Some(read)) => &buffer[..read],
                Ok(None) => {
                    self.begin_anew(Finding::Truncated(tree.shown(&self.path)), flow, stream)?;
                    continue;
                }
                Err(error) => {
                    self.fail(tree, flow, error)?;
                    break;
                }
            };
            match &mut self.lines {
                Some(lines) => lines.push(data, flow, stream)?,
                None => {
                    let entry = Entry::stored(offset, Body::Binary(data));
                    flow.give(Event::Entry(stream, entry))?;
                }
            }
        }
        self.flush_line(flow, stream)?;
        if let Ok(metadata) = file.metadata() {
            flow.give(Event::Modified(stream, modified(&metadata)))?;
        }
        Ok(())
    }

    fn open(&self, tree: &Tree) -> io::Result<(File, FileId)> {
        let file = tree.file(&self.path)?;
        let id = FileId::of(&file)?;
        Ok((file, id))
    }

    fn has_nothing_new(&self, file: &File) -> bool {
        let is_as_long = file
            .metadata()
            .is_ok_and(|found| found.len() == self.trace.read());
        is_as_long && self.trace.is_of(file).unwrap_or(true)
    }

    /// What was given is over, and what comes begins with its first byte.
    fn begin_anew(
        &mut self,
        why: Finding,
        flow: &mut Flow<'_>,
        stream: StreamId,
    ) -> io::Result<()> {
        flow.find(why)?;
        self.flush_line(flow, stream)?;
        flow.give(Event::Restarted(stream))?;
        self.trace = Trace::default();
        self.lines = self.lines.is_some().then(LineCutter::default);
        Ok(())
    }

    fn flush_line(&mut self, flow: &mut Flow<'_>, stream: StreamId) -> io::Result<()> {
        match &mut self.lines {
            Some(lines) => lines.flush(flow, stream),
            None => Ok(()),
        }
    }

    fn fail(&mut self, tree: &Tree, flow: &mut Flow<'_>, source: io::Error) -> io::Result<()> {
        self.is_broken = true;
        let path = tree.shown(&self.path);
        flow.find(Finding::Unreadable(path, self.trace.read(), source))
    }
}

impl LineCutter {
    fn push(&mut self, data: &[u8], flow: &mut Flow<'_>, stream: StreamId) -> io::Result<()> {
        let mut start = 0;
        for end in memchr_iter(b'\n', data) {
            let line = &data[start..=end];
            start = end + 1;
            if self.rest.is_empty() {
                self.whole(line, flow, stream)?;
            } else {
                let mut rest = std::mem::take(&mut self.rest);
                rest.extend_from_slice(line);
                self.whole(&rest, flow, stream)?;
                rest.clear();
                self.rest = rest;
            }
        }
        self.rest.extend_from_slice(&data[start..]);
        if self.rest.len() > READER_LINE_MAX {
            self.flush(flow, stream)?;
        }
        Ok(())
    }

    fn whole(&mut self, line: &[u8], flow: &mut Flow<'_>, stream: StreamId) -> io::Result<()> {
        let len = line.len() - if line.ends_with(b"\r\n") { 2 } else { 1 };
        let (value, delimiter) = line.split_at(len);
        let entry = Entry::stored(self.count, Body::line(value, delimiter));
        self.count += 1;
        flow.give(Event::Entry(stream, entry))
    }

    /// Gives what there is of a line that is not complete.
    fn flush(&mut self, flow: &mut Flow<'_>, stream: StreamId) -> io::Result<()> {
        if self.rest.is_empty() {
            return Ok(());
        }
        // Every stream has one, and most are read once.
        let rest = std::mem::take(&mut self.rest);
        let entry = Entry::stored(self.count, Body::line(&rest, b""));
        flow.give(Event::Entry(stream, entry))
    }
}

/// When the file was written to.
pub(super) fn modified(metadata: &Metadata) -> Timestamp {
    let since_1970 = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .unwrap_or_default();
    Timestamp {
        seconds: since_1970.as_secs() as i64,
        nanos: since_1970.subsec_nanos() as i32,
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalog::Catalog;
    use super::*;
    use proptest::prelude::*;

    /// What is given of that: the number of each line or part, and its bytes.
    fn cut(parts: &[&[u8]]) -> Vec<(u64, Vec<u8>)> {
        let mut given = Vec::new();
        let mut each = |_: &Catalog, event: Event<'_>| {
            if let Event::Entry(_, entry) = event {
                let mut line = Vec::new();
                entry.write_to(&mut line)?;
                given.push((entry.sequence, line));
            }
            Ok(())
        };
        let mut lines = LineCutter::default();
        let catalog = &mut Catalog::new(|_, _| true);
        let each = &mut each;
        let flow = &mut Flow { catalog, each };
        for part in parts {
            lines.push(part, flow, StreamId(0)).unwrap();
        }
        lines.flush(flow, StreamId(0)).unwrap();
        given
    }

    #[test]
    fn lines_are_whole_up_to_a_limit() {
        let long = vec![b'x'; READ];
        let mut parts = vec![&b"ab\r"[..], b"\nc", b"", b"d\n\n"];
        parts.extend(std::iter::repeat_n(&long[..], READER_LINE_MAX / READ + 1));
        parts.push(b"y");
        let given = cut(&parts);
        let found: Vec<_> = given
            .iter()
            .map(|(number, line)| (*number, line.len()))
            .collect();
        assert_eq!(
            found,
            [(0, 4), (1, 3), (2, 1), (3, READER_LINE_MAX + READ), (3, 1)]
        );
    }

    proptest! {
        #[test]
        fn lines_are_exact_in_any_cuts(parts in prop::collection::vec("[a\r\n]{0,9}", 0..9)) {
            let bytes: Vec<_> = parts.iter().map(|part| part.as_bytes()).collect();
            let given: Vec<_> = cut(&bytes).into_iter().flat_map(|(_, line)| line).collect();
            prop_assert_eq!(given, bytes.concat());
        }
    }
}
