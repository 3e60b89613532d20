//! The files of streams: where they are, which are open, how far each is
//! written, and what of them somebody has removed.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::fstat;
use rustix::io::{Errno, write};

use super::beneath::{self, Directory, Identity, Obstacle, Root};
use super::contents::{Done, Piece};
use super::meta;
use super::open_files::{Handle, OpenFiles};
use crate::delivery::message::StreamInfo;
use crate::delivery::outcome::{Fate, Later};
use crate::layout;
use crate::limits::{BACKOFF_FIRST, DIRECTORY_SPARE, DISPLACED_MAX, LINK_CHECK_INTERVAL};
use crate::wire::descriptor::StreamType;
use crate::wire::name::StreamName;

/// A stream, as it is on disk. Its size does not depend on its name: paths are
/// made of that when they are needed.
#[derive(Debug)]
pub(super) struct StreamFiles {
    pub info: Arc<StreamInfo>,
    /// Where its files are; `None`: they are made with the next piece.
    place: Option<Place>,
    /// The file that is being written, open or not.
    current: Option<Current>,
    /// Datagrams that are complete.
    datagrams: u64,
    /// Bytes of the client in their files, which are all in one directory.
    complete: u64,
    /// When it was last looked whether the file is still there.
    checked: Instant,
}

#[derive(Debug)]
struct Place {
    /// How many `~` each component of its path has; none where this ends.
    displaced: Box<[u8]>,
    /// Its directory, if it is to be used again.
    directory: Option<Handle>,
}

#[derive(Debug)]
struct Current {
    /// Of a datagram: how many `~` its number has.
    displaced: u8,
    identity: Identity,
    handle: Handle,
    /// Bytes in it.
    written: u64,
    /// Bytes of the client among them.
    client: u64,
}

/// The root, and what is open beneath it.
#[derive(Debug)]
pub(super) struct Disk {
    root: Root,
    open: OpenFiles,
    /// The moment for all that is done without waiting.
    now: Instant,
    /// As of that moment.
    root_is_gone: bool,
    /// Why the root, which is gone, can't be made again, and when that is
    /// tried next.
    root_trouble: Option<(Errno, Instant)>,
    /// Streams that have ended, and their bytes. They are lost with the root.
    ended: Vec<(StreamName, u64)>,
    /// What was found to be removed, and not told yet.
    removed: Vec<Later>,
    /// Bytes written, and not told yet.
    written: u64,
    /// Descriptors that are kept back: they are nobody's but ours when clients
    /// have all others.
    spare: Vec<OwnedFd>,
}

impl StreamFiles {
    pub fn new(info: &Arc<StreamInfo>, now: Instant) -> Self {
        Self {
            info: Arc::clone(info),
            place: None,
            current: None,
            datagrams: 0,
            complete: 0,
            checked: now,
        }
    }

    /// The directory and the last component of its path.
    fn component(&self) -> String {
        let (above, last) = layout::split_last(self.info.name.as_str());
        let times = self.place.as_ref().map_or(0, |it| it.times(above.count()));
        layout::displaced(&layout::component(last), times)
    }

    /// Of the file that is being written.
    fn file_name(&self, displaced: usize) -> String {
        match self.info.stream_type {
            StreamType::Text | StreamType::Binary => self.component(),
            StreamType::Datagram => {
                layout::datagram_file(&self.component(), self.datagrams, displaced)
            }
        }
    }
}

impl Place {
    /// That of the stream there, beneath the root.
    fn path(&self, info: &StreamInfo) -> String {
        let mut path = String::new();
        for (at, segment) in layout::segments(info.name.as_str()).enumerate() {
            if at > 0 {
                path.push('/');
            }
            let component = layout::component(segment);
            path.push_str(&layout::displaced(&component, self.times(at)));
        }
        path
    }

    fn times(&self, at: usize) -> usize {
        self.displaced.get(at).copied().unwrap_or(0).into()
    }
}

impl Disk {
    pub fn new(root: Root, open_files: usize) -> Self {
        let mut disk = Self {
            root,
            open: OpenFiles::new(open_files),
            now: Instant::now(),
            root_is_gone: false,
            root_trouble: None,
            ended: Vec::new(),
            removed: Vec::new(),
            written: 0,
            spare: Vec::new(),
        };
        disk.keep_spare();
        disk
    }

    /// Bytes written since this was asked last.
    pub fn take_written(&mut self) -> u64 {
        std::mem::take(&mut self.written)
    }

    /// What was found to be removed since this was asked last.
    pub fn take_removed(&mut self) -> Vec<Later> {
        std::mem::take(&mut self.removed)
    }

    /// The moment that was last looked at.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Before things are written: takes note of the time, and of a root that
    /// is gone with all that was in it.
    pub fn look<'a>(&mut self, streams: impl Iterator<Item = &'a mut StreamFiles>) {
        self.now = Instant::now();
        self.root_is_gone = self.root.is_gone();
        if self.root_is_gone {
            self.forget_all(streams);
        }
    }

    /// Makes the root again if it is gone, before something is made in it.
    fn restore_root(&mut self) -> Result<(), Errno> {
        if !self.root_is_gone {
            return Ok(());
        }
        if let Some((errno, next)) = self.root_trouble
            && self.now < next
        {
            return Err(errno);
        }
        let restored = self.root.restore();
        let path = self.root.path().display();
        match restored {
            Ok(()) => log::warn!("{path} is made again"),
            Err(Errno::BUSY) if self.root_trouble.is_none() => {
                log::error!("{path} is not made again: another butler writes there by now");
            }
            Err(errno) if self.root_trouble.is_none() => {
                log::error!("{path} can't be made again: {errno}");
            }
            Err(_) => {}
        }
        self.root_is_gone = restored.is_err();
        let next = self.now + BACKOFF_FIRST;
        self.root_trouble = restored.err().map(|errno| (errno, next));
        restored
    }

    /// The root is gone: so is what was written of all streams.
    fn forget_all<'a>(&mut self, streams: impl Iterator<Item = &'a mut StreamFiles>) {
        let before = self.removed.len();
        for stream in streams {
            self.forget_file(stream);
            self.forget_place(stream);
        }
        let ended = self.ended.drain(..).map(|(stream, bytes)| Later {
            stream,
            bytes,
            fate: Fate::Removed,
        });
        self.removed.extend(ended);
        let bytes: u64 = self.removed[before..].iter().map(|it| it.bytes).sum();
        if bytes > 0 {
            log::warn!(
                "{} was removed while it was written to; {bytes} bytes in it are gone",
                self.root.path().display(),
            );
        }
    }

    /// Appends what is left of the piece to the stream's file, and counts in
    /// `done`, so that it can be called again after an error.
    pub fn append(
        &mut self,
        stream: &mut StreamFiles,
        piece: &Piece<'_>,
        done: &mut Done,
    ) -> Result<(), Errno> {
        if self.now.duration_since(stream.checked) >= LINK_CHECK_INTERVAL {
            self.check(stream);
        }
        loop {
            let current = self.current(stream)?;
            let written = self.write(current.handle, &piece.data[done.bytes..])?;
            let before = std::mem::replace(done, piece.done(done.bytes + written));
            current.written += written as u64;
            current.client += done.client - before.client;
            self.written += written as u64;
            if done.bytes == piece.data.len() {
                break;
            }
        }
        if piece.ends {
            self.end_datagram(stream);
        }
        Ok(())
    }

    fn write(&mut self, handle: Handle, data: &[u8]) -> Result<usize, Errno> {
        // An empty datagram has a file too.
        if data.is_empty() {
            return Ok(0);
        }
        let file = self.open.get(handle).ok_or(Errno::BADF)?;
        let error = loop {
            match write(file, data) {
                Ok(0) => break Errno::IO,
                Ok(written) => return Ok(written),
                Err(Errno::INTR) => {}
                Err(errno) => break errno,
            }
        };
        // The next attempt finds out whether it is still there.
        self.open.take(handle);
        Err(error)
    }

    /// The datagram is complete, or no more comes of it: what comes next goes
    /// into a new file.
    pub fn end_datagram(&mut self, stream: &mut StreamFiles) {
        self.check(stream);
        if let Some(current) = stream.current.take() {
            self.open.take(current.handle);
            stream.datagrams += 1;
            stream.complete += current.client;
        }
    }

    /// If a datagram is being written it ends here: the rest of it is lost.
    pub fn cut_datagram(&mut self, stream: &mut StreamFiles) {
        if stream.info.stream_type == StreamType::Datagram {
            self.end_datagram(stream);
        }
    }

    /// The stream has ended: a last look, and its files are closed.
    pub fn end(&mut self, mut stream: StreamFiles) {
        let bytes = self.last_look(&mut stream);
        if bytes > 0 {
            self.ended.push((stream.info.name.clone(), bytes));
        }
    }

    /// Nothing more is written to any of them.
    pub fn end_all(&mut self, mut streams: Vec<StreamFiles>) {
        if self.root.is_gone() {
            self.forget_all(streams.iter_mut());
        }
        for stream in &mut streams {
            self.last_look(stream);
        }
        self.open.clear();
    }

    /// Closes the stream's files; the bytes of its client that are in them.
    fn last_look(&mut self, stream: &mut StreamFiles) -> u64 {
        self.check(stream);
        let directory = stream.place.as_mut().and_then(|it| it.directory.take());
        if let Some(directory) = directory.and_then(|handle| self.open.take(handle))
            && beneath::is_gone(&directory)
        {
            self.forget_place(stream);
        }
        let current = stream.current.take();
        current.iter().for_each(|current| {
            self.open.take(current.handle);
        });
        stream.complete + current.map_or(0, |current| current.client)
    }

    /// Frees descriptors when the process has none left.
    pub fn close_all(&mut self) {
        self.open.clear();
        self.spare.clear();
    }

    /// Keeps descriptors back, as far as there are any. It is done before
    /// anything is waited for: meanwhile clients may take what is free.
    pub fn keep_spare(&mut self) {
        while self.spare.len() < DIRECTORY_SPARE
            && let Ok(spare) = eventfd(0, EventfdFlags::CLOEXEC)
        {
            self.spare.push(spare);
        }
    }

    /// Looks whether the file that is being written is still there, and as
    /// long as it was. If it is gone it is forgotten.
    fn check(&mut self, stream: &mut StreamFiles) {
        stream.checked = self.now;
        let Some(current) = &mut stream.current else {
            return;
        };
        let Some(Ok(stat)) = self.open.get(current.handle).map(fstat) else {
            return;
        };
        if stat.st_nlink == 0 {
            self.file_is_gone(stream);
            return;
        }
        // Whoever empties a file may have copied it before, as those do who
        // rotate logs: that is no loss.
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let missing = current.written.saturating_sub(size);
        if missing > 0 {
            current.written = size;
            log::warn!(
                "stream {}: its file {} was truncated while it was written; {missing} bytes of \
                 it are gone",
                stream.info.name,
                stream.file_name(stream.current.as_ref().map_or(0, |it| it.displaced.into())),
            );
        }
    }

    fn file_is_gone(&mut self, stream: &mut StreamFiles) {
        if let Some(current) = &stream.current {
            log::warn!(
                "stream {}: its file {} was removed, replaced or truncated while it was written; \
                 {} bytes in it are gone, and what follows goes into a new one",
                stream.info.name,
                stream.file_name(current.displaced.into()),
                current.client,
            );
        }
        self.forget_file(stream);
    }

    /// The file that is being written is gone, and its bytes with it.
    fn forget_file(&mut self, stream: &mut StreamFiles) {
        let Some(current) = stream.current.take() else {
            return;
        };
        self.open.take(current.handle);
        self.tell_removed(stream, current.client);
        // The descriptor may be gone with it. But datagrams that are complete
        // have one too, and would be taken for those of an earlier run.
        if stream.info.stream_type != StreamType::Datagram {
            stream.place = None;
        }
    }

    /// The directory of the stream is gone, and its complete datagrams with it.
    fn forget_place(&mut self, stream: &mut StreamFiles) {
        if let Some(place) = stream.place.take()
            && let Some(directory) = place.directory
        {
            self.open.take(directory);
        }
        let bytes = std::mem::take(&mut stream.complete);
        self.tell_removed(stream, bytes);
    }

    fn tell_removed(&mut self, stream: &StreamFiles, bytes: u64) {
        if bytes > 0 {
            self.removed.push(Later {
                stream: stream.info.name.clone(),
                bytes,
                fate: Fate::Removed,
            });
        }
    }

    /// The file that is being written, open.
    fn current<'a>(&mut self, stream: &'a mut StreamFiles) -> Result<&'a mut Current, Errno> {
        if let Some(current) = &stream.current
            && self.open.get(current.handle).is_none()
        {
            match self.reopen(stream, current)? {
                Some(file) => {
                    let handle = self.open.put(file);
                    stream.current.iter_mut().for_each(|it| it.handle = handle);
                }
                None => self.file_is_gone(stream),
            }
        }
        if stream.current.is_none() {
            self.restore_root()?;
            let (displaced, file) = match stream.info.stream_type {
                StreamType::Text | StreamType::Binary => (0, self.make_file(stream)?),
                StreamType::Datagram => self.make_datagram(stream)?,
            };
            let (identity, _) = Identity::of(&file)?;
            stream.current = Some(Current {
                displaced,
                identity,
                handle: self.open.put(file),
                written: 0,
                client: 0,
            });
        }
        stream.current.as_mut().ok_or(Errno::BADF)
    }

    fn reopen(&self, stream: &StreamFiles, current: &Current) -> Result<Option<OwnedFd>, Errno> {
        let Some(place) = &stream.place else {
            return Ok(None);
        };
        let name = stream.file_name(current.displaced.into());
        match self.walk(stream, place) {
            Ok(directory) => directory.reopen(&name, current.identity, current.written),
            Err(Obstacle::Taken | Obstacle::Error(Errno::NOENT)) => Ok(None),
            Err(Obstacle::Error(errno)) => Err(errno),
        }
    }

    fn make_file(&mut self, stream: &mut StreamFiles) -> Result<OwnedFd, Errno> {
        let (place, _, file) = self.begin(&stream.info, |directory, component| {
            directory.create(component)
        })?;
        stream.place = Some(place);
        Ok(file)
    }

    fn make_datagram(&mut self, stream: &mut StreamFiles) -> Result<(u8, OwnedFd), Errno> {
        if let Some(made) = self.make_datagram_in_place(stream)? {
            return Ok(made);
        }
        let (mut place, directory, ()) = self.begin(&stream.info, remove_datagrams)?;
        place.directory = directory.map(|directory| self.open.put(directory));
        stream.place = Some(place);
        // What was just made may have been taken from us.
        self.make_datagram_in_place(stream)?.ok_or(Errno::NOENT)
    }

    /// `None` if the stream has no place, or none any more.
    fn make_datagram_in_place(
        &mut self,
        stream: &mut StreamFiles,
    ) -> Result<Option<(u8, OwnedFd)>, Errno> {
        let made = match self.directory_of(stream) {
            Ok(Some(directory)) => create_datagram(&directory, stream),
            Ok(None) => return Ok(None),
            Err(obstacle) => Err(obstacle),
        };
        match made {
            Ok(made) => Ok(Some(made)),
            Err(Obstacle::Error(errno)) if errno != Errno::NOENT => Err(errno),
            Err(_) => {
                log::warn!(
                    "stream {}: its directory was removed or replaced; {} bytes in it are gone, \
                     and what follows goes into a new one",
                    stream.info.name,
                    stream.complete,
                );
                self.forget_place(stream);
                Ok(None)
            }
        }
    }

    /// The directory of a stream that has a place. It stays open: one that is
    /// needed for each datagram is not walked to each time.
    fn directory_of(
        &mut self,
        stream: &mut StreamFiles,
    ) -> Result<Option<Directory<'_>>, Obstacle> {
        let Some(place) = &stream.place else {
            return Ok(None);
        };
        let known = place.directory.filter(|it| self.open.get(*it).is_some());
        let known = match known {
            Some(known) => Some(known),
            None => {
                let directory = self.walk(stream, place)?.into_owned();
                directory.map(|directory| self.open.put(directory))
            }
        };
        stream.place.iter_mut().for_each(|it| it.directory = known);
        let open = known.and_then(|known| self.open.get(known));
        Ok(Some(match open {
            Some(directory) => Directory::Known(directory.as_fd()),
            None => self.root.directory(),
        }))
    }

    /// Finds a place for the stream, makes there what `make` makes, and
    /// writes the descriptor. Returns its directory too, unless it is the
    /// root.
    fn begin<T>(
        &mut self,
        info: &StreamInfo,
        make: impl Fn(&Directory<'_>, &str) -> Result<T, Obstacle>,
    ) -> Result<(Place, Option<OwnedFd>, T), Errno> {
        let (above, last) = layout::split_last(info.name.as_str());
        let mut displaced = Vec::new();
        let mut directory = self.root.directory();
        for segment in above {
            let (times, next) = first_free(segment, |name| directory.make(name))?;
            displaced.push(times);
            directory = next;
        }
        let json = meta::json(&info.descriptor());
        let mut put = 0;
        let (times, made) = first_free(last, |component| {
            // First, so that no old descriptor stands by a new file.
            let meta = layout::meta_file(component);
            directory.remove(&meta)?;
            let made = make(&directory, component)?;
            let draft = layout::meta_draft(component);
            put = directory.put(&meta, &draft, json.as_bytes())?;
            Ok(made)
        })?;
        displaced.push(times);
        while displaced.last() == Some(&0) {
            displaced.pop();
        }
        let place = Place {
            displaced: displaced.into(),
            directory: None,
        };
        let directory = directory.into_owned();
        self.written += put;
        self.root.add(&place.path(info))?;
        Ok((place, directory, made))
    }

    /// Goes to a directory that was made before.
    fn walk(&self, stream: &StreamFiles, place: &Place) -> Result<Directory<'_>, Obstacle> {
        let mut directory = self.root.directory();
        let (above, _) = layout::split_last(stream.info.name.as_str());
        for (at, segment) in above.enumerate() {
            let component = layout::component(segment);
            directory = directory.enter(&layout::displaced(&component, place.times(at)))?;
        }
        Ok(directory)
    }
}

/// Tries names for the segment, until one is not taken. Returns how many `~`
/// it has.
fn first_free<T>(
    segment: &str,
    mut make: impl FnMut(&str) -> Result<T, Obstacle>,
) -> Result<(u8, T), Errno> {
    let component = layout::component(segment);
    for times in 0..DISPLACED_MAX {
        match make(&layout::displaced(&component, times)) {
            Err(Obstacle::Taken) => {}
            Err(Obstacle::Error(errno)) => return Err(errno),
            Ok(made) => return Ok((times as u8, made)),
        }
    }
    Err(Errno::EXIST)
}

fn create_datagram(
    directory: &Directory<'_>,
    stream: &StreamFiles,
) -> Result<(u8, OwnedFd), Obstacle> {
    for displaced in 0..DISPLACED_MAX {
        match directory.create(&stream.file_name(displaced)) {
            Err(Obstacle::Taken) => {}
            created => return Ok((displaced as u8, created?)),
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
