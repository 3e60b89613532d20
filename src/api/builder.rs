//! Settings, then a start.

use std::time::Duration;

use super::handle::Handle;
use super::reply::Reply;
use super::thread;
use crate::butler::{Butler, Error};
use crate::config::Config;
use crate::edge::runtime::IoMode;
use crate::output::Output;
use crate::wire::descriptor::Tags;
use crate::wire::name::{ProjectName, StreamName};

/// What a butler is told before it starts: a [`Config`], value by value, and
/// how it works with the kernel.
#[derive(Debug, Clone)]
#[must_use = "no butler runs before it is started"]
pub struct Builder {
    config: Config,
    io_mode: IoMode,
}

impl Butler {
    /// The settings of a butler with that output; the rest has defaults, those
    /// of [`Config::new`].
    pub fn builder(output: impl Into<Output>) -> Builder {
        Config::new(output).into()
    }
}

impl From<Config> for Builder {
    fn from(config: Config) -> Self {
        Self {
            config,
            io_mode: IoMode::Auto,
        }
    }
}

impl Builder {
    /// See [`Config::project`].
    pub fn project(mut self, project: ProjectName) -> Self {
        self.config.project = project;
        self
    }

    /// See [`Config::prefix`].
    pub fn prefix(mut self, prefix: StreamName) -> Self {
        self.config.prefix = prefix;
        self
    }

    /// See [`Config::global_tags`].
    pub fn global_tags(mut self, tags: Tags) -> Self {
        self.config.global_tags = tags;
        self
    }

    /// See [`Config::buffer_logs`].
    pub fn buffer_logs(mut self, buffer: bool) -> Self {
        self.config.buffer_logs = buffer;
        self
    }

    /// See [`Config::max_buffer_age`].
    pub fn max_buffer_age(mut self, age: Duration) -> Self {
        self.config.max_buffer_age = age;
        self
    }

    /// See [`Config::max_buffered`]: bytes.
    pub fn max_buffered(mut self, bytes: u64) -> Self {
        self.config.max_buffered = bytes;
        self
    }

    /// See [`Config::max_stream_size`]: bytes.
    pub fn max_stream_size(mut self, bytes: u64) -> Self {
        self.config.max_stream_size = bytes;
        self
    }

    /// See [`Config::flush_timeout`].
    pub fn flush_timeout(mut self, timeout: Duration) -> Self {
        self.config.flush_timeout = timeout;
        self
    }

    /// How the butler works with the kernel.
    pub fn io_mode(mut self, mode: IoMode) -> Self {
        self.io_mode = mode;
        self
    }

    /// Starts the butler on a thread of its own, and waits until it works.
    ///
    /// Most outputs begin at once. One that must register a prefix first tries
    /// that for up to 5 minutes: in async code take
    /// [`start_async`](Self::start_async).
    ///
    /// # Errors
    ///
    /// If the configuration is not valid, the output can't be opened, the
    /// prefix can't be registered, or the system has no thread, ring or epoll
    /// set for the butler.
    pub fn start(self) -> Result<Handle, Error> {
        self.start_async().wait()
    }

    /// The same, to be awaited. If the reply is dropped before it is there,
    /// the butler does not start.
    pub fn start_async(self) -> Reply<Result<Handle, Error>> {
        thread::start(self.config, self.io_mode)
    }

    /// Starts the butler on this thread, inside [`start`](crate::start) or
    /// [`start_with`](crate::start_with), which then decide about
    /// [`io_mode`](Self::io_mode): for a program whose runtime is the butler's.
    ///
    /// # Errors
    ///
    /// Those of [`Butler::open`].
    ///
    /// # Panics
    ///
    /// Outside of [`start`](crate::start) and [`start_with`](crate::start_with).
    pub async fn start_here(self) -> Result<Butler, Error> {
        Butler::open(self.config).await
    }
}
