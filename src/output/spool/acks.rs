//! The file of facts: which records are done, and which runs registered.

use std::io::{IoSlice, Read};

use rustix::io::Errno;

use super::place::{DRAFT, Place};
use crate::edge::files::{Files, Reader};
use crate::proto::spool::spool_fact::Done;
use crate::spool::{Fact, Facts, HeaderError, encode_fact};

pub(super) const NAME: &str = "acks";
/// It is written anew when it has more than this, and twice what it had when it
/// was last.
const COMPACT_MIN: u64 = 1024 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Acks<D> {
    file: Option<D>,
    /// Where the next fact goes. Nothing stands behind.
    end: u64,
    /// How long it was when it was last written anew.
    compact: u64,
    /// What is not written yet.
    pending: Vec<Fact>,
    /// Memory that is reused.
    buffer: Vec<u8>,
}

impl<D: 'static> Acks<D> {
    /// Finds what is there. A file that can't be read has no facts: then messages
    /// go out again.
    pub fn open<F: Files<Fd = D>>(
        io: &mut F,
        place: &Place<D>,
    ) -> Result<(Self, Vec<Fact>), HeaderError> {
        let mut acks = Self {
            file: None,
            end: 0,
            compact: 0,
            pending: Vec::new(),
            buffer: Vec::new(),
        };
        let bytes = match acks.read(io, place) {
            Ok(bytes) => bytes,
            Err(Errno::NOENT) => return Ok((acks, Vec::new())),
            Err(errno) => {
                log::warn!(
                    "spool: {NAME} can't be read ({errno}): what was delivered may be sent again"
                );
                return Ok((acks, Vec::new()));
            }
        };
        let found = Facts::parse(&bytes)?;
        if found.end < bytes.len() {
            log::warn!(
                "spool: {NAME} has {} bytes at its end that are no fact: what was delivered last \
                 may be sent again",
                bytes.len() - found.end
            );
        }
        acks.end = found.end as u64;
        Ok((acks, found.facts))
    }

    fn read<F: Files<Fd = D>>(&mut self, io: &mut F, place: &Place<D>) -> Result<Vec<u8>, Errno> {
        let (file, _) = place.open_file(io, NAME)?;
        let mut bytes = Vec::new();
        let read = Reader::new(io, &file).read_to_end(&mut bytes);
        self.file = Some(file);
        match read {
            Ok(_) => Ok(bytes),
            Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
        }
    }

    /// Records of a segment are done.
    pub fn done(&mut self, done: Done) {
        if let Some(Fact::Done(last)) = self.pending.last_mut()
            && (last.segment, last.marker, last.refused)
                == (done.segment, done.marker, done.refused)
            && last.last.checked_add(1) == Some(done.first)
        {
            last.last = done.last;
            return;
        }
        self.pending.push(Fact::Done(done));
    }

    /// Something else became known.
    pub fn tell(&mut self, fact: Fact) {
        self.pending.push(fact);
    }

    /// A segment is gone: nobody asks any more what became of its records.
    pub fn forget(&mut self, segment: u32) {
        self.pending.retain(|fact| match fact {
            Fact::Done(done) => done.segment != u64::from(segment),
            Fact::Registered(_) => true,
        });
    }

    /// Something is not written yet.
    pub fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Itself, to be synced.
    pub fn file(&self) -> Option<&D> {
        self.file.as_ref()
    }

    /// Has it grown so much that most of it is about what is gone?
    pub fn is_large(&self) -> bool {
        self.end > COMPACT_MIN && self.end > 2 * self.compact
    }

    /// Writes what is pending. What fails is tried again the next time, from the
    /// same place.
    pub fn write<F: Files<Fd = D>>(&mut self, io: &mut F, place: &Place<D>) -> Result<(), Errno> {
        if place.keeps() {
            self.pending.clear();
        }
        if self.pending.is_empty() {
            return Ok(());
        }
        self.buffer.clear();
        if self.end == 0 {
            self.buffer.extend_from_slice(&Facts::head());
        }
        for fact in &self.pending {
            encode_fact(&mut self.buffer, fact.clone());
        }
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                // What is there can't be read.
                place.remove(io, NAME)?;
                place.create(io, NAME)?
            }
        };
        let written = write_all(io, &file, &self.buffer, self.end);
        self.file = Some(file);
        written?;
        self.end += self.buffer.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Writes the file anew, with these facts and no others. Nothing is synced in
    /// between: what the machine takes with it only makes messages go out again.
    /// Returns the file before, which may be being synced.
    pub fn compact<F: Files<Fd = D>>(
        &mut self,
        io: &mut F,
        place: &Place<D>,
        facts: impl Iterator<Item = Fact>,
    ) -> Result<Option<D>, Errno> {
        if place.keeps() {
            return Ok(None);
        }
        let draft = format!("{NAME}{DRAFT}");
        self.buffer.clear();
        self.buffer.extend_from_slice(&Facts::head());
        for fact in facts {
            encode_fact(&mut self.buffer, fact);
        }
        place.remove(io, &draft)?;
        let file = place.create(io, &draft)?;
        write_all(io, &file, &self.buffer, 0)?;
        place.finish_draft(io, NAME)?;
        self.end = self.buffer.len() as u64;
        self.compact = self.end;
        self.pending.clear();
        Ok(self.file.replace(file))
    }

    /// Removes the file: no segment is left that it could be about. Returns it too.
    pub fn remove<F: Files<Fd = D>>(
        &mut self,
        io: &mut F,
        place: &Place<D>,
    ) -> Result<Option<D>, Errno> {
        place.remove(io, NAME)?;
        (self.end, self.compact) = (0, 0);
        self.pending.clear();
        Ok(self.file.take())
    }
}

pub(super) fn write_all<F: Files>(
    io: &mut F,
    file: &F::Fd,
    bytes: &[u8],
    at: u64,
) -> Result<(), Errno> {
    let mut done = 0;
    while done < bytes.len() {
        let rest = [IoSlice::new(&bytes[done..])];
        match io.write_at(file, &rest, at + done as u64) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => done += written,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
