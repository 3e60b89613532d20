//! What earlier runs have left in the directory.
//!
//! A stream takes the place of an earlier one of its name when it is
//! registered, and not with its first byte: it may have none, and then what
//! is there would pass for what it wrote. What only a butler can have made
//! goes: a descriptor, and what it describes. Streams whose names do not come
//! again stay, and are not in the [mark](super::mark) of this run.

use std::io;

use rustix::fs::{Dir, OFlags};
use rustix::io::Errno;

use super::beneath::{Directory, Obstacle, Root};
use super::place::remove_datagrams;
use crate::edge::files::Files;
use crate::layout::{self, MARK};
use crate::limits::DISPLACED_MAX;
use crate::wire::name::StreamName;

/// A directory in which something was when this run began.
#[derive(Debug)]
pub(super) struct Earlier<D> {
    /// If it is removed there is nothing earlier in what takes its place.
    directory: D,
}

impl<D: 'static> Earlier<D> {
    /// `None` if nothing is in it but our mark.
    pub fn look<F: Files<Fd = D>>(io: &mut F, root: &Root<D>) -> io::Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let is_empty = match root.directory().again(io, flags) {
            Ok(readable) => is_empty::<F>(&readable)?,
            // Who may not look may write all the same.
            Err(_) => false,
        };
        if is_empty {
            return Ok(None);
        }
        let directory = root
            .directory()
            .again(io, OFlags::PATH | OFlags::DIRECTORY)?;
        Ok(Some(Self { directory }))
    }

    /// A stream of that name begins: one of an earlier run goes.
    pub fn make_way<F: Files<Fd = D>>(&self, io: &mut F, name: &StreamName) -> Result<(), Errno> {
        let (above, last) = layout::split_last(name.as_str());
        let mut directory = Directory::Known(&self.directory);
        for segment in above {
            match enter(io, &directory, segment)? {
                Some(next) => directory = next,
                None => return Ok(()),
            }
        }
        let component = layout::component(last);
        for times in 0..DISPLACED_MAX {
            let component = layout::displaced(&component, times);
            let meta = layout::meta_file(&component);
            if directory.has(io, &meta)? {
                log::debug!("stream {name}: what an earlier run has left of it is removed");
                for file in [&meta, &component] {
                    unless_taken(directory.remove(io, file))?;
                }
                unless_taken(remove_datagrams(io, &directory, &component))?;
            }
            // Only behind a directory may the stream have another name.
            match directory.enter(io, &component) {
                Ok(_) => {}
                Err(Obstacle::Taken | Obstacle::Error(Errno::NOENT)) => break,
                Err(Obstacle::Error(errno)) => return Err(errno),
            }
        }
        Ok(())
    }
}

fn is_empty<F: Files>(directory: &F::Fd) -> io::Result<bool> {
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if ![&b"."[..], b"..", MARK.as_bytes()].contains(&&*name) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The directory in which streams of that segment are. None is made.
fn enter<F: Files>(
    io: &mut F,
    directory: &Directory<'_, F::Fd>,
    segment: &str,
) -> Result<Option<Directory<'static, F::Fd>>, Errno> {
    let component = layout::component(segment);
    for times in 0..DISPLACED_MAX {
        match directory.enter(io, &layout::displaced(&component, times)) {
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
