//! What those who look at streams see of them: entries as they are sent, or
//! made whole; and how much of that they may hold.
//!
//! A callback sees an entry at once, on the butler's thread. A [`queue`] takes
//! entries to another thread, encoded as they were sent. Either may put lines
//! and datagrams together ([`whole`]). What waits in queues, and what is not
//! whole yet, is within one [`budget`], which is a part of what a butler may
//! buffer.

pub(crate) mod budget;
pub(crate) mod queue;
pub(crate) mod whole;

use bytes::Bytes;
use prost::Message;

use crate::proto::logpb::LogEntry;
use crate::proto::logpb::butler_log_bundle::Entry;

/// The entry of which `logs` is the encoding as a field of a bundle.
pub(crate) fn decode(logs: Bytes) -> LogEntry {
    // Decoded from `Bytes` its lines share them.
    Entry::decode(logs)
        .ok()
        .and_then(|mut entry| entry.logs.pop())
        .expect("we encode what decodes")
}
