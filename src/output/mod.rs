//! Where bundles go.
//!
//! [`Output`] names a destination and its settings. Each destination has a folder,
//! or a file, of its own, with its `Settings` and the [`Transport`] that they
//! open, and a line of the table below: nothing else knows it.

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
pub(crate) mod peer_text;
pub(crate) mod socket;
pub mod spec;
pub mod spool;
mod spooled;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(feature = "tls")]
pub(crate) mod tls;
pub(crate) mod write;

use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

pub use self::kind::UnfitOutput;
use self::kind::{Finds, Kind, Need, Settings};
pub use self::log_text::Controls;
pub use self::socket::Tls;
use self::spool::{SpoolError, SpoolSettings, Store};
pub(crate) use self::spooled::SendState;
use self::spooled::Spooled;
pub use crate::delivery::encode::{Compress, ZlibLevel};
use crate::delivery::message::BundleLimits;
use crate::delivery::stored::Run;
use crate::edge::clock;
use crate::edge::io::Io;
use crate::edge::transport::{Carrier, Transport};
use crate::limits::BUFFERED_MAX;

/// Makes [`Output`], with a variant for each line, and asks its settings.
macro_rules! outputs {
    ($($(#[$doc:meta])* $variant:ident($($settings:ident)::+),)*) => {
        $(pub use self::$($settings)::+;)*

        /// A destination of bundles.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Output {
            $($(#[$doc])* $variant($($settings)::+),)*
        }

        $(impl From<$($settings)::+> for Output {
            fn from(settings: $($settings)::+) -> Self {
                Self::$variant(settings)
            }
        })*

        /// All outputs, in the order of the help.
        pub(crate) const KINDS: &[&Kind] = &[$(<$($settings)::+ as Settings>::KIND),*];

        /// Evaluates an expression with the settings of an output.
        macro_rules! ask {
            ($output:expr, $it:ident => $asked:expr) => {
                match $output {
                    $(Output::$variant($it) => $asked,)*
                }
            };
        }
    };
}

outputs! {
    /// Gives every stream a file with the bytes that its client sent.
    Directory(directory::DirectoryOutput),
    /// Appends messages, back to back, to a file.
    File(file::FileOutput),
    /// Sends messages, back to back, over a connection to a Unix socket.
    Unix(socket::UnixOutput),
    /// Sends messages, back to back, over a TCP connection.
    Tcp(socket::TcpOutput),
    /// Prints every bundle for people, on stdout.
    Log(log_text::LogOutput),
    /// Registers the prefix with a LogDog Coordinator and publishes to the
    /// Pub/Sub topic that it names. Without the feature nobody can make one.
    Logdog(logdog_kind::LogdogOutput),
    /// Counts and discards.
    Null(null::NullOutput),
    /// Keeps bundles in memory, for tests.
    Memory(memory::MemoryOutput),
}

fn kind_of<S: Settings>(_: &S) -> &'static Kind {
    S::KIND
}

#[cfg_attr(not(feature = "cli"), allow(dead_code))]
impl Output {
    fn kind(&self) -> &'static Kind {
        ask!(self, it => kind_of(it))
    }

    /// Does it want text in lines, and not just as bytes?
    pub(crate) fn wants_lines(&self) -> bool {
        self.kind().wants_lines
    }

    /// Is somebody asked before the first bundle may be made?
    pub(crate) fn must_register(&self) -> bool {
        self.kind().must_register
    }

    /// Can it have a spool?
    pub fn is_remote(&self) -> bool {
        self.kind().is_remote
    }

    /// Checks what the types do not.
    ///
    /// # Errors
    ///
    /// If its settings are not ones that it can be opened with.
    pub fn check(&self) -> Result<(), UnfitOutput> {
        ask!(self, it => it.check())
    }

    /// How large bundles for it should be.
    pub(crate) fn bundle_limits(&self) -> BundleLimits {
        ask!(self, it => it.bundle_limits())
    }

    /// The one file that it writes to.
    pub(crate) fn file(&self) -> Option<&Path> {
        ask!(self, it => it.file())
    }

    /// Does it hold something that must not be in a core dump?
    #[cfg(feature = "cli")]
    pub(crate) fn has_secrets(&self) -> bool {
        ask!(self, it => it.has_secrets())
    }

    /// What it needs after it was opened.
    pub(crate) fn needs(&self) -> Vec<Need> {
        ask!(self, it => it.needs())
    }

    /// Where the command of `butler run` finds its logs.
    pub(crate) fn finds(&self) -> Finds {
        ask!(self, it => it.finds())
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
    ask!(output, it => it.open(io))
}

/// The same of an output that can have a spool, to be put behind one.
///
/// # Errors
///
/// If it can't be opened, has no spool, or must register first.
pub fn carrier<I>(io: &mut I, output: &Output) -> io::Result<Box<dyn Carrier<I>>>
where
    I: Io + 'static,
{
    let carrier = ask!(output, it => it.carrier(io))?;
    carrier.ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// Puts a spool before `carrier`, for the messages of `run` and of those that ran
/// before.
///
/// # Errors
///
/// If the spool can't be had.
pub fn spooled<I>(
    io: &mut I,
    carrier: Box<dyn Carrier<I>>,
    settings: &SpoolSettings,
    run: impl Into<Arc<Run>>,
    buffered_max: u64,
) -> Result<Box<dyn Transport<I>>, SpoolError>
where
    I: Io + 'static,
{
    let store = Store::open(io, settings, run)?;
    Ok(Box::new(Spooled::new(carrier, store, buffered_max)))
}

/// Sends, by `carrier`, what is in the spool at `path`, and ends when that is done
/// or when nothing of it was delivered for `patience`; `state` tells how far it is.
/// With `keeps` the spool stays as it is.
///
/// # Errors
///
/// If there is no spool, or it can't be had.
pub(crate) fn sending<I>(
    io: &mut I,
    carrier: Box<dyn Carrier<I>>,
    (path, keeps): (&Path, bool),
    patience: Duration,
    state: Rc<SendState>,
) -> Result<Box<dyn Transport<I>>, SpoolError>
where
    I: Io + 'static,
{
    let store = Store::open_there(io, path, keeps)?;
    let mut spooled = Spooled::new(carrier, store, BUFFERED_MAX);
    spooled.send_only(io, clock::mono_ns(), patience, state);
    Ok(Box::new(spooled))
}
