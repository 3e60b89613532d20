//! Reads the content of one stream of a directory output, from where the last
//! reading came.

use std::fs::{File, Metadata};
use std::io;
use std::time::UNIX_EPOCH;

use memchr::memchr_iter;
use prost_types::Timestamp;

use super::report::Report;
use super::sink::{Piece, Sink};
use super::streams::{StreamId, Streams};
use super::trace::Trace;
use super::tree::{Identity, Tree};
use crate::limits::CAT_LINE_MAX;

const READ: usize = 64 * 1024;

/// The file of a text or binary stream.
#[derive(Debug)]
pub struct Bytes {
    path: String,
    /// Which file has been read.
    identity: Option<Identity>,
    trace: Trace,
    /// `None`: it is binary.
    lines: Option<Lines>,
    is_broken: bool,
}

/// Cuts text into lines.
#[derive(Debug, Default)]
struct Lines {
    /// Complete lines before.
    count: u64,
    /// A line that is not complete.
    rest: Vec<u8>,
}

impl Bytes {
    pub fn lines(path: String) -> Self {
        Self {
            path,
            identity: None,
            trace: Trace::default(),
            lines: Some(Lines::default()),
            is_broken: false,
        }
    }

    pub fn binary(path: String) -> Self {
        Self {
            lines: None,
            ..Self::lines(path)
        }
    }

    /// Is the file that has its path the one that has been read?
    pub fn is_current(&self, tree: &Tree) -> bool {
        let found = tree.identity(&self.path).ok().flatten();
        self.identity.is_some() && found == self.identity
    }

    pub fn read(
        &mut self,
        tree: &Tree,
        report: &mut Report<'_>,
        streams: &Streams,
        id: StreamId,
        sink: &mut dyn Sink,
        follow: bool,
    ) -> io::Result<()> {
        if self.is_broken {
            return Ok(());
        }
        let (file, identity) = match self.open(tree) {
            Ok(opened) => opened,
            // It may be there later.
            Err(error) if follow && error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                self.fail(tree, report, &error);
                return Ok(());
            }
        };
        let is_other = self.identity.is_some_and(|known| known != identity);
        if is_other {
            self.begin_again("replaced", tree, report, streams, id, sink)?;
        }
        self.identity = Some(identity);
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
                    self.begin_again("truncated", tree, report, streams, id, sink)?;
                    continue;
                }
                Err(error) => {
                    self.fail(tree, report, &error);
                    break;
                }
            };
            match &mut self.lines {
                Some(lines) => lines.push(data, &mut |piece| sink.piece(streams, id, piece))?,
                None => sink.piece(streams, id, &Piece::Binary { offset, data })?,
            }
        }
        if let Some(lines) = &mut self.lines {
            lines.flush(&mut |piece| sink.piece(streams, id, piece))?;
        }
        if let Ok(metadata) = file.metadata() {
            sink.modified(id, modified(&metadata));
        }
        Ok(())
    }

    fn open(&self, tree: &Tree) -> io::Result<(File, Identity)> {
        let file = tree.file(&self.path)?;
        let identity = Identity::of(&file)?;
        Ok((file, identity))
    }

    fn has_nothing_new(&self, file: &File) -> bool {
        let is_as_long = file
            .metadata()
            .is_ok_and(|found| found.len() == self.trace.read());
        is_as_long && self.trace.is_of(file).unwrap_or(true)
    }

    /// What was shown is over, and what comes begins with its first byte.
    fn begin_again(
        &mut self,
        what: &str,
        tree: &Tree,
        report: &mut Report<'_>,
        streams: &Streams,
        id: StreamId,
        sink: &mut dyn Sink,
    ) -> io::Result<()> {
        report.note(format_args!(
            "{}: the file was {what}; it is read from its beginning",
            tree.shown(&self.path).display()
        ));
        if let Some(lines) = &mut self.lines {
            lines.flush(&mut |piece| sink.piece(streams, id, piece))?;
        }
        sink.restarted(streams, id)?;
        self.trace = Trace::default();
        self.lines = self.lines.is_some().then(Lines::default);
        Ok(())
    }

    fn fail(&mut self, tree: &Tree, report: &mut Report<'_>, error: &io::Error) {
        self.is_broken = true;
        report.error(format_args!(
            "{}: can't be read at offset {}: {error}",
            tree.shown(&self.path).display(),
            self.trace.read()
        ));
    }
}

impl Lines {
    fn push(
        &mut self,
        data: &[u8],
        each: &mut dyn FnMut(&Piece<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut start = 0;
        for end in memchr_iter(b'\n', data) {
            let line = &data[start..=end];
            start = end + 1;
            if self.rest.is_empty() {
                self.whole(line, each)?;
            } else {
                let mut rest = std::mem::take(&mut self.rest);
                rest.extend_from_slice(line);
                self.whole(&rest, each)?;
                rest.clear();
                self.rest = rest;
            }
        }
        self.rest.extend_from_slice(&data[start..]);
        if self.rest.len() > CAT_LINE_MAX {
            self.flush(each)?;
        }
        Ok(())
    }

    fn whole(
        &mut self,
        line: &[u8],
        each: &mut dyn FnMut(&Piece<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let len = line.len() - if line.ends_with(b"\r\n") { 2 } else { 1 };
        let (value, delimiter) = line.split_at(len);
        self.count += 1;
        each(&Piece::Line {
            number: self.count,
            value,
            delimiter,
        })
    }

    /// Gives what there is of a line that is not complete.
    fn flush(&mut self, each: &mut dyn FnMut(&Piece<'_>) -> io::Result<()>) -> io::Result<()> {
        if self.rest.is_empty() {
            return Ok(());
        }
        each(&Piece::Line {
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
pub fn modified(metadata: &Metadata) -> Timestamp {
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
        let mut lines = Lines::default();
        let mut found = Vec::new();
        let mut each = |piece: &Piece<'_>| {
            if let Piece::Line {
                number,
                value,
                delimiter,
            } = *piece
            {
                let delimiter = String::from_utf8(delimiter.to_vec()).unwrap();
                found.push((number, value.len(), delimiter));
            }
            Ok(())
        };
        for data in [&b"ab\r"[..], b"\nc", b"", b"d\n\n"] {
            lines.push(data, &mut each).unwrap();
        }
        for _ in 0..CAT_LINE_MAX / READ + 1 {
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
                (4, CAT_LINE_MAX + READ, none.clone()),
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
            let mut lines = Lines::default();
            let mut each = |piece: &Piece<'_>| {
                if let Piece::Line { value, delimiter, .. } = piece {
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
