//! How what is in the spool comes to outlive the machine.
//!
//! One file is synced at a time, and messages that come meanwhile share the next
//! sync. A file whose sync has failed is never synced again: the kernel says so
//! once, and then holds what it could not write for written. It is
//! [written anew](super::rewriting). What earlier butlers have left is synced too:
//! they may have died before they could.

use std::io;

use super::rewriting::Draft;
use super::segment::Segment;
use super::{SPOOL_NUMBERS, Store, SyncPolicy};
use crate::edge::io::{Io, Sync};
use crate::edge::transport::Completed;
use crate::limits::{SPOOL_ACKS_SYNC, SPOOL_RETRY};
use crate::output::backoff::Backoff;

/// What is being synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// So many bytes of a segment.
    Segment(u32, u64),
    /// The names in the directory.
    Directory,
    Acks,
    /// What is to take a segment's place.
    Draft,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Syncing<D> {
    policy: SyncPolicy,
    pub under_way: Option<Target>,
    /// It was removed while it was being synced, and must stay open: else that fails,
    /// or another file is synced that got its number.
    removed: Option<D>,
    /// When the first message was written that no sync is asked for.
    unsynced_ns: Option<u64>,
    /// All that was written is being synced, one file after the other.
    pub is_round: bool,
    pub directory_changed: bool,
    /// When the first fact was written that is not synced.
    acks_ns: Option<u64>,
    pub draft: Option<Draft<D>>,
    /// What failed is not tried again before: a sync, and to write facts.
    retry_ns: u64,
    acks_retry_ns: u64,
    backoff: Backoff,
    is_finishing: bool,
}

impl<D> Syncing<D> {
    /// `is_clean`: no earlier butler has left anything.
    pub fn new(policy: SyncPolicy, is_clean: bool) -> Self {
        Self {
            policy,
            under_way: None,
            removed: None,
            unsynced_ns: None,
            is_round: !is_clean,
            directory_changed: !is_clean,
            acks_ns: None,
            draft: None,
            retry_ns: 0,
            acks_retry_ns: 0,
            backoff: Backoff::new(),
            is_finishing: false,
        }
    }

    /// A record was written.
    pub fn appended(&mut self, now_ns: u64) {
        self.unsynced_ns.get_or_insert(now_ns);
    }

    /// Another file has taken the place of that one, which had the facts.
    pub fn replaced(&mut self, acks: Option<D>) {
        if self.under_way == Some(Target::Acks) && self.removed.is_none() {
            self.removed = acks;
        }
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
    /// Would all that is there outlive the machine? With `sync=never` that is
    /// not asked for, and so is the case at once.
    pub fn is_synced(&self) -> bool {
        self.syncing.policy == SyncPolicy::Never
            || !self.syncing.directory_changed
                && self.syncing.under_way != Some(Target::Directory)
                && self.segments().all(Segment::is_synced)
    }

    /// No message follows: what was written is synced at once.
    pub fn finish<I: Io<Fd = D>>(&mut self, io: &mut I, now_ns: u64) {
        self.syncing.is_finishing = true;
        self.poll(io, now_ns);
    }

    /// When it is to be polled for reasons of time; the past: at once.
    pub fn due_ns(&self) -> Option<u64> {
        let syncing = &self.syncing;
        let syncs = match syncing.under_way {
            // Its completion is what brings it on.
            Some(_) => None,
            None => [
                self.has_doubtful().then_some(0),
                syncing.round_ns(),
                syncing.acks_due_ns(),
            ]
            .into_iter()
            .flatten()
            .min(),
        };
        let dues = [
            syncs.map(|due| due.max(syncing.retry_ns)),
            self.acks.is_pending().then_some(syncing.acks_retry_ns),
        ];
        dues.into_iter().flatten().min()
    }

    /// Goes on as far as it can.
    pub fn poll<I: Io<Fd = D>>(&mut self, io: &mut I, now_ns: u64) {
        self.own.poll(now_ns);
        self.earlier.poll(now_ns);
        self.sweep(io);
        if self.acks.is_pending() && self.syncing.acks_retry_ns <= now_ns {
            self.write_acks(io, now_ns);
        }
        if self.syncing.under_way.is_none()
            && self.syncing.retry_ns <= now_ns
            && let Err(error) = self.sync_next(io, now_ns)
        {
            self.put_off(now_ns, &error);
        }
    }

    fn write_acks<I: Io<Fd = D>>(&mut self, io: &mut I, now_ns: u64) {
        match self.acks.write(io, &self.place) {
            Ok(()) => {
                self.syncing.acks_ns.get_or_insert(now_ns);
                if self.acks.is_large() {
                    self.compact(io);
                }
            }
            Err(errno) => {
                self.health.failed(&errno);
                self.syncing.acks_retry_ns = now_ns + SPOOL_RETRY.as_nanos() as u64;
            }
        }
    }

    fn put_off(&mut self, now_ns: u64, error: &dyn std::fmt::Display) {
        self.health.failed(error);
        self.syncing.retry_ns = now_ns + self.syncing.backoff.wait_ns(now_ns);
    }

    fn has_doubtful(&self) -> bool {
        self.segments().any(|segment| segment.is_doubtful)
    }

    fn segments(&self) -> impl Iterator<Item = &Segment<D>> {
        self.earlier.segments.iter().chain(&self.own.segments)
    }

    pub(super) fn find(&mut self, number: u32) -> Option<&mut Segment<D>> {
        match self.own.find(number) {
            None => self.earlier.find(number),
            found => found,
        }
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
            let segments = self.earlier.segments.iter_mut();
            let mut unsynced = segments
                .chain(&mut self.own.segments)
                .filter(|segment| !segment.is_doubtful && !segment.is_synced());
            if let Some(segment) = unsynced.next() {
                let file = segment.file(io, &self.place)?;
                io.sync(SPOOL_NUMBERS, file, Sync::Data)?;
                segment.is_syncing = true;
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
        if let Target::Segment(number, _) = target
            && let Some(segment) = self.find(number)
        {
            segment.is_syncing = false;
        }
        match (&result, target) {
            (Ok(()), Target::Segment(number, end)) => {
                let read = [self.own.reading, self.earlier.reading];
                if let Some(segment) = self.find(number) {
                    segment.synced = end;
                    if !read.contains(&Some(number)) {
                        segment.close();
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
                if let Some(segment) = self.find(number) {
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
}
