//! What butlers have left in a spool is sent, with no stream of our own.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use super::{Butler, Error, Snapshot, opening};
use crate::config::{Config, ConfigError};
use crate::delivery::stored::{Left, SendProgress};
use crate::limits;
use crate::output::{self, Output, SendState, UnfitOutput};

/// As the butler needs it: what sends the spool knows itself when it is enough. Ten
/// years, so that sums of times stay numbers.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// What a [`Sending`] is told.
#[derive(Debug, Clone)]
pub struct SendConfig {
    /// The spool's directory.
    pub spool: PathBuf,
    /// Where its messages go: an output that sends them elsewhere. They have the
    /// prefix and the project that they had.
    pub output: Output,
    /// The spool stays as it is: what was sent is sent again the next time.
    pub keeps: bool,
    /// How long it goes on without anything being delivered; 2 minutes by default.
    pub patience: Duration,
}

impl SendConfig {
    /// All that waits in the spool at that place, with the defaults.
    pub fn new(spool: impl Into<PathBuf>, output: impl Into<Output>) -> Self {
        Self {
            spool: spool.into(),
            output: output.into(),
            keeps: false,
            patience: limits::FLUSH_TIMEOUT,
        }
    }

    /// Checks what the types do not of an output that is to send spools. A
    /// Coordinator's host is not needed: messages know their own.
    ///
    /// # Errors
    ///
    /// If it has no spools, or its settings are not ones that it can be opened with.
    pub fn check(output: &Output) -> Result<(), ConfigError> {
        match output.check() {
            _ if !output.is_remote() => Err(ConfigError::Spool),
            Err(UnfitOutput::CoordinatorHost(host)) if host.is_empty() => Ok(()),
            checked => checked.map_err(ConfigError::Output),
        }
    }
}

/// A spool that is being sent.
///
/// It lives on the thread that made it, inside [`start`](crate::start), and goes on
/// there by itself.
#[derive(Debug)]
pub struct Sending {
    butler: Butler,
    shared: Rc<SendState>,
}

/// How the sending of a spool ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SendReport {
    /// What became of what waited.
    pub progress: SendProgress,
    /// What waits there still; of a spool that is kept, what was not sent.
    pub left: Left,
    /// What was done for that.
    pub snapshot: Snapshot,
}

impl SendReport {
    /// Was all delivered that waited?
    pub fn is_complete(&self) -> bool {
        let SendProgress {
            refused, damaged, ..
        } = self.progress;
        self.left.messages == 0 && refused.messages == 0 && damaged == 0
    }
}

impl Sending {
    /// Opens the spool and the output, and begins.
    ///
    /// # Errors
    ///
    /// If the output has no spool or can't be opened, there is no spool, a butler
    /// has it, or the kernel has no ring or epoll set for us.
    ///
    /// # Panics
    ///
    /// Outside of [`start`](crate::start) and [`start_with`](crate::start_with).
    pub async fn open(config: SendConfig) -> Result<Self, Error> {
        SendConfig::check(&config.output).map_err(Error::Config)?;
        let mut butler = Config::new(config.output);
        butler.flush_timeout = FOREVER;
        let mut system = opening::system()?;
        let carrier = opening::carrier(&mut system, &butler).await?;
        let place = (&*config.spool, config.keeps);
        let shared = Rc::new(SendState::default());
        let state = Rc::clone(&shared);
        let opened = output::sending(&mut system, carrier, place, config.patience, state);
        let transport = opened.map_err(Error::Spool)?;
        let driver = opening::driver(&butler, Default::default(), (system, transport), None);
        let butler = Butler::begin(driver);
        butler.activate();
        Ok(Self { butler, shared })
    }

    /// How far it is.
    pub fn progress(&self) -> SendProgress {
        self.shared.progress()
    }

    /// Sends nothing more, but waits for what is under way. The rest stays.
    pub fn stop(&self) {
        self.shared.stop();
        self.butler.engine.wake_driver.notify_one();
    }

    /// Ends at once. What is not known to be delivered stays.
    pub fn abort(&self) {
        self.butler.abort();
    }

    /// What it has done so far.
    pub fn snapshot(&self) -> Snapshot {
        self.butler.snapshot()
    }

    /// Waits until all is delivered that can be, or nothing was for too long.
    ///
    /// # Errors
    ///
    /// If the butler itself failed.
    pub async fn wait(&self) -> Result<SendReport, Error> {
        let report = self.butler.wait().await?;
        Ok(SendReport {
            progress: self.progress(),
            left: report.left.unwrap_or_default(),
            snapshot: report.snapshot,
        })
    }
}
