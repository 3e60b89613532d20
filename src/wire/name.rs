//! Names: of streams, prefixes, tags and projects. A value of one of these
//! types is valid; there is no other way to make one.

use std::fmt;
use std::sync::Arc;

use crate::limits::{STREAM_NAME_MAX, TAG_KEY_MAX};

/// What a name may not be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// It has no characters.
    #[error("it is empty")]
    Empty,
    /// It has more bytes than allowed.
    #[error("it has {len} bytes, more than {max}")]
    TooLong {
        /// Its length.
        len: usize,
        /// The longest allowed.
        max: usize,
    },
    /// A segment between two slashes, or at an end, is empty.
    #[error("a segment is empty (at byte {at}): no slash may stand at an end or twice")]
    EmptySegment {
        /// Byte offset of the segment.
        at: usize,
    },
    /// A character that is not allowed.
    #[error("it has {found:?} at byte {at}: allowed are A-Z a-z 0-9 : _ . - and /")]
    Character {
        /// The character.
        found: char,
        /// Its byte offset.
        at: usize,
    },
    /// A character that is allowed, but not at the start of a segment.
    #[error("a segment begins with {found:?} (at byte {at}), not with one of A-Z a-z 0-9")]
    SegmentStart {
        /// The character.
        found: char,
        /// Its byte offset.
        at: usize,
    },
    /// A character that is not allowed there in the name of a project.
    #[error(
        "it has {found:?} at byte {at}: a project is a lower-case letter, then lower-case letters, \
         digits, _ and -"
    )]
    ProjectCharacter {
        /// The character.
        found: char,
        /// Its byte offset.
        at: usize,
    },
}

fn check(name: &str, max: usize) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > max {
        return Err(NameError::TooLong {
            len: name.len(),
            max,
        });
    }
    let mut start = true;
    for (at, found) in name.char_indices() {
        match found {
            'A'..='Z' | 'a'..='z' | '0'..='9' => start = false,
            ':' | '_' | '.' | '-' if !start => {}
            '/' if !start => start = true,
            '/' => return Err(NameError::EmptySegment { at }),
            ':' | '_' | '.' | '-' => return Err(NameError::SegmentStart { found, at }),
            _ => return Err(NameError::Character { found, at }),
        }
    }
    if start {
        return Err(NameError::EmptySegment { at: name.len() });
    }
    Ok(())
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        /// Clones share it.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `name` against the rules.
            pub fn new(name: impl Into<Arc<str>>) -> Result<Self, NameError> {
                let name = name.into();
                check(&name, $max)?;
                Ok(Self(name))
            }

            /// The name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type! {
    /// The name of a stream, or a prefix: 1 to 4096 bytes of segments joined
    /// by `/`, each beginning with a letter or digit and going on with
    /// letters, digits and `:_.-`.
    StreamName, STREAM_NAME_MAX
}

name_type! {
    /// The key of a tag: a stream name of at most 64 bytes.
    TagKey, TAG_KEY_MAX
}

impl StreamName {
    /// Makes a valid name of any text, as the reference does for file paths:
    /// what is not allowed becomes `_`, and a segment that begins wrong gets
    /// `fill` put before it.
    pub fn sanitized(text: &str, fill: &str) -> Result<Self, NameError> {
        let mut name = String::with_capacity(text.len());
        for segment in text.split('/').filter(|segment| !segment.is_empty()) {
            if !name.is_empty() {
                name.push('/');
            }
            if !segment.starts_with(|c: char| c.is_ascii_alphanumeric()) {
                name.push_str(fill);
            }
            name.extend(segment.chars().map(|c| match c {
                'A'..='Z' | 'a'..='z' | '0'..='9' | ':' | '_' | '.' | '-' => c,
                _ => '_',
            }));
        }
        Self::new(name)
    }

    /// Is the name in `namespace`? (`a/b/c` is in `a/b/`, `a/` and ``.)
    pub fn is_in(&self, namespace: &Namespace) -> bool {
        self.0.starts_with(&*namespace.0)
    }
}

/// All stream names below a path; the empty one has all there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Namespace(Box<str>);

impl Namespace {
    /// `path` is empty, or a stream name with or without a final slash.
    pub fn new(path: &str) -> Result<Self, NameError> {
        let name = path.strip_suffix('/').unwrap_or(path);
        if path.is_empty() {
            return Ok(Self("".into()));
        }
        check(name, STREAM_NAME_MAX)?;
        Ok(Self(format!("{name}/").into()))
    }

    /// Empty, or ending in a slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A project: a lower-case letter, then lower-case letters, digits, `_`, `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectName(Box<str>);

impl ProjectName {
    /// Checks `name` against the rule.
    pub fn new(name: impl Into<Box<str>>) -> Result<Self, NameError> {
        let name = name.into();
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > STREAM_NAME_MAX {
            return Err(NameError::TooLong {
                len: name.len(),
                max: STREAM_NAME_MAX,
            });
        }
        for (at, found) in name.char_indices() {
            let allowed = match found {
                'a'..='z' => true,
                '0'..='9' | '_' | '-' => at > 0,
                _ => false,
            };
            if !allowed {
                return Err(NameError::ProjectCharacter { found, at });
            }
        }
        Ok(Self(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "h/x", "h/x:_-.9", "0", "a/b/c", &"n".repeat(4096)] {
            assert!(StreamName::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/x",
            "x/",
            "a//b",
            "x/+/y",
            "x y",
            "é",
            "-a",
            "a/.b",
            "a/\n",
            &"n".repeat(4097),
        ] {
            assert!(StreamName::new(bad).is_err(), "{bad}");
        }
        assert!(TagKey::new("k".repeat(64)).is_ok());
        assert!(TagKey::new("k".repeat(65)).is_err());
        let project = ProjectName::new("infra-x_9").unwrap();
        assert_eq!(project.as_str(), "infra-x_9");
        assert_eq!(project.to_string(), "infra-x_9");
        for bad in ["", "9a", "A", "a/b", "a.b"] {
            assert!(ProjectName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn errors_say_what_and_where() {
        let start = |found, at| NameError::SegmentStart { found, at };
        let character = |found, at| NameError::Character { found, at };
        for (bad, error) in [
            ("", NameError::Empty),
            ("/x", NameError::EmptySegment { at: 0 }),
            ("a//b", NameError::EmptySegment { at: 2 }),
            ("x/", NameError::EmptySegment { at: 2 }),
            ("-a", start('-', 0)),
            ("a/.b", start('.', 2)),
            (" a", character(' ', 0)),
            ("a+", character('+', 1)),
            ("ab\u{e9}", character('\u{e9}', 2)),
        ] {
            assert_eq!(StreamName::new(bad), Err(error), "{bad}");
        }
        let error = StreamName::new("n".repeat(4097)).unwrap_err();
        let (len, max) = (4097, 4096);
        assert_eq!(error, NameError::TooLong { len, max });
    }

    #[test]
    fn namespaces() {
        let name = StreamName::new("a/b/c").unwrap();
        for holds in ["", "a", "a/", "a/b", "a/b/"] {
            assert!(name.is_in(&Namespace::new(holds).unwrap()), "{holds}");
        }
        for misses in ["a/b/c", "b", "a/bb"] {
            assert!(!name.is_in(&Namespace::new(misses).unwrap()), "{misses}");
        }
        assert!(Namespace::new("/").is_err());
        assert!(Namespace::new("a//").is_err());
    }

    #[test]
    fn sanitizes_paths() {
        let made = |path| StreamName::sanitized(path, "file:").unwrap();
        assert_eq!(made("/var/log/a b.log").as_str(), "var/log/a_b.log");
        assert_eq!(made("../.x/é").as_str(), "file:../file:.x/file:_");
        assert!(StreamName::sanitized("///", "file:").is_err());
    }
}
