//! The file of facts.

use prost::Message;

use super::{VERSION, checksum, u32_at};
use crate::proto::spool::SpoolFact;
pub use crate::proto::spool::spool_fact::Fact;

use super::header::HeaderError;

const MAGIC: &[u8; 8] = b"\x89butlak\n";
/// Bytes before the first fact.
pub const FACTS_HEAD: usize = 16;
/// Bytes before a fact.
const HEAD: usize = 8;

/// What is in a file of facts.
#[derive(Debug, Default)]
pub struct Facts {
    /// In the order in which they became known.
    pub facts: Vec<Fact>,
    /// Where the last whole one ends. What is behind it is none.
    pub end: usize,
}

impl Facts {
    /// What a file begins with.
    pub fn head() -> [u8; FACTS_HEAD] {
        let mut head = [0; FACTS_HEAD];
        head[..8].copy_from_slice(MAGIC);
        head[8..12].copy_from_slice(&VERSION.to_le_bytes());
        let crc = checksum([&head[..12]]);
        head[12..].copy_from_slice(&crc.to_le_bytes());
        head
    }

    /// Those in the file that has these bytes. One that is none, or whose head is
    /// cut or damaged, has no facts: `end` is 0.
    ///
    /// # Errors
    ///
    /// If a later butler has written it.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let mut found = Self::default();
        if bytes.len() < FACTS_HEAD
            || !bytes.starts_with(MAGIC)
            || checksum([&bytes[..12]]) != u32_at(bytes, 12)
        {
            return Ok(found);
        }
        match u32_at(bytes, 8) {
            0 => return Ok(found),
            newer if newer > VERSION => return Err(HeaderError::Newer(newer)),
            _ => found.end = FACTS_HEAD,
        }
        while let Some((fact, len)) = parse_fact(&bytes[found.end..]) {
            found.facts.extend(fact);
            found.end += len;
        }
        Ok(found)
    }
}

/// The fact at the beginning, and its bytes. One of a kind that this butler does
/// not know is passed over.
fn parse_fact(bytes: &[u8]) -> Option<(Option<Fact>, usize)> {
    let head = bytes.get(..HEAD)?;
    let end = HEAD.checked_add(u32_at(head, 0) as usize)?;
    let payload = bytes.get(HEAD..end)?;
    if checksum([&head[..4], payload]) != u32_at(head, 4) {
        return None;
    }
    let fact = SpoolFact::decode(payload).ok()?;
    Some((fact.fact, end))
}

/// Puts a fact behind what is in `buffer`.
pub fn encode_fact(buffer: &mut Vec<u8>, fact: Fact) {
    let payload = SpoolFact { fact: Some(fact) }.encode_to_vec();
    let len = (payload.len() as u32).to_le_bytes();
    let crc = checksum([&len[..], &payload]);
    buffer.extend_from_slice(&len);
    buffer.extend_from_slice(&crc.to_le_bytes());
    buffer.extend_from_slice(&payload);
}
