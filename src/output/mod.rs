//! Where bundles go.
//!
//! [`Output`] names a destination and its settings; each has its sink in a
//! file of its own.

pub(crate) mod attempts;
pub(crate) mod backoff;
pub(crate) mod compress;
pub(crate) mod directory;
pub(crate) mod file;
pub(crate) mod health;
pub(crate) mod log_text;
#[cfg(feature = "logdog")]
pub mod logdog;
pub(crate) mod memory;
pub(crate) mod null;
pub(crate) mod resolve;
pub(crate) mod sink;
pub(crate) mod socket;
pub mod spec;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod write;

use std::path::PathBuf;

pub use self::compress::{Compress, ZlibLevel};
use self::health::Health;
pub use self::memory::MemoryOutput;
use crate::delivery::message::{BundleLimits, Message};
use crate::ledger::DropReason;
#[cfg(feature = "logdog")]
use crate::limits::BUNDLE_PUBSUB_MAX;
use crate::limits::{BUNDLE_MAX, BUNDLE_TARGET};

/// What becomes of control characters, which can command a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Controls {
    /// They are made visible.
    #[default]
    Escaped,
    /// They stay what they are.
    Raw,
}

/// A destination of bundles.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// Counts and discards.
    Null,
    /// Prints every bundle for people, on stdout.
    Log {
        /// Bytes that a bundle is filled to, if not the default.
        bundle_size: Option<usize>,
        /// What becomes of control characters in text.
        controls: Controls,
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
        compress: Compress,
    },
    /// Messages back to back, over a connection to a Unix socket.
    Unix {
        /// The socket that somebody listens on.
        path: PathBuf,
        /// How bundles are compressed.
        compress: Compress,
    },
    /// Messages back to back, over a TCP connection.
    Tcp {
        /// A name or an address (IPv6 without brackets).
        host: String,
        /// The port.
        port: u16,
        /// How bundles are compressed.
        compress: Compress,
    },
    /// Registers the prefix with a LogDog Coordinator and publishes to the
    /// Pub/Sub topic that it names.
    #[cfg(feature = "logdog")]
    Logdog(logdog::LogdogOutput),
    /// Keeps bundles in memory, for tests.
    Memory(MemoryOutput),
}

impl Output {
    /// Does it want text in lines, and not just as bytes?
    pub(crate) fn wants_lines(&self) -> bool {
        !matches!(self, Self::Directory { .. })
    }

    /// Is somebody asked before the first bundle may be made? A butler for it is
    /// made by [`Butler::open`](crate::Butler::open).
    pub fn must_register(&self) -> bool {
        match self {
            #[cfg(feature = "logdog")]
            Self::Logdog(_) => true,
            _ => false,
        }
    }

    /// How large bundles for it should be.
    pub(crate) fn bundle_limits(&self) -> BundleLimits {
        match self {
            // The size that was asked for is kept to: people want to see
            // bundles of that size. Only where it is too small for a
            // descriptor and a short entry bundles are as large as those.
            Self::Log { bundle_size, .. } => {
                let size = bundle_size.unwrap_or(BUNDLE_TARGET);
                BundleLimits {
                    target: size,
                    max: size,
                }
            }
            #[cfg(feature = "logdog")]
            Self::Logdog(_) => BundleLimits {
                target: BUNDLE_TARGET,
                max: BUNDLE_PUBSUB_MAX,
            },
            _ => BundleLimits {
                target: BUNDLE_TARGET,
                max: BUNDLE_MAX,
            },
        }
    }
}

/// What takes bundles to a destination, one at a time, each whole or not at
/// all. (An output that takes them stream by stream has methods of its own;
/// see [`AnySink`](sink::AnySink).)
///
/// A sink does not give up: what may work later it tries again, with
/// [`Backoff`](backoff::Backoff), and tells its
/// [`Health`]. The caller drops the future when it can wait no longer, and
/// then the sink too: a write may still be under way, and a message is cut.
pub(crate) trait Sink {
    /// Delivers a bundle; returns the bytes that it took at the destination.
    /// An error is final for this bundle.
    async fn deliver(&mut self, bundle: &Message) -> Result<u64, DropReason>;

    /// No bundle follows: brings what is still buffered to its destination.
    async fn finish(&mut self);

    /// Whether it works, and how often it did not.
    fn health(&self) -> &Health;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_keeps_to_the_bundle_size_that_was_asked_for() {
        let limits = |output: Output| {
            let limits = output.bundle_limits();
            (limits.target, limits.max)
        };
        assert_eq!(limits(Output::Null), (1 << 20, BUNDLE_MAX));
        let log = |bundle_size| {
            limits(Output::Log {
                bundle_size,
                controls: Controls::default(),
            })
        };
        assert_eq!(log(None), (1 << 20, 1 << 20));
        assert_eq!(log(Some(5000)), (5000, 5000));
    }
}
