//! A segment's header.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Seek, SeekFrom};

use prost::Message;

use super::{VERSION, checksum, u32_at, u64_at};
use crate::proto::spool::SpoolRun;

/// Bytes before the run.
const FIXED: usize = 28;
/// Where the checksum stands.
const CRC_AT: usize = 24;
/// A run at most: the longest prefix, and a project, a secret, a topic and a
/// registration, of which none comes near to that.
const RUN_MAX: usize = 64 * 1024;

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// What every record of the segment begins with.
    pub marker: u64,
    /// Whose messages are in it.
    pub run: SpoolRun,
}

/// Why a file is no segment that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// It does not begin as one, or is damaged there.
    #[error("its header is damaged")]
    Damaged,
    /// It has that version, which a later butler has written.
    #[error("a later butler has written it, in version {0} of the format")]
    Newer(u32),
}

impl Header {
    /// What a segment begins with.
    pub const MAGIC: &[u8; 8] = b"\x89butlsp\n";

    /// That of a new segment.
    pub fn new(run: SpoolRun) -> Self {
        Self {
            // The standard library seeds this from the kernel's random source.
            marker: RandomState::new().hash_one(VERSION),
            run,
        }
    }

    /// As it stands in the file.
    pub fn encode(&self) -> Vec<u8> {
        let run = self.run.encode_to_vec();
        let mut bytes = Vec::with_capacity(FIXED + run.len());
        bytes.extend_from_slice(Self::MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&(run.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&self.marker.to_le_bytes());
        let crc = checksum([&bytes[..], &run]);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.extend_from_slice(&run);
        bytes
    }

    /// The header at the beginning of a file, and all of its bytes.
    ///
    /// # Errors
    ///
    /// If the file can't be read. That it can, but is no segment, is the inner
    /// error.
    pub fn read(mut file: impl Read + Seek) -> io::Result<Result<(Self, Vec<u8>), HeaderError>> {
        let mut bytes = Vec::with_capacity(1024);
        file.seek(SeekFrom::Start(0))?;
        let mut file = file.take((FIXED + RUN_MAX) as u64);
        file.by_ref().take(FIXED as u64).read_to_end(&mut bytes)?;
        if bytes.len() < FIXED || !bytes.starts_with(Self::MAGIC) {
            return Ok(Err(HeaderError::Damaged));
        }
        let run_len = u64::from(u32_at(&bytes, 12));
        file.take(run_len).read_to_end(&mut bytes)?;
        Ok(Self::parse(&bytes, run_len).map(|header| (header, bytes)))
    }

    fn parse(bytes: &[u8], run_len: u64) -> Result<Self, HeaderError> {
        let run = &bytes[FIXED..];
        let crc = checksum([&bytes[..CRC_AT], run]);
        if run.len() as u64 != run_len || crc != u32_at(bytes, CRC_AT) {
            return Err(HeaderError::Damaged);
        }
        match u32_at(bytes, 8) {
            0 => Err(HeaderError::Damaged),
            newer if newer > VERSION => Err(HeaderError::Newer(newer)),
            _ => {
                let run = SpoolRun::decode(run).map_err(|_| HeaderError::Damaged)?;
                let marker = u64_at(bytes, 16);
                Ok(Self { marker, run })
            }
        }
    }
}
