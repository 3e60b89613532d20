//! Publishing to Google Pub/Sub, over gRPC.

mod channel;
mod publisher;
pub(super) mod topic;

pub(super) use channel::{Endpoint, open};
pub(super) use publisher::{Destination, Publisher, Unsent};
