//! What a butler is told before it starts.

use std::time::Duration;

use crate::limits;
use crate::output::spool::SpoolSettings;
use crate::output::{Output, UnfitOutput};
use crate::random;
use crate::wire::descriptor::Tags;
use crate::wire::name::{ProjectName, StreamName};

/// The configuration of a [`Butler`](crate::Butler).
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the bundles go.
    pub output: Output,
    /// Where what the output does not take in time is kept, if anywhere; only of an
    /// output that sends messages elsewhere.
    pub spool: Option<SpoolSettings>,
    /// The project that bundles carry; `local` by default.
    pub project: ProjectName,
    /// The prefix that bundles carry: unique to a job. By default it is
    /// random, below `butler/`.
    pub prefix: StreamName,
    /// Put on every stream that has not a tag of the same key.
    pub global_tags: Tags,
    /// Let data wait for company in a bundle. Without it all is sent at once.
    pub buffer_logs: bool,
    /// How long data may wait, at most; 5 s by default.
    pub max_buffer_age: Duration,
    /// Bytes buffered over all streams and outputs; beyond it streams are not
    /// read, so that their writers block. At least 4 MiB; 64 MiB by default.
    pub max_buffered: u64,
    /// Bytes that a stream may carry; what it writes beyond is read and
    /// discarded. 4,831,838,208 by default.
    pub max_stream_size: u64,
    /// How long the outputs may take at the end over what is left; 2 minutes
    /// by default. What is not delivered by then is reported as lost.
    pub flush_timeout: Duration,
}

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// `max_buffered` is below its minimum.
    #[error(
        "max_buffered is {0} bytes; it must be at least {min}",
        min = limits::BUFFERED_MIN
    )]
    MaxBuffered(u64),
    /// `max_stream_size` is 0.
    #[error("max_stream_size is 0")]
    MaxStreamSize,
    /// The output's settings are not ones that it can be opened with.
    #[error(transparent)]
    Output(UnfitOutput),
    /// An output on this machine has no spool: it is where a spool would be.
    #[error("the output has no spool; those that send messages elsewhere do: unix, tcp, logdog")]
    Spool,
}

impl Config {
    /// The defaults, with that output.
    pub fn new(output: impl Into<Output>) -> Self {
        Self {
            output: output.into(),
            spool: None,
            project: ProjectName::new("local").expect("it is a valid name"),
            prefix: StreamName::new(format!("butler/{}", random::segment()))
                .expect("it is a valid name"),
            global_tags: Tags::default(),
            buffer_logs: true,
            max_buffer_age: limits::BUFFER_AGE_MAX,
            max_buffered: limits::BUFFERED_MAX,
            max_stream_size: limits::STREAM_SIZE_MAX,
            flush_timeout: limits::FLUSH_TIMEOUT,
        }
    }

    /// Checks what the types do not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.max_buffered < limits::BUFFERED_MIN {
            return Err(ConfigError::MaxBuffered(self.max_buffered));
        }
        if self.max_stream_size == 0 {
            return Err(ConfigError::MaxStreamSize);
        }
        if self.spool.is_some() && !self.output.is_remote() {
            return Err(ConfigError::Spool);
        }
        self.output.check().map_err(ConfigError::Output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{LogOutput, NullOutput};

    #[test]
    fn defaults_are_valid_and_the_rest_is_told_apart() {
        let config = Config::new(NullOutput);
        assert_eq!(config.validate(), Ok(()));
        assert_ne!(config.prefix, Config::new(NullOutput).prefix);

        let mut wrong = config.clone();
        wrong.max_buffered = 1000;
        assert_eq!(wrong.validate(), Err(ConfigError::MaxBuffered(1000)));

        let mut wrong = config.clone();
        wrong.max_stream_size = 0;
        assert_eq!(wrong.validate(), Err(ConfigError::MaxStreamSize));

        let mut wrong = config;
        let bundle_size = Some(0);
        let log = LogOutput {
            bundle_size,
            ..LogOutput::default()
        };
        wrong.output = log.into();
        let unfit = UnfitOutput::BundleSize(0);
        assert_eq!(wrong.validate(), Err(ConfigError::Output(unfit)));
    }
}
