//! Lists streams: what they are and what they hold.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};

use prost_types::Timestamp;

use super::Sink;
use super::json;
use crate::escape::{Escaped, is_hidden};
use crate::read::{Body, Catalog, Entry, Event, Origin, StreamId};
use crate::wire::descriptor::StreamType;

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Table,
    /// One object a line.
    Json,
}

const HEADINGS: [&str; 9] = [
    "PREFIX", "NAME", "TYPE", "BYTES", "CONTENT", "FIRST", "LAST", "STATE", "TAGS",
];

type Cells = [String; HEADINGS.len()];

/// Counts what streams hold, and lists it at the end.
pub struct List<'a> {
    out: BufWriter<&'a mut dyn Write>,
    format: Format,
    rows: BTreeMap<StreamId, Row>,
}

#[derive(Debug, Default)]
struct Row {
    bytes: u64,
    /// Lines or datagrams.
    count: u64,
    /// The last line or datagram counted is not complete.
    in_item: bool,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    ended: bool,
}

impl<'a> List<'a> {
    pub fn new(out: &'a mut dyn Write, format: Format) -> Self {
        Self {
            out: BufWriter::new(out),
            format,
            rows: BTreeMap::new(),
        }
    }

    fn print_table(&mut self, catalog: &Catalog) -> io::Result<()> {
        let ids = catalog.by_name();
        if ids.is_empty() {
            return Ok(());
        }
        // Made twice, so that no copy of all names is held.
        let heading = || HEADINGS.map(str::to_owned);
        let mut widths = [0; HEADINGS.len()];
        for row in std::iter::once(heading()).chain(ids.iter().map(|&id| self.cells(catalog, id))) {
            for (width, cell) in widths.iter_mut().zip(&row) {
                *width = cell.chars().count().max(*width);
            }
        }
        let from = usize::from(!catalog.has_several_origins());
        self.print_row(&heading(), &widths, from)?;
        for id in ids {
            let row = self.cells(catalog, id);
            self.print_row(&row, &widths, from)?;
        }
        Ok(())
    }

    fn print_row(&mut self, row: &Cells, widths: &[usize], from: usize) -> io::Result<()> {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths).skip(from) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width + 2 - cell.chars().count()));
        }
        writeln!(self.out, "{}", line.trim_end())
    }

    fn cells(&self, catalog: &Catalog, id: StreamId) -> Cells {
        let none = Row::default();
        let row = self.rows.get(&id).unwrap_or(&none);
        let stream = catalog.get(id);
        let (kind, descriptor) = (stream.kind(), &stream.descriptor);
        let time = |time: Option<Timestamp>| time.map_or("-".into(), |time| time.to_string());
        let count = |one: &str| match row.count {
            1 => format!("1 {one}"),
            count => format!("{count} {one}s"),
        };
        let (origin, state) = match catalog.origin_of(id) {
            Origin::Prefix(prefix, run) => {
                let several = match run {
                    0 => String::new(),
                    run => format!(" ({})", run + 1),
                };
                let state = if row.ended { "terminal" } else { "open" };
                (word(prefix) + &several, state)
            }
            Origin::Directory(path) if stream.is_earlier => (word(path), "earlier"),
            Origin::Directory(path) => (word(path), "-"),
        };
        let tags: Vec<_> = descriptor
            .tags
            .iter()
            .map(|(key, value)| format!("{}={}", word(key), word(value)))
            .collect();
        [
            origin,
            stream.name().to_owned(),
            kind.to_string(),
            row.bytes.to_string(),
            match kind {
                StreamType::Text => count("line"),
                StreamType::Binary => "-".into(),
                StreamType::Datagram => count("datagram"),
            },
            time(row.first),
            time(row.last),
            state.to_owned(),
            tags.join(" "),
        ]
    }

    fn print_json(&mut self, catalog: &Catalog) -> io::Result<()> {
        for id in catalog.by_name() {
            let row = self.rows.entry(id).or_default();
            let stream = catalog.get(id);
            let mut line = Vec::new();
            json::head(&mut line, catalog, id)?;
            line.extend_from_slice(b",\"content_type\":");
            json::string(&mut line, &stream.descriptor.content_type)?;
            write!(line, ",\"bytes\":{}", row.bytes)?;
            match stream.kind() {
                StreamType::Text => write!(line, ",\"lines\":{}", row.count)?,
                StreamType::Binary => {}
                StreamType::Datagram => write!(line, ",\"datagrams\":{}", row.count)?,
            }
            for (key, time) in [("first", row.first), ("last", row.last)] {
                match time {
                    Some(time) => write!(line, ",\"{key}\":\"{time}\"")?,
                    None => write!(line, ",\"{key}\":null")?,
                }
            }
            match catalog.origin_of(id) {
                Origin::Prefix(..) => write!(line, ",\"terminal\":{}", row.ended)?,
                Origin::Directory(_) => line.extend_from_slice(b",\"terminal\":null"),
            }
            if stream.is_earlier {
                line.extend_from_slice(b",\"earlier_run\":true");
            }
            line.extend_from_slice(b",\"tags\":{");
            for (at, (key, value)) in stream.descriptor.tags.iter().enumerate() {
                if at > 0 {
                    line.push(b',');
                }
                json::string(&mut line, key)?;
                line.push(b':');
                json::string(&mut line, value)?;
            }
            line.extend_from_slice(b"}}\n");
            self.out.write_all(&line)?;
        }
        Ok(())
    }
}

/// As it is if it is a word, in quotes otherwise.
fn word(text: &str) -> String {
    let is_plain = |c: char| !c.is_whitespace() && !is_hidden(c) && c != '"';
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", Escaped(text.as_bytes()))
}

impl Row {
    fn line(&mut self, value: &[u8], delimiter: &[u8]) {
        let bytes = value.len() + delimiter.len();
        self.bytes += bytes as u64;
        if bytes > 0 && !self.in_item {
            self.count += 1;
        }
        self.in_item = delimiter.is_empty();
    }
}

impl List<'_> {
    fn entry(&mut self, catalog: &Catalog, id: StreamId, entry: &Entry<'_>) {
        let row = self.rows.entry(id).or_default();
        match entry.logged {
            Some(logged) => {
                row.first.get_or_insert(logged.time);
                row.last = Some(logged.time);
            }
            None => row.first = catalog.get(id).descriptor.timestamp,
        }
        match entry.body {
            Body::Empty => {}
            Body::Text(text) => text.lines().for_each(|(value, end)| row.line(value, end)),
            Body::Binary(data) => row.bytes += data.len() as u64,
            Body::Datagram(data, partial) => {
                row.bytes += data.len() as u64;
                row.count += u64::from(!row.in_item);
                row.in_item = partial.is_some_and(|partial| !partial.last);
            }
        }
    }

    fn modified(&mut self, id: StreamId, time: Timestamp) {
        let row = self.rows.entry(id).or_default();
        let order = |time: Timestamp| (time.seconds, time.nanos);
        if row.last.is_none_or(|last| order(last) < order(time)) {
            row.last = Some(time);
        }
    }
}

impl Sink for List<'_> {
    fn take(&mut self, catalog: &Catalog, event: &Event<'_>) -> io::Result<()> {
        match event {
            Event::Entry(id, entry) => self.entry(catalog, *id, entry),
            Event::Modified(id, time) => self.modified(*id, *time),
            Event::Ended(id) | Event::Restarted(id) => {
                self.rows.entry(*id).or_default().ended = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self, catalog: &Catalog) -> io::Result<()> {
        match self.format {
            Format::Table => self.print_table(catalog)?,
            Format::Json => self.print_json(catalog)?,
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stay_cells() {
        for (text, expected) in [
            ("plain", "plain"),
            ("", "\"\""),
            ("two words", "\"two words\""),
            ("a\tb\x1b\"c\"\n", "\"a\\tb\\x1b\\\"c\\\"\\n\""),
        ] {
            assert_eq!(word(text), expected);
        }
    }

    #[test]
    fn a_line_in_parts_is_one_line() {
        let mut row = Row::default();
        row.line(b"a", b"");
        row.line(b"b", b"\n");
        row.line(b"", b"\r\n");
        row.line(b"rest", b"");
        assert_eq!((row.count, row.bytes), (3, 9));
    }
}
