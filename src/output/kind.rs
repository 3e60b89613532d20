//! What there is to know of an output besides how it delivers: its keys, what
//! its bundles are like, what a sandbox must leave it, what it reads of the
//! environment, and its help. Each output has a [`Kind`] in its folder; the
//! command line, the sandbox and the help read the table of them.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::spec::SpecError;
use super::{Output, directory, file, log_text, logdog_kind, memory, null, socket};
use crate::delivery::message::BundleLimits;
use crate::limits::{BUNDLE_MAX, BUNDLE_TARGET};
use crate::pairs::Pairs;

/// All that a SPEC can name, in the order of the help.
pub(crate) const KINDS: [&Kind; 7] = [
    &directory::kind::DIRECTORY,
    &file::kind::FILE,
    &socket::kind::UNIX,
    &socket::kind::TCP,
    &log_text::kind::LOG,
    &logdog_kind::LOGDOG,
    &null::NULL,
];

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
    /// How large its bundles should be.
    pub bundle_limits: fn(&Output) -> BundleLimits,
    /// What it needs after it was opened.
    pub needs: fn(&Output) -> Vec<Need>,
    /// Where the command of `butler run` finds its logs.
    pub finds: fn(&Output) -> Finds,
    /// Help: the SPEC and what it does, in whole lines.
    pub help: &'static str,
    /// Help: the variables that it reads, in whole lines.
    pub environment: &'static str,
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
            bundle_limits: |_| BundleLimits {
                target: BUNDLE_TARGET,
                max: BUNDLE_MAX,
            },
            needs: |_| Vec::new(),
            finds: |_| Finds::Carried,
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

impl Output {
    pub(crate) fn kind(&self) -> &'static Kind {
        match self {
            Self::Null => &null::NULL,
            Self::Log { .. } => &log_text::kind::LOG,
            Self::Directory { .. } => &directory::kind::DIRECTORY,
            Self::File { .. } => &file::kind::FILE,
            Self::Unix { .. } => &socket::kind::UNIX,
            Self::Tcp { .. } => &socket::kind::TCP,
            #[cfg(feature = "logdog")]
            Self::Logdog(_) => &logdog_kind::LOGDOG,
            Self::Memory(_) => &memory::MEMORY,
        }
    }
}
