//! Where bundles go.
//!
//! [`Output`] names a destination and its settings; each has a
//! [`Transport`] in a file of its own.

pub(crate) mod attempts;
pub(crate) mod backoff;
pub(crate) mod directory;
pub(crate) mod file;
pub(crate) mod health;
pub(crate) mod kind;
pub(crate) mod log_text;
#[cfg(feature = "logdog")]
pub mod logdog;
#[path = "logdog/kind.rs"]
mod logdog_kind;
pub(crate) mod memory;
pub(crate) mod null;
pub(crate) mod socket;
pub mod spec;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod write;

use std::io;
use std::path::PathBuf;

use self::directory::DirectoryOutput;
use self::file::FileOutput;
use self::log_text::LogOutput;
use self::memory::Memory;
pub use self::memory::MemoryOutput;
use self::null::Null;
use self::socket::{Address, Socket};
pub use crate::delivery::encode::{Compress, ZlibLevel};
use crate::delivery::message::BundleLimits;
use crate::edge::io::Io;
use crate::edge::transport::Transport;

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
        self.kind().wants_lines
    }

    /// Is somebody asked before the first bundle may be made?
    #[cfg(feature = "cli")]
    pub(crate) fn must_register(&self) -> bool {
        self.kind().must_register
    }

    /// How large bundles for it should be.
    pub(crate) fn bundle_limits(&self) -> BundleLimits {
        (self.kind().bundle_limits)(self)
    }
}

/// Opens what can be opened at once. Who listens on a socket is only sought when
/// there is something to send.
///
/// # Errors
///
/// If it can't be opened, or must register first.
pub fn open<I>(io: &mut I, output: &Output) -> io::Result<Box<dyn Transport<I>>>
where
    I: Io + 'static,
{
    Ok(match output {
        Output::Null => Box::new(Null::new()),
        Output::Log { controls, .. } => Box::new(LogOutput::stdout(io, *controls)?),
        Output::Directory { path } => Box::new(DirectoryOutput::open(io, path)?),
        Output::File { path, compress } => Box::new(FileOutput::open(io, path, *compress)?),
        Output::Unix { path, compress } => {
            Box::new(Socket::new(Address::Unix(path.clone()), *compress))
        }
        Output::Tcp {
            host,
            port,
            compress,
        } => {
            let (host, port) = (host.clone(), *port);
            Box::new(Socket::new(Address::Tcp { host, port }, *compress))
        }
        #[cfg(feature = "logdog")]
        Output::Logdog(_) => {
            return Err(io::Error::other(
                "the prefix must be registered first: Butler::open does that",
            ));
        }
        Output::Memory(memory) => Box::new(Memory::new(memory.clone())),
    })
}
