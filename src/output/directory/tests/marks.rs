//! The mark of a run: whose the directory is, and what this run has written.

use std::fs::File;
use std::os::unix::fs::symlink;

use super::mark::{List, Mark, MarkError};
use super::*;
use crate::layout::MARK;
use crate::layout::mark::Marked;

fn marked(directory: &Path) -> Marked {
    Marked::read(File::open(directory.join(MARK)).unwrap()).unwrap()
}

/// Who has it, and that nobody else can.
#[test]
fn one_at_a_time() {
    let temp = directory();
    let first = Bench::new(temp.path(), 8);
    let error = DirectoryWriter::open(&mut testing::kernel(), temp.path())
        .unwrap_err()
        .to_string();
    let says = format!(
        "{}: another butler writes there (process {})",
        temp.path().display(),
        std::process::id()
    );
    assert!(error.starts_with(&says), "{error}");
    drop(first);
    DirectoryWriter::open(&mut testing::kernel(), temp.path()).unwrap();
}

/// The lock is the directory's, not the name's: in a new one the next may
/// begin, and then it is that one's.
#[test]
fn a_directory_that_is_made_again() {
    let temp = directory();
    let path = temp.path().join("logs");
    let mut first = Root::open(&mut Real, &path).unwrap();
    first.restore(&mut Real).unwrap();
    fs::remove_dir_all(&path).unwrap();
    let second = Root::open(&mut Real, &path).unwrap();
    assert_eq!(first.restore(&mut Real), Err(Errno::BUSY));
    drop(second);
    first.restore(&mut Real).unwrap();
    assert!(Root::open(&mut Real, &path).is_err());
}

/// A mark that alone is removed is made again, and locked, but can't say any
/// more what is of this run.
#[test]
fn a_mark_that_is_removed() {
    let temp = directory();
    let mut bench = Bench::new(temp.path(), 8);
    bench.text("a", b"a");
    assert!(!marked(temp.path()).is_earlier("a"));
    assert!(marked(temp.path()).is_earlier("b"));
    fs::remove_file(temp.path().join(MARK)).unwrap();
    bench.text("b", b"b");
    assert!(DirectoryWriter::open(&mut testing::kernel(), temp.path()).is_err());
    for path in ["a", "b", "c"] {
        assert!(!marked(temp.path()).is_earlier(path), "{path}");
    }
}

#[test]
fn what_stands_in_its_place() {
    let temp = directory();
    let (outside, path) = (temp.path().join("outside"), temp.path().join("logs"));
    fs::write(&outside, "untouched").unwrap();
    fs::create_dir(&path).unwrap();
    symlink(&outside, path.join(MARK)).unwrap();
    drop(Root::open(&mut Real, &path).unwrap());
    assert_eq!(fs::read(&outside).unwrap(), b"untouched");
    fs::remove_file(path.join(MARK)).unwrap();
    fs::create_dir(path.join(MARK)).unwrap();
    let error = Root::open(&mut Real, &path).unwrap_err().to_string();
    assert!(error.contains(MARK), "{error}");
}

/// What is in the list, and a line that was cut.
#[test]
fn the_list() {
    let temp = directory();
    let path = temp.path().join(MARK);
    fs::write(&path, "{\"run\":\"1\"}\na\nb/c~\nb/d").unwrap();
    let found = marked(temp.path());
    let earlier = ["a", "b/c~", "b/d", "b"].map(|path| found.is_earlier(path));
    assert_eq!(earlier, [false, false, true, true]);
    fs::write(&path, "").unwrap();
    assert!(marked(temp.path()).is_earlier("a"));

    let root = Root::open(&mut Real, temp.path()).unwrap();
    let taken = Mark::take(&mut Real, &root.directory(), List::Whole).unwrap_err();
    let pid = u64::from(std::process::id());
    assert_eq!(taken, MarkError::InUse(Some(pid)));
}
