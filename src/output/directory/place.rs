//! Finding a stream's file, or a place to make it in.

use rustix::io::Errno;

use super::beneath::{Directory, FileIdentity, Obstacle};
use super::disk::Disk;
use super::meta;
use super::stream_files::{Current, Place, StreamFiles};
use crate::delivery::message::StreamInfo;
use crate::edge::files::Files;
use crate::layout;
use crate::limits::DISPLACED_MAX;
use crate::wire::descriptor::StreamType;

impl<D: 'static> Disk<D> {
    /// The file that is being written, open.
    pub(super) fn current<'a, F: Files<Fd = D>>(
        &mut self,
        io: &mut F,
        stream: &'a mut StreamFiles,
    ) -> Result<&'a mut Current, Errno> {
        if let Some(current) = &stream.current
            && self.open.get(current.handle).is_none()
        {
            match self.reopen(io, stream, current)? {
                Some(file) => {
                    let handle = self.open.put(file);
                    stream.current.iter_mut().for_each(|it| it.handle = handle);
                }
                None => self.file_is_gone(stream),
            }
        }
        if stream.current.is_none() {
            self.restore_root(io)?;
            let (displaced, file) = match stream.info.stream_type {
                StreamType::Text | StreamType::Binary => (0, self.make_file(io, stream)?),
                StreamType::Datagram => self.make_datagram(io, stream)?,
            };
            let (identity, _) = FileIdentity::of(io, &file)?;
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

    fn reopen<F: Files<Fd = D>>(
        &self,
        io: &mut F,
        stream: &StreamFiles,
        current: &Current,
    ) -> Result<Option<D>, Errno> {
        let Some(place) = &stream.place else {
            return Ok(None);
        };
        let name = stream.file_name(current.displaced.into());
        match self.walk(io, stream, place) {
            Ok(directory) => directory.reopen(io, &name, current.identity, current.written),
            Err(Obstacle::Taken | Obstacle::Error(Errno::NOENT)) => Ok(None),
            Err(Obstacle::Error(errno)) => Err(errno),
        }
    }

    fn make_file<F: Files<Fd = D>>(
        &mut self,
        io: &mut F,
        stream: &mut StreamFiles,
    ) -> Result<D, Errno> {
        let (place, _, file) = self.begin(io, &stream.info, |io, directory, component| {
            directory.create(io, component)
        })?;
        stream.place = Some(place);
        Ok(file)
    }

    fn make_datagram<F: Files<Fd = D>>(
        &mut self,
        io: &mut F,
        stream: &mut StreamFiles,
    ) -> Result<(u8, D), Errno> {
        if let Some(made) = self.make_datagram_in_place(io, stream)? {
            return Ok(made);
        }
        let (mut place, directory, ()) = self.begin(io, &stream.info, remove_datagrams)?;
        place.directory = directory.map(|directory| self.open.put(directory));
        stream.place = Some(place);
        // What was just made may have been taken from us.
        self.make_datagram_in_place(io, stream)?.ok_or(Errno::NOENT)
    }

    /// `None` if the stream has no place, or none any more.
    fn make_datagram_in_place<F: Files<Fd = D>>(
        &mut self,
        io: &mut F,
        stream: &mut StreamFiles,
    ) -> Result<Option<(u8, D)>, Errno> {
        let made = match self.directory_of(io, stream) {
            Ok(Some(directory)) => create_datagram(io, &directory, stream),
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
    fn directory_of<F: Files<Fd = D>>(
        &mut self,
        io: &mut F,
        stream: &mut StreamFiles,
    ) -> Result<Option<Directory<'_, D>>, Obstacle> {
        let Some(place) = &stream.place else {
            return Ok(None);
        };
        let known = place.directory.filter(|it| self.open.get(*it).is_some());
        let known = match known {
            Some(known) => Some(known),
            None => {
                let directory = self.walk(io, stream, place)?.into_owned();
                directory.map(|directory| self.open.put(directory))
            }
        };
        stream.place.iter_mut().for_each(|it| it.directory = known);
        let open = known.and_then(|known| self.open.get(known));
        Ok(Some(match open {
            Some(directory) => Directory::Known(directory),
            None => self.root.directory(),
        }))
    }

    /// Finds a place for the stream, makes there what `make` makes, and
    /// writes the descriptor. Returns its directory too, unless it is the
    /// root.
    fn begin<T, F: Files<Fd = D>>(
        &mut self,
        io: &mut F,
        info: &StreamInfo,
        make: impl Fn(&mut F, &Directory<'_, D>, &str) -> Result<T, Obstacle>,
    ) -> Result<(Place, Option<D>, T), Errno> {
        let (above, last) = layout::split_last(info.name.as_str());
        let mut displaced = Vec::new();
        let mut directory = self.root.directory();
        for segment in above {
            let (times, next) = first_free(segment, |name| directory.make(io, name))?;
            displaced.push(times);
            directory = next;
        }
        let json = meta::json(&info.descriptor());
        let mut put = 0;
        let (times, made) = first_free(last, |component| {
            // First, so that no old descriptor stands by a new file.
            let meta = layout::meta_file(component);
            directory.remove(io, &meta)?;
            let made = make(io, &directory, component)?;
            let draft = layout::meta_draft(component);
            put = directory.put(io, &meta, &draft, json.as_bytes())?;
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
        self.root.add(io, &place.path(info))?;
        Ok((place, directory, made))
    }

    /// Goes to a directory that was made before.
    fn walk<F: Files<Fd = D>>(
        &self,
        io: &mut F,
        stream: &StreamFiles,
        place: &Place,
    ) -> Result<Directory<'_, D>, Obstacle> {
        let mut directory = self.root.directory();
        let (above, _) = layout::split_last(stream.info.name.as_str());
        for (at, segment) in above.enumerate() {
            let component = layout::component(segment);
            directory = directory.enter(io, &layout::displaced(&component, place.times(at)))?;
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

fn create_datagram<F: Files>(
    io: &mut F,
    directory: &Directory<'_, F::Fd>,
    stream: &StreamFiles,
) -> Result<(u8, F::Fd), Obstacle> {
    for displaced in 0..DISPLACED_MAX {
        match directory.create(io, &stream.file_name(displaced)) {
            Err(Obstacle::Taken) => {}
            created => return Ok((displaced as u8, created?)),
        }
    }
    Err(Obstacle::Error(Errno::EXIST))
}

/// Removes what an earlier run left, the last one first: whenever that is
/// broken off, there is no gap. What can't be removed displaces ours.
pub(super) fn remove_datagrams<F: Files>(
    io: &mut F,
    directory: &Directory<'_, F::Fd>,
    component: &str,
) -> Result<(), Obstacle> {
    let file = |number| layout::datagram_file(component, number, 0);
    let mut end = 0;
    while directory.has(io, &file(end))? {
        end += 1;
    }
    for number in (0..end).rev() {
        match directory.remove(io, &file(number)) {
            Ok(()) | Err(Obstacle::Taken) => {}
            error => return error,
        }
    }
    Ok(())
}
