//! How what is in the spool comes to outlive the machine.
//!
//! One file is synced at a time, and messages that come meanwhile share the next
//! sync. A file whose sync has failed is never synced again: the kernel says so
//! once, and then holds what it could not write for written. What was in it is
//! written anew beside it, and takes its place.

use std::io;

use rustix::io::Errno;

use super::acks::write_all;
use super::place::{DRAFT, segment_name};
use super::{SPOOL_NUMBERS, Store, SyncPolicy};
use crate::edge::io::{Io, Sync};
use crate::edge::transport::Completed;
use crate::limits::SPOOL_ACKS_SYNC;
use crate::output::backoff::Backoff;

/// What is written anew at a time: others have a turn in between.
const COPIED: usize = 1024 * 1024;

/// What is being synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// So many bytes of a segment.
    Segment(u32, u64),
    /// The names in the directory.
    Directory,
    Acks,
    /// What is to take a segment's place.
    Draft,
}

/// A segment that is written anew.
#[derive(Debug)]
struct Draft<D> {
    number: u32,
    file: D,
    /// Bytes that are written.
    end: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Syncing<D> {
    policy: SyncPolicy,
    under_way: Option<Target>,
    /// It was removed while it was being synced, and must stay open.
    removed: Option<D>,
    /// When the first message was written that no sync is asked for.
    unsynced_ns: Option<u64>,
    /// All that was written is being synced, one file after the other.
    is_round: bool,
    directory_changed: bool,
    /// When the first fact was written that is not synced.
    acks_ns: Option<u64>,
    draft: Option<Draft<D>>,
    /// What failed is not tried again before.
    retry_ns: u64,
    backoff: Backoff,
    is_finishing: bool,
}

impl<D> Syncing<D> {
    pub fn new(policy: SyncPolicy) -> Self {
        Self {
            policy,
            under_way: None,
            removed: None,
            unsynced_ns: None,
            is_round: false,
            directory_changed: false,
            acks_ns: None,
            draft: None,
            retry_ns: 0,
            backoff: Backoff::new(),
            is_finishing: false,
        }
    }

    /// A record was written.
    pub fn appended(&mut self, now_ns: u64) {
        self.unsynced_ns.get_or_insert(now_ns);
    }

    /// A segment was made.
    pub fn directory_changed(&mut self) {
        self.directory_changed = true;
    }

    /// A segment was removed.
    pub fn removed(&mut self, number: u32, file: Option<D>) {
        if matches!(self.under_way, Some(Target::Segment(synced, _)) if synced == number) {
            self.removed = file;
        }
    }

    /// Until when what was written may wait.
    fn round_ns(&self) -> Option<u64> {
        let wait_ns = match self.policy {
            SyncPolicy::Always => 0,
            SyncPolicy::Every(wait) => u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX),
            SyncPolicy::Never => return None,
        };
        if self.is_round || self.is_finishing && self.directory_changed {
            return Some(0);
        }
        let unsynced_ns = self.unsynced_ns?;
        match self.is_finishing {
            true => Some(0),
            false => Some(unsynced_ns.saturating_add(wait_ns)),
        }
    }

    /// The same for facts.
    fn acks_due_ns(&self) -> Option<u64> {
        let acks_ns = self.acks_ns.filter(|_| self.policy != SyncPolicy::Never)?;
        match self.is_finishing {
            true => Some(0),
            false => Some(acks_ns + SPOOL_ACKS_SYNC.as_nanos() as u64),
        }
    }
}

impl<D: 'static> Store<D> {
    /// Would all that was appended outlive the machine? With `sync=never` that is
    /// not asked for, and so is the case at once.
    pub fn is_synced(&self) -> bool {
        self.syncing.policy == SyncPolicy::Never
            || !self.syncing.directory_changed
                && self.syncing.under_way != Some(Target::Directory)
                && self
                    .own
                    .segments
                    .iter()
                    .all(|segment| !segment.is_doubtful && segment.synced >= segment.end)
    }

    /// No message follows: what was written is synced at once.
    pub fn finish<I: Io<Fd = D>>(&mut self, io: &mut I, now_ns: u64) {
        self.syncing.is_finishing = true;
        self.poll(io, now_ns);
    }

    /// When it is to be polled for reasons of time; the past: at once.
    pub fn due_ns(&self) -> Option<u64> {
        let syncing = &self.syncing;
        let waits_for_turn = self.acks.is_pending() || self.has_doubtful();
        let own = [
            waits_for_turn.then_some(0),
            syncing.round_ns(),
            syncing.acks_due_ns(),
        ];
        let own = match syncing.under_way {
            // Its completion is what brings it on.
            Some(_) => None,
            None => own.into_iter().flatten().min(),
        };
        let own = own.map(|due| due.max(syncing.retry_ns));
        let reading = [self.own.due_ns(), self.earlier.due_ns()];
        own.into_iter().chain(reading.into_iter().flatten()).min()
    }

    /// Goes on as far as it can.
    pub fn poll<I: Io<Fd = D>>(&mut self, io: &mut I, now_ns: u64) {
        self.sweep(io);
        if now_ns < self.syncing.retry_ns {
            return;
        }
        if self.acks.is_pending() {
            if let Err(errno) = self.acks.write(io, &self.place) {
                return self.put_off(now_ns, &errno);
            }
            self.syncing.acks_ns.get_or_insert(now_ns);
            if self.acks.is_large() {
                self.compact(io);
            }
        }
        if self.syncing.under_way.is_none()
            && let Err(error) = self.sync_next(io, now_ns)
        {
            self.put_off(now_ns, &error);
        }
    }

    fn put_off(&mut self, now_ns: u64, error: &dyn std::fmt::Display) {
        self.health.failed(error);
        self.syncing.retry_ns = now_ns + self.syncing.backoff.wait_ns(now_ns);
    }

    fn has_doubtful(&self) -> bool {
        self.own.segments.iter().any(|segment| segment.is_doubtful)
    }

    /// Begins to sync what is due.
    fn sync_next<I: Io<Fd = D>>(&mut self, io: &mut I, now_ns: u64) -> io::Result<()> {
        if self.has_doubtful() && self.rewrite(io)? {
            return Ok(());
        }
        let is_due = |due: Option<u64>| due.is_some_and(|due| due <= now_ns);
        let syncing = &mut self.syncing;
        if is_due(syncing.round_ns()) {
            syncing.is_round = true;
            if syncing.directory_changed {
                io.sync(SPOOL_NUMBERS, self.place.directory(), Sync::All)?;
                syncing.directory_changed = false;
                syncing.under_way = Some(Target::Directory);
                return Ok(());
            }
            let mut unsynced = self
                .own
                .segments
                .iter()
                .filter(|segment| !segment.is_doubtful && segment.synced < segment.end);
            if let Some(segment) = unsynced.next() {
                let file = segment
                    .file
                    .as_ref()
                    .expect("it is open until it is synced");
                io.sync(SPOOL_NUMBERS, file, Sync::Data)?;
                syncing.under_way = Some(Target::Segment(segment.number, segment.end));
            }
            if unsynced.next().is_none() {
                // What is written from now on is of another round.
                syncing.is_round = false;
                syncing.unsynced_ns = None;
            }
            if syncing.under_way.is_some() {
                return Ok(());
            }
        }
        if is_due(syncing.acks_due_ns()) {
            syncing.acks_ns = None;
            if let Some(file) = self.acks.file() {
                io.sync(SPOOL_NUMBERS, file, Sync::Data)?;
                syncing.under_way = Some(Target::Acks);
            }
        }
        Ok(())
    }

    /// An operation has completed, of those that are ours by their number.
    pub fn completed<I: Io<Fd = D>>(
        &mut self,
        io: &mut I,
        now_ns: u64,
        number: u32,
        what: Completed,
    ) {
        let (SPOOL_NUMBERS, Completed::Synced(result)) = (number, what) else {
            return;
        };
        let Some(target) = self.syncing.under_way.take() else {
            return;
        };
        self.syncing.removed = None;
        match (&result, target) {
            (Ok(()), Target::Segment(number, end)) => {
                if let Some(segment) = self.own.find(number) {
                    segment.synced = end;
                    if self.own.reading != Some(number) {
                        self.own.close(number);
                    }
                }
            }
            (Ok(()), Target::Directory | Target::Acks) => {}
            (Ok(()), Target::Draft) => {
                if let Err(errno) = self.finish_rewrite(io) {
                    return self.put_off(now_ns, &errno);
                }
            }
            (Err(_), Target::Segment(number, _)) => {
                if let Some(segment) = self.own.find(number) {
                    segment.is_doubtful = true;
                    segment.is_open = false;
                }
            }
            (Err(_), Target::Directory) => self.syncing.directory_changed = true,
            (Err(_), Target::Acks) => {
                // It is written anew, which takes a new file.
                self.compact(io);
                self.syncing.acks_ns = Some(now_ns);
            }
            (Err(_), Target::Draft) => self.drop_draft(io),
        }
        match result {
            Ok(()) => self.syncing.backoff.reset(),
            Err(error) => self.put_off(now_ns, &error),
        }
        self.poll(io, now_ns);
    }

    /// Goes on writing the first doubtful segment anew. True: all is written, and
    /// it is being synced, or there is more to write.
    fn rewrite<I: Io<Fd = D>>(&mut self, io: &mut I) -> io::Result<bool> {
        let mut doubtful = self.own.segments.iter_mut();
        let Some(segment) = doubtful.find(|segment| segment.is_doubtful) else {
            return Ok(false);
        };
        let draft = match &mut self.syncing.draft {
            Some(draft) if draft.number == segment.number => draft,
            draft => {
                let name = segment_name(segment.number) + DRAFT;
                self.place.remove(io, &name)?;
                draft.insert(Draft {
                    number: segment.number,
                    file: self.place.create(io, &name)?,
                    end: 0,
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
        let file = segment
            .file
            .as_ref()
            .expect("it is open until it is synced");
        match io.read_at(file, &mut bytes, draft.end) {
            Ok(0) => {}
            Ok(read) => bytes.truncate(read),
            Err(Errno::INTR) => return Ok(true),
            // Zeros are no record: what was there is told when it is sent.
            Err(_) => {}
        }
        if let Err(errno) = write_all(io, &draft.file, &bytes, draft.end) {
            self.drop_draft(io);
            return Err(errno.into());
        }
        draft.end += bytes.len() as u64;
        Ok(true)
    }

    fn finish_rewrite<I: Io<Fd = D>>(&mut self, io: &mut I) -> Result<(), Errno> {
        let Some(draft) = self.syncing.draft.take() else {
            return Ok(());
        };
        let name = segment_name(draft.number);
        let Some(segment) = self.own.find(draft.number) else {
            return self.place.remove(io, &(name + DRAFT));
        };
        self.place.finish_draft(io, &name)?;
        segment.file = Some(draft.file);
        segment.synced = draft.end;
        segment.is_doubtful = false;
        self.syncing.directory_changed = true;
        self.syncing.is_round = true;
        Ok(())
    }

    fn drop_draft<I: Io<Fd = D>>(&mut self, io: &mut I) {
        if let Some(draft) = self.syncing.draft.take() {
            // The next one takes its place, or the next butler removes it.
            let _ = self.place.remove(io, &(segment_name(draft.number) + DRAFT));
        }
    }
}
