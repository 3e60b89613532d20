//! What a message has of a stream, without what the wire puts around it, and
//! the pieces in which it is written.

use crate::delivery::message::{EntriesAt, Message, MessageStream};
use crate::wire::varint;
use crate::wire::walk::{self, ContentView, Malformed};

/// What is written to a stream's file at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece<'a> {
    pub data: &'a [u8],
    /// Bytes of the client that it stands for: more than it has, where the
    /// size of a datagram belongs to it; fewer, where we say something.
    pub client: u64,
    /// A datagram is complete with it.
    pub ends: bool,
}

/// How much of a piece is written.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Done {
    /// Of its bytes.
    pub bytes: usize,
    /// Of those of its client.
    pub client: u64,
}

impl Piece<'_> {
    /// The same when `bytes` of its bytes are written.
    pub fn done(&self, bytes: usize) -> Done {
        let client = match bytes == self.data.len() {
            true => self.client,
            false => self.client.min(bytes as u64),
        };
        Done { bytes, client }
    }
}

/// The content of the stream's entry at that place, if there is one; the place
/// is then behind it.
fn next_content<'a>(
    message: &'a Message,
    at: &mut EntriesAt,
) -> Option<Result<ContentView<'a>, Malformed>> {
    loop {
        match message.next_entry(at)?.and_then(walk::content) {
            Ok(None) => {}
            Ok(Some(content)) => return Some(Ok(content)),
            Err(error) => return Some(Err(error)),
        }
    }
}

/// The next piece of a stream of datagrams.
pub(super) fn next_datagram<'a>(
    message: &'a Message,
    at: &mut EntriesAt,
) -> Option<Result<Piece<'a>, Malformed>> {
    let piece = |content| match content {
        ContentView::Datagram { data, last, size } => Ok(Piece {
            data,
            // Its size stands before it.
            client: (data.len() + size.map_or(0, varint::len)) as u64,
            ends: last,
        }),
        _ => Err(Malformed),
    };
    Some(next_content(message, at)?.and_then(piece))
}

/// The bytes that the client of a text or binary stream wrote.
pub(super) fn gather(
    message: &Message,
    stream: &MessageStream,
    bytes: &mut Vec<u8>,
) -> Result<(), Malformed> {
    bytes.clear();
    let mut at = Message::entries_of(stream);
    while let Some(content) = next_content(message, &mut at) {
        match content? {
            ContentView::Text(text) => {
                for line in walk::lines(text) {
                    let (value, delimiter) = line?;
                    bytes.extend_from_slice(value);
                    // A call to copy one byte is a sixth of a short line's cost.
                    match delimiter {
                        [byte] => bytes.push(*byte),
                        _ => bytes.extend_from_slice(delimiter),
                    }
                }
            }
            ContentView::Binary(data) | ContentView::Datagram { data, .. } => {
                bytes.extend_from_slice(data);
            }
        }
    }
    Ok(())
}
