//! The spool's format: messages that wait on disk until they are delivered,
//! whoever dies meanwhile.
//!
//! # The directory
//!
//! ```text
//! DIR/                          0700
//!   lock                        locked by the one butler that owns the spool; its pid
//!   0000000000000001.segment    messages of one run, appended to by that run alone
//!   0000000000000002.segment
//!   acks                        what became known of them since
//!   corrupt/                    segments that can't be read, or not to their end
//! ```
//!
//! All files are 0600: a run's secret is in them. The number of a segment is
//! larger than that of any that is there. Each begins with a header and goes on
//! with records; what is written once never changes. A butler begins segments of
//! its own, so that no other run's end is ever written over.
//!
//! # A segment
//!
//! Numbers are little endian, and checksums are CRC-32C (Castagnoli).
//!
//! ```text
//! segment  = header record*
//! header   = magic[8] version:u32 run_len:u32 marker:u64 crc:u32 run[run_len]
//! record   = marker:u64 index:u32 manifest_len:u32 body_len:u32 body_crc:u32 crc:u32
//!            manifest[manifest_len] body[body_len]
//! ```
//!
//! * `run` is a `SpoolRun`, `manifest` a `SpoolManifest` (`proto/spool`), `body` a
//!   `ButlerLogBundle` without its fields 4 to 6, which say whose it is and are
//!   the same for the whole run.
//! * A `crc` is that of all before it in its header or head, and of the `run` or the
//!   `manifest` behind it. `body_crc` is that of the body, so that whose bytes are
//!   lost is known even if the body is bad.
//! * `marker` is random, and another one in each segment. Nobody who writes logs can
//!   know it, so nothing in a body can pass for a record.
//! * `index` counts the records of the segment from 0. After a gap it tells how many
//!   records were in it; and a record that comes again, because somebody logged
//!   this very file, has one that was there before.
//!
//! # Facts
//!
//! ```text
//! acks     = magic[8] version:u32 crc:u32 fact*
//! fact     = len:u32 crc:u32 SpoolFact[len]
//! ```
//!
//! A fact is that records are done, by segment number, marker and index, or that a
//! run is registered by now. It says the same however often it is there, so a fact
//! that is lost only makes a message go out again, byte for byte the same. At the
//! first one that is bad the file ends.
//!
//! # Reading what a crash has left
//!
//! [`Walk`] goes from record to record. Where none begins it looks for the next
//! one, by the marker, and what is between is [`Lost`]. Without a next one the
//! segment ends there: the tail was cut. So every byte of a segment is looked at
//! once and no damage keeps what is before or behind it from being found. The magic,
//! the version and the header's checksum stay where they are in all versions.

mod facts;
mod header;
mod names;
mod ranges;
mod record;
mod walk;
mod window;

#[cfg(test)]
mod tests;

pub use facts::{FACTS_HEAD, Fact, Facts, encode_fact};
pub use header::{Header, HeaderError};
pub use names::{segment_name, segment_number};
pub use ranges::Ranges;
pub use record::{Manifest, Part, Record, RecordId, Sums, begin_head, encode_head, seal_head};
pub use walk::{Found, Lost, Walk, Why};
pub use window::Window;

/// Of what this butler writes. It reads all earlier ones.
pub const VERSION: u32 = 1;

/// CRC-32C, of pieces one after the other.
pub(crate) fn checksum<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    pieces.into_iter().fold(0, crc32c::crc32c_append)
}

/// The number that is there. The caller has seen that there are as many bytes.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

/// See [`u32_at`].
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}
