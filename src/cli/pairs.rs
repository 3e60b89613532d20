//! `key=value,key=value`: what an option's value is made of that has parts.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The keys that may stand in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    /// All that are known.
    pub allowed: &'static [&'static str],
    /// Those of them that may stand more than once.
    pub repeatable: &'static [&'static str],
}

/// Why a list of pairs is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairError {
    /// The key that it is about.
    pub key: String,
    /// What is wrong with it.
    pub problem: PairProblem,
    /// The keys that may stand there.
    pub allowed: &'static [&'static str],
}

/// What is wrong with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PairProblem {
    /// No such key.
    Unknown,
    /// It stands twice.
    Doubled,
    /// It must be there and is not.
    Missing,
    /// It has no `=`.
    NoValue,
    /// Its value is not allowed.
    Value {
        /// The value.
        given: String,
        /// What is wrong, or what would be right.
        reason: String,
    },
}

impl fmt::Display for PairError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        match &self.problem {
            PairProblem::Unknown => write!(f, "unknown key {key:?}")?,
            PairProblem::Doubled => write!(f, "the key {key} stands twice")?,
            PairProblem::Missing => write!(f, "the key {key} is missing")?,
            PairProblem::NoValue => write!(f, "the key {key} has no value: write {key}=...")?,
            PairProblem::Value { given, reason } => {
                return write!(f, "{key}={given} is not allowed: {reason}");
            }
        }
        match self.allowed {
            [] => f.write_str("; no keys are allowed"),
            allowed => write!(f, "; allowed keys: {}", allowed.join(", ")),
        }
    }
}

impl std::error::Error for PairError {}

/// Pairs whose keys are known, none of them doubled that may not be.
#[derive(Debug)]
pub struct Pairs<'a> {
    keys: Keys,
    list: Vec<(&'static str, &'a OsStr)>,
}

impl<'a> Pairs<'a> {
    /// Takes `text` apart. A value is what stands between its `=` and the next
    /// comma. Empty parts, as a comma at the end makes one, are passed over.
    pub fn parse(text: &'a OsStr, keys: Keys) -> Result<Self, PairError> {
        let mut pairs = Self {
            keys,
            list: Vec::new(),
        };
        let parts = text.as_bytes().split(|&byte| byte == b',');
        for part in parts.filter(|part| !part.is_empty()) {
            pairs.push(part)?;
        }
        Ok(pairs)
    }

    fn push(&mut self, part: &'a [u8]) -> Result<(), PairError> {
        let (key, value) = match part.iter().position(|&byte| byte == b'=') {
            Some(at) => (&part[..at], Some(OsStr::from_bytes(&part[at + 1..]))),
            None => (part, None),
        };
        let known = self
            .keys
            .allowed
            .iter()
            .copied()
            .find(|known| known.as_bytes() == key);
        let Some(known) = known else {
            let key = String::from_utf8_lossy(key);
            return Err(self.error(&key, PairProblem::Unknown));
        };
        let Some(value) = value else {
            return Err(self.error(known, PairProblem::NoValue));
        };
        if !self.keys.repeatable.contains(&known) && self.get(known).is_some() {
            return Err(self.error(known, PairProblem::Doubled));
        }
        self.list.push((known, value));
        Ok(())
    }

    /// The first value of `key`.
    pub fn get(&self, key: &str) -> Option<&'a OsStr> {
        self.all(key).next()
    }

    /// Every value of `key`, in their order.
    pub fn all(&self, key: &str) -> impl Iterator<Item = &'a OsStr> {
        self.list
            .iter()
            .filter(move |(known, _)| *known == key)
            .map(|(_, value)| *value)
    }

    /// The value of `key` as text.
    pub fn text(&self, key: &str) -> Result<Option<&'a str>, PairError> {
        self.get(key)
            .map(|value| self.to_text(key, value))
            .transpose()
    }

    /// `value`, which is one of `key`, as text.
    pub fn to_text(&self, key: &str, value: &'a OsStr) -> Result<&'a str, PairError> {
        value
            .to_str()
            .ok_or_else(|| self.value_error(key, value, "it is not valid UTF-8"))
    }

    /// The value of `key`, which must be there, as a path.
    pub fn required_path(&self, key: &str) -> Result<PathBuf, PairError> {
        match self.get(key) {
            None => Err(self.error(key, PairProblem::Missing)),
            Some(path) if path.is_empty() => Err(self.value_error(key, path, "it is empty")),
            Some(path) => Ok(path.into()),
        }
    }

    /// An error about `key`.
    pub fn error(&self, key: &str, problem: PairProblem) -> PairError {
        PairError {
            key: key.into(),
            problem,
            allowed: self.keys.allowed,
        }
    }

    /// An error about a value of `key`.
    pub fn value_error(&self, key: &str, given: &OsStr, reason: impl fmt::Display) -> PairError {
        self.error(
            key,
            PairProblem::Value {
                given: given.to_string_lossy().into_owned(),
                reason: reason.to_string(),
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: Keys = Keys {
        allowed: &["path", "tag"],
        repeatable: &["tag"],
    };

    fn error(text: &[u8]) -> String {
        Pairs::parse(OsStr::from_bytes(text), KEYS)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn takes_values_verbatim() {
        let text = OsStr::from_bytes(b"tag=a=b,path= \"x\\\xff,tag=,,");
        let pairs = Pairs::parse(text, KEYS).unwrap();
        assert_eq!(pairs.get("path").unwrap(), OsStr::from_bytes(b" \"x\\\xff"));
        assert_eq!(pairs.all("tag").collect::<Vec<_>>(), ["a=b", ""]);
        assert_eq!(pairs.text("tag"), Ok(Some("a=b")));
        assert!(pairs.text("path").is_err());
        assert!(pairs.required_path("path").is_ok());
        assert_eq!(
            Pairs::parse(OsStr::new(""), KEYS).unwrap().get("path"),
            None
        );
    }

    #[test]
    fn names_the_key_and_what_is_allowed() {
        assert_eq!(
            error(b"pth=x"),
            "unknown key \"pth\"; allowed keys: path, tag"
        );
        assert_eq!(
            error(b"\xff"),
            "unknown key \"\u{fffd}\"; allowed keys: path, tag"
        );
        assert_eq!(error(b"=x"), "unknown key \"\"; allowed keys: path, tag");
        assert_eq!(
            error(b"path=x,path=y"),
            "the key path stands twice; allowed keys: path, tag"
        );
        assert_eq!(
            error(b"path"),
            "the key path has no value: write path=...; allowed keys: path, tag"
        );
        let pairs = Pairs::parse(OsStr::new("path="), KEYS).unwrap();
        assert_eq!(
            pairs.required_path("path").unwrap_err().to_string(),
            "path= is not allowed: it is empty"
        );
        let none = Keys {
            allowed: &[],
            repeatable: &[],
        };
        let error = Pairs::parse(OsStr::new("a=b"), none).unwrap_err();
        assert_eq!(error.to_string(), "unknown key \"a\"; no keys are allowed");
        let pairs = Pairs::parse(OsStr::new("tag=x"), KEYS).unwrap();
        assert_eq!(
            pairs.required_path("path").unwrap_err().problem,
            PairProblem::Missing
        );
    }
}
