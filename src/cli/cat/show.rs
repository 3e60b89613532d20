//! Shows streams as text: one of them exactly, several line by line.
//!
//! While one stream is selected its bytes are written and nothing is added
//! (but times, when asked, before each line of text). Datagrams are written
//! back to back: their boundaries are visible with `--json`. When a second
//! stream turns up while following, both go on as labelled lines.

use std::io;

use super::Sink;
use super::labelled::{Labelled, Spot};
use super::screen::TextSink;
use crate::read::{Body, Catalog, Entry, Event, StreamId};
use crate::wire::descriptor::StreamType;

/// Shows streams as text.
pub struct Show<'a> {
    screen: TextSink<'a>,
    timestamps: bool,
    /// The stream whose line was shown exactly and is not complete.
    in_line: Option<StreamId>,
    labelled: Labelled,
}

impl<'a> Show<'a> {
    pub fn new(screen: TextSink<'a>, color: bool, timestamps: bool) -> Self {
        Self {
            screen,
            timestamps,
            in_line: None,
            labelled: Labelled::new(color),
        }
    }

    fn is_exact(&mut self, catalog: &Catalog) -> io::Result<bool> {
        if catalog.len() <= 1 {
            return Ok(true);
        }
        if self.in_line.take().is_some() {
            self.screen.settle()?;
            self.screen.ours(b"\n")?;
        }
        Ok(false)
    }

    fn exact_line(
        &mut self,
        id: StreamId,
        time: Option<&str>,
        value: &[u8],
        delimiter: &[u8],
    ) -> io::Result<()> {
        if let Some(time) = time
            && self.in_line.is_none()
        {
            self.screen.ours(time.as_bytes())?;
            self.screen.ours(b" ")?;
        }
        self.screen.exact(value)?;
        self.screen.exact(delimiter)?;
        self.in_line = delimiter.is_empty().then_some(id);
        Ok(())
    }

    fn exact_bytes(&mut self, id: StreamId, bytes: &[u8]) -> io::Result<()> {
        if let Some(last) = bytes.last() {
            self.in_line = (*last != b'\n').then_some(id);
        }
        self.screen.exact(bytes)
    }
}

impl Show<'_> {
    fn entry(&mut self, catalog: &Catalog, id: StreamId, entry: &Entry<'_>) -> io::Result<()> {
        let is_exact = self.is_exact(catalog)?;
        let logged = entry.logged.filter(|_| self.timestamps);
        let time = logged.map(|logged| logged.time.to_string());
        let time = time.as_deref();
        if is_exact {
            return match entry.body {
                Body::Empty => Ok(()),
                Body::Text(text) => text
                    .lines()
                    .try_for_each(|(value, end)| self.exact_line(id, time, value, end)),
                Body::Binary(data) | Body::Datagram(data, _) => self.exact_bytes(id, data),
            };
        }
        let labelled = &mut self.labelled;
        let spot = &mut Spot::new(&mut self.screen, catalog, id);
        spot.time = time;
        match entry.body {
            Body::Empty => Ok(()),
            Body::Text(text) => text
                .lines()
                .try_for_each(|(value, end)| labelled.line(spot, value, end)),
            Body::Binary(data) if entry.logged.is_some() => {
                labelled.binary(spot, data.len() as u64)
            }
            Body::Binary(data) => {
                labelled.more_binary(id, data.len() as u64);
                Ok(())
            }
            Body::Datagram(data, partial) => {
                labelled.datagram(spot, entry.sequence, data.len() as u64, partial)
            }
        }
    }

    /// What was shown exactly ends where it stands.
    fn end_exact(&mut self, catalog: &Catalog, id: StreamId) -> io::Result<()> {
        if self.in_line == Some(id) {
            self.in_line = None;
            self.screen.settle()?;
            // In what is not text there are no lines to end.
            if catalog.get(id).kind() == StreamType::Text {
                self.screen.ours(b"\n")?;
            }
        }
        Ok(())
    }
}

impl Sink for Show<'_> {
    fn take(&mut self, catalog: &Catalog, event: &Event<'_>) -> io::Result<()> {
        let (screen, labelled) = (&mut self.screen, &mut self.labelled);
        match event {
            Event::Entry(id, entry) => self.entry(catalog, *id, entry),
            Event::CaughtUp(id) => labelled.caught_up(&mut Spot::new(screen, catalog, *id)),
            Event::Ended(id) => labelled.ended(&mut Spot::new(screen, catalog, *id)),
            Event::Restarted(id) => {
                labelled.ended(&mut Spot::new(screen, catalog, *id))?;
                self.end_exact(catalog, *id)
            }
            _ => Ok(()),
        }
    }

    fn finish(&mut self, catalog: &Catalog) -> io::Result<()> {
        self.screen.settle()?;
        self.labelled.finish(&mut self.screen, catalog)?;
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.screen.flush()
    }
}
