//! Where logs go if nothing is said: every run has a directory of its own in
//! `butler-logs`, and `latest` there leads to the one that began last.
//!
//! ```text
//! butler-logs/20250102T030405.678Z-4711/   the time (UTC) and the process
//! butler-logs/latest -> 20250102T030405.678Z-4711
//! ```
//!
//! So runs at the same time, or inside each other, don't disturb each other. Of
//! those inside each other `latest` leads to the outermost: that is the one that
//! its user began.
//! None of them is ever removed: that is for whoever wants the room.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Component, Path, PathBuf};

use prost_types::Timestamp;

use crate::edge::clock;
use crate::layout::MARK;

/// The directory of runs, in the current one.
pub(super) const RUNS: &str = "butler-logs";
/// Leads to the run that began last.
const LATEST: &str = "latest";

/// A run's directory. Dropped before the run has [begun](Self::begin), it is
/// removed again.
#[derive(Debug)]
pub(super) struct RunDirectory {
    runs: PathBuf,
    name: String,
    has_begun: bool,
    /// It is part of a run in the same place.
    is_inner: bool,
}

impl RunDirectory {
    /// Makes a new one in `runs`, which is made too if it is not there.
    pub fn make(runs: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(runs)?;
        let stem = stem(clock::now().wall, std::process::id());
        // Processes in containers may share a number, and the directory.
        for copy in 1.. {
            let name = match copy {
                1 => stem.clone(),
                _ => format!("{stem}-{copy}"),
            };
            match DirBuilder::new().mode(0o700).create(runs.join(&name)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => {
                    return made.map(|()| Self {
                        runs: runs.into(),
                        name,
                        has_begun: false,
                        is_inner: false,
                    });
                }
            }
        }
        unreachable!("there are not so many processes")
    }

    pub fn path(&self) -> PathBuf {
        self.runs.join(&self.name)
    }

    /// Takes what a butler around this run has told of its output: `latest`
    /// stays where it is if that is a run in the same place.
    pub fn is_part_of(&mut self, outer: &OsStr) {
        let Some(path) = outer.as_bytes().strip_prefix(b"file://") else {
            return;
        };
        let place = |path: Option<&Path>| fs::canonicalize(path?).ok();
        let runs = place(Path::new(OsStr::from_bytes(path)).parent());
        self.is_inner = runs.is_some() && runs == place(Some(&self.runs));
    }

    /// The run has begun: `latest` leads to it from now on.
    pub fn begin(&mut self) {
        self.has_begun = true;
        if self.is_inner {
            return;
        }
        let latest = self.runs.join(LATEST);
        let is_ours = fs::symlink_metadata(&latest).map_or_else(
            |error| error.kind() == io::ErrorKind::NotFound,
            |found| found.is_symlink(),
        );
        let led = match is_ours {
            true => self.lead(&latest),
            false => Err(io::Error::other("something else has that name")),
        };
        if let Err(error) = led {
            let (latest, path) = (latest.display(), self.path());
            log::warn!("{latest} does not lead to {}: {error}", path.display());
        }
    }

    /// Whoever looks finds the link as it was or as it is, never none.
    fn lead(&self, latest: &Path) -> io::Result<()> {
        let draft = self.runs.join(format!(".{LATEST}-{}", self.name));
        symlink(&self.name, &draft)?;
        fs::rename(&draft, latest).inspect_err(|_| {
            // That error is the one to tell.
            let _ = fs::remove_file(&draft);
        })
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        if self.has_begun {
            return;
        }
        // Nothing was written but the mark. What can't be removed has
        // something in it, or is gone already.
        let _ = fs::remove_file(self.path().join(MARK));
        let _ = fs::remove_dir(self.path());
        let _ = fs::remove_dir(&self.runs);
    }
}

/// Sorts by time. Without colons, which other systems don't have in names.
fn stem(begun: Timestamp, pid: u32) -> String {
    let millis = begun.nanos / 1_000_000;
    let whole = Timestamp { nanos: 0, ..begun };
    let time = whole.to_string().replace(['-', ':', 'Z'], "");
    format!("{time}.{millis:03}Z-{pid}")
}

/// Is it the name of a run's directory?
fn is_name(name: &OsStr) -> bool {
    let shape = |byte: &u8| match byte {
        b'0'..=b'9' => b'0',
        other => *other,
    };
    let shape: Vec<u8> = name.as_bytes().iter().map(shape).collect();
    shape.starts_with(b"00000000T000000.000Z-0")
}

/// The directory of the last run in `runs`: where `latest` leads, or else the
/// last one by name that a butler has marked.
pub(super) fn last(runs: &Path) -> Option<PathBuf> {
    latest(runs).or_else(|| {
        let marked = fs::read_dir(runs).ok()?.flatten().filter(|entry| {
            entry.file_type().is_ok_and(|it| it.is_dir())
                && is_name(&entry.file_name())
                && is_output(&entry.path())
        });
        marked.map(|entry| entry.path()).max()
    })
}

/// What is to be read at that path: if it is a directory of runs, the last
/// one's. A link is followed once, and not again by each call that opens
/// something: `latest` may lead elsewhere by then.
pub(super) fn meant(path: &Path) -> PathBuf {
    // Without a slash behind it, which would follow the link.
    let path: PathBuf = path.components().collect();
    if is_output(&path) {
        let target = fs::read_link(&path).ok();
        let above = path.parent().unwrap_or(Path::new(""));
        return target.map_or(path.clone(), |target| above.join(target));
    }
    last(&path).unwrap_or(path)
}

fn latest(runs: &Path) -> Option<PathBuf> {
    let name = fs::read_link(runs.join(LATEST)).ok()?;
    let mut parts = name.components();
    let is_beside = matches!(
        (parts.next(), parts.next()),
        (Some(Component::Normal(_)), None)
    );
    let path = runs.join(&name);
    (is_beside && path.is_dir()).then_some(path)
}

/// Has a butler written right into that directory?
fn is_output(path: &Path) -> bool {
    fs::symlink_metadata(path.join(MARK)).is_ok_and(|found| found.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_by_time() {
        let at = |seconds, nanos| stem(Timestamp { seconds, nanos }, 7);
        assert_eq!(at(1_735_787_045, 6_999_999), "20250102T030405.006Z-7");
        assert!(is_name(OsStr::new(&at(1_735_787_045, 0))));
        assert!(!is_name(OsStr::new("20250102T030405Z-7")));
        assert!(at(1_735_787_045, 6_999_999) < at(1_735_787_045, 10_000_000));
        assert!(at(1_735_787_045, 999_999_999) < at(1_735_787_046, 0));
    }

    #[test]
    fn two_of_the_same_moment_are_two() {
        let temp = tempfile::tempdir().unwrap();
        let runs = temp.path().join("runs");
        let made: Vec<_> = (0..300)
            .map(|_| RunDirectory::make(&runs).unwrap())
            .collect();
        let mut paths: Vec<_> = made.iter().map(RunDirectory::path).collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), 300);
        drop(made);
        assert!(!runs.exists());
    }

    #[test]
    fn what_latest_leads_to() {
        let temp = tempfile::tempdir().unwrap();
        let runs = temp.path();
        assert_eq!(last(runs), None);
        let mut first = RunDirectory::make(runs).unwrap();
        let mut second = RunDirectory::make(runs).unwrap();
        assert_eq!(last(runs), None);
        second.begin();
        assert_eq!(last(runs), Some(second.path()));
        first.begin();
        assert_eq!(last(runs), Some(first.path()));

        // To follow it is not to follow the link.
        fs::write(first.path().join(MARK), "").unwrap();
        for path in ["", "latest", "latest/", "latest/."] {
            assert_eq!(meant(&runs.join(path)), first.path(), "{path}");
        }
        assert_eq!(meant(&runs.join("else")), runs.join("else"));
        fs::remove_file(first.path().join(MARK)).unwrap();

        // Gone, and somebody else's.
        fs::write(second.path().join(MARK), "").unwrap();
        fs::remove_dir(first.path()).unwrap();
        assert_eq!(last(runs), Some(second.path()));
        for elsewhere in ["..", "/", "a/../.."] {
            fs::remove_file(runs.join(LATEST)).unwrap();
            symlink(elsewhere, runs.join(LATEST)).unwrap();
            assert_eq!(last(runs), Some(second.path()), "{elsewhere}");
        }
        fs::remove_file(runs.join(LATEST)).unwrap();
        fs::write(runs.join(LATEST), "a user's").unwrap();
        RunDirectory::make(runs).unwrap().begin();
        assert_eq!(fs::read(runs.join(LATEST)).unwrap(), b"a user's");
        // No draft is left.
        let hidden = fs::read_dir(runs).unwrap().flatten();
        let hidden = hidden.filter(|it| it.file_name().as_encoded_bytes()[0] == b'.');
        assert_eq!(hidden.count(), 0);
    }
}
