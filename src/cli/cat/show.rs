//! Shows streams as text: one of them exactly, several line by line.
//!
//! While one stream is selected its bytes are written and nothing is added
//! (but times, when asked, before each line of text). Datagrams are written
//! back to back: their boundaries are visible with `--json`. When a second
//! stream turns up while following, both go on as labelled lines.

use std::io;

use super::Sink;
use super::labelled::Labelled;
use super::screen::Screen;
use crate::read::{Catalog, Event, Fragment, StreamId};
use crate::wire::bundle_view::LogView;
use crate::wire::descriptor::StreamType;
use crate::wire::walk::{ContentView, lines};

/// Shows streams as text.
pub struct Show<'a> {
    screen: Screen<'a>,
    timestamps: bool,
    /// The stream whose line was shown exactly and is not complete.
    in_line: Option<StreamId>,
    labelled: Labelled,
}

impl<'a> Show<'a> {
    pub fn new(screen: Screen<'a>, color: bool, timestamps: bool) -> Self {
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
    fn entry(&mut self, catalog: &Catalog, id: StreamId, log: &LogView<'_>) -> io::Result<()> {
        let is_exact = self.is_exact(catalog)?;
        let time = self.timestamps.then(|| {
            let base = catalog.get(id).descriptor.timestamp.unwrap_or_default();
            log.time(base).to_string()
        });
        let time = time.as_deref();
        let (screen, labelled) = (&mut self.screen, &mut self.labelled);
        match log.content() {
            None => {}
            Some(ContentView::Text(text)) => {
                for (value, delimiter) in lines(text).map_while(Result::ok) {
                    if is_exact {
                        self.exact_line(id, time, value, delimiter)?;
                    } else {
                        self.labelled.line(
                            &mut self.screen,
                            catalog,
                            id,
                            time,
                            value,
                            delimiter,
                        )?;
                    }
                }
            }
            Some(ContentView::Binary(data) | ContentView::Datagram { data, .. }) if is_exact => {
                self.exact_bytes(id, data)?;
            }
            Some(ContentView::Binary(data)) => {
                labelled.binary(screen, catalog, id, time, data.len() as u64)?;
            }
            Some(ContentView::Datagram { data, .. }) => {
                let partial = log.partial().ok().flatten();
                let len = data.len() as u64;
                labelled.datagram(screen, catalog, id, time, log.sequence, len, partial)?;
            }
        }
        Ok(())
    }

    fn fragment(
        &mut self,
        catalog: &Catalog,
        id: StreamId,
        fragment: Fragment<'_>,
    ) -> io::Result<()> {
        let is_exact = self.is_exact(catalog)?;
        let (screen, labelled) = (&mut self.screen, &mut self.labelled);
        match fragment {
            Fragment::Line {
                value, delimiter, ..
            } if is_exact => self.exact_line(id, None, value, delimiter),
            Fragment::Binary { data, .. } | Fragment::Datagram { data, .. } if is_exact => {
                self.exact_bytes(id, data)
            }
            Fragment::Line {
                value, delimiter, ..
            } => labelled.line(screen, catalog, id, None, value, delimiter),
            Fragment::Binary { data, .. } => {
                labelled.more_binary(id, data.len() as u64);
                Ok(())
            }
            Fragment::Datagram { sequence, data } => {
                let len = data.len() as u64;
                labelled.datagram(screen, catalog, id, None, sequence, len, None)
            }
        }
    }

    fn restarted(&mut self, catalog: &Catalog, id: StreamId) -> io::Result<()> {
        self.labelled.ended(&mut self.screen, catalog, id)?;
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
        let screen = &mut self.screen;
        match *event {
            Event::Entry(id, ref log) => self.entry(catalog, id, log),
            Event::Fragment(id, fragment) => self.fragment(catalog, id, fragment),
            Event::CaughtUp(id) => self.labelled.caught_up(screen, catalog, id),
            Event::Ended(id) => self.labelled.ended(screen, catalog, id),
            Event::Restarted(id) => self.restarted(catalog, id),
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
