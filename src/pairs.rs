//! `key=value,key=value`: what an option's value is made of that has parts,
//! by the rules of the reference's lists.
//!
//! [`items`] takes a list apart and [`Pairs`] gives its items their meaning.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// The items of a list. They end at commas, except within quotes. A `"`
/// begins or ends a quotation wherever it stands, and a `\` takes the next
/// byte as it is; neither of them stays. Nothing is refused: a quotation that
/// is not ended goes on to the end of the list, and a `\` at the very end is
/// dropped.
pub fn items(list: &OsStr) -> Vec<OsString> {
    let mut items = Vec::new();
    let mut rest = list.as_bytes().iter();
    while !rest.as_slice().is_empty() {
        items.push(OsString::from_vec(next_item(&mut rest)));
    }
    items
}

fn next_item(rest: &mut std::slice::Iter<'_, u8>) -> Vec<u8> {
    let mut item = Vec::new();
    let mut quoted = false;
    while let Some(&byte) = rest.next() {
        match byte {
            b'\\' => item.extend(rest.next()),
            b'"' => quoted = !quoted,
            b',' if !quoted => break,
            byte => item.push(byte),
        }
    }
    item
}

/// Why a list of pairs is refused.
#[derive(Debug)]
#[non_exhaustive]
pub struct PairError {
    /// The key that it is about.
    pub key: String,
    /// What is wrong with it.
    pub problem: PairProblem,
    /// The keys that may stand there.
    pub allowed: &'static [&'static str],
}

/// What is wrong with a key.
#[derive(Debug)]
#[non_exhaustive]
pub enum PairProblem {
    /// No such key.
    Unknown,
    /// It must be there and is not.
    Missing,
    /// It has no `=`.
    NoValue,
    /// Its value is not allowed.
    Value {
        /// The value.
        given: String,
        /// What is wrong, or what would be right.
        reason: Box<dyn Error + Send + Sync>,
    },
}

impl fmt::Display for PairError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        match &self.problem {
            PairProblem::Unknown => write!(f, "unknown key {key:?}")?,
            PairProblem::Missing => write!(f, "the key {key} is missing")?,
            PairProblem::NoValue => write!(f, "the key {key} has no value: write {key}=...")?,
            PairProblem::Value { given, .. } => return write!(f, "{key}={given} is not allowed"),
        }
        match self.allowed {
            [] => f.write_str("; no keys are allowed"),
            allowed => write!(f, "; allowed keys: {}", allowed.join(", ")),
        }
    }
}

impl Error for PairError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.problem {
            PairProblem::Value { reason, .. } => Some(&**reason),
            _ => None,
        }
    }
}

/// Pairs whose keys are known.
#[derive(Debug)]
pub struct Pairs {
    /// The keys that may stand there.
    allowed: &'static [&'static str],
    list: Vec<(&'static str, OsString)>,
}

impl Pairs {
    /// Takes a list apart.
    pub fn parse(list: &OsStr, allowed: &'static [&'static str]) -> Result<Self, PairError> {
        Self::of(items(list), allowed)
    }

    /// Splits each item at its first `=`. Empty items, as two commas make one,
    /// are passed over.
    pub fn of(
        items: impl IntoIterator<Item = OsString>,
        allowed: &'static [&'static str],
    ) -> Result<Self, PairError> {
        let mut pairs = Self {
            allowed,
            list: Vec::new(),
        };
        for item in items.into_iter().filter(|item| !item.is_empty()) {
            pairs.push(item.as_bytes())?;
        }
        Ok(pairs)
    }

    fn push(&mut self, item: &[u8]) -> Result<(), PairError> {
        let (key, value) = match item.iter().position(|&byte| byte == b'=') {
            Some(at) => (&item[..at], Some(OsStr::from_bytes(&item[at + 1..]))),
            None => (item, None),
        };
        let mut allowed = self.allowed.iter().copied();
        let Some(known) = allowed.find(|known| known.as_bytes() == key) else {
            let key = String::from_utf8_lossy(key);
            return Err(self.error(&key, PairProblem::Unknown));
        };
        let Some(value) = value else {
            return Err(self.error(known, PairProblem::NoValue));
        };
        self.list.push((known, value.to_owned()));
        Ok(())
    }

    /// The value of `key`: the last one, if there are several.
    pub fn get(&self, key: &str) -> Option<&OsStr> {
        self.all(key).last()
    }

    /// Every value of `key`, in their order.
    pub fn all(&self, key: &str) -> impl Iterator<Item = &OsStr> {
        self.list
            .iter()
            .filter(move |(known, _)| *known == key)
            .map(|(_, value)| value.as_os_str())
    }

    /// The value of `key` as text.
    pub fn text(&self, key: &str) -> Result<Option<&str>, PairError> {
        self.get(key)
            .map(|value| self.to_text(key, value))
            .transpose()
    }

    /// `value`, which is one of `key`, as text.
    pub fn to_text<'a>(&self, key: &str, value: &'a OsStr) -> Result<&'a str, PairError> {
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
            allowed: self.allowed,
        }
    }

    /// An error about a value of `key`.
    pub fn value_error(
        &self,
        key: &str,
        given: &OsStr,
        reason: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> PairError {
        let problem = PairProblem::Value {
            given: given.to_string_lossy().into_owned(),
            reason: reason.into(),
        };
        self.error(key, problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: &[&str] = &["path", "tag"];

    fn pairs(text: &[u8]) -> Result<Pairs, PairError> {
        Pairs::parse(OsStr::from_bytes(text), KEYS)
    }

    fn error(text: &[u8]) -> String {
        pairs(text).unwrap_err().to_string()
    }

    /// The right column is what the reference makes of the left one.
    #[test]
    fn lists_are_taken_apart() {
        for (list, expected) in [
            ("", &[] as &[&str]),
            (",", &[""]),
            ("a", &["a"]),
            ("a,", &["a"]),
            ("a,b", &["a", "b"]),
            (",a,,b", &["", "a", "", "b"]),
            (r#""a,b",c"#, &["a,b", "c"]),
            (r#"path="/x/a,b""#, &["path=/x/a,b"]),
            (r#"a"b,c"d,e"#, &["ab,cd", "e"]),
            (r#"""a"""#, &["a"]),
            (r"a\,b,c", &["a,b", "c"]),
            (r#""a\"b","c""#, &["a\"b", "c"]),
            (r#"a\"b,c"#, &["a\"b", "c"]),
            (r"a\\,b", &[r"a\", "b"]),
            (r"a\nb", &["anb"]),
            (r"a\", &["a"]),
            (r"a,\", &["a", ""]),
            (r#"a="b,c"#, &["a=b,c"]),
            (r#"a,""#, &["a", ""]),
            ("a\\\u{e9},\u{e9}", &["a\u{e9}", "\u{e9}"]),
        ] {
            assert_eq!(items(OsStr::new(list)), expected, "{list}");
        }
        let not_utf8 = items(OsStr::from_bytes(b"\\\xff\"\xfe,\"\xc3,\xff"));
        let bytes: Vec<_> = not_utf8.iter().map(|item| item.as_bytes()).collect();
        assert_eq!(bytes, [&b"\xff\xfe,\xc3"[..], b"\xff"]);
    }

    #[test]
    fn keys_have_values() {
        let text = b"tag=a=b\\,c,path=no,path= \"x\xff,\",tag=,,";
        let pairs = pairs(text).unwrap();
        assert_eq!(pairs.get("path").unwrap(), OsStr::from_bytes(b" x\xff,"));
        assert_eq!(pairs.all("tag").collect::<Vec<_>>(), ["a=b,c", ""]);
        assert_eq!(pairs.text("tag").unwrap(), Some(""));
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
            error(b"path"),
            "the key path has no value: write path=...; allowed keys: path, tag"
        );
        let error = pairs(b"path=").unwrap().required_path("path").unwrap_err();
        assert_eq!(error.to_string(), "path= is not allowed");
        assert_eq!(error.source().unwrap().to_string(), "it is empty");
        let error = Pairs::parse(OsStr::new("a=b"), &[]).unwrap_err();
        assert_eq!(error.to_string(), "unknown key \"a\"; no keys are allowed");
        let error = pairs(b"tag=x").unwrap().required_path("path").unwrap_err();
        assert!(matches!(error.problem, PairProblem::Missing));
    }
}
