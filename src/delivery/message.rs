//! What outputs get: a bundle that is cut, with the staged entries of some
//! streams.
//!
//! Entries lie encoded in one staging segment, in the order in which they were
//! read. Each stream's entries are a chain of parts of it;
//! [`Gather`](super::gather::Gather) puts the chains together with what stands
//! around them on the wire.
//!
//! A message has all that it is about in itself: it outlives its streams and
//! can be sent to another thread. Where the bytes of a stream went is not in it
//! but in the core's account of the stream, which an
//! [`Outcome`](super::outcome::Outcome) moves.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use prost_types::Timestamp;

use super::gather::Gather;
use crate::keys::StreamKey;
use crate::proto::logpb;
use crate::secret::Secret;
use crate::wire::descriptor::StreamType;
use crate::wire::name::StreamName;
use crate::wire::varint;
use crate::wire::walk::{Fields, Malformed, Value};

/// How large an output wants its bundles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BundleLimits {
    /// A bundle that has so many bytes is cut already after a read if the output
    /// waits for one, unless its descriptors take much of it. Without effect from
    /// `target` on.
    pub early: usize,
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
    pub(super) fn encode(&self) -> Secret {
        let fields = logpb::ButlerLogBundle {
            project: self.project.clone(),
            prefix: self.prefix.clone(),
            secret: self.secret.expose().clone(),
            ..Default::default()
        };
        Secret::new(fields.encode_to_vec())
    }
}

/// What does not change of a stream, for all who deal with it.
#[derive(Debug)]
pub struct StreamInfo {
    /// Finds it in the core while it is open.
    pub(crate) key: StreamKey,
    /// Its name.
    pub name: StreamName,
    /// How it is cut into entries.
    pub stream_type: StreamType,
    /// The descriptor, encoded as field 1 of a bundle's Entry.
    pub(crate) descriptor_field: Box<[u8]>,
}

impl StreamInfo {
    pub(crate) fn new(
        key: StreamKey,
        name: StreamName,
        stream_type: StreamType,
        descriptor: &logpb::LogStreamDescriptor,
    ) -> Self {
        let mut field = vec![0x0a];
        descriptor
            .encode_length_delimited(&mut field)
            .expect("a vector grows as needed");
        Self {
            key,
            name,
            stream_type,
            descriptor_field: field.into(),
        }
    }

    /// Bytes of memory.
    pub(crate) fn memory(&self) -> usize {
        size_of::<Self>() + self.name.as_str().len() + self.descriptor_field.len()
    }

    /// The descriptor, decoded.
    pub fn descriptor(&self) -> logpb::LogStreamDescriptor {
        logpb::butler_log_bundle::Entry::decode(&*self.descriptor_field)
            .ok()
            .and_then(|entry| entry.desc)
            .expect("it was encoded from a descriptor")
    }
}

/// The field of a bundle's Entry that has a LogEntry.
const LOGS: u64 = 5;

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

/// What a message has of one stream.
#[derive(Debug)]
pub struct MessageStream {
    /// The stream.
    pub info: Arc<StreamInfo>,
    /// The stream has ended with this as its last stream index.
    pub terminal: Option<u64>,
    /// The client's bytes that its entries here stand for.
    pub client_bytes: u64,
    /// How many entries of it are here.
    pub entries: u32,
    pub(crate) first: u32,
    pub(crate) last: u32,
    /// Encoded bytes of its parts.
    pub(crate) len: usize,
}

impl MessageStream {
    /// Bytes of the Entry message.
    pub(super) fn entry_len(&self) -> usize {
        let terminal = match self.terminal {
            None => 0,
            Some(0) => 2,
            Some(index) => 2 + 1 + varint::len(index),
        };
        self.info.descriptor_field.len() + terminal + self.len
    }
}

/// A place among a stream's entries in a message, where somebody goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EntriesAt {
    part: u32,
    offset: usize,
}

/// Tells messages apart: they are numbered in the order in which they were
/// cut, and an outcome names the one that it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(crate) u64);

/// See the module.
#[derive(Debug)]
pub struct Message {
    pub(crate) ticket: Ticket,
    pub(crate) segment: Bytes,
    /// Bytes of memory that it takes.
    pub(crate) memory: usize,
    pub(crate) parts: Vec<Part>,
    pub(crate) streams: Vec<MessageStream>,
    /// When it was begun.
    pub(crate) begun: Timestamp,
    /// Fields 4 to 6, the secret among them.
    pub(crate) identity: Secret,
    pub(crate) entries: u64,
}

const _: () = {
    const fn can_be_sent_away<T: Send + Sync + 'static>() {}
    can_be_sent_away::<Message>();
};

impl Message {
    /// By which its outcome is told.
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// The streams in it.
    pub fn streams(&self) -> &[MessageStream] {
        &self.streams
    }

    /// How many entries it has.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// A stream's entries, as slices that hold one or more `logs` fields.
    pub fn logs<'a>(&'a self, stream: &'a MessageStream) -> impl Iterator<Item = &'a [u8]> {
        self.chain(stream)
            .map(|part| &self.segment[part.start as usize..(part.start + part.len) as usize])
    }

    /// Where the stream's entries begin.
    pub(crate) fn entries_of(stream: &MessageStream) -> EntriesAt {
        EntriesAt {
            part: stream.first,
            offset: 0,
        }
    }

    /// The encoded LogEntry there; the place is then behind it.
    pub(crate) fn next_entry(&self, at: &mut EntriesAt) -> Option<Result<&[u8], Malformed>> {
        loop {
            let part = self.parts.get(at.part as usize)?;
            let end = (part.start + part.len) as usize;
            let mut fields = Fields(&self.segment[part.start as usize + at.offset..end]);
            let Some(field) = fields.next() else {
                *at = EntriesAt {
                    part: part.next,
                    offset: 0,
                };
                continue;
            };
            at.offset = part.len as usize - fields.0.len();
            match field {
                Ok((LOGS, Value::Bytes(entry))) => return Some(Ok(entry)),
                Ok(_) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }

    pub(super) fn chain<'a>(&'a self, stream: &MessageStream) -> impl Iterator<Item = &'a Part> {
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

    /// A message always has a stream.
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

#[cfg(test)]
mod tests;
