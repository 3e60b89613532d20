//! What a reader gives.

use std::io::{self, Write};

use prost_types::Timestamp;

use super::catalog::{Catalog, StreamId};
use super::finding::Finding;
use crate::wire::bundle_view::LogView;
use crate::wire::walk::{ContentView, lines};

/// Takes what is read, in the order in which it is to be shown. The catalog
/// tells which stream it is of.
///
/// An error ends the reading and is what that returns: there are no others.
pub type Each<'a> = dyn FnMut(&Catalog, Event<'_>) -> io::Result<()> + 'a;

/// What a reader gives. Of one stream, to the byte and in order: its entries or
/// its fragments, and then perhaps its end.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// An entry, from messages. Its content is well-formed.
    Entry(StreamId, LogView<'a>),
    /// A piece of a directory output, which has no entries and no times.
    Fragment(StreamId, Fragment<'a>),
    /// When the stream's files were last written to.
    Modified(StreamId, Timestamp),
    /// All that there is of the stream so far was given.
    CaughtUp(StreamId),
    /// Nothing comes of the stream any more.
    Ended(StreamId),
    /// The stream is over where it stands: another of its name may begin.
    Restarted(StreamId),
    /// Something besides the content that is to be told.
    Finding(Finding),
}

/// What the files of a directory output give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fragment<'a> {
    /// A line of text, or a part of one.
    Line {
        /// Counts from 1.
        number: u64,
        /// The line without its end.
        value: &'a [u8],
        /// `\n` or `\r\n`. Empty when the line goes on in the next fragment, or
        /// its end is not there.
        delimiter: &'a [u8],
    },
    /// Bytes of a binary stream.
    Binary {
        /// How many are before them.
        offset: u64,
        /// The bytes.
        data: &'a [u8],
    },
    /// A whole datagram.
    Datagram {
        /// Counts from 0.
        sequence: u64,
        /// Its bytes.
        data: &'a [u8],
    },
}

impl Event<'_> {
    /// The stream that it is of, if it is of one.
    pub fn stream(&self) -> Option<StreamId> {
        match *self {
            Self::Entry(id, _)
            | Self::Fragment(id, _)
            | Self::Modified(id, _)
            | Self::CaughtUp(id)
            | Self::Ended(id)
            | Self::Restarted(id) => Some(id),
            Self::Finding(_) => None,
        }
    }

    /// Writes the bytes that it adds to its stream. Datagrams stand back to
    /// back.
    pub fn write_content(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Entry(_, log) => match log.content() {
                None => Ok(()),
                Some(ContentView::Text(text)) => {
                    for (value, delimiter) in lines(text).map_while(Result::ok) {
                        out.write_all(value)?;
                        out.write_all(delimiter)?;
                    }
                    Ok(())
                }
                Some(ContentView::Binary(data) | ContentView::Datagram { data, .. }) => {
                    out.write_all(data)
                }
            },
            Self::Fragment(_, fragment) => match fragment {
                Fragment::Line {
                    value, delimiter, ..
                } => {
                    out.write_all(value)?;
                    out.write_all(delimiter)
                }
                Fragment::Binary { data, .. } | Fragment::Datagram { data, .. } => {
                    out.write_all(data)
                }
            },
            _ => Ok(()),
        }
    }
}

/// Where what is read of directories goes.
pub(super) struct Flow<'a, 'e> {
    pub catalog: &'a mut Catalog,
    pub each: &'a mut Each<'e>,
}

impl Flow<'_, '_> {
    pub fn give(&mut self, event: Event<'_>) -> io::Result<()> {
        (self.each)(self.catalog, event)
    }

    pub fn find(&mut self, finding: Finding) -> io::Result<()> {
        self.give(Event::Finding(finding))
    }
}
