//! A directory, and what is beneath it: by paths of any length, and whatever
//! links are in it.
//!
//! A path here is relative to the directory, with `/` between its parts; the
//! empty one is the directory itself. The kernel takes paths of less than
//! 4,096 bytes, and an output's may be longer: they are walked part by part.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Statx, StatxFlags, openat, statx};
use rustix::io::Errno;

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
/// A FIFO must not hold us up before we see what it is.
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// A directory that is open.
#[derive(Debug)]
pub(super) struct Tree {
    path: PathBuf,
    root: OwnedFd,
}

/// Tells a file from one that took its name, even one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct FileId {
    device: (u32, u32),
    inode: u64,
    /// When it was made, if the file system knows.
    made: (i64, u32),
}

/// What something in a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileKind {
    File,
    Directory,
    Other,
}

impl FileId {
    pub fn of(file: impl AsFd) -> io::Result<Self> {
        let flags = StatxFlags::INO | StatxFlags::BTIME;
        Ok(Self::new(&statx(file, "", AtFlags::EMPTY_PATH, flags)?))
    }

    fn new(found: &Statx) -> Self {
        Self {
            device: (found.stx_dev_major, found.stx_dev_minor),
            inode: found.stx_ino,
            made: (found.stx_btime.tv_sec, found.stx_btime.tv_nsec),
        }
    }
}

impl Tree {
    /// Opens the directory at `path`, which may be a link to it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = DIRECTORY - OFlags::NOFOLLOW;
        let root = openat(CWD, path, flags, Mode::empty())?;
        let path = path.to_owned();
        Ok(Self { path, root })
    }

    /// That path as people know it.
    pub fn shown(&self, path: &str) -> PathBuf {
        self.path.join(path)
    }

    /// Calls `each` with the name of everything in the directory at `path`.
    /// What is not ASCII is left out: no output has such names.
    pub fn list(&self, path: &str, mut each: impl FnMut(&str, FileKind)) -> io::Result<()> {
        let directory = match path {
            "" => openat(&self.root, ".", DIRECTORY, Mode::empty())?,
            path => self.open_at(path, DIRECTORY)?,
        };
        for entry in Dir::new(directory)? {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().ok().filter(|it| it.is_ascii()) else {
                continue;
            };
            if name == "." || name == ".." {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => self.kind(&join(path, name))?,
                known => kind_of(known),
            };
            each(name, kind);
        }
        Ok(())
    }

    /// The file at `path`, which must be one, and not a link to one.
    pub fn file(&self, path: &str) -> io::Result<File> {
        let file = File::from(self.open_at(path, FILE)?);
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(io::Error::other("it is not a file")),
        }
    }

    /// Which file has the path; `None`: none has.
    pub fn file_id(&self, path: &str) -> io::Result<Option<FileId>> {
        match self.open_at(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC) {
            Ok(file) => FileId::of(file).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    fn kind(&self, path: &str) -> io::Result<FileKind> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(self.open_at(path, flags)?);
        let mode = rustix::fs::fstat(&file)?.st_mode;
        Ok(kind_of(FileType::from_raw_mode(mode)))
    }

    /// Opens what has the path, step by step, without following any link.
    fn open_at(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let way = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut at = None;
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            let flags = if parts.peek().is_some() { way } else { flags };
            let from = at.as_ref().unwrap_or(&self.root);
            at = Some(openat(from, part, flags, Mode::empty())?);
        }
        at.ok_or(Errno::NOENT)
    }
}

/// `name` in the directory at `path`.
pub(super) fn join(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        path => format!("{path}/{name}"),
    }
}

fn kind_of(file_type: FileType) -> FileKind {
    match file_type {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Directory,
        _ => FileKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn paths_of_any_length_and_no_links() {
        let scratch = tempfile::tempdir().unwrap();
        let tree = Tree::open(scratch.path()).unwrap();
        // So deep that no path leads there.
        let part = "d".repeat(200);
        let mut at = openat(CWD, scratch.path(), DIRECTORY, Mode::empty()).unwrap();
        let mut path = String::new();
        for _ in 0..50 {
            rustix::fs::mkdirat(&at, &*part, Mode::RWXU).unwrap();
            at = openat(&at, &*part, DIRECTORY, Mode::empty()).unwrap();
            path = join(&path, &part);
        }
        let flags = OFlags::WRONLY | OFlags::CREATE;
        let file = openat(&at, "file", flags, Mode::RUSR).unwrap();
        rustix::io::write(&file, b"deep").unwrap();
        let deep = join(&path, "file");
        assert!(deep.len() > 10_000);
        assert_eq!(
            io::read_to_string(tree.file(&deep).unwrap()).unwrap(),
            "deep"
        );
        let id = FileId::of(&file).unwrap();
        assert_eq!(tree.file_id(&deep).unwrap(), Some(id));
        assert_eq!(tree.file_id("none").unwrap(), None);
        let mut found = Vec::new();
        tree.list(&path, |name, kind| found.push((name.to_owned(), kind)))
            .unwrap();
        assert_eq!(found, [("file".to_owned(), FileKind::File)]);
        assert!(tree.file(&path).is_err());

        symlink(&part, scratch.path().join("link")).unwrap();
        assert!(tree.list("link", |_, _| ()).is_err());
        assert!(tree.file(&format!("link/{part}")).is_err());
        assert_eq!(tree.kind("link").unwrap(), FileKind::Other);
        assert_eq!(tree.kind(&part).unwrap(), FileKind::Directory);
        remove_deep(scratch.path());
    }

    /// What removes a scratch directory does not go so deep by path.
    fn remove_deep(path: &Path) {
        let removed = std::process::Command::new("rm")
            .arg("-rf")
            .arg(path)
            .status();
        assert!(removed.unwrap().success());
    }
}
