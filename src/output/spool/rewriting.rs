//! What becomes of a segment whose sync has failed: nobody knows what of it is on
//! the disk, and the kernel may hold what is not for written, or have forgotten it.
//! So it is written anew beside it, looked through, and takes its place.

use std::io::{self, Read, Seek};

use rustix::io::Errno;

use super::acks::write_all;
use super::place::{DRAFT, segment_name};
use super::segment::Segment;
use super::syncing::Target;
use super::{SPOOL_NUMBERS, Store};
use crate::edge::files::Reader;
use crate::edge::io::{Io, Sync};
use crate::spool::{Found, Lost, Window};

/// What is written anew at a time: others have a turn in between.
const COPIED: usize = 1024 * 1024;

/// A segment that is written anew.
#[derive(Debug)]
pub(super) struct Draft<D> {
    number: u32,
    file: D,
    /// Bytes that are written.
    end: u64,
}

impl<D: 'static> Store<D> {
    /// Goes on writing the first doubtful segment anew. False: there is none.
    pub(super) fn rewrite<I: Io<Fd = D>>(&mut self, io: &mut I) -> io::Result<bool> {
        let segments = self.earlier.segments.iter_mut();
        let mut doubtful = segments
            .chain(&mut self.own.segments)
            .filter(|segment| segment.is_doubtful);
        let Some(segment) = doubtful.next() else {
            return Ok(false);
        };
        let draft = match &mut self.syncing.draft {
            Some(draft) if draft.number == segment.number => draft,
            draft => {
                let name = segment_name(segment.number) + DRAFT;
                self.place.remove(io, &name)?;
                let file = self.place.create(io, &name)?;
                let header = segment.header.expose();
                write_all(io, &file, header, 0)?;
                draft.insert(Draft {
                    number: segment.number,
                    file,
                    end: header.len() as u64,
                })
            }
        };
        let left = usize::try_from(segment.end - draft.end).unwrap_or(usize::MAX);
        if left == 0 {
            io.sync(SPOOL_NUMBERS, &draft.file, Sync::All)?;
            self.syncing.under_way = Some(Target::Draft);
            return Ok(true);
        }
        let mut bytes = vec![0; left.min(COPIED)];
        let file = segment.file(io, &self.place)?;
        match io.read_at(file, &mut bytes, draft.end) {
            Ok(0) => {}
            Ok(read) => bytes.truncate(read),
            Err(Errno::INTR) => return Ok(true),
            // Zeros are no record: they are told as lost.
            Err(_) => {}
        }
        if let Err(errno) = write_all(io, &draft.file, &bytes, draft.end) {
            self.drop_draft(io);
            return Err(errno.into());
        }
        draft.end += bytes.len() as u64;
        Ok(true)
    }

    /// The draft is synced: it takes the segment's place.
    pub(super) fn finish_rewrite<I: Io<Fd = D>>(&mut self, io: &mut I) -> io::Result<()> {
        let Some(draft) = self.syncing.draft.take() else {
            return Ok(());
        };
        let name = segment_name(draft.number);
        let is_own = self.own.find(draft.number).is_some();
        let shelf = self.shelf(is_own);
        let Some(segment) = shelf.find(draft.number) else {
            return Ok(self.place.remove(io, &(name + DRAFT))?);
        };
        let lost = segment.look_through(&mut Reader::new(io, &draft.file))?;
        self.place.finish_draft(io, &name)?;
        let segment = self.find(draft.number).expect("it was just there");
        segment.file = Some(draft.file);
        segment.synced = segment.end;
        segment.is_doubtful = false;
        lost.into_iter()
            .for_each(|lost| self.lose(draft.number, lost));
        self.shelf(is_own).window.clear();
        self.syncing.directory_changed = true;
        self.syncing.is_round = true;
        Ok(())
    }

    pub(super) fn drop_draft<I: Io<Fd = D>>(&mut self, io: &mut I) {
        if let Some(draft) = self.syncing.draft.take() {
            // The next one takes its place, or the next butler removes it.
            let _ = self.place.remove(io, &(segment_name(draft.number) + DRAFT));
        }
    }
}

impl<D: 'static> Segment<D> {
    /// What is lost of its records in that file, of those that nobody was given.
    /// The others may be delivered yet, from memory.
    fn look_through<F: Read + Seek>(&self, file: &mut F) -> io::Result<Vec<Lost>> {
        let (mut walk, mut window) = (self.beginning(), Window::default());
        let mut all = Vec::new();
        while let Some(found) = self.next_in(file, &mut walk, &mut window)? {
            match found {
                Found::Lost(lost) => all.push(lost),
                Found::Record(record) if record.index < self.walk.index() => {}
                Found::Record(record) if self.done.contains(record.index) => {}
                Found::Record(record) => {
                    let mut body = vec![0; record.body.len as usize];
                    let whole = window.read(file, record.body_at, &mut body)?;
                    if !whole || !record.has_body(&body) {
                        all.push(Lost::of(record));
                    }
                }
            }
        }
        all.retain_mut(|lost| {
            let given = self.walk.index().saturating_sub(lost.index);
            lost.index += given;
            lost.records = lost.records.map(|it| it.saturating_sub(given));
            lost.records != Some(0) && !self.is_done(lost)
        });
        Ok(all)
    }
}
