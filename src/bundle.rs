//! A bundle that is cut: the staged entries of some streams, and how they
//! become one `ButlerLogBundle`.
//!
//! Entries lie encoded in one staging segment, in the order in which they
//! were read. Each stream's entries are a chain of parts of it. [`Gather`]
//! puts the chains together with what stands around them on the wire; large
//! parts are shared, not copied.

use std::cell::Cell;
use std::rc::Rc;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost_types::Timestamp;

use crate::ledger::Account;
use crate::proto::logpb;
use crate::secret::Secret;
use crate::wire::descriptor::StreamType;
use crate::wire::message::{self, Compression};
use crate::wire::name::StreamName;
use crate::wire::varint;

/// How large an output wants its bundles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BundleLimits {
    /// A bundle is cut when it has about this many bytes.
    pub target: usize,
    /// A bundle never has more: only one large entry takes it past `target`.
    pub max: usize,
}

/// What all bundles of a butler carry.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// The project.
    pub project: String,
    /// The prefix.
    pub prefix: String,
    /// The Coordinator's secret for the prefix; empty if there is none.
    pub secret: Secret,
}

impl Identity {
    /// Fields 4 to 6 of a bundle.
    fn encode(&self) -> Secret {
        let fields = logpb::ButlerLogBundle {
            project: self.project.clone(),
            prefix: self.prefix.clone(),
            secret: self.secret.expose().clone(),
            ..Default::default()
        };
        Secret::new(fields.encode_to_vec())
    }
}

/// A stream, as its bundles know it.
#[derive(Debug)]
pub struct StreamInfo {
    /// Its name.
    pub name: StreamName,
    /// How it is cut into entries.
    pub stream_type: StreamType,
    /// The descriptor, encoded as field 1 of a bundle's Entry.
    pub(crate) descriptor_field: Box<[u8]>,
    /// Where its bytes went.
    pub(crate) account: Account,
    /// Bundles that it is in.
    pub(crate) bundles: Cell<u32>,
    /// Its client is gone: it is kept for its bundles alone.
    pub(crate) ended: Cell<bool>,
}

impl StreamInfo {
    pub(crate) fn new(
        name: StreamName,
        stream_type: StreamType,
        descriptor: &logpb::LogStreamDescriptor,
    ) -> Self {
        let mut field = vec![0x0a];
        descriptor
            .encode_length_delimited(&mut field)
            .expect("a vector grows as needed");
        Self {
            name,
            stream_type,
            descriptor_field: field.into(),
            account: Account::default(),
            bundles: Cell::new(0),
            ended: Cell::new(false),
        }
    }

    /// Bytes of memory.
    pub(crate) fn memory(&self) -> usize {
        size_of::<Self>() + self.name.as_str().len() + self.descriptor_field.len()
    }

    /// Where its bytes went.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The descriptor, decoded.
    pub fn descriptor(&self) -> logpb::LogStreamDescriptor {
        logpb::butler_log_bundle::Entry::decode(&*self.descriptor_field)
            .ok()
            .and_then(|entry| entry.desc)
            .expect("it was encoded from a descriptor")
    }
}

/// No part follows.
pub(crate) const NO_PART: u32 = u32::MAX;

/// Entries of one stream that lie together in the segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    pub start: u32,
    pub len: u32,
    /// The stream's next part, or [`NO_PART`].
    pub next: u32,
    pub entries: u32,
    /// When its first byte was read.
    pub read_ns: u64,
}

/// What a bundle holds of one stream.
#[derive(Debug)]
pub struct BundleStream {
    /// The stream.
    pub info: Rc<StreamInfo>,
    /// The stream has ended with this as its last stream index.
    pub terminal: Option<u64>,
    /// The client's bytes that these entries stand for.
    pub client_bytes: u64,
    pub(crate) first: u32,
    pub(crate) last: u32,
    /// Encoded bytes of its parts.
    pub(crate) len: usize,
}

impl BundleStream {
    /// Bytes of the Entry message.
    fn entry_len(&self) -> usize {
        let terminal = match self.terminal {
            None => 0,
            Some(0) => 2,
            Some(index) => 2 + 1 + varint::len(index),
        };
        self.info.descriptor_field.len() + terminal + self.len
    }
}

/// A bundle that is cut and waits for its output.
#[derive(Debug)]
pub struct Bundle {
    pub(crate) segment: Bytes,
    /// Bytes of memory that it takes.
    pub(crate) memory: usize,
    pub(crate) parts: Vec<Part>,
    pub(crate) streams: Vec<BundleStream>,
    /// When it was begun.
    pub(crate) begun: Timestamp,
    /// Fields 4 to 6, the secret among them.
    pub(crate) identity: Secret,
    pub(crate) entries: u64,
}

/// Parts up to this size are copied beside what stands around them: one more
/// slice to write costs more than the copy.
const COPY_MAX: usize = 1024;

impl Bundle {
    /// The streams in it.
    pub fn streams(&self) -> &[BundleStream] {
        &self.streams
    }

    /// How many entries it has.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// A stream's entries, as slices that hold one or more `logs` fields.
    pub fn logs<'a>(&'a self, stream: &'a BundleStream) -> impl Iterator<Item = &'a [u8]> {
        self.chain(stream)
            .map(|part| &self.segment[part.start as usize..(part.start + part.len) as usize])
    }

    fn chain<'a>(&'a self, stream: &BundleStream) -> impl Iterator<Item = &'a Part> {
        let mut at = stream.first;
        std::iter::from_fn(move || {
            let part = self.parts.get(at as usize)?;
            at = part.next;
            Some(part)
        })
    }

    /// Bytes of the `ButlerLogBundle`.
    pub fn len(&self) -> usize {
        let entries: usize = self
            .streams
            .iter()
            .map(|stream| {
                let len = stream.entry_len();
                1 + varint::len(len as u64) + len
            })
            .sum();
        2 + self.begun.encoded_len() + entries + self.identity.expose().len()
    }

    /// Bytes of it that are not in large parts.
    fn heads_len(&self) -> usize {
        let large = self.parts.iter().map(|part| part.len as usize);
        self.len() - large.filter(|len| *len > COPY_MAX).sum::<usize>()
    }

    /// A bundle always has a stream.
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Decodes it: what a Collector would see.
    pub fn decode(&self) -> logpb::ButlerLogBundle {
        let mut gather = Gather::default();
        gather.bundle(self);
        logpb::ButlerLogBundle::decode(&*gather.concat()).expect("we encode what decodes")
    }
}

/// Bytes around the entries of a stream: tag, length, terminal and its index.
pub(crate) const ENTRY_OVERHEAD_MAX: usize = 1 + 5 + 2 + 1 + varint::MAX_LEN;

/// Bytes of a bundle besides its entries.
pub(crate) fn bundle_overhead_max(identity: &Secret) -> usize {
    let timestamp = 2 + 1 + varint::MAX_LEN + 1 + 5;
    timestamp + identity.expose().len()
}

pub(crate) fn encode_identity(identity: &Identity) -> Secret {
    identity.encode()
}

/// Puts bundles together for the wire. Reused, it allocates nothing.
#[derive(Debug, Default)]
pub struct Gather {
    heads: BytesMut,
    pieces: Vec<Bytes>,
    len: usize,
}

impl Gather {
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

    /// Lets go of the bundle.
    pub fn clear(&mut self) {
        self.pieces.clear();
        self.len = 0;
    }

    /// Gathers the `ButlerLogBundle`.
    pub fn bundle(&mut self, bundle: &Bundle) {
        self.clear();
        self.heads.reserve(bundle.heads_len());
        self.put_bundle(bundle);
    }

    /// Gathers the message, uncompressed.
    pub fn message(&mut self, bundle: &Bundle) {
        self.clear();
        self.heads
            .reserve(message::FRAMES_LEN_MAX + bundle.heads_len());
        let mut frames = [0; message::FRAMES_LEN_MAX];
        let used = message::put_frames(&mut frames, Compression::None, bundle.len());
        self.heads.put_slice(&frames[..used]);
        self.put_bundle(bundle);
    }

    fn put_bundle(&mut self, bundle: &Bundle) {
        self.heads.put_u8(0x12);
        bundle
            .begun
            .encode_length_delimited(&mut self.heads)
            .expect("a buffer grows as needed");
        for stream in &bundle.streams {
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
            for part in bundle.chain(stream) {
                let range = part.start as usize..(part.start + part.len) as usize;
                if range.len() <= COPY_MAX {
                    self.heads.put_slice(&bundle.segment[range]);
                } else {
                    self.end_heads();
                    self.push(bundle.segment.slice(range));
                }
            }
        }
        self.heads.put_slice(bundle.identity.expose());
        self.end_heads();
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

#[cfg(test)]
mod tests;
