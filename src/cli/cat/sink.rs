//! What shows entries, in one of several ways.

use std::io;

use prost_types::Timestamp;

use super::streams::{StreamId, Streams};
use crate::wire::bundle_view::LogView;

/// Takes what the outputs hold, in the order in which it is to be shown.
/// Errors are those of writing.
pub trait Sink {
    /// An entry of a file output; its content was checked.
    fn entry(&mut self, streams: &Streams, id: StreamId, log: &LogView<'_>) -> io::Result<()>;

    /// A piece of a directory output.
    fn piece(&mut self, streams: &Streams, id: StreamId, piece: &Piece<'_>) -> io::Result<()>;

    /// The stream's files have not changed since.
    fn modified(&mut self, _id: StreamId, _time: Timestamp) {}

    /// All that there is of the stream so far was given.
    fn caught_up(&mut self, _streams: &Streams, _id: StreamId) -> io::Result<()> {
        Ok(())
    }

    /// Nothing comes of the stream any more.
    fn ended(&mut self, _streams: &Streams, _id: StreamId) -> io::Result<()> {
        Ok(())
    }

    /// The stream is over where it stands: another of its name begins.
    fn restarted(&mut self, streams: &Streams, id: StreamId) -> io::Result<()> {
        self.ended(streams, id)
    }

    /// Nothing comes of any stream any more.
    fn finish(&mut self, streams: &Streams) -> io::Result<()>;

    /// Lets go of what is buffered.
    fn flush(&mut self) -> io::Result<()>;
}

/// What a directory output's files give.
#[derive(Debug, Clone, Copy)]
pub enum Piece<'a> {
    /// A line, or a part of one.
    Line {
        /// Counts from 1.
        number: u64,
        value: &'a [u8],
        /// Empty when the line goes on in the next piece, or its end is
        /// not there.
        delimiter: &'a [u8],
    },
    /// Bytes.
    Binary { offset: u64, data: &'a [u8] },
    /// A whole datagram.
    Datagram { sequence: u64, data: &'a [u8] },
}
