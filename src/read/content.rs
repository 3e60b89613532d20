//! Reads the content of one stream of a directory output, from where the last
//! reading came.

use std::fs::{File, Metadata};
use std::io;
use std::time::UNIX_EPOCH;

use memchr::memchr_iter;
use prost_types::Timestamp;

use super::catalog::StreamId;
use super::event::{Event, Flow, Fragment};
use super::finding::{Change, Finding};
use super::trace::Trace;
use super::tree::{FileId, Tree};
use crate::limits::READ_LINE_MAX;

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

/// Takes fragments.
type Take<'a> = dyn FnMut(Fragment<'_>) -> io::Result<()> + 'a;

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
        flow: &mut Flow<'_, '_>,
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
            self.begin_anew(Change::Replaced, tree, flow, stream)?;
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
                    self.begin_anew(Change::Truncated, tree, flow, stream)?;
                    continue;
                }
                Err(error) => {
                    self.fail(tree, flow, error)?;
                    break;
                }
            };
            let mut give = |fragment: Fragment<'_>| flow.give(Event::Fragment(stream, fragment));
            match &mut self.lines {
                Some(lines) => lines.push(data, &mut give)?,
                None => give(Fragment::Binary { offset, data })?,
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
        change: Change,
        tree: &Tree,
        flow: &mut Flow<'_, '_>,
        stream: StreamId,
    ) -> io::Result<()> {
        let path = tree.shown(&self.path);
        flow.find(Finding::BegunAnew { path, change })?;
        self.flush_line(flow, stream)?;
        flow.give(Event::Restarted(stream))?;
        self.trace = Trace::default();
        self.lines = self.lines.is_some().then(LineCutter::default);
        Ok(())
    }

    fn flush_line(&mut self, flow: &mut Flow<'_, '_>, stream: StreamId) -> io::Result<()> {
        match &mut self.lines {
            Some(lines) => {
                lines.flush(&mut |fragment| flow.give(Event::Fragment(stream, fragment)))
            }
            None => Ok(()),
        }
    }

    fn fail(&mut self, tree: &Tree, flow: &mut Flow<'_, '_>, source: io::Error) -> io::Result<()> {
        self.is_broken = true;
        flow.find(Finding::Unreadable {
            path: tree.shown(&self.path),
            offset: self.trace.read(),
            source,
        })
    }
}

impl LineCutter {
    fn push(&mut self, data: &[u8], take: &mut Take<'_>) -> io::Result<()> {
        let mut start = 0;
        for end in memchr_iter(b'\n', data) {
            let line = &data[start..=end];
            start = end + 1;
            if self.rest.is_empty() {
                self.whole(line, take)?;
            } else {
                let mut rest = std::mem::take(&mut self.rest);
                rest.extend_from_slice(line);
                self.whole(&rest, take)?;
                rest.clear();
                self.rest = rest;
            }
        }
        self.rest.extend_from_slice(&data[start..]);
        if self.rest.len() > READ_LINE_MAX {
            self.flush(take)?;
        }
        Ok(())
    }

    fn whole(&mut self, line: &[u8], take: &mut Take<'_>) -> io::Result<()> {
        let len = line.len() - if line.ends_with(b"\r\n") { 2 } else { 1 };
        let (value, delimiter) = line.split_at(len);
        self.count += 1;
        take(Fragment::Line {
            number: self.count,
            value,
            delimiter,
        })
    }

    /// Gives what there is of a line that is not complete.
    fn flush(&mut self, take: &mut Take<'_>) -> io::Result<()> {
        if self.rest.is_empty() {
            return Ok(());
        }
        take(Fragment::Line {
            number: self.count + 1,
            value: &self.rest,
            delimiter: b"",
        })?;
        // Every stream has one, and most are read once.
        self.rest = Vec::new();
        Ok(())
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
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_whole_up_to_a_limit() {
        let mut lines = LineCutter::default();
        let mut found = Vec::new();
        let mut each = |fragment: Fragment<'_>| {
            if let Fragment::Line {
                number,
                value,
                delimiter,
            } = fragment
            {
                let delimiter = String::from_utf8(delimiter.to_vec()).unwrap();
                found.push((number, value.len(), delimiter));
            }
            Ok(())
        };
        for data in [&b"ab\r"[..], b"\nc", b"", b"d\n\n"] {
            lines.push(data, &mut each).unwrap();
        }
        for _ in 0..READ_LINE_MAX / READ + 1 {
            lines.push(&vec![b'x'; READ], &mut each).unwrap();
        }
        lines.push(b"y", &mut each).unwrap();
        lines.flush(&mut each).unwrap();
        let none = String::new();
        assert_eq!(
            found,
            [
                (1, 2, "\r\n".into()),
                (2, 2, "\n".into()),
                (3, 0, "\n".into()),
                (4, READ_LINE_MAX + READ, none.clone()),
                (4, 1, none),
            ]
        );
    }

    proptest! {
        #[test]
        fn lines_are_exact_in_any_cuts(
            parts in prop::collection::vec("[a\r\n]{0,9}", 0..9),
        ) {
            let mut out = Vec::new();
            let mut lines = LineCutter::default();
            let mut each = |fragment: Fragment<'_>| {
                if let Fragment::Line { value, delimiter, .. } = fragment {
                    out.extend_from_slice(value);
                    out.extend_from_slice(delimiter);
                }
                Ok(())
            };
            for part in &parts {
                lines.push(part.as_bytes(), &mut each).unwrap();
            }
            lines.flush(&mut each).unwrap();
            prop_assert_eq!(out, parts.concat().into_bytes());
        }
    }
}
