//! The keys of what butler has at a time: each is of its own kind, so that none
//! can stand for another.

use crate::arena::Key;

/// What the key of a stream is of.
#[derive(Debug)]
pub enum OfStream {}

/// A stream that is open.
pub type StreamKey = Key<OfStream>;

/// What the key of a client is of.
#[derive(Debug)]
pub enum OfClient {}

/// A client, from when it is let in to its end.
pub type ClientKey = Key<OfClient>;

/// What the key of a listener is of.
#[derive(Debug)]
pub enum OfListener {}

/// A listener.
pub type ListenerKey = Key<OfListener>;
