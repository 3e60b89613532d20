//! How a butler begins: its kernel, its output, and a spool before that.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{Butler, Error};
use crate::config::Config;
use crate::core::{CoreConfig, MachineConfig};
use crate::delivery::message::Identity;
use crate::delivery::stored::Run;
use crate::edge::driver::Driver;
use crate::edge::runtime::{self, Backend};
use crate::edge::system::System;
use crate::edge::transport::{Carrier, Transport};
use crate::limits::SECRET_FIELD_MAX;
use crate::output;
#[cfg(feature = "logdog")]
use crate::output::Output;
#[cfg(feature = "logdog")]
use crate::output::logdog;
use crate::secret::Secret;

impl Butler {
    /// Opens the output and begins to work.
    ///
    /// # Errors
    ///
    /// If the configuration is not valid, the output or its spool can't be opened
    /// (an output that must register a prefix first can't: see
    /// [`open`](Self::open)), or the kernel has no ring or epoll set for us.
    ///
    /// # Panics
    ///
    /// Outside of [`start`](crate::start) and [`start_with`](crate::start_with).
    pub fn new(config: Config) -> Result<Self, Error> {
        config.validate().map_err(Error::Config)?;
        let mut system = system()?;
        let transport = match &config.spool {
            None => output::open(&mut system, &config.output).map_err(Error::Output)?,
            Some(_) => {
                let carrier = output::carrier(&mut system, &config.output);
                let run = Run::new(identity(&config, Secret::default()), None);
                spooled(&mut system, &config, carrier.map_err(Error::Output)?, run)?
            }
        };
        let driver = driver(&config, Secret::default(), (system, transport), None);
        Ok(Self::begin(driver))
    }

    /// The same for any output: one that must register a prefix does that
    /// first. It tries again what may work later, for up to 5 minutes; with a spool
    /// for 10 seconds, after which the prefix is registered when that can be done.
    /// Dropping the future ends it.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new), and if the prefix can't be registered.
    ///
    /// # Panics
    ///
    /// Outside of [`start`](crate::start) and [`start_with`](crate::start_with).
    pub async fn open(config: Config) -> Result<Self, Error> {
        #[cfg(feature = "logdog")]
        if let Output::Logdog(settings) = &config.output {
            config.validate().map_err(Error::Config)?;
            let start = logdog::Start {
                project: &config.project,
                prefix: &config.prefix,
                buffered_max: config.max_buffered,
                has_spool: config.spool.is_some(),
            };
            let session = logdog::connect(settings, start)
                .await
                .map_err(Error::Registration)?;
            let secret = session.run.identity.secret.clone();
            let mut system = system()?;
            let output = Box::new(session.output);
            let output = spooled(&mut system, &config, output, session.run)?;
            let output = (system, output);
            return Ok(Self::begin(driver(
                &config,
                secret,
                output,
                session.deadline,
            )));
        }
        Self::new(config)
    }
}

/// Puts the spool of the configuration, if it has one, before `carrier`.
fn spooled(
    system: &mut System,
    config: &Config,
    carrier: Box<dyn Carrier<System>>,
    run: impl Into<Arc<Run>>,
) -> Result<Box<dyn Transport<System>>, Error> {
    let Some(spool) = &config.spool else {
        return Ok(carrier);
    };
    let spooled = output::spooled(system, carrier, spool, run, config.max_buffered);
    spooled.map_err(Error::Spool)
}

/// What sends the messages of others, for a spool that is the butler's whole work.
pub(super) async fn carrier(
    system: &mut System,
    config: &Config,
) -> Result<Box<dyn Carrier<System>>, Error> {
    #[cfg(feature = "logdog")]
    if let Output::Logdog(settings) = &config.output {
        let carrier = logdog::carrier(settings, config.max_buffered).await;
        return Ok(Box::new(carrier.map_err(Error::Registration)?));
    }
    output::carrier(system, &config.output).map_err(Error::Output)
}

/// What drives a butler on this thread.
pub(super) fn driver(
    config: &Config,
    secret: Secret,
    (system, transport): (System, Box<dyn Transport<System>>),
    deadline: Option<SystemTime>,
) -> Driver<System> {
    let config = MachineConfig {
        core: core(config, secret),
        flush_timeout: config.flush_timeout,
        deadline: deadline.map(Into::into),
    };
    Driver::new(system, config, transport)
}

/// What asks the kernel on this thread.
pub(super) fn system() -> Result<System, Error> {
    runtime::system().map_err(|error| match runtime::kind() {
        Backend::Uring => Error::IoUring(error),
        Backend::Epoll => Error::Epoll(error),
    })
}

fn core(config: &Config, secret: Secret) -> CoreConfig {
    let age = match config.buffer_logs {
        true => config.max_buffer_age,
        false => Duration::ZERO,
    };
    let mut bundle_limits = config.output.bundle_limits();
    if config.output.must_register() && secret.is_empty() {
        // It is to fit in when it is known.
        bundle_limits.max -= SECRET_FIELD_MAX;
    }
    CoreConfig {
        bundle_limits,
        text_in_lines: config.output.wants_lines(),
        identity: identity(config, secret),
        global_tags: config.global_tags.clone(),
        age_max_ns: u64::try_from(age.as_nanos()).unwrap_or(u64::MAX),
        buffered_max: config.max_buffered,
        stream_size_max: config.max_stream_size,
    }
}

/// What the bundles carry.
fn identity(config: &Config, secret: Secret) -> Identity {
    Identity {
        project: config.project.as_str().into(),
        prefix: config.prefix.as_str().into(),
        secret,
    }
}
