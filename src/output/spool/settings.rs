//! A spool as the command line writes it: `DIR[,key=value…]`.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::limits::{SPOOL_MAX, SPOOL_MAX_MIN, SPOOL_SEGMENT_MAX, SPOOL_SEGMENTS, SPOOL_SYNC};
use crate::pairs::{self, PairError, Pairs};
use crate::units;

const KEYS: &[&str] = &["max", "sync", "when", "full"];

/// Where messages wait for an output, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolSettings {
    /// The directory; made if it is not there.
    pub path: PathBuf,
    /// Bytes that its segments may take.
    pub max_bytes: u64,
    /// When what is written is brought where it outlives the machine.
    pub sync: SyncPolicy,
    /// Which messages go there.
    pub when: When,
    /// What happens when there is no room.
    pub full: Full,
}

/// When what is written is brought where it outlives the machine. The death of
/// the butler alone it outlives at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncPolicy {
    /// After every message.
    Always,
    /// So long after it was written, at most.
    Every(Duration),
    /// When the kernel likes to.
    Never,
}

/// Which messages go to the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// All, before they are sent.
    Always,
    /// Those that the output does not take in time.
    Overflow,
}

/// What happens to new messages while the spool has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// Writers wait.
    Wait,
    /// They are dropped, and counted.
    DropNewest,
}

/// Why what is said of a spool is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolSpecError {
    /// It has no directory.
    #[error("the spool needs a directory: DIR[,key=value...]")]
    NoDirectory,
    /// Something is wrong with its keys.
    #[error("the spool")]
    Pairs(#[from] PairError),
}

impl SpoolSettings {
    /// A spool there, as it is if nothing else is said.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            max_bytes: SPOOL_MAX,
            sync: SyncPolicy::Every(SPOOL_SYNC),
            when: When::Overflow,
            full: Full::Wait,
        }
    }

    /// Reads `DIR[,max=SIZE][,sync=always|DUR|never][,when=always|overflow]
    /// [,full=wait|drop-newest]`. The path need not be UTF-8.
    pub fn from_spec(spec: &OsStr) -> Result<Self, SpoolSpecError> {
        let mut items = pairs::items(spec).into_iter();
        let path = items.next().filter(|path| !path.is_empty());
        let mut settings = Self::new(path.ok_or(SpoolSpecError::NoDirectory)?);
        let pairs = Pairs::of(items, KEYS)?;
        if let Some(given) = pairs.text("max")? {
            let given = OsStr::new(given);
            settings.max_bytes = units::size(&given.to_string_lossy())
                .map_err(|error| pairs.value_error("max", given, error))?;
            if settings.max_bytes < SPOOL_MAX_MIN {
                let reason = format!("it must be at least {} MiB", SPOOL_MAX_MIN >> 20);
                return Err(pairs.value_error("max", given, reason).into());
            }
        }
        settings.sync = match pairs.text("sync")? {
            None => settings.sync,
            Some("always") => SyncPolicy::Always,
            Some("never") => SyncPolicy::Never,
            Some(given) => {
                let duration = units::duration(given)
                    .map_err(|error| pairs.value_error("sync", OsStr::new(given), error))?;
                match duration {
                    Duration::ZERO => SyncPolicy::Always,
                    wait => SyncPolicy::Every(wait),
                }
            }
        };
        let one_of = |key, default, allowed: [&str; 2]| match pairs.text(key)? {
            None => Ok(default),
            Some(given) => allowed.iter().position(|it| *it == given).ok_or_else(|| {
                let reason = format!("it must be {} or {}", allowed[0], allowed[1]);
                pairs.value_error(key, OsStr::new(given), reason)
            }),
        };
        settings.when = [When::Always, When::Overflow][one_of("when", 1, ["always", "overflow"])?];
        settings.full = [Full::Wait, Full::DropNewest][one_of("full", 0, ["wait", "drop-newest"])?];
        Ok(settings)
    }

    /// What a segment is filled to.
    pub(super) fn segment_max(&self) -> u64 {
        (self.max_bytes / SPOOL_SEGMENTS).min(SPOOL_SEGMENT_MAX)
    }
}

impl FromStr for SpoolSettings {
    type Err = SpoolSpecError;

    fn from_str(spec: &str) -> Result<Self, SpoolSpecError> {
        Self::from_spec(OsStr::new(spec))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Chain;

    #[test]
    fn what_can_be_said() {
        let plain = SpoolSettings::new("/s");
        let every = |millis| SyncPolicy::Every(Duration::from_millis(millis));
        for (spec, expected) in [
            ("/s", plain.clone()),
            (
                "/s,max=2GiB,sync=1s,when=always,full=drop-newest",
                SpoolSettings {
                    max_bytes: 2 << 30,
                    sync: every(1000),
                    when: When::Always,
                    full: Full::DropNewest,
                    ..plain.clone()
                },
            ),
            (
                "/s,sync=always,when=overflow,full=wait",
                SpoolSettings {
                    sync: SyncPolicy::Always,
                    ..plain.clone()
                },
            ),
            (
                r#""/s,a",sync=never"#,
                SpoolSettings {
                    sync: SyncPolicy::Never,
                    ..SpoolSettings::new("/s,a")
                },
            ),
        ] {
            assert_eq!(spec.parse::<SpoolSettings>().unwrap(), expected, "{spec}");
        }
        assert_eq!(plain.segment_max(), 64 << 20);
        let small: SpoolSettings = "/s,max=32MiB".parse().unwrap();
        assert_eq!(small.segment_max(), 4 << 20);
    }

    #[test]
    fn what_is_refused_is_named() {
        for (spec, says) in [
            ("", "the spool needs a directory"),
            (",max=1GiB", "the spool needs a directory"),
            (
                "/s,size=1",
                "unknown key \"size\"; allowed keys: max, sync, when, full",
            ),
            (
                "/s,max=1MiB",
                "max=1MiB is not allowed: it must be at least 32 MiB",
            ),
            (
                "/s,max=x",
                "max=x is not allowed: a size in bytes is wanted",
            ),
            ("/s,sync=often", "sync=often is not allowed"),
            ("/s,sync=-1s", "sync=-1s is not allowed"),
            (
                "/s,when=never",
                "when=never is not allowed: it must be always or overflow",
            ),
            (
                "/s,full=drop",
                "full=drop is not allowed: it must be wait or drop-newest",
            ),
        ] {
            let error = Chain(&spec.parse::<SpoolSettings>().unwrap_err()).to_string();
            assert!(error.contains(says), "{spec}: {error}");
        }
    }
}
