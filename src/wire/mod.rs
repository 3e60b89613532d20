//! Bytes to values and back, without state: names, headers, descriptors,
//! entries, bundles and messages as PROTOCOL has them on the wire.
//!
//! Nothing here knows a file descriptor, a clock or a runtime.

pub mod ack;
pub mod bundle_view;
pub mod datagrams;
pub mod descriptor;
pub mod entry;
pub mod go_json;
pub mod header;
pub mod lines;
pub mod message;
pub mod name;
pub mod reader;
pub mod timestamp;
pub mod varint;
pub mod walk;
