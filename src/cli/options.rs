//! What a command line says, as values that are valid.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use log::{Level, LevelFilter};

use crate::wire::descriptor::{StreamProperties, StreamType, Tags};
use crate::wire::name::StreamName;
use crate::{Config, IoMode, Users};

/// A whole command line.
#[derive(Debug)]
pub enum Invocation {
    /// Serve streams until a signal comes.
    Serve(Common),
    /// Run a command and capture it.
    Run(Common, RunOptions),
    /// Deliver one file, or stdin, as one stream.
    Stream(Common, StreamOptions),
    /// Deliver what butlers have left in spools.
    Send(Common, SendOptions),
    /// Read back what an output holds.
    Cat(CatOptions),
    /// Print this help text and succeed.
    Help(String),
    /// Print name and version and succeed.
    Version,
}

/// What `serve`, `run` and `stream` have in common. `send` has a part of it.
#[derive(Debug)]
pub struct Common {
    /// What the butler is told.
    pub config: Config,
    /// No output was named: this run is to get a directory of its own in that
    /// one, before the butler is opened.
    pub runs: Option<PathBuf>,
    /// Where to listen; `None`: a fresh socket in a private directory.
    pub stream_server: Option<PathBuf>,
    /// How it works with the kernel.
    pub io: IoMode,
    /// How long open streams may go on after the first signal.
    pub drain_timeout: Duration,
    /// Where statistics go at exit.
    pub stats_path: Option<PathBuf>,
    /// What is logged on stderr.
    pub log_level: LevelFilter,
    /// Nothing is said that is no message of the log.
    pub quiet: bool,
    /// Exit with 250 when logs of `run` were lost.
    pub fail_on_loss: bool,
    /// Whose streams are taken, by where they come from.
    pub users: Users,
    /// What the process gives up once it has started.
    pub sandbox: Sandbox,
    /// For `LOGDOG_COORDINATOR_HOST`.
    pub coordinator_host: Option<String>,
    /// What was read and has no effect, to be logged once there is a log.
    pub remarks: Vec<Remark>,
}

impl Common {
    /// Are people told what they may like to know?
    pub fn gives_hints(&self) -> bool {
        !self.quiet && self.log_level >= LevelFilter::Warn
    }
}

/// Something about a command line that is not wrong, but worth a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// How much it matters.
    pub level: Level,
    /// What it is, in words.
    pub text: String,
}

/// What the process gives up once it has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sandbox {
    /// All that it does not need, as far as the kernel can take it.
    #[default]
    Auto,
    /// Nothing.
    Off,
}

/// What `--stdout`, `--stderr` and `--stream` say of a stream.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct StreamFlags {
    /// The stream's name.
    pub name: Option<StreamName>,
    /// Text by default.
    pub stream_type: StreamType,
    /// Empty: by type.
    pub content_type: String,
    /// Its own tags.
    pub tags: Tags,
}

impl StreamFlags {
    /// The properties of such a stream; `None` without a name.
    pub fn properties(&self) -> Option<StreamProperties> {
        Some(StreamProperties {
            name: self.name.clone()?,
            stream_type: self.stream_type,
            content_type: self.content_type.as_str().into(),
            timestamp: None,
            tags: self.tags.clone(),
        })
    }
}

/// What becomes of what a command writes to its stdout, or to its stderr.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wiring {
    /// It is a stream.
    Captured {
        /// What is said of the stream.
        flags: StreamFlags,
        /// It is also shown where it would have gone without us.
        shown: bool,
    },
    /// It goes where ours goes, uncaptured.
    Inherited,
    /// It is neither captured nor shown.
    Discarded,
}

impl Wiring {
    /// The stream's name, if it is one.
    pub fn name(&self) -> Option<&StreamName> {
        match self {
            Self::Captured { flags, .. } => flags.name.as_ref(),
            Self::Inherited | Self::Discarded => None,
        }
    }
}

/// Options of `run`.
#[derive(Debug)]
pub struct RunOptions {
    /// The command's stdout.
    pub stdout: Wiring,
    /// The command's stderr.
    pub stderr: Wiring,
    /// Give the child our stdin.
    pub forward_stdin: bool,
    /// The child's working directory.
    pub chdir: Option<PathBuf>,
    /// Where the result goes as JSON.
    pub result_path: Option<PathBuf>,
    /// The command and its arguments; never empty.
    pub command: Vec<OsString>,
}

/// Options of `stream`.
#[derive(Debug)]
pub struct StreamOptions {
    /// `None`: stdin.
    pub source: Option<PathBuf>,
    /// The stream, with its name filled in.
    pub stream: StreamFlags,
    /// Options that were given and are about how a butler delivers: without
    /// effect if another one does.
    pub about_delivery: Vec<&'static str>,
}

/// Options of `send`.
#[derive(Debug)]
pub struct SendOptions {
    /// The directories of spools; never empty.
    pub spools: Vec<PathBuf>,
    /// The spools stay as they are.
    pub keep: bool,
}

/// Options of `cat`.
#[derive(Debug)]
pub struct CatOptions {
    /// Files and directories that outputs wrote; empty: the last run of those
    /// in the current directory.
    pub paths: Vec<PathBuf>,
    /// A stream's name, or a glob over names; `None`: all streams.
    pub stream: Option<String>,
    /// Print a table of streams.
    pub list: bool,
    /// Put its time before every line.
    pub timestamps: bool,
    /// Print JSON, one object a line.
    pub json: bool,
    /// Go on as the output grows.
    pub follow: bool,
    /// Do not escape control characters on a terminal.
    pub raw: bool,
    /// What is logged on stderr.
    pub log_level: LevelFilter,
}
