//! Puts messages together for the wire: the chains of their entries, with what
//! stands around them. Large parts are shared, not copied.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message as _;

use super::message::Message;
use super::stored::Stored;
use crate::wire::message::{Compression, FRAMES_LEN_MAX, put_frames};
use crate::wire::varint;

/// Parts up to this size are copied beside what stands around them: one more
/// slice to write costs more than the copy.
pub(super) const COPY_MAX: usize = 1024;

/// Bytes of the message that are not in large parts.
pub(super) fn heads_len(message: &Message) -> usize {
    let large = message.parts.iter().map(|part| part.len as usize);
    message.len() - large.filter(|len| *len > COPY_MAX).sum::<usize>()
}

/// Puts messages together. Reused, it allocates nothing.
#[derive(Debug, Default)]
pub struct Gather {
    pub(super) heads: BytesMut,
    pieces: Vec<Bytes>,
    len: usize,
    /// Parts of any size are copied.
    copies: bool,
    /// The largest heads so far: the memory that is kept for them.
    room: usize,
}

impl Gather {
    /// From now on large parts are copied too, or shared again.
    pub(super) fn set_copies(&mut self, copies: bool) {
        self.copies = copies;
    }

    /// Bytes of memory that it keeps for the next message.
    pub(super) fn memory(&self) -> usize {
        self.room + self.pieces.capacity() * size_of::<Bytes>()
    }

    /// Has room for a message, and so many bytes beside it.
    fn reserve(&mut self, message: &Message, beside: usize) {
        let heads = match self.copies {
            true => message.len(),
            false => heads_len(message),
        };
        self.heads.reserve(beside + heads);
        self.room = self.room.max(beside + heads);
    }

    /// What was gathered, in order.
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// Bytes in all pieces.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Nothing was gathered.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All pieces in one.
    pub fn concat(&self) -> Vec<u8> {
        self.pieces.concat()
    }

    /// Lets go of the message.
    pub fn clear(&mut self) {
        self.pieces.clear();
        self.len = 0;
    }

    /// Gathers the `ButlerLogBundle`.
    pub fn bundle(&mut self, message: &Message) {
        self.clear();
        self.reserve(message, 0);
        self.put_body(message);
        self.put_identity(message.identity.expose());
    }

    /// Gathers the message, uncompressed.
    pub fn message(&mut self, message: &Message) {
        self.clear();
        self.reserve(message, FRAMES_LEN_MAX);
        self.put_frames(message.len());
        self.put_body(message);
        self.put_identity(message.identity.expose());
    }

    /// Gathers the bundle without what is the same in all of a butler's: the
    /// body of a [`Stored`] message.
    pub fn body(&mut self, message: &Message) {
        self.clear();
        self.reserve(message, 0);
        self.put_body(message);
        self.end_heads();
    }

    /// Gathers the `ButlerLogBundle` of a message that was stored.
    pub(super) fn stored_bundle(&mut self, stored: &Stored) {
        self.clear();
        self.push(stored.body.clone());
        self.put_identity(stored.identity());
    }

    /// Gathers the message that was stored, uncompressed.
    pub fn stored_message(&mut self, stored: &Stored) {
        self.clear();
        self.put_frames(stored.len());
        self.end_heads();
        self.push(stored.body.clone());
        self.put_identity(stored.identity());
    }

    fn put_frames(&mut self, len: usize) {
        let mut frames = [0; FRAMES_LEN_MAX];
        let used = put_frames(&mut frames, Compression::None, len);
        self.heads.put_slice(&frames[..used]);
    }

    /// Comes last.
    fn put_identity(&mut self, identity: &[u8]) {
        self.heads.put_slice(identity);
        self.end_heads();
    }

    fn put_body(&mut self, message: &Message) {
        self.heads.put_u8(0x12);
        message
            .begun
            .encode_length_delimited(&mut self.heads)
            .expect("a buffer grows as needed");
        for stream in &message.streams {
            self.heads.put_u8(0x1a);
            self.put_varint(stream.entry_len() as u64);
            self.heads.put_slice(&stream.info.descriptor_field);
            if let Some(index) = stream.terminal {
                self.heads.put_slice(&[0x18, 1]);
                if index != 0 {
                    self.heads.put_u8(0x20);
                    self.put_varint(index);
                }
            }
            for part in message.chain(stream) {
                let range = part.start as usize..(part.start + part.len) as usize;
                if self.copies || range.len() <= COPY_MAX {
                    self.heads.put_slice(&message.segment[range]);
                } else {
                    self.end_heads();
                    self.push(message.segment.slice(range));
                }
            }
        }
    }

    fn put_varint(&mut self, value: u64) {
        let mut bytes = [0; varint::MAX_LEN];
        let used = varint::put(&mut bytes, value);
        self.heads.put_slice(&bytes[..used]);
    }

    /// Makes a piece of the heads so far.
    fn end_heads(&mut self) {
        if !self.heads.is_empty() {
            let piece = self.heads.split().freeze();
            self.push(piece);
        }
    }

    fn push(&mut self, piece: Bytes) {
        self.len += piece.len();
        self.pieces.push(piece);
    }
}
