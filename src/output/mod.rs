//! Where bundles go.
//!
//! [`Output`] names a destination and its settings; each has its sink in a
//! file of its own.

pub(crate) mod backoff;
pub(crate) mod directory;
pub(crate) mod health;

use std::path::PathBuf;

use crate::bundle::Bundle;
use crate::ledger::DropReason;
use crate::wire::message::Compression;

/// A destination of bundles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Counts and discards.
    Null,
    /// Prints every bundle for people, on stdout.
    Log {
        /// Bytes that a bundle is filled to, if not the default.
        bundle_size: Option<usize>,
    },
    /// Gives every stream a file with the bytes that its client sent.
    Directory {
        /// Where the files go; made if it is not there.
        path: PathBuf,
    },
    /// Messages back to back, appended to a file.
    File {
        /// The file; made if it is not there.
        path: PathBuf,
        /// How bundles are compressed.
        compression: Compression,
    },
    /// Messages back to back, over a connection to a Unix socket.
    Unix {
        /// The socket that somebody listens on.
        path: PathBuf,
        /// How bundles are compressed.
        compression: Compression,
    },
    /// Messages back to back, over a TCP connection.
    Tcp {
        /// A name or an address (IPv6 without brackets).
        host: String,
        /// The port.
        port: u16,
        /// How bundles are compressed.
        compression: Compression,
    },
}

/// What takes bundles to a destination, one at a time.
///
/// A sink does not give up: what may work later it tries again, with
/// [`Backoff`](backoff::Backoff), and tells its
/// [`Health`](health::Health). The caller drops the future when it can wait
/// no longer.
pub(crate) trait Sink {
    /// Delivers a bundle; returns the bytes that it took at the destination.
    /// An error is final for this bundle.
    async fn deliver(&mut self, bundle: &Bundle) -> Result<u64, DropReason>;

    /// No bundle follows: brings what is still buffered to its destination.
    async fn finish(&mut self);
}
