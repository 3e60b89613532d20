//! What there is to know of the output that prints.

use std::ffi::OsStr;

use crate::delivery::message::BundleLimits;
use crate::limits::{BUNDLE_MAX, BUNDLE_TARGET};
use crate::output::kind::{Finds, Kind};
use crate::output::spec::of;
use crate::output::{Controls, Output};
use crate::pairs::{PairError, Pairs};
use crate::units;

pub(crate) static LOG: Kind = Kind {
    keys: &["bundle-size"],
    bundle_limits,
    finds: |_| Finds::Shown,
    help: "  log[,bundle-size=SIZE]
                        print every bundle on stdout, for people
",
    ..Kind::new("log", |given| {
        Ok(Output::Log {
            bundle_size: bundle_size(&given.pairs()?).map_err(of("log"))?,
            controls: Controls::default(),
        })
    })
};

/// The size that was asked for is kept to: people want to see bundles of that
/// size. Only where it is too small for a descriptor and a short entry bundles
/// are as large as those.
fn bundle_limits(output: &Output) -> BundleLimits {
    let size = match output {
        Output::Log {
            bundle_size: Some(size),
            ..
        } => *size,
        _ => BUNDLE_TARGET,
    };
    BundleLimits {
        target: size,
        max: size,
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
        let limits = |output: Output| {
            let limits = output.bundle_limits();
            (limits.target, limits.max)
        };
        assert_eq!(limits(Output::Null), (1 << 20, BUNDLE_MAX));
        let log = |bundle_size| {
            limits(Output::Log {
                bundle_size,
                controls: Controls::default(),
            })
        };
        assert_eq!(log(None), (1 << 20, 1 << 20));
        assert_eq!(log(Some(5000)), (5000, 5000));
    }
}
