//! Records: a head, a manifest, and the body of a message.

use prost::Message;

use super::{checksum, u32_at, u64_at};
use crate::limits::{BUNDLE_MAX, SPOOL_MANIFEST_MAX};
use crate::proto::spool::{SpoolManifest, spool_manifest};
use crate::wire::name::StreamName;

/// Bytes of a head.
pub(super) const HEAD: usize = 28;
/// Where the checksums stand.
const BODY_CRC_AT: usize = 20;
const CRC_AT: usize = 24;

/// Tells records of a spool apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    /// The number of its segment.
    pub segment: u32,
    /// Its place in it, from 0.
    pub index: u32,
}

/// What a message has of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The stream.
    pub name: StreamName,
    /// Bytes of its client.
    pub bytes: u64,
    /// Entries.
    pub entries: u32,
    /// The stream has ended with this as its last stream index.
    pub terminal: Option<u64>,
}

/// What is in the body of a record, by stream. There is one at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// In the order in which the body has them.
    pub streams: Vec<Part>,
}

impl Manifest {
    /// Puts it behind what is in `buffer`.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        let stream = |part: &Part| spool_manifest::Stream {
            name: part.name.as_str().to_owned(),
            bytes: part.bytes,
            entries: part.entries,
            terminal: part.terminal,
        };
        let streams = self.streams.iter().map(stream).collect();
        SpoolManifest { streams }
            .encode(buffer)
            .expect("a vector grows as needed");
    }

    /// `None` if it is none: what is there has the right checksum, but no butler
    /// wrote it.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let streams = SpoolManifest::decode(bytes).ok()?.streams;
        let parts: Option<Vec<Part>> = streams
            .into_iter()
            .map(|stream| {
                Some(Part {
                    name: StreamName::new(stream.name).ok()?,
                    bytes: stream.bytes,
                    entries: stream.entries,
                    terminal: stream.terminal,
                })
            })
            .collect();
        let streams = parts.filter(|parts| !parts.is_empty())?;
        Some(Self { streams })
    }

    /// Bytes of clients in all streams.
    pub fn bytes(&self) -> u64 {
        let bytes = self.streams.iter().map(|part| part.bytes);
        bytes.fold(0, u64::saturating_add)
    }
}

/// Length and checksum of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sums {
    /// Bytes.
    pub len: u32,
    /// Of all of them.
    pub crc: u32,
}

impl Sums {
    /// Those of a body in pieces.
    pub fn of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut len = 0;
        let pieces = pieces.into_iter().inspect(|piece| len += piece.len());
        let crc = checksum(pieces);
        Self {
            len: len as u32,
            crc,
        }
    }
}

/// Makes `buffer` all of a record that stands before its body.
pub fn encode_head(buffer: &mut Vec<u8>, marker: u64, index: u32, manifest: &Manifest, body: Sums) {
    begin_head(buffer, manifest, body);
    seal_head(buffer, marker, index);
}

/// The same, of a record whose place is not known yet: its length is what it will
/// be. [`seal_head`] follows.
pub fn begin_head(buffer: &mut Vec<u8>, manifest: &Manifest, body: Sums) {
    buffer.clear();
    buffer.resize(HEAD, 0);
    manifest.encode(buffer);
    let manifest_len = (buffer.len() - HEAD) as u32;
    buffer[12..16].copy_from_slice(&manifest_len.to_le_bytes());
    buffer[16..20].copy_from_slice(&body.len.to_le_bytes());
    buffer[BODY_CRC_AT..CRC_AT].copy_from_slice(&body.crc.to_le_bytes());
}

/// Gives the head in `buffer` its place.
pub fn seal_head(buffer: &mut [u8], marker: u64, index: u32) {
    buffer[..8].copy_from_slice(&marker.to_le_bytes());
    buffer[8..12].copy_from_slice(&index.to_le_bytes());
    let crc = checksum([&buffer[..CRC_AT], &buffer[HEAD..]]);
    buffer[CRC_AT..HEAD].copy_from_slice(&crc.to_le_bytes());
}

/// A record that was found in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it begins.
    pub at: u64,
    /// Its place among the segment's records.
    pub index: u32,
    /// What its body has.
    pub manifest: Manifest,
    /// Where its body begins.
    pub body_at: u64,
    /// What its body must have.
    pub body: Sums,
}

impl Record {
    /// Where the next one begins.
    pub fn end(&self) -> u64 {
        self.body_at + u64::from(self.body.len)
    }

    /// Is this its body?
    pub fn has_body(&self, body: &[u8]) -> bool {
        Sums::of([body]) == self.body
    }
}

/// A head that may be one: it begins with the marker.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    index: u32,
    manifest_len: usize,
    body: Sums,
    crc: u32,
}

impl Head {
    /// `None`: no head begins there, or it is cut.
    pub fn parse(bytes: &[u8], marker: u64) -> Option<Self> {
        if bytes.len() < HEAD || u64_at(bytes, 0) != marker {
            return None;
        }
        let head = Self {
            index: u32_at(bytes, 8),
            manifest_len: u32_at(bytes, 12) as usize,
            body: Sums {
                len: u32_at(bytes, 16),
                crc: u32_at(bytes, BODY_CRC_AT),
            },
            crc: u32_at(bytes, CRC_AT),
        };
        let is_possible =
            head.manifest_len <= SPOOL_MANIFEST_MAX && head.body.len as usize <= BUNDLE_MAX;
        is_possible.then_some(head)
    }

    /// Bytes before the body.
    pub fn len(&self) -> usize {
        HEAD + self.manifest_len
    }

    /// The record at `at`, of which these are the bytes before its body.
    pub fn record(self, at: u64, bytes: &[u8]) -> Option<Record> {
        let bytes = bytes.get(..self.len())?;
        if checksum([&bytes[..CRC_AT], &bytes[HEAD..]]) != self.crc {
            return None;
        }
        Some(Record {
            at,
            index: self.index,
            manifest: Manifest::decode(&bytes[HEAD..])?,
            body_at: at + self.len() as u64,
            body: self.body,
        })
    }
}
