//! Shows streams as text: one of them exactly, several line by line.
//!
//! While one stream is selected its bytes are written and nothing is added
//! (but times, when asked, before each line of text). Datagrams are written
//! back to back: their boundaries are visible with `--json`. When a second
//! stream turns up while following, both go on as labelled lines.

use std::io;

use super::labelled::Labelled;
use super::screen::Screen;
use super::sink::{Piece, Sink};
use super::streams::{StreamId, Streams};
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

    fn is_exact(&mut self, streams: &Streams) -> io::Result<bool> {
        if streams.len() <= 1 {
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

impl Sink for Show<'_> {
    fn entry(&mut self, streams: &Streams, id: StreamId, log: &LogView<'_>) -> io::Result<()> {
        let is_exact = self.is_exact(streams)?;
        let time = self.timestamps.then(|| {
            let base = streams.get(id).descriptor.timestamp.unwrap_or_default();
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
                            streams,
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
                labelled.binary(screen, streams, id, time, data.len() as u64)?;
            }
            Some(ContentView::Datagram { data, .. }) => {
                let partial = log.partial().ok().flatten();
                let len = data.len() as u64;
                labelled.datagram(screen, streams, id, time, log.sequence, len, partial)?;
            }
        }
        Ok(())
    }

    fn piece(&mut self, streams: &Streams, id: StreamId, piece: &Piece<'_>) -> io::Result<()> {
        let is_exact = self.is_exact(streams)?;
        let (screen, labelled) = (&mut self.screen, &mut self.labelled);
        match *piece {
            Piece::Line {
                value, delimiter, ..
            } if is_exact => self.exact_line(id, None, value, delimiter),
            Piece::Binary { data, .. } | Piece::Datagram { data, .. } if is_exact => {
                self.exact_bytes(id, data)
            }
            Piece::Line {
                value, delimiter, ..
            } => labelled.line(screen, streams, id, None, value, delimiter),
            Piece::Binary { data, .. } => {
                labelled.more_binary(id, data.len() as u64);
                Ok(())
            }
            Piece::Datagram { sequence, data } => {
                let len = data.len() as u64;
                labelled.datagram(screen, streams, id, None, sequence, len, None)
            }
        }
    }

    fn caught_up(&mut self, streams: &Streams, id: StreamId) -> io::Result<()> {
        self.labelled.caught_up(&mut self.screen, streams, id)
    }

    fn ended(&mut self, streams: &Streams, id: StreamId) -> io::Result<()> {
        self.labelled.ended(&mut self.screen, streams, id)
    }

    fn restarted(&mut self, streams: &Streams, id: StreamId) -> io::Result<()> {
        self.labelled.ended(&mut self.screen, streams, id)?;
        if self.in_line == Some(id) {
            self.in_line = None;
            self.screen.settle()?;
            // In what is not text there are no lines to end.
            if streams.get(id).kind() == StreamType::Text {
                self.screen.ours(b"\n")?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, streams: &Streams) -> io::Result<()> {
        self.screen.settle()?;
        self.labelled.finish(&mut self.screen, streams)?;
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.screen.flush()
    }
}
