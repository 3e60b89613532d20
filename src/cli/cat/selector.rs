//! Which streams are wanted, by their names.

use globset::{GlobBuilder, GlobMatcher};

use crate::read::Origin;
use crate::wire::name::StreamName;

/// Which streams are wanted.
#[derive(Debug)]
pub enum NamePattern {
    /// All.
    All,
    /// Those of that name, or of that path (`PREFIX/+/NAME`).
    Exact(String),
    /// Those whose name, or path, matches.
    Glob(GlobMatcher),
}

impl NamePattern {
    /// No name is also a glob with special characters, so that which of the
    /// two is meant does not depend on what streams there are.
    pub fn new(wanted: Option<&str>) -> Result<Self, String> {
        let Some(wanted) = wanted else {
            return Ok(Self::All);
        };
        let is_exact = match wanted.split_once("/+/") {
            Some((prefix, name)) => StreamName::new(prefix).and(StreamName::new(name)).is_ok(),
            None => StreamName::new(wanted).is_ok(),
        };
        if is_exact {
            return Ok(Self::Exact(wanted.to_owned()));
        }
        GlobBuilder::new(wanted)
            .literal_separator(true)
            .build()
            .map(|glob| Self::Glob(glob.compile_matcher()))
            .map_err(|error| {
                let why = error.kind();
                format!("--stream {wanted:?} is neither a stream's name nor a glob: {why}")
            })
    }

    pub fn matches(&self, origin: &Origin, name: &str) -> bool {
        let (wanted, glob) = match self {
            Self::All => return true,
            Self::Exact(wanted) => (wanted.as_str(), None),
            Self::Glob(glob) => (glob.glob().glob(), Some(glob)),
        };
        let matches = |candidate: &str| match glob {
            Some(glob) => glob.is_match(candidate),
            None => candidate == wanted,
        };
        match origin {
            Origin::Prefix(prefix, _) if wanted.contains("/+/") => {
                matches(&format!("{prefix}/+/{name}"))
            }
            _ => matches(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_paths_and_globs_select() {
        for (wanted, expected) in [
            ("stdout", &["stdout"][..]),
            ("std", &[]),
            ("*", &["stdout"]),
            ("std*", &["stdout"]),
            ("step/*", &["step/log"]),
            ("step/*/log", &["step/1/log", "step/2/log"]),
            ("step/**", &["step/1/log", "step/2/log", "step/log"]),
            ("**/log", &["step/1/log", "step/2/log", "step/log"]),
            ("{stdout,step/[2-9]/log}", &["stdout", "step/2/log"]),
            ("p/2/+/stdout", &["stdout"]),
            ("p/1/+/stdout", &[]),
            ("p/*/+/std*", &["stdout"]),
        ] {
            let selector = NamePattern::new(Some(wanted)).unwrap();
            let origin = Origin::Prefix("p/2".into(), 0);
            let mut names = vec!["stdout", "step/1/log", "step/2/log", "step/log"];
            names.retain(|name| selector.matches(&origin, name));
            assert_eq!(names, expected, "{wanted}");
        }
        let error = NamePattern::new(Some("a[")).unwrap_err();
        assert!(error.contains("a["), "{error}");
    }
}
