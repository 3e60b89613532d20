//! The streams that have begun, and what becomes of those whose own file
//! can't be written.

use std::sync::Arc;

use ahash::AHashMap;
use rustix::io::Errno;

use super::contents::{Done, Piece};
use super::disk::Disk;
use super::stream_files::StreamFiles;
use super::trouble::{Attempt, Trouble};
use crate::delivery::message::StreamInfo;
use crate::delivery::outcome::{Fate, Later, Outcomes, Part};
use crate::edge::io::Io;
use crate::edge::transport::Now;
use crate::keys::StreamKey;
use crate::ledger::DropReason;
use crate::limits::HELD_MAX;
use crate::output::health::Health;
use crate::wire::descriptor::StreamType;

/// See the module.
#[derive(Debug)]
pub(super) struct Streams<D> {
    disk: Disk<D>,
    /// Those that have begun and not ended.
    all: AHashMap<StreamKey, Stream>,
    /// Those of them that have trouble.
    troubled: Vec<StreamKey>,
    /// What all that is held of them takes.
    held: usize,
    health: Health,
}

#[derive(Debug)]
struct Stream {
    files: StreamFiles,
    /// Something of a datagram was lost, so what follows of it is lost too.
    skips: bool,
    trouble: Option<Box<Trouble>>,
}

impl<D: 'static> Streams<D> {
    pub fn new(disk: Disk<D>, health: Health) -> Self {
        Self {
            disk,
            all: AHashMap::default(),
            troubled: Vec::new(),
            held: 0,
            health,
        }
    }

    /// Takes a look at the clock and the root, and tries what is held and due. What
    /// it finds to be removed is for [`tell`](Self::tell).
    pub fn look<I: Io<Fd = D>>(&mut self, now: &mut Now<'_, I>) {
        let files = self.all.values_mut().map(|stream| &mut stream.files);
        self.disk.look(now.io, now.ns, files);
        self.disk.keep_spare(now.io);
        for key in std::mem::take(&mut self.troubled) {
            if self.try_again(now, key) {
                self.troubled.push(key);
            }
        }
    }

    /// Tells what was written, and what was found to be removed. That may be of a
    /// message whose outcome must be told before: it can't be gone until it is
    /// delivered.
    pub fn tell(&mut self, outcomes: &mut Outcomes) {
        outcomes.add_bytes_out(self.disk.take_written());
        for removed in self.disk.take_removed() {
            outcomes.later(removed);
        }
    }

    /// When what is held is tried next.
    pub fn due_ns(&self) -> Option<u64> {
        let troubled = self.troubled.iter().filter_map(|key| self.all.get(key));
        troubled
            .filter_map(|stream| stream.trouble.as_ref()?.due_ns())
            .min()
    }

    /// Writes what is left of the piece. If only this stream can't be written
    /// it is held, or lost; an error is one that concerns all.
    #[expect(
        clippy::too_many_arguments,
        reason = "a piece, of whom, and what is noted of it"
    )]
    pub fn put<I: Io<Fd = D>>(
        &mut self,
        io: &mut I,
        info: &Arc<StreamInfo>,
        piece: &Piece<'_>,
        done: &mut Done,
        note: &mut Part,
    ) -> Result<(), Errno> {
        let now_ns = self.disk.now_ns();
        let key = info.key;
        let stream = self.all.entry(key).or_insert_with(|| Stream {
            files: StreamFiles::new(info, now_ns),
            skips: false,
            trouble: None,
        });
        if stream.may_write(now_ns) {
            let before = done.client;
            let mut result = self.disk.append(io, &mut stream.files, piece, done);
            if result.is_err_and(is_for_want_of_descriptors) {
                // Not after a wait, in which clients would take what is free.
                self.disk.close_all();
                result = self.disk.append(io, &mut stream.files, piece, done);
                self.disk.keep_spare(io);
            }
            note.delivered += done.client - before;
            match (result, &mut stream.trouble) {
                (Ok(()), None) => return Ok(()),
                (Ok(()), Some(_)) => {
                    self.health.part_works(&info.name);
                    stream.trouble = None;
                    self.troubled.retain(|troubled| *troubled != key);
                    return Ok(());
                }
                (Err(errno), _) if is_for_all(errno) => return Err(errno),
                (Err(errno), None) => {
                    self.health.part_failed(&info.name, &errno);
                    stream.trouble = Some(Box::new(Trouble::new(errno, now_ns)));
                    self.troubled.push(key);
                }
                (Err(errno), Some(trouble)) => {
                    self.health.part_failed_again(&info.name, &errno);
                    if trouble.failed(errno, now_ns) == Attempt::LastFailed {
                        trouble.give_up();
                        self.health.part_given_up(&info.name, &errno, 0);
                    }
                }
            }
        }
        match stream.hold(piece, *done, HELD_MAX - self.held) {
            Some(cost) => {
                self.held += cost;
                note.held += piece.client - done.client;
            }
            None => {
                note.dropped = Some(DropReason::Refused);
                stream.lose(io, piece, &mut self.disk);
            }
        }
        Ok(())
    }

    /// The stream has ended.
    pub fn end<I: Io<Fd = D>>(&mut self, io: &mut I, info: &StreamInfo) {
        let key = info.key;
        match self.all.get_mut(&key).and_then(|it| it.trouble.as_mut()) {
            Some(trouble) if trouble.due_ns().is_some() => trouble.has_ended = true,
            _ => self.remove(io, key),
        }
    }

    /// As if descriptors had run out.
    #[cfg(test)]
    pub fn close_all(&mut self) {
        self.disk.close_all();
    }

    /// Nothing is tried any more.
    pub fn give_up<I: Io<Fd = D>>(&mut self, now: &mut Now<'_, I>) {
        let mut files = Vec::with_capacity(self.all.len());
        for (_, mut stream) in self.all.drain() {
            if let Some(trouble) = &mut stream.trouble {
                let (bytes, _) = trouble.give_up();
                let fate = Fate::Dropped(DropReason::Undelivered);
                now.outcomes.later(later(&stream.files.info, bytes, fate));
            }
            files.push(stream.files);
        }
        self.troubled.clear();
        self.held = 0;
        self.disk.end_all(now.io, files);
        self.tell(now.outcomes);
    }

    /// True if the stream still has trouble.
    fn try_again<I: Io<Fd = D>>(&mut self, now: &mut Now<'_, I>, key: StreamKey) -> bool {
        let now_ns = self.disk.now_ns();
        let (io, outcomes) = (&mut *now.io, &mut *now.outcomes);
        let Some(stream) = self.all.get_mut(&key) else {
            return false;
        };
        let Some(trouble) = &mut stream.trouble else {
            return false;
        };
        if trouble.due_ns().is_none_or(|due| due > now_ns) {
            return true;
        }
        let info = Arc::clone(&stream.files.info);
        let before = trouble.cost();
        let append = |piece: &Piece<'_>, done: &mut Done| {
            let written = done.client;
            let result = self.disk.append(io, &mut stream.files, piece, done);
            let bytes = done.client - written;
            outcomes.later(later(&info, bytes, Fate::Delivered));
            result
        };
        let attempt = trouble.attempt(now_ns, append);
        if attempt == Attempt::LastFailed {
            let (bytes, goes_on) = trouble.give_up();
            self.health.part_given_up(&info.name, &trouble.errno, bytes);
            outcomes.later(later(&info, bytes, Fate::Dropped(DropReason::Refused)));
            stream.skips = goes_on && stream.files.info.stream_type == StreamType::Datagram;
            self.disk.cut_datagram(io, &mut stream.files);
        }
        self.held -= before - trouble.cost();
        let has_ended = trouble.has_ended;
        match attempt {
            Attempt::Done => {
                self.health.part_works(&info.name);
                stream.trouble = None;
            }
            Attempt::Failed | Attempt::LastFailed => {
                self.health.part_failed_again(&info.name, &trouble.errno);
            }
        }
        if has_ended && attempt != Attempt::Failed {
            self.remove(io, key);
            return false;
        }
        attempt != Attempt::Done
    }

    fn remove<I: Io<Fd = D>>(&mut self, io: &mut I, key: StreamKey) {
        if let Some(stream) = self.all.remove(&key) {
            self.disk.end(io, stream.files);
        }
    }
}

impl Stream {
    fn may_write(&self, now_ns: u64) -> bool {
        let trouble = self.trouble.as_ref();
        !self.skips && trouble.is_none_or(|trouble| trouble.may_try(now_ns))
    }

    /// Holds the rest of the piece, if it takes no more than `room`; what it
    /// takes.
    fn hold(&mut self, piece: &Piece<'_>, done: Done, room: usize) -> Option<usize> {
        let trouble = self.trouble.as_mut().filter(|_| !self.skips)?;
        trouble.hold(&self.files.info, piece, done, room)
    }

    /// The rest of a piece is lost. A datagram ends with what there is of it, and
    /// what follows of it is lost too.
    fn lose<I: Io>(&mut self, io: &mut I, piece: &Piece<'_>, disk: &mut Disk<I::Fd>) {
        if self.files.info.stream_type != StreamType::Datagram {
            return;
        }
        let is_cut = self.trouble.as_mut().is_some_and(|it| it.cut());
        if !is_cut {
            disk.cut_datagram(io, &mut self.files);
        }
        self.skips = !piece.ends;
    }
}

fn is_for_want_of_descriptors(errno: Errno) -> bool {
    matches!(errno, Errno::MFILE | Errno::NFILE)
}

/// Does the error concern all streams, so that it is waited for? Others are
/// of one file or its path.
pub(super) fn is_for_all(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::NOSPC | Errno::DQUOT | Errno::NOMEM | Errno::NOBUFS | Errno::AGAIN
    ) || is_for_want_of_descriptors(errno)
}

fn later(info: &StreamInfo, bytes: u64, fate: Fate) -> Later {
    Later {
        stream: info.name.clone(),
        bytes,
        with_end: false,
        fate,
    }
}
