//! The files of streams: where they are, which are open, and how far each is
//! written.

use std::os::fd::OwnedFd;

use ahash::AHashMap;
use rustix::fs::fstat;
use rustix::io::{Errno, write};

use super::beneath::{Directory, Identity, Obstacle, Root};
use super::layout;
use super::meta;
use super::open_files::{Handle, OpenFiles};
use crate::bundle::StreamInfo;
use crate::wire::descriptor::StreamType;

/// How often a name may be displaced before we wait for a better time.
pub(super) const DISPLACED_MAX: usize = 32;

/// A stream, as it is on disk.
#[derive(Debug, Default)]
pub(super) struct StreamFiles {
    /// Where its files are; `None` until its first bundle.
    place: Option<Place>,
    /// The file that is being written, open or not.
    current: Option<Current>,
    /// Datagrams that are complete.
    datagrams: u64,
}

#[derive(Debug)]
struct Place {
    /// The path of its directory, as it is on disk; empty: the root.
    directory: String,
    component: String,
}

#[derive(Debug)]
struct Current {
    name: String,
    identity: Identity,
    handle: Handle,
    /// Bytes in it.
    written: u64,
}

/// The root, and what is open beneath it.
#[derive(Debug)]
pub(super) struct Disk {
    root: Root,
    open: OpenFiles,
    /// Which segment has a shortened name, by path: two might share a hash.
    shortened: AHashMap<String, Box<str>>,
    /// Bytes ever written.
    written: u64,
}

impl Disk {
    pub fn new(root: Root, open_files: usize) -> Self {
        Self {
            root,
            open: OpenFiles::new(open_files),
            shortened: AHashMap::default(),
            written: 0,
        }
    }

    /// Bytes ever written.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Appends to the stream's file from `data[*done..]` on, and counts in
    /// `done`, so that it can be called again after an error.
    pub fn append(
        &mut self,
        info: &StreamInfo,
        stream: &mut StreamFiles,
        data: &[u8],
        done: &mut usize,
    ) -> Result<(), Errno> {
        if data.is_empty() && stream.current.is_some() {
            return Ok(());
        }
        loop {
            let current = self.current(info, stream)?;
            if *done == data.len() {
                return Ok(());
            }
            let Some(file) = self.open.get(current.handle) else {
                continue;
            };
            match write(file, &data[*done..]) {
                Ok(0) => return Err(Errno::IO),
                Ok(written) => {
                    *done += written;
                    current.written += written as u64;
                    self.written += written as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => {
                    // The next attempt finds out whether it is still there.
                    self.open.take(current.handle);
                    return Err(errno);
                }
            }
        }
    }

    /// The datagram is complete: what comes next goes into a new file.
    pub fn end_datagram(&mut self, info: &StreamInfo, stream: &mut StreamFiles) {
        self.close(info, stream);
        stream.current = None;
        stream.datagrams += 1;
    }

    /// Closes the stream's file.
    pub fn close(&mut self, info: &StreamInfo, stream: &StreamFiles) {
        let Some(current) = &stream.current else {
            return;
        };
        let Some(stat) = self
            .open
            .take(current.handle)
            .and_then(|file| fstat(file).ok())
        else {
            return;
        };
        if stat.st_nlink == 0 {
            log::warn!(
                "stream {}: its file {} was removed while it was written; what it held is gone",
                info.name,
                current.name,
            );
            return;
        }
        let missing = current.written.saturating_sub(stat.st_size as u64);
        if missing > 0 {
            log::warn!(
                "stream {}: its file {} was truncated while it was written; {missing} bytes of it \
                 are gone",
                info.name,
                current.name,
            );
        }
    }

    /// Frees descriptors when the process has none left.
    pub fn close_all(&mut self) {
        self.open.clear();
    }

    /// Makes the root again if it was removed.
    pub fn restore_root(&mut self) -> Result<(), Errno> {
        self.root.restore()
    }

    #[cfg(test)]
    pub fn claim(&mut self, path: &str, segment: &str) -> bool {
        claim(&mut self.shortened, path, segment)
    }

    /// The file that is being written, open.
    fn current<'a>(
        &mut self,
        info: &StreamInfo,
        stream: &'a mut StreamFiles,
    ) -> Result<&'a mut Current, Errno> {
        if let Some(current) = &mut stream.current
            && self.open.get(current.handle).is_none()
        {
            match self.reopen(stream.place.as_ref(), current)? {
                Some(file) => current.handle = self.open.put(file),
                None => {
                    log::warn!(
                        "stream {}: its file {} was removed, replaced or truncated; it goes on in a new one, \
                         without the first {} bytes",
                        info.name,
                        current.name,
                        current.written,
                    );
                    stream.current = None;
                    // The descriptor may be gone with it.
                    stream.place = None;
                }
            }
        }
        let current = match stream.current.take() {
            Some(current) => current,
            None => self.make(info, stream)?,
        };
        Ok(stream.current.insert(current))
    }

    fn reopen(&self, place: Option<&Place>, current: &Current) -> Result<Option<OwnedFd>, Errno> {
        let Some(place) = place else {
            return Ok(None);
        };
        match self.walk(&place.directory) {
            Ok(directory) => directory.reopen(&current.name, current.identity, current.written),
            Err(Obstacle::Taken | Obstacle::Error(Errno::NOENT)) => Ok(None),
            Err(Obstacle::Error(errno)) => Err(errno),
        }
    }

    /// Makes the stream's next file, and its descriptor with the first.
    fn make(&mut self, info: &StreamInfo, stream: &mut StreamFiles) -> Result<Current, Errno> {
        let (name, file) = match info.stream_type {
            StreamType::Text | StreamType::Binary => {
                let (place, file) =
                    self.begin(info, |directory, component| directory.create(component))?;
                let name = place.component.clone();
                stream.place = Some(place);
                (name, file)
            }
            StreamType::Datagram => self.make_datagram(info, stream)?,
        };
        let (identity, _) = Identity::of(&file)?;
        Ok(Current {
            name,
            identity,
            handle: self.open.put(file),
            written: 0,
        })
    }

    fn make_datagram(
        &mut self,
        info: &StreamInfo,
        stream: &mut StreamFiles,
    ) -> Result<(String, OwnedFd), Errno> {
        if let Some(place) = &stream.place {
            match self
                .walk(&place.directory)
                .and_then(|directory| create_datagram(&directory, place, stream.datagrams))
            {
                Ok(made) => return Ok(made),
                Err(Obstacle::Taken | Obstacle::Error(Errno::NOENT)) => {
                    log::warn!(
                        "stream {}: its directory {} was removed or replaced; it goes on in a new one",
                        info.name,
                        place.directory,
                    );
                    stream.place = None;
                }
                Err(Obstacle::Error(errno)) => return Err(errno),
            }
        }
        let (place, ()) = self.begin(info, remove_datagrams)?;
        let directory = self.walk(&place.directory).map_err(errno_of)?;
        let made = create_datagram(&directory, &place, stream.datagrams).map_err(errno_of)?;
        stream.place = Some(place);
        Ok(made)
    }

    /// Finds a place for the stream, makes there what `make` makes, and
    /// writes the descriptor.
    fn begin<T>(
        &mut self,
        info: &StreamInfo,
        make: impl Fn(&Directory<'_>, &str) -> Result<T, Obstacle>,
    ) -> Result<(Place, T), Errno> {
        let name = info.name.as_str();
        let (above, last) = name.rsplit_once('/').unwrap_or(("", name));
        let Self {
            root,
            shortened,
            written,
            ..
        } = self;
        let mut path = String::new();
        let mut directory = root.directory();
        for segment in above.split('/').filter(|segment| !segment.is_empty()) {
            directory = first_free(shortened, &mut path, segment, |name| directory.make(name))?.1;
        }
        let json = meta::json(&info.descriptor());
        let directory_path = path.clone();
        let (component, made) = first_free(shortened, &mut path, last, |component| {
            // First, so that no old descriptor stands by a new file.
            let meta = layout::meta_file(component);
            directory.remove(&meta)?;
            let made = make(&directory, component)?;
            let draft = layout::meta_draft(component);
            *written += directory.put(&meta, &draft, json.as_bytes())?;
            Ok(made)
        })?;
        root.add(&path)?;
        let place = Place {
            directory: directory_path,
            component,
        };
        Ok((place, made))
    }

    /// Goes to a directory that was made before.
    fn walk(&self, path: &str) -> Result<Directory<'_>, Obstacle> {
        let mut directory = self.root.directory();
        for component in path.split('/').filter(|component| !component.is_empty()) {
            directory = directory.enter(component)?;
        }
        Ok(directory)
    }
}

/// Tries names for the segment, until one is not taken; adds it to the path.
fn first_free<T>(
    shortened: &mut AHashMap<String, Box<str>>,
    path: &mut String,
    segment: &str,
    mut make: impl FnMut(&str) -> Result<T, Obstacle>,
) -> Result<(String, T), Errno> {
    let component = layout::component(segment);
    if !path.is_empty() {
        path.push('/');
    }
    let above = path.len();
    for times in 0..DISPLACED_MAX {
        let name = layout::displaced(&component, times);
        path.truncate(above);
        path.push_str(&name);
        if component != segment && !claim(shortened, path, segment) {
            continue;
        }
        match make(&name) {
            Err(Obstacle::Taken) => {}
            Err(Obstacle::Error(errno)) => return Err(errno),
            Ok(made) => return Ok((name, made)),
        }
    }
    Err(Errno::EXIST)
}

/// Is the shortened name at that path the segment's? It is of the first that
/// asks.
fn claim(shortened: &mut AHashMap<String, Box<str>>, path: &str, segment: &str) -> bool {
    let owner = shortened.entry(path.into());
    **owner.or_insert_with(|| segment.into()) == *segment
}

fn create_datagram(
    directory: &Directory<'_>,
    place: &Place,
    number: u64,
) -> Result<(String, OwnedFd), Obstacle> {
    for displaced in 0..DISPLACED_MAX {
        let name = layout::datagram_file(&place.component, number, displaced);
        match directory.create(&name) {
            Err(Obstacle::Taken) => {}
            created => return Ok((name, created?)),
        }
    }
    Err(Obstacle::Error(Errno::EXIST))
}

/// Removes what an earlier run left, the last one first: whenever that is
/// broken off, there is no gap. What can't be removed displaces ours.
pub(super) fn remove_datagrams(directory: &Directory<'_>, component: &str) -> Result<(), Obstacle> {
    let file = |number| layout::datagram_file(component, number, 0);
    let mut end = 0;
    while directory.has(&file(end))? {
        end += 1;
    }
    for number in (0..end).rev() {
        match directory.remove(&file(number)) {
            Ok(()) | Err(Obstacle::Taken) => {}
            error => return error,
        }
    }
    Ok(())
}

/// What was just made was taken from us: it may work later.
fn errno_of(obstacle: Obstacle) -> Errno {
    match obstacle {
        Obstacle::Taken => Errno::NOENT,
        Obstacle::Error(errno) => errno,
    }
}
