//! What earlier runs have left in the directory.
//!
//! A stream takes the place of an earlier one of its name when it is
//! registered, and not with its first byte: it may have none, and then what
//! is there would pass for what it wrote. What only a butler can have made
//! goes: a descriptor, and what it describes. Streams whose names do not come
//! again stay, and are not in the [mark](super::mark) of this run.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Dir, Mode, OFlags, openat};
use rustix::io::Errno;

use super::beneath::{Directory, Obstacle, Root};
use super::disk::remove_datagrams;
use crate::layout::{self, MARK};
use crate::limits::DISPLACED_MAX;
use crate::wire::name::StreamName;

/// A directory in which something was when this run began.
#[derive(Debug)]
pub(super) struct Earlier {
    /// If it is removed there is nothing earlier in what takes its place.
    directory: OwnedFd,
}

impl Earlier {
    /// `None` if nothing is in it but our mark.
    pub fn look(root: &Root) -> io::Result<Option<Self>> {
        let directory = root.directory();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let is_empty = match openat(&directory, ".", flags, Mode::empty()) {
            Ok(readable) => is_empty(readable)?,
            // Who may not look may write all the same.
            Err(_) => false,
        };
        if is_empty {
            return Ok(None);
        }
        let directory = directory.as_fd().try_clone_to_owned()?;
        Ok(Some(Self { directory }))
    }

    /// A stream of that name begins: one of an earlier run goes.
    pub fn make_way(&self, name: &StreamName) -> Result<(), Errno> {
        let (above, last) = layout::split_last(name.as_str());
        let mut directory = Directory::Known(self.directory.as_fd());
        for segment in above {
            match enter(&directory, segment)? {
                Some(next) => directory = next,
                None => return Ok(()),
            }
        }
        let component = layout::component(last);
        for times in 0..DISPLACED_MAX {
            let component = layout::displaced(&component, times);
            let meta = layout::meta_file(&component);
            if directory.has(&meta)? {
                log::debug!("stream {name}: what an earlier run has left of it is removed");
                for file in [&meta, &component] {
                    unless_taken(directory.remove(file))?;
                }
                unless_taken(remove_datagrams(&directory, &component))?;
            }
            // Only behind a directory may the stream have another name.
            match directory.enter(&component) {
                Ok(_) => {}
                Err(Obstacle::Taken | Obstacle::Error(Errno::NOENT)) => break,
                Err(Obstacle::Error(errno)) => return Err(errno),
            }
        }
        Ok(())
    }
}

fn is_empty(directory: OwnedFd) -> io::Result<bool> {
    for entry in Dir::new(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if ![&b"."[..], b"..", MARK.as_bytes()].contains(&&*name) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The directory in which streams of that segment are. None is made.
fn enter(directory: &Directory<'_>, segment: &str) -> Result<Option<Directory<'static>>, Errno> {
    let component = layout::component(segment);
    for times in 0..DISPLACED_MAX {
        match directory.enter(&layout::displaced(&component, times)) {
            Ok(next) => return Ok(Some(next)),
            Err(Obstacle::Taken) => {}
            Err(Obstacle::Error(Errno::NOENT)) => break,
            Err(Obstacle::Error(errno)) => return Err(errno),
        }
    }
    Ok(None)
}

/// What is not ours to remove stays.
fn unless_taken(removed: Result<(), Obstacle>) -> Result<(), Errno> {
    match removed {
        Ok(()) | Err(Obstacle::Taken) => Ok(()),
        Err(Obstacle::Error(errno)) => Err(errno),
    }
}
