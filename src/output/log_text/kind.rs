//! What there is to know of the output that prints.

use std::ffi::OsStr;
use std::io;

use super::Printer;
use crate::delivery::message::BundleLimits;
use crate::edge::io::Io;
use crate::edge::transport::Transport;
use crate::limits::{BUNDLE_MAX, BUNDLE_TARGET};
use crate::output::kind::{Finds, Kind, Settings, UnfitOutput};
use crate::output::spec::of;
use crate::pairs::{PairError, Pairs};
use crate::units;

/// The settings of the output that prints.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LogOutput {
    /// Bytes that a bundle is filled to, if not the default.
    pub bundle_size: Option<usize>,
    /// What becomes of control characters in text.
    pub controls: Controls,
}

/// What becomes of control characters, which can command a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Controls {
    /// They are made visible.
    #[default]
    Escaped,
    /// They stay what they are.
    Raw,
}

impl Settings for LogOutput {
    const KIND: &'static Kind = &Kind {
        keys: &["bundle-size"],
        help: "  log[,bundle-size=SIZE]
                        print every bundle on stdout, for people
",
        ..Kind::new("log", |given| {
            let bundle_size = bundle_size(&given.pairs()?).map_err(of("log"))?;
            let controls = Controls::default();
            Ok(Self {
                bundle_size,
                controls,
            }
            .into())
        })
    };

    fn open<I: Io + 'static>(&self, io: &mut I) -> io::Result<Box<dyn Transport<I>>> {
        Ok(Box::new(Printer::stdout(io, self.controls)?))
    }

    fn check(&self) -> Result<(), UnfitOutput> {
        match self.bundle_size {
            Some(size) if !(1..=BUNDLE_MAX).contains(&size) => Err(UnfitOutput::BundleSize(size)),
            _ => Ok(()),
        }
    }

    /// The size that was asked for is kept to: people want to see bundles of
    /// that size. Only where it is too small for a descriptor and a short entry
    /// bundles are as large as those.
    fn bundle_limits(&self) -> BundleLimits {
        let size = self.bundle_size.unwrap_or(BUNDLE_TARGET);
        BundleLimits {
            early: size,
            target: size,
            max: size,
        }
    }

    fn finds(&self) -> Finds {
        Finds::Shown
    }
}

fn bundle_size(pairs: &Pairs) -> Result<Option<usize>, PairError> {
    const KEY: &str = "bundle-size";
    let Some(given) = pairs.text(KEY)? else {
        return Ok(None);
    };
    let size =
        units::size(given).map_err(|error| pairs.value_error(KEY, OsStr::new(given), error))?;
    match size {
        0 => Err(pairs.value_error(KEY, OsStr::new(given), "it must be at least 1 byte")),
        // It is a maximum, which the largest bundles that there are keep to.
        size => Ok(Some(
            usize::try_from(size).map_or(BUNDLE_MAX, |size| size.min(BUNDLE_MAX)),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_keeps_to_the_bundle_size_that_was_asked_for() {
        for (bundle_size, size) in [(None, 1 << 20), (Some(5000), 5000)] {
            let log = LogOutput {
                bundle_size,
                ..LogOutput::default()
            };
            let limits = log.bundle_limits();
            assert_eq!((limits.target, limits.max), (size, size));
        }
    }
}
