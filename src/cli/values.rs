//! The values of single options.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use log::LevelFilter;

use super::advice::told;
use super::options::Sandbox;
use crate::limits;
use crate::random;
use crate::wire::descriptor::{TagError, Tags};
use crate::wire::name::{NameError, ProjectName, StreamName};

/// Why `KEY[=VALUE]` is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagFlagError {
    /// It is not a valid tag.
    Tag(TagError),
    /// The key has a value already.
    Twice,
}

impl fmt::Display for TagFlagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(error) => write!(f, "{}; wanted is KEY or KEY=VALUE", told(error)),
            Self::Twice => f.write_str("it is set twice"),
        }
    }
}

impl std::error::Error for TagFlagError {}

/// Adds the tag `KEY[=VALUE]`; without a value it is empty. White space around
/// it is not part of it, as in the reference.
pub fn add_tag(tags: &mut Tags, text: &str) -> Result<(), TagFlagError> {
    let text = text.trim();
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    // Which of two values would count is anybody's guess; the reference
    // refuses it too.
    if tags.iter().any(|(known, _)| known == key) {
        return Err(TagFlagError::Twice);
    }
    tags.insert(key, value).map_err(TagFlagError::Tag)
}

/// Reads a boolean as Go does.
pub fn boolean(text: &OsStr) -> Result<bool, &'static str> {
    match text.as_bytes() {
        b"1" | b"t" | b"T" | b"true" | b"TRUE" | b"True" => Ok(true),
        b"0" | b"f" | b"F" | b"false" | b"FALSE" | b"False" => Ok(false),
        _ => Err("it must be true or false"),
    }
}

/// Reads a level of the log.
pub fn log_level(text: &str) -> Result<LevelFilter, &'static str> {
    match text {
        "debug" => Ok(LevelFilter::Debug),
        "info" => Ok(LevelFilter::Info),
        "warning" => Ok(LevelFilter::Warn),
        "error" => Ok(LevelFilter::Error),
        _ => Err("it must be debug, info, warning or error"),
    }
}

/// Reads the number of a user.
pub fn uid(text: &str) -> Result<u32, &'static str> {
    // The largest number stands for no user.
    match text.parse() {
        Ok(uid) if uid != u32::MAX && !text.starts_with('+') => Ok(uid),
        _ => Err("it must be the number of a user, as id -u prints it"),
    }
}

/// Reads whether there is a sandbox.
pub fn sandbox(text: &str) -> Result<Sandbox, &'static str> {
    match text {
        "auto" => Ok(Sandbox::Auto),
        "off" => Ok(Sandbox::Off),
        _ => Err("it must be auto or off"),
    }
}

/// Reads the name of a project.
pub fn project(text: &str) -> Result<ProjectName, &'static str> {
    ProjectName::new(text)
        .map_err(|_| "it must be a lower-case letter, then lower-case letters, digits, _ and -")
}

/// A path, or none if it is empty: scripts pass on variables that are not set.
pub fn path(value: OsString) -> Option<PathBuf> {
    (!value.is_empty()).then(|| value.into())
}

/// The path of `unix:PATH`, made absolute: a client need not have our working
/// directory.
pub fn stream_server(uri: &OsStr) -> Result<PathBuf, String> {
    let path = uri
        .as_bytes()
        .strip_prefix(b"unix:")
        .filter(|path| !path.is_empty())
        .ok_or("it must be unix:PATH, a Unix socket")?;
    let path = Path::new(OsStr::from_bytes(path));
    let path = std::path::absolute(path)
        .map_err(|error| format!("the current directory is not known: {error}"))?;
    let len = path.as_os_str().len();
    if len > limits::SOCKET_PATH_MAX {
        return Err(format!(
            "the socket's path, made absolute, has {len} bytes, more than {}",
            limits::SOCKET_PATH_MAX
        ));
    }
    Ok(path)
}

/// The name of a stream that is read from `path`, if it is given none. As in
/// the reference the whole path is one segment: `/var/log/x` becomes
/// `file:_var_log_x`.
pub fn name_of_file(path: &Path) -> Result<StreamName, NameError> {
    StreamName::sanitized(&one_segment(path.as_os_str()), "file:")
}

/// The command that is the JSON array of strings in the file `path`.
pub fn command_of_json(path: &Path) -> Result<Vec<OsString>, String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let command: Vec<String> = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    if command.is_empty() {
        return Err("the array is empty".into());
    }
    Ok(command.into_iter().map(OsString::from).collect())
}

/// `butler/users/USER/RANDOM`, where USER is a name, or else the number.
pub fn default_prefix(user: Option<OsString>) -> StreamName {
    let random = random::segment();
    user.filter(|user| !user.is_empty())
        .and_then(|user| prefix_of(&one_segment(&user), &random).ok())
        .or_else(|| {
            let uid = rustix::process::getuid().as_raw();
            prefix_of(&uid.to_string(), &random).ok()
        })
        .expect("digits make a valid name")
}

fn prefix_of(user: &str, random: &str) -> Result<StreamName, NameError> {
    StreamName::sanitized(&format!("butler/users/{user}/{random}"), "s_")
}

fn one_segment(text: &OsStr) -> String {
    text.to_string_lossy().replace('/', "_")
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn tags() {
        let mut tags = Tags::default();
        for text in ["a", "b=", "c=d=e", " x/y= z\n"] {
            assert_eq!(add_tag(&mut tags, text), Ok(()), "{text}");
        }
        assert_eq!(
            tags.iter().collect::<Vec<_>>(),
            [("a", ""), ("b", ""), ("c", "d=e"), ("x/y", " z")]
        );
        assert_eq!(add_tag(&mut tags, "a=1"), Err(TagFlagError::Twice));
        for text in ["", " ", "=x", "a b=c", &format!("v={}", "x".repeat(4097))] {
            let error = add_tag(&mut tags, text).unwrap_err().to_string();
            assert!(error.contains("wanted is KEY or KEY=VALUE"), "{error}");
        }
    }

    #[test]
    fn booleans_and_levels() {
        for (text, value) in [
            ("true", Ok(true)),
            ("1", Ok(true)),
            ("F", Ok(false)),
            ("False", Ok(false)),
            ("", Err("it must be true or false")),
            ("no", Err("it must be true or false")),
        ] {
            assert_eq!(boolean(OsStr::new(text)), value, "{text}");
        }
        assert_eq!(uid("1000"), Ok(1000));
        for text in ["", "-1", "+1", "root", "4294967295", "4294967296"] {
            assert!(uid(text).is_err(), "{text}");
        }
        assert_eq!(sandbox("off"), Ok(Sandbox::Off));
        assert!(sandbox("on").is_err());
        assert_eq!(log_level("warning"), Ok(LevelFilter::Warn));
        for text in ["", "warn", "Info", "off"] {
            assert!(log_level(text).is_err(), "{text}");
        }
    }

    #[test]
    fn socket_paths() {
        let here = std::env::current_dir().unwrap();
        let made = |uri: &str| stream_server(OsStr::new(uri));
        assert_eq!(made("unix:/run/x.sock"), Ok("/run/x.sock".into()));
        if here.as_os_str().len() < 90 {
            assert_eq!(made("unix:./x.sock"), Ok(here.join("x.sock")));
        }
        for uri in ["", "unix:", "/run/x", "tcp:x:1", "UNIX:/x", "net.pipe:x"] {
            assert!(made(uri).unwrap_err().contains("unix:PATH"), "{uri}");
        }
        assert!(made(&format!("unix:/{}", "x".repeat(103))).is_ok());
        let error = made(&format!("unix:/{}", "x".repeat(104))).unwrap_err();
        assert!(error.contains("105 bytes, more than 104"), "{error}");
        let not_utf8 = OsString::from_vec(b"unix:/\xff".to_vec());
        assert_eq!(
            stream_server(&not_utf8).unwrap().as_os_str().as_bytes(),
            b"/\xff"
        );
    }

    #[test]
    fn names_made_of_paths_and_users() {
        for (path, name) in [
            ("build.log", "build.log"),
            ("/var/log/x", "file:_var_log_x"),
            ("a/b c", "a_b_c"),
            ("./x", "file:._x"),
            ("\u{e9}", "file:_"),
        ] {
            assert_eq!(name_of_file(Path::new(path)).unwrap().as_str(), name);
        }
        assert!(name_of_file(Path::new(&"x".repeat(4097))).is_err());

        let uid = rustix::process::getuid().as_raw().to_string();
        for (user, segment) in [
            (Some("ann".into()), "ann"),
            (Some("a/b c".into()), "a_b_c"),
            (Some("_x".into()), "s__x"),
            (Some(OsString::new()), uid.as_str()),
            (Some("x".repeat(5000).into()), uid.as_str()),
            (None, uid.as_str()),
        ] {
            let prefix = default_prefix(user);
            let parts: Vec<_> = prefix.as_str().split('/').collect();
            assert_eq!(parts[..3], ["butler", "users", segment]);
            assert_eq!(parts[3].len(), 32);
            assert_eq!(parts.len(), 4);
        }
    }
}
