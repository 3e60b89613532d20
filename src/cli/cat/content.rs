//! Reads the content of one stream of a directory output, from where the last
//! reading came.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use memchr::memchr_iter;
use prost_types::Timestamp;

use super::open::open_file;
use super::report::Report;
use super::sink::{Piece, Sink};
use super::streams::{StreamId, Streams};
use crate::limits::{CAT_LINE_MAX, DATAGRAM_MAX};
use crate::output::directory::layout;

const READ: usize = 64 * 1024;

/// The file of a text or binary stream.
#[derive(Debug)]
pub struct Bytes {
    path: PathBuf,
    offset: u64,
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
    pub fn lines(path: PathBuf) -> Self {
        Self {
            path,
            offset: 0,
            lines: Some(Lines::default()),
            is_broken: false,
        }
    }

    pub fn binary(path: PathBuf) -> Self {
        Self {
            lines: None,
            ..Self::lines(path)
        }
    }

    pub fn read(
        &mut self,
        report: &mut Report<'_>,
        streams: &Streams,
        id: StreamId,
        sink: &mut dyn Sink,
        follow: bool,
    ) -> io::Result<()> {
        if self.is_broken {
            return Ok(());
        }
        let mut file = match self.open(report, follow) {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(()),
            Err(error) => {
                self.fail(report, &error);
                return Ok(());
            }
        };
        let mut buffer = vec![0; READ];
        loop {
            let data = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => &buffer[..read],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.fail(report, &error);
                    break;
                }
            };
            let offset = self.offset;
            self.offset += data.len() as u64;
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

    /// The file, at where reading came; `None`: nothing new.
    fn open(&mut self, report: &mut Report<'_>, follow: bool) -> io::Result<Option<File>> {
        let mut file = match open_file(&self.path) {
            // It is made after its description.
            Err(error) if follow && error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let len = file.metadata()?.len();
        if len < self.offset {
            report.note(format_args!(
                "{}: the file was truncated; it is read from its beginning",
                self.path.display()
            ));
            self.offset = 0;
            self.lines = self.lines.is_some().then(Lines::default);
        }
        if follow && len == self.offset {
            return Ok(None);
        }
        file.seek(SeekFrom::Start(self.offset))?;
        Ok(Some(file))
    }

    fn fail(&mut self, report: &mut Report<'_>, error: &io::Error) {
        self.is_broken = true;
        report.error(format_args!(
            "{}: can't be read at offset {}: {error}",
            self.path.display(),
            self.offset
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
        self.rest.clear();
        Ok(())
    }
}

/// The files of a datagram stream.
#[derive(Debug)]
pub struct Datagrams {
    directory: PathBuf,
    file: String,
    next: u64,
    /// Numbers of those that are there, from `next` on, in order.
    found: Vec<u64>,
}

impl Datagrams {
    pub fn new(directory: &Path, file: &str) -> Self {
        Self {
            directory: directory.to_owned(),
            file: file.to_owned(),
            next: 0,
            found: Vec::new(),
        }
    }

    /// These are there now.
    pub fn found(&mut self, mut numbers: Vec<u64>) {
        numbers.retain(|&number| number >= self.next);
        numbers.sort_unstable();
        self.found = numbers;
    }

    pub fn read(
        &mut self,
        report: &mut Report<'_>,
        streams: &Streams,
        id: StreamId,
        sink: &mut dyn Sink,
        follow: bool,
    ) -> io::Result<()> {
        for sequence in std::mem::take(&mut self.found) {
            if sequence > self.next {
                if follow {
                    // It may be on its way; the next walk will tell.
                    break;
                }
                report.error(format_args!(
                    "{}: datagrams {} to {} of stream {} are missing",
                    self.directory.display(),
                    self.next,
                    sequence - 1,
                    streams.get(id).name()
                ));
            }
            self.next = sequence.saturating_add(1);
            let path = self
                .directory
                .join(layout::datagram_file(&self.file, sequence, 0));
            match read_datagram(&path) {
                Ok((data, metadata)) => {
                    let data = &data[..];
                    sink.piece(streams, id, &Piece::Datagram { sequence, data })?;
                    sink.modified(id, modified(&metadata));
                }
                Err(error) => report.error(format_args!("{}: {error}", path.display())),
            }
        }
        Ok(())
    }
}

fn read_datagram(path: &Path) -> io::Result<(Vec<u8>, Metadata)> {
    let file = open_file(path)?;
    let metadata = file.metadata()?;
    if metadata.len() > DATAGRAM_MAX {
        return Err(io::Error::other("it is larger than any datagram"));
    }
    let mut data = Vec::new();
    file.take(DATAGRAM_MAX).read_to_end(&mut data)?;
    Ok((data, metadata))
}

fn modified(metadata: &Metadata) -> Timestamp {
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
