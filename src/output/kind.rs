//! What there is to know of an output besides how it delivers. Before it has
//! settings, its [`Kind`] says how it is named, its keys, its help and what it
//! reads of the environment; its [`Settings`] say what its bundles are like, what
//! a sandbox must leave it, and open it. Both stand in its folder; the command
//! line, the sandbox and the help read them by way of [`Output`].

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use super::Output;
use super::spec::SpecError;
use crate::delivery::encode::Compress;
use crate::delivery::message::BundleLimits;
use crate::edge::io::Io;
use crate::edge::transport::{Carrier, Transport};
use crate::limits::{self, BUNDLE_EARLY, BUNDLE_MAX, BUNDLE_TARGET};
use crate::pairs::Pairs;

/// See the module.
#[cfg_attr(not(all(feature = "cli", feature = "logdog")), allow(dead_code))]
pub(crate) struct Kind {
    /// How it is named.
    pub name: &'static str,
    /// An address follows the name, after a colon.
    pub has_address: bool,
    /// What may be said of it.
    pub keys: &'static [&'static str],
    /// Makes it of what is said.
    pub parse: fn(Given<'_>) -> Result<Output, SpecError>,
    /// It wants text in lines, and not just as bytes.
    pub wants_lines: bool,
    /// Somebody is asked before the first bundle may be made.
    pub must_register: bool,
    /// It sends messages to other machines, or other programs, and can have a
    /// spool.
    pub is_remote: bool,
    /// Help: the SPEC and what it does, in whole lines.
    pub help: &'static str,
    /// Help: the variables that it reads, in whole lines.
    pub environment: &'static str,
}

/// What one output is told, and what follows from it.
pub(crate) trait Settings {
    const KIND: &'static Kind;

    /// Opens what can be opened at once. Who listens on a socket is only sought
    /// when there is something to send.
    fn open<I: Io + 'static>(&self, io: &mut I) -> io::Result<Box<dyn Transport<I>>>;

    /// The same, of one that can send what was stored too, so that it can have a
    /// spool; `None`: it delivers on this machine.
    fn carrier<I: Io + 'static>(&self, io: &mut I) -> io::Result<Option<Box<dyn Carrier<I>>>> {
        let _ = io;
        Ok(None)
    }

    /// Checks what the types do not.
    fn check(&self) -> Result<(), UnfitOutput> {
        Ok(())
    }

    /// How large bundles for it should be.
    fn bundle_limits(&self) -> BundleLimits {
        bundle_limits(Compress::None)
    }

    /// The one file that it writes to.
    fn file(&self) -> Option<&Path> {
        None
    }

    /// What it needs after it was opened.
    fn needs(&self) -> Vec<Need> {
        Vec::new()
    }

    /// It holds something that must not be in a core dump.
    #[cfg_attr(not(feature = "cli"), allow(dead_code))]
    fn has_secrets(&self) -> bool {
        Self::KIND.must_register
    }

    /// Where the command of `butler run` finds its logs.
    fn finds(&self) -> Finds {
        Finds::Carried
    }
}

/// What is compressed becomes smaller the more of it there is, and takes so long
/// that it does not matter what is in the cache.
pub(super) fn bundle_limits(compress: Compress) -> BundleLimits {
    BundleLimits {
        early: match compress {
            Compress::None => BUNDLE_EARLY,
            Compress::Zlib(_) => BUNDLE_TARGET,
        },
        target: BUNDLE_TARGET,
        max: BUNDLE_MAX,
    }
}

/// Why the settings of an output are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnfitOutput {
    /// The bundle size is 0 or too large.
    #[error("the bundle size is {0} bytes; it must be 1 to {BUNDLE_MAX}")]
    BundleSize(usize),
    /// The socket's path is longer than 104 bytes.
    #[error("the socket's path has {0} bytes, more than {max}", max = limits::SOCKET_PATH_MAX)]
    SocketPath(usize),
    /// The Coordinator's host, or the service, is not valid.
    #[error(
        "{0:?} is no host of a Coordinator; wanted is HOST or HOST:PORT, and a service of letters, \
         digits, - and ."
    )]
    CoordinatorHost(String),
}

/// What a SPEC has besides the output's name.
pub(crate) struct Given<'a> {
    pub kind: &'static Kind,
    /// What follows the name's colon.
    pub address: &'a OsStr,
    /// The keys and their values.
    pub items: Vec<OsString>,
}

/// What an output needs that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(not(all(feature = "cli", feature = "logdog")), allow(dead_code))]
pub(crate) enum Need {
    /// To make that directory, and what is in it, whoever removes it.
    Tree(PathBuf),
    /// All that can be done with files in that directory, and one in it.
    Directory(PathBuf),
    /// To open that file again, to write to it.
    Reopen(PathBuf),
    /// To read what is there.
    Read(PathBuf),
    /// To look up names of hosts.
    Hosts,
    /// To connect to that TCP port.
    Port(u16),
    /// To connect to any TCP port.
    AnyPort,
}

/// What a command is told of where its logs go.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(not(all(feature = "cli", feature = "logdog")), allow(dead_code))]
pub(crate) enum Finds {
    /// There is nothing to find.
    Nothing,
    /// They are shown, and not kept.
    Shown,
    /// They are in that directory.
    Directory(PathBuf),
    /// They carry their prefix and their project.
    Carried,
    /// The same, and that Coordinator knows them.
    Coordinator(String),
}

impl Kind {
    /// One without keys that needs nothing and reads nothing.
    pub const fn new(
        name: &'static str,
        parse: fn(Given<'_>) -> Result<Output, SpecError>,
    ) -> Self {
        Self {
            name,
            has_address: false,
            keys: &[],
            parse,
            wants_lines: true,
            must_register: false,
            is_remote: false,
            help: "",
            environment: "",
        }
    }
}

impl Given<'_> {
    /// The pairs, of the keys that there are.
    pub fn pairs(self) -> Result<Pairs, SpecError> {
        Pairs::of(self.items, self.kind.keys).map_err(|error| SpecError::Pairs {
            output: self.kind.name,
            error,
        })
    }
}
