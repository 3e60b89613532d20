//! Several streams at once: one line after the other, each behind the name of
//! its stream.

use std::collections::BTreeMap;
use std::io;

use super::screen::TextSink;
use crate::escape::Escaped;
use crate::limits::{READER_HELD_MAX, READER_LINE_MAX};
use crate::read::{Catalog, StreamId};
use crate::wire::entry::Partial;

/// Longer names are not padded to: one of them would push all lines out of
/// sight.
const WIDTH_MAX: usize = 60;

/// The foreground colours that read on dark and on light ground.
const COLORS: [&str; 12] = [
    "31", "32", "33", "34", "35", "36", "91", "92", "93", "94", "95", "96",
];

/// Shows lines behind names.
pub struct Labelled {
    color: bool,
    /// Of the label that was shown last.
    label: Label,
    unfinished: BTreeMap<StreamId, Unfinished>,
    /// Bytes of all unfinished lines.
    held: usize,
}

/// A name, padding and `| `.
#[derive(Default)]
struct Label {
    /// The streams for which it holds, and the width of all their labels.
    version: Option<u64>,
    width: usize,
    id: Option<StreamId>,
    bytes: Vec<u8>,
}

/// What is shown once it is complete.
#[derive(Default)]
struct Unfinished {
    /// Of the line.
    time: Option<String>,
    line: Vec<u8>,
    datagram: Option<Datagram>,
    binary: u64,
}

struct Datagram {
    sequence: u64,
    time: Option<String>,
    len: u64,
    size: u64,
}

/// Where something is shown: behind the name of that stream, and its time.
pub struct Spot<'s, 'a> {
    pub screen: &'s mut TextSink<'a>,
    pub catalog: &'s Catalog,
    pub id: StreamId,
    pub time: Option<&'s str>,
}

impl<'s, 'a> Spot<'s, 'a> {
    pub fn new(screen: &'s mut TextSink<'a>, catalog: &'s Catalog, id: StreamId) -> Self {
        let time = None;
        Self {
            screen,
            catalog,
            id,
            time,
        }
    }
}

impl Labelled {
    pub fn new(color: bool) -> Self {
        Self {
            color,
            label: Label::default(),
            unfinished: BTreeMap::new(),
            held: 0,
        }
    }

    /// A line, or the next part of one. It is shown when it is complete, or
    /// too long to be held.
    pub fn line(
        &mut self,
        spot: &mut Spot<'_, '_>,
        value: &[u8],
        delimiter: &[u8],
    ) -> io::Result<()> {
        let unfinished = self.unfinished.get(&spot.id);
        let started = unfinished.is_some_and(|found| !found.line.is_empty());
        if !delimiter.is_empty() && !started {
            return self.print(spot, spot.time, &[value, delimiter]);
        }
        let unfinished = self.unfinished.entry(spot.id).or_default();
        if unfinished.line.is_empty() {
            unfinished.time = spot.time.map(str::to_owned);
        }
        unfinished.line.extend_from_slice(value);
        self.held += value.len();
        let is_long = unfinished.line.len() > READER_LINE_MAX || self.held > READER_HELD_MAX;
        if !delimiter.is_empty() || is_long {
            self.print_line(spot, delimiter)?;
        }
        Ok(())
    }

    /// So many bytes that can't be shown.
    pub fn binary(&mut self, spot: &mut Spot<'_, '_>, len: u64) -> io::Result<()> {
        let text = format!("<binary, {len} bytes>\n");
        self.print(spot, spot.time, &[text.as_bytes()])
    }

    /// Like [`binary`](Self::binary), shown when no more comes for now.
    pub fn more_binary(&mut self, id: StreamId, len: u64) {
        self.unfinished.entry(id).or_default().binary += len;
    }

    /// A datagram, or a part of one, which is shown with its last.
    pub fn datagram(
        &mut self,
        spot: &mut Spot<'_, '_>,
        sequence: u64,
        len: u64,
        partial: Option<Partial>,
    ) -> io::Result<()> {
        let unfinished = self.unfinished.entry(spot.id).or_default();
        let is_other = |datagram: &Datagram| datagram.sequence != sequence;
        if unfinished.datagram.as_ref().is_some_and(is_other) {
            self.print_datagram(spot)?;
        }
        let unfinished = self.unfinished.entry(spot.id).or_default();
        let datagram = unfinished.datagram.get_or_insert_with(|| Datagram {
            sequence,
            time: spot.time.map(str::to_owned),
            len: 0,
            size: partial.map_or(len, |partial| partial.size),
        });
        datagram.len += len;
        if partial.is_none_or(|partial| partial.last) {
            self.print_datagram(spot)?;
        }
        Ok(())
    }

    /// All that is there for now was given.
    pub fn caught_up(&mut self, spot: &mut Spot<'_, '_>) -> io::Result<()> {
        match self.unfinished.get_mut(&spot.id) {
            Some(found) if found.binary > 0 => {
                let len = std::mem::take(&mut found.binary);
                self.binary(spot, len)
            }
            _ => Ok(()),
        }
    }

    /// Shows what will never be complete.
    pub fn ended(&mut self, spot: &mut Spot<'_, '_>) -> io::Result<()> {
        self.caught_up(spot)?;
        self.print_datagram(spot)?;
        let unfinished = self.unfinished.get(&spot.id);
        if unfinished.is_some_and(|found| !found.line.is_empty()) {
            self.print_line(spot, b"\n")?;
        }
        self.unfinished.remove(&spot.id);
        Ok(())
    }

    /// Shows all that will never be complete.
    pub fn finish(&mut self, screen: &mut TextSink<'_>, catalog: &Catalog) -> io::Result<()> {
        while let Some((&id, _)) = self.unfinished.first_key_value() {
            self.ended(&mut Spot::new(screen, catalog, id))?;
        }
        Ok(())
    }

    fn print_line(&mut self, spot: &mut Spot<'_, '_>, delimiter: &[u8]) -> io::Result<()> {
        let Some(unfinished) = self.unfinished.get_mut(&spot.id) else {
            return Ok(());
        };
        let line = std::mem::take(&mut unfinished.line);
        let time = unfinished.time.take();
        self.held -= line.len();
        self.print(spot, time.as_deref(), &[&line, delimiter])
    }

    fn print_datagram(&mut self, spot: &mut Spot<'_, '_>) -> io::Result<()> {
        let unfinished = self.unfinished.get_mut(&spot.id);
        let Some(datagram) = unfinished.and_then(|found| found.datagram.take()) else {
            return Ok(());
        };
        let (sequence, len, size) = (datagram.sequence, datagram.len, datagram.size);
        let text = if len == size {
            format!("<datagram {sequence}, {len} bytes>\n")
        } else {
            format!("<datagram {sequence}, {len} of {size} bytes>\n")
        };
        self.print(spot, datagram.time.as_deref(), &[text.as_bytes()])
    }

    /// Prints parts that make a line, and ends it if they do not.
    fn print(
        &mut self,
        spot: &mut Spot<'_, '_>,
        time: Option<&str>,
        parts: &[&[u8]],
    ) -> io::Result<()> {
        let screen = &mut *spot.screen;
        screen.ours(self.label.of(spot.catalog, spot.id, self.color))?;
        if let Some(time) = time {
            screen.ours(time.as_bytes())?;
            screen.ours(b" ")?;
        }
        for part in parts {
            screen.exact(part)?;
        }
        screen.settle()?;
        match parts.iter().rev().find_map(|part| part.last()) {
            Some(b'\n') => Ok(()),
            _ => screen.ours(b"\n"),
        }
    }
}

impl Label {
    fn of(&mut self, catalog: &Catalog, id: StreamId, color: bool) -> &[u8] {
        if self.version != Some(catalog.version()) {
            let widths = catalog.ids().map(|id| catalog.label(id).chars().count());
            self.width = widths.max().unwrap_or(0).min(WIDTH_MAX);
            self.version = Some(catalog.version());
            self.id = None;
        }
        if self.id != Some(id) {
            self.id = Some(id);
            self.make(&catalog.label(id), color);
        }
        &self.bytes
    }

    fn make(&mut self, name: &str, color: bool) {
        let label = &mut self.bytes;
        label.clear();
        if color {
            let color = COLORS[stable_hash(name) as usize % COLORS.len()];
            label.extend_from_slice(format!("\x1b[{color}m").as_bytes());
        }
        // A directory's path may hold anything.
        label.extend_from_slice(Escaped(name.as_bytes()).to_string().as_bytes());
        let padding = self.width.saturating_sub(name.chars().count());
        label.extend(std::iter::repeat_n(b' ', padding));
        label.extend_from_slice(if color { b"\x1b[0m | " } else { b" | " });
    }
}

/// FNV-1a: a name has the same colour in every run.
fn stable_hash(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}
