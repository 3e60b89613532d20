//! What a bundle holds of a stream, without what the wire puts around it, and
//! the pieces in which it is written.

use crate::delivery::message::{Message, MessageStream};
use crate::wire::varint;
use crate::wire::walk::{self, ContentView, Fields, Malformed, Value};

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

/// The field of a bundle's Entry that has a LogEntry.
const LOGS: u64 = 5;

/// The contents of the stream's entries, in order.
fn entries<'a>(
    bundle: &'a Message,
    stream: &'a MessageStream,
) -> impl Iterator<Item = Result<ContentView<'a>, Malformed>> {
    bundle
        .logs(stream)
        .flat_map(Fields)
        .filter_map(|field| match field {
            Ok((LOGS, Value::Bytes(entry))) => walk::content(entry).transpose(),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        })
}

/// The pieces of a stream of datagrams, in order.
pub(super) fn datagrams<'a>(
    bundle: &'a Message,
    stream: &'a MessageStream,
) -> impl Iterator<Item = Result<Piece<'a>, Malformed>> {
    entries(bundle, stream).map(|content| match content? {
        ContentView::Datagram { data, last, size } => Ok(Piece {
            data,
            // Its size stands before it.
            client: (data.len() + size.map_or(0, varint::len)) as u64,
            ends: last,
        }),
        _ => Err(Malformed),
    })
}

/// The bytes that the client of a text or binary stream wrote.
pub(super) fn gather(
    bundle: &Message,
    stream: &MessageStream,
    bytes: &mut Vec<u8>,
) -> Result<(), Malformed> {
    bytes.clear();
    for content in entries(bundle, stream) {
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
