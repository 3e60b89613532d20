//! What a reader gives.

use std::io::{self, Write};

use prost_types::Timestamp;

use super::catalog::{Catalog, StreamId};
use super::finding::Finding;
use crate::wire::bundle_view::LogView;
use crate::wire::entry::Partial;
use crate::wire::walk::{ContentView, lines};

/// Takes what is read. The catalog tells which stream it is of.
///
/// An error ends the reading, and is what that returns: there are no others.
pub type Each<'a> = dyn FnMut(&Catalog, Event<'_>) -> io::Result<()> + 'a;

/// What a reader gives: of each stream its entries, in order, and then perhaps
/// its end.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The stream goes on.
    Entry(StreamId, Entry<'a>),
    /// When the stream's files, in a directory, were last written to.
    Modified(StreamId, Timestamp),
    /// All that there is of the stream, in a directory, was given so far.
    CaughtUp(StreamId),
    /// Nothing comes of the stream any more.
    Ended(StreamId),
    /// The stream is over where it stands: another of its name may begin.
    Restarted(StreamId),
    /// Something besides the content that is to be told.
    Finding(Finding),
}

/// Some of a stream's content.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Lines, bytes or datagrams of the stream before it.
    pub sequence: u64,
    /// What only messages have: a directory has no entries, so that one of its
    /// lines, datagrams, or pieces of binary content is given at a time.
    pub logged: Option<Logged>,
    /// The content.
    pub body: Body<'a>,
}

/// What messages tell of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logged {
    /// Contiguous in the stream.
    pub stream_index: u64,
    /// Unique in the prefix.
    pub prefix_index: u64,
    /// When it was read.
    pub time: Timestamp,
}

/// The content of an entry.
#[derive(Debug, Clone, Copy)]
pub enum Body<'a> {
    /// There is none.
    Empty,
    /// Lines. The last may go on in the next entry.
    Text(Text<'a>),
    /// Bytes.
    Binary(&'a [u8]),
    /// A datagram, or the part of one that is told.
    Datagram(&'a [u8], Option<Partial>),
}

/// Lines of text.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    one: Option<(&'a [u8], &'a [u8])>,
    /// More of them, in a Text message.
    encoded: &'a [u8],
}

impl<'a> Text<'a> {
    /// Value and delimiter of each. Without a delimiter the line goes on in
    /// the next entry, or its end is not there.
    pub fn lines(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let encoded = lines(self.encoded).map_while(Result::ok);
        self.one.into_iter().chain(encoded)
    }
}

impl<'a> Entry<'a> {
    /// A well-formed one of messages, of a stream that began at that time.
    pub(super) fn logged(log: &LogView<'a>, began: Option<Timestamp>) -> Self {
        let body = match log.content() {
            None => Body::Empty,
            Some(ContentView::Text(encoded)) => Body::Text(Text { one: None, encoded }),
            Some(ContentView::Binary(data)) => Body::Binary(data),
            Some(ContentView::Datagram { data, .. }) => {
                Body::Datagram(data, log.partial().ok().flatten())
            }
        };
        Self {
            sequence: log.sequence,
            logged: Some(Logged {
                stream_index: log.stream_index,
                prefix_index: log.prefix_index,
                time: log.time(began.unwrap_or_default()),
            }),
            body,
        }
    }

    /// One of a directory.
    pub(super) fn stored(sequence: u64, body: Body<'a>) -> Self {
        Self {
            sequence,
            logged: None,
            body,
        }
    }

    /// Writes the content. Datagrams stand back to back.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        match self.body {
            Body::Empty => Ok(()),
            Body::Text(text) => text.lines().try_for_each(|(value, delimiter)| {
                out.write_all(value)?;
                out.write_all(delimiter)
            }),
            Body::Binary(data) | Body::Datagram(data, _) => out.write_all(data),
        }
    }
}

impl<'a> Body<'a> {
    /// A line, or a part of one.
    pub(super) fn line(value: &'a [u8], delimiter: &'a [u8]) -> Self {
        Self::Text(Text {
            one: Some((value, delimiter)),
            encoded: &[],
        })
    }
}

/// Where what is read of directories goes.
pub(super) struct Flow<'a> {
    pub catalog: &'a mut Catalog,
    pub each: &'a mut Each<'a>,
}

impl Flow<'_> {
    pub fn give(&mut self, event: Event<'_>) -> io::Result<()> {
        (self.each)(self.catalog, event)
    }

    pub fn find(&mut self, finding: Finding) -> io::Result<()> {
        self.give(Event::Finding(finding))
    }
}
