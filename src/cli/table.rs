//! The subcommands, and how options may be spelled.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::args::option::{OPTIONS, Opt, Takes, find};

/// What butler can be told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subcommand {
    /// Serve streams until a signal comes; the default.
    Serve,
    /// Run a command and capture it.
    Run,
    /// Deliver one file, or stdin, as one stream.
    Stream,
    /// Deliver what butlers have left in spools.
    Send,
    /// Read back what an output holds.
    Cat,
    /// Print a help text.
    Help,
    /// Print name and version.
    Version,
}

impl Subcommand {
    /// All of them, as help lists them.
    pub const ALL: [Self; 7] = [
        Self::Serve,
        Self::Run,
        Self::Stream,
        Self::Send,
        Self::Cat,
        Self::Help,
        Self::Version,
    ];

    /// As the command line writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Run => "run",
            Self::Stream => "stream",
            Self::Send => "send",
            Self::Cat => "cat",
            Self::Help => "help",
            Self::Version => "version",
        }
    }

    /// The subcommand of that name, or the only one whose name begins like
    /// that, in any case. `send` has no shorter name: `se` is `serve`, as in the
    /// reference.
    pub fn from_name(name: &str) -> Option<Self> {
        let whole = Self::ALL.into_iter().find(|one| one.as_str() == name);
        let begins = |one: &Self| {
            if *one == Self::Send && name.len() < one.as_str().len() {
                return false;
            }
            let start = one.as_str().get(..name.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(name))
        };
        let mut meant = Self::ALL.into_iter().filter(begins);
        whole.or_else(|| meant.next().filter(|_| meant.next().is_none()))
    }
}

/// Options that are refused with a sentence of their own: those of the
/// reference, in any of its versions, that have no meaning here, and some that
/// its users may expect.
pub static NOT_SUPPORTED: [&str; 14] = [
    "cpuprofile",
    "env",
    "io-keepalive-stderr",
    "io-keepalive-stdout",
    "log-file",
    "output-workers",
    "profile-bind-http",
    "profile-cpu",
    "profile-heap",
    "profile-heap-frequency",
    "profile-output-dir",
    "profile-port",
    "profile-trace",
    "stdin",
];

/// Makes of Go's spellings the usual ones: `-name` and `-name=value` become
/// `--name…`, and what begins COMMAND gets `--` before it. Values, and all that
/// follows `--`, stay as they are.
pub fn normalise(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args = args.into_iter();
    let mut out = Vec::new();
    // Once its name has come: what it is, or nothing that is known.
    let mut subcommand: Option<Option<Subcommand>> = None;
    while let Some(arg) = args.next() {
        if arg == "--" {
            // The reference reads the options of butler and those of the
            // subcommand apart, and this would end the former only.
            if subcommand.is_none() {
                continue;
            }
            out.push(arg);
            break;
        }
        if let Some((option, wants_value)) = as_long(&arg) {
            out.push(option);
            out.extend(wants_value.then(|| args.next()).flatten());
            continue;
        }
        let is_option = arg == "-h" || arg == "-V";
        if !is_option {
            match &subcommand {
                None => subcommand = Some(Subcommand::from_name(&arg.to_string_lossy())),
                Some(Some(Subcommand::Run)) => {
                    out.extend(["--".into(), arg]);
                    break;
                }
                Some(_) => {}
            }
        }
        out.push(arg);
    }
    out.extend(args);
    out
}

/// `arg` with two dashes, if it is a long option, and whether the next argument
/// is its value.
fn as_long(arg: &OsStr) -> Option<(OsString, bool)> {
    let bytes = arg.as_bytes();
    if bytes.len() < 2 || bytes[0] != b'-' || arg == "-h" || arg == "-V" {
        return None;
    }
    let body = bytes.strip_prefix(b"--").unwrap_or(&bytes[1..]);
    let wants_value = std::str::from_utf8(body)
        .ok()
        .and_then(find)
        .is_some_and(|option| matches!(option.takes, Takes::Value(_)));
    Some((OsString::from_vec([b"--", body].concat()), wants_value))
}

/// Names that other programs have for what an option here does.
const ELSEWHERE: [(&str, &str); 4] = [
    ("C", "chdir"),
    ("v", "log-level debug"),
    ("debug", "log-level debug"),
    ("verbose", "log-level debug"),
];

/// At most so many options are suggested.
const MEANT_MAX: usize = 4;

/// Which options may be meant by `name`, which is none: those that it is the
/// beginning of, as a single letter is, or else the one whose name is close to
/// it. Only options of the subcommand, if that is known.
pub fn meant(name: &str, subcommand: Option<Subcommand>) -> Vec<&'static str> {
    let knows = |option: &&Opt| subcommand.is_none_or(|one| option.of.contains(&one));
    let names = || OPTIONS.iter().filter(knows).map(|option| option.name);
    let elsewhere = ELSEWHERE.into_iter().filter(|(known, _)| *known == name);
    let longer = names().filter(|known| !name.is_empty() && known.starts_with(name));
    let known = |option: &str| names().any(|known| option.split(' ').next() == Some(known));
    let begun: Vec<_> = elsewhere
        .map(|(_, option)| option)
        .filter(|option| known(option))
        .chain(longer)
        .take(MEANT_MAX)
        .collect();
    match begun.as_slice() {
        [] => nearest(name, names()).into_iter().collect(),
        _ => begun,
    }
}

/// Which of `candidates` is meant by `name`, if one is close enough to it.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // One letter is close to every other one.
    let distance_max = 2.min(name.chars().count().saturating_sub(1));
    candidates
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|&(distance, _)| distance <= distance_max)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// The least number of letters to insert, remove and replace (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::Subcommand::{Cat, Run, Send, Serve, Stream};
    use super::*;

    fn normalised(args: &[&str]) -> Vec<String> {
        normalise(args.iter().map(OsString::from))
            .into_iter()
            .map(|arg| arg.into_string().unwrap())
            .collect()
    }

    #[test]
    fn spellings() {
        for (given, made) in [
            (&["-tag", "a"] as &[&str], &["--tag", "a"] as &[&str]),
            (&["-tag=-a", "--tag=b"], &["--tag=-a", "--tag=b"]),
            (&["-h", "-V", "-"], &["-h", "-V", "-"]),
            (&["-help", "--", "run"], &["--help", "run"]),
            // A value is verbatim, whatever it looks like.
            (&["-tag", "-output", "-tee"], &["--tag", "-output", "--tee"]),
            (&["--prefix", "--", "-tee"], &["--prefix", "--", "--tee"]),
            (&["--tag", "run", "-tee"], &["--tag", "run", "--tee"]),
            (&["-tag"], &["--tag"]),
            // A switch has none after it.
            (&["-tee", "-tag", "-x"], &["--tee", "--tag", "-x"]),
            // Nothing after the beginning of COMMAND is touched.
            (
                &["run", "-tee", "ls", "-l", "-tag", "--"],
                &["run", "--tee", "--", "ls", "-l", "-tag", "--"],
            ),
            (
                &["run", "--", "-x", "-tee", "--"],
                &["run", "--", "-x", "-tee", "--"],
            ),
            (&["run", "-", "-tee"], &["run", "--", "-", "-tee"]),
            (&["run", "-h", "ls"], &["run", "-h", "--", "ls"]),
            (&["run", "", "-x"], &["run", "--", "", "-x"]),
            (&["r", "x", "-tee"], &["r", "--", "x", "-tee"]),
            // Other subcommands take options anywhere, until `--`.
            (
                &["cat", "x", "-json", "--", "-raw"],
                &["cat", "x", "--json", "--", "-raw"],
            ),
            (
                &["-tee", "--", "run", "-tee", "--", "-x"],
                &["--tee", "run", "--tee", "--", "-x"],
            ),
            (&["--", "cat", "--", "--"], &["cat", "--", "--"]),
        ] {
            assert_eq!(normalised(given), made, "{given:?}");
        }
        let not_utf8 = OsString::from_vec(b"-chdir=\xff".to_vec());
        assert_eq!(
            normalise([not_utf8]),
            [OsString::from_vec(b"--chdir=\xff".to_vec())]
        );
    }

    #[test]
    fn subcommands_by_the_beginning_of_their_names() {
        for (name, meant) in [
            ("serve", Some(Serve)),
            ("ser", Some(Serve)),
            ("SE", Some(Serve)),
            ("sen", None),
            ("SEND", Some(Send)),
            ("st", Some(Stream)),
            ("r", Some(Run)),
            ("Run", Some(Run)),
            ("v", Some(Subcommand::Version)),
            ("s", None),
            ("", None),
            ("serves", None),
            ("\u{e9}", None),
        ] {
            assert_eq!(Subcommand::from_name(name), meant, "{name}");
        }
    }

    #[test]
    fn suggestions() {
        let nearest = |name| nearest(name, OPTIONS.iter().map(|option| option.name));
        assert_eq!(nearest("outptu"), Some("output"));
        assert_eq!(nearest("tags"), Some("tag"));
        assert_eq!(nearest("stdeer"), Some("stderr"));
        assert_eq!(nearest("stream_server"), Some("stream-server"));
        assert_eq!(nearest("x"), None);
        assert_eq!(nearest(""), None);
        assert_eq!(nearest("verbose"), None);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }

    #[test]
    fn letters_and_beginnings() {
        for (name, subcommand, options) in [
            ("f", Some(Cat), &["follow"] as &[&str]),
            ("C", Some(Run), &["chdir"]),
            ("C", Some(Cat), &[]),
            ("v", Some(Serve), &["log-level debug", "version"]),
            ("verbose", Some(Subcommand::Help), &[]),
            ("time", Some(Cat), &["timestamps"]),
            ("max", None, &["max-buffered", "max-stream-size"]),
            ("outptu", Some(Run), &["output"]),
            ("outptu", Some(Cat), &[]),
            ("z", None, &[]),
            ("", None, &[]),
        ] {
            assert_eq!(meant(name, subcommand), options, "{name}");
        }
        assert_eq!(meant("s", None).len(), MEANT_MAX);
    }

    #[test]
    fn no_name_stands_twice() {
        let mut names: Vec<_> = OPTIONS.iter().map(|option| option.name).collect();
        names.extend(NOT_SUPPORTED);
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
