//! From bundles, in whatever order and however often they come, to entries
//! in order: first each stream's own, then, when several are read, all those
//! of a prefix.
//!
//! What is in order passes through. What is early waits in one of two stages,
//! in each up to [`READER_HELD_MAX`](crate::limits::READER_HELD_MAX); then what it
//! waits for is given up. In the first stage, by stream_index, that is content
//! which is missing, and told. In the second, by prefix_index, it costs nothing
//! but the order among streams; every index has its turn there, those too of
//! entries that are not wanted, so that nothing waits for them.

use std::io;

use thiserror::Error;

use super::catalog::{Catalog, Located, OriginId, StreamId};
use super::event::{Each, Entry, Event};
use super::finding::Finding;
use super::lanes::{Lanes, Turn};
use super::origin::Origin;
use crate::limits::{READER_STREAM_COST, READER_TAG_COST};
use crate::wire::bundle_view::{BundleView, EntryView, LogView};
use crate::wire::name::StreamName;
use crate::wire::walk::Malformed;

/// Puts the entries of bundles in order. It does no I/O.
///
/// Whoever reads messages from somewhere (a socket, say) cuts them with
/// [`MessageReader`](crate::wire::reader::MessageReader), and
/// [feeds](Self::feed) their bundles.
#[derive(Debug)]
pub struct Assembly {
    catalog: Catalog,
    /// By StreamId; those of directories have what is new.
    progress: Vec<StreamProgress>,
    /// Encoded entries by StreamId and stream_index.
    entries: Lanes<Box<[u8]>>,
    /// Encoded entries by OriginId and prefix_index; `None` has its turn and
    /// is not wanted.
    turns: Lanes<Option<(StreamId, Box<[u8]>)>>,
}

/// Sources from here on are spools, which have only what is not delivered.
pub(super) const SPOOLS: usize = usize::MAX / 2;

/// What of a stream came, and how far it was given.
#[derive(Debug, Default)]
struct StreamProgress {
    /// Its last stream_index, once it has ended.
    terminal_index: Option<u64>,
    /// The stream_index after the last entry that was given.
    given: u64,
    ended: bool,
    missing: u64,
    first_missing: u64,
    /// What came early was more than may wait.
    did_not_wait: bool,
    /// Where its entries come from.
    source: usize,
}

/// Why a bundle was not taken whole.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FeedError {
    /// It is not what the schema says. What stands before that was taken.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Whoever takes the entries does not.
    #[error(transparent)]
    Refused(#[from] io::Error),
}

/// Where what is new begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begins {
    /// Not after what is looked at now.
    NotAfter,
    /// At the beginning, whatever comes first.
    AtZero,
}

impl Assembly {
    /// `wants` says which streams are wanted. The others are not held, and
    /// cost nothing but a look.
    pub fn new(wants: impl Fn(&Origin, &str) -> bool + Send + 'static) -> Self {
        Self {
            catalog: Catalog::new(wants),
            progress: Vec::new(),
            entries: Lanes::default(),
            turns: Lanes::default(),
        }
    }

    /// The streams that are known so far.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    pub(super) fn catalog_mut(&mut self) -> &mut Catalog {
        &mut self.catalog
    }

    /// Looks at a bundle before any is fed, to know the streams and where
    /// they begin. Without it each stream begins with its entry 0, and a prefix
    /// with the first of its bundles. After all of them call
    /// [`surveyed`](Self::surveyed).
    pub fn survey(&mut self, bundle: &[u8]) -> Result<(), Malformed> {
        let bundle = BundleView::parse(bundle)?;
        check_prefix(&bundle)?;
        for entry in bundle.entries() {
            let entry = entry?;
            let id = self.stream(&bundle, &entry, Begins::NotAfter)?;
            let Some(origin) = self.catalog.current(bundle.prefix) else {
                continue;
            };
            for log in entry.logs() {
                let log = log?;
                self.turns.begins_by(origin.0, log.prefix_index);
                if let Some(id) = id {
                    self.entries.begins_by(id.0, log.stream_index);
                }
            }
        }
        Ok(())
    }

    /// The survey is over.
    pub fn surveyed(&mut self) {
        for (lane, stream) in self.progress.iter_mut().enumerate() {
            match self.entries.next(lane) {
                // No entry was seen of it.
                u64::MAX => self.entries.begin(lane, 0),
                first => stream.miss(0..first),
            }
        }
    }

    /// Takes an encoded ButlerLogBundle, of the source with that number, and
    /// gives what is in order by now.
    ///
    /// # Errors
    ///
    /// Those of `each`, and if the bundle is malformed.
    pub fn feed(
        &mut self,
        source: usize,
        bundle: &[u8],
        each: &mut Each<'_>,
    ) -> Result<(), FeedError> {
        let bundle = BundleView::parse(bundle)?;
        check_prefix(&bundle)?;
        // How a stream is shown depends on which others there are.
        for entry in bundle.entries() {
            self.stream(&bundle, &entry?, Begins::AtZero)?;
        }
        let Some(origin) = self.catalog.current(bundle.prefix) else {
            return Ok(());
        };
        for entry in bundle.entries() {
            let entry = entry?;
            let Some(id) = self.stream(&bundle, &entry, Begins::AtZero)? else {
                for log in entry.logs() {
                    self.offer(each, origin, None, &log?)?;
                }
                continue;
            };
            self.progress[id.0].source = source;
            for log in entry.logs() {
                let log = log?;
                log.check()?;
                self.log(each, id, &log)?;
            }
            if let Some(index) = entry.terminal_index {
                self.progress[id.0].terminal_index = Some(index);
                self.end_if_given(each, id)?;
            }
        }
        Ok(())
    }

    /// Have all streams ended, and was all of them given that will be? Not
    /// when there are none.
    pub fn is_complete(&self) -> bool {
        let mut ids = self.of_messages().peekable();
        ids.peek().is_some() && ids.all(|id| self.progress[id.0].ended)
    }

    /// Gives up on all that is missing, and gives what waits for it.
    pub fn release(&mut self, each: &mut Each<'_>) -> io::Result<()> {
        for id in (0..self.entries.count()).map(StreamId) {
            while self.give_up(each, id)? {}
        }
        for origin in (0..self.turns.count()).map(OriginId) {
            while self.give_up_turn(each, origin)? {}
        }
        for id in (0..self.progress.len()).map(StreamId) {
            let stream = &mut self.progress[id.0];
            if stream.terminal_index.is_some() && !stream.ended {
                stream.ended = true;
                each(&self.catalog, Event::Ended(id))?;
            }
        }
        Ok(())
    }

    /// Called at every poll: gives up on what something waited for in so many
    /// of them.
    pub fn poll(&mut self, polls_max: u32, each: &mut Each<'_>) -> io::Result<()> {
        for id in (0..self.entries.count()).map(StreamId) {
            if self.entries.is_stuck(id.0, polls_max) {
                self.give_up(each, id)?;
            }
        }
        for origin in (0..self.turns.count()).map(OriginId) {
            if self.turns.is_stuck(origin.0, polls_max) {
                self.give_up_turn(each, origin)?;
            }
        }
        Ok(())
    }

    /// Nothing comes any more: gives what waits, and tells what is missing.
    pub fn finish(&mut self, each: &mut Each<'_>) -> io::Result<()> {
        self.release(each)?;
        for id in (0..self.progress.len()).map(StreamId) {
            self.tell_missing(each, id)?;
        }
        Ok(())
    }

    /// The source with that number begins anew: its streams are given as far
    /// as they came, and forgotten.
    pub fn restart(&mut self, source: usize, each: &mut Each<'_>) -> io::Result<()> {
        self.release(each)?;
        let is_its = |id: &StreamId| self.progress[id.0].source == source;
        let ids: Vec<_> = self.of_messages().filter(is_its).collect();
        for id in ids {
            self.tell_missing(each, id)?;
            each(&self.catalog, Event::Restarted(id))?;
            self.catalog.retire(id);
            self.progress[id.0] = StreamProgress::default();
        }
        Ok(())
    }

    /// The streams that come through here, not those of directories.
    fn of_messages(&self) -> impl Iterator<Item = StreamId> {
        let is_of_messages =
            |id: &StreamId| matches!(self.catalog.origin_of(*id), Origin::Prefix(..));
        self.catalog.ids().filter(is_of_messages)
    }

    fn tell_missing(&mut self, each: &mut Each<'_>, id: StreamId) -> io::Result<()> {
        let stream = &mut self.progress[id.0];
        if let Some(last) = stream.terminal_index {
            let next = self.entries.next(id.0);
            stream.miss(next..last.saturating_add(1));
        }
        if stream.missing == 0 {
            return Ok(());
        }
        if stream.source >= SPOOLS && !stream.did_not_wait {
            let (first, count) = (stream.first_missing, stream.missing);
            let finding = Finding::NotWaiting(self.catalog.label(id), first, count);
            return each(&self.catalog, Event::Finding(finding));
        }
        let finding = Finding::Missing {
            stream: self.catalog.label(id),
            first: stream.first_missing,
            count: stream.missing,
            late: stream.did_not_wait,
        };
        each(&self.catalog, Event::Finding(finding))
    }

    /// The stream of the entry; `None` if it is not wanted, or has no room.
    fn stream(
        &mut self,
        bundle: &BundleView<'_>,
        entry: &EntryView<'_>,
        begins: Begins,
    ) -> Result<Option<StreamId>, Malformed> {
        let prefix = match self.catalog.locate(bundle.prefix, entry.name, entry.began) {
            Located::Known(id) => return Ok(Some(id)),
            Located::New(prefix) => prefix,
            Located::OneRunMore => return Ok(None),
        };
        StreamName::new(entry.name).map_err(|_| Malformed)?;
        if !self.catalog.wants(&prefix, entry.name) {
            return Ok(None);
        }
        let (bytes, tags) = entry.descriptor_size();
        if !self
            .catalog
            .has_room(READER_STREAM_COST + bytes + tags * READER_TAG_COST)
        {
            return Ok(None);
        }
        let is_first = self.catalog.origin(&prefix).is_none();
        let (first, first_turn) = match begins {
            Begins::NotAfter => (u64::MAX, u64::MAX),
            // What came before was of none that is wanted.
            Begins::AtZero if is_first => (0, first_index(bundle)?),
            Begins::AtZero => (0, 0),
        };
        let Some(id) = self.catalog.add(&prefix, entry.descriptor()?, 0) else {
            return Ok(None);
        };
        if self.progress.len() <= id.0 {
            self.progress.resize_with(id.0 + 1, StreamProgress::default);
        }
        self.progress[id.0] = StreamProgress::default();
        self.entries.begin(id.0, first);
        if is_first {
            self.turns.begin(self.catalog.get(id).origin.0, first_turn);
        }
        Ok(Some(id))
    }

    fn log(&mut self, each: &mut Each<'_>, id: StreamId, log: &LogView<'_>) -> io::Result<()> {
        match self.entries.arrive(id.0, log.stream_index) {
            // It is here for the second time.
            Turn::Past => Ok(()),
            Turn::Early => {
                let (bytes, len) = (log.bytes.into(), log.bytes.len());
                self.entries.hold(id.0, log.stream_index, bytes, len);
                for id in self.entries.overfull().into_iter().map(StreamId) {
                    while !self.entries.is_relieved() && self.give_up(each, id)? {
                        self.progress[id.0].did_not_wait = true;
                    }
                }
                Ok(())
            }
            Turn::Due => {
                self.in_order(each, id, log)?;
                self.take_due(each, id)
            }
        }
    }

    fn take_due(&mut self, each: &mut Each<'_>, id: StreamId) -> io::Result<()> {
        while let Some(bytes) = self.entries.take_due(id.0) {
            // It parsed before it was held.
            if let Ok(log) = LogView::parse(&bytes) {
                self.in_order(each, id, &log)?;
            }
        }
        Ok(())
    }

    /// Goes on with what came early; says whether there was any.
    fn give_up(&mut self, each: &mut Each<'_>, id: StreamId) -> io::Result<bool> {
        let Some(missing) = self.entries.give_up(id.0) else {
            return Ok(false);
        };
        self.progress[id.0].miss(missing);
        self.take_due(each, id)?;
        Ok(true)
    }

    /// The entry is the next of its stream.
    fn in_order(&mut self, each: &mut Each<'_>, id: StreamId, log: &LogView<'_>) -> io::Result<()> {
        let origin = self.catalog.get(id).origin;
        if self.catalog.len() > 1 {
            return self.offer(each, origin, Some(id), log);
        }
        self.give(each, id, log)?;
        self.offer(each, origin, None, log)
    }

    /// Gives the entry in its turn, if it is one that is still to be given.
    fn offer(
        &mut self,
        each: &mut Each<'_>,
        origin: OriginId,
        id: Option<StreamId>,
        log: &LogView<'_>,
    ) -> io::Result<()> {
        match self.turns.arrive(origin.0, log.prefix_index) {
            Turn::Early => {
                let entry = id.map(|id| (id, log.bytes.into()));
                let len = id.map_or(0, |_| log.bytes.len());
                self.turns.hold(origin.0, log.prefix_index, entry, len);
                for origin in self.turns.overfull().into_iter().map(OriginId) {
                    while !self.turns.is_relieved() && self.give_up_turn(each, origin)? {}
                }
                Ok(())
            }
            // If its turn is over, or somebody else has it: better out of order
            // than not at all.
            Turn::Due | Turn::Past => {
                if let Some(id) = id {
                    self.give(each, id, log)?;
                }
                self.take_turns(each, origin)
            }
        }
    }

    /// Gives the turn to the first that waits; says whether there was one.
    fn give_up_turn(&mut self, each: &mut Each<'_>, origin: OriginId) -> io::Result<bool> {
        let is_waiting = self.turns.give_up(origin.0).is_some();
        self.take_turns(each, origin)?;
        Ok(is_waiting)
    }

    fn take_turns(&mut self, each: &mut Each<'_>, origin: OriginId) -> io::Result<()> {
        while let Some(entry) = self.turns.take_due(origin.0) {
            // It parsed before it was held.
            if let Some((id, bytes)) = entry
                && let Ok(log) = LogView::parse(&bytes)
            {
                self.give(each, id, &log)?;
            }
        }
        Ok(())
    }

    fn give(&mut self, each: &mut Each<'_>, id: StreamId, log: &LogView<'_>) -> io::Result<()> {
        let entry = Entry::logged(log, self.catalog.get(id).descriptor.timestamp);
        each(&self.catalog, Event::Entry(id, entry))?;
        self.progress[id.0].given = log.stream_index.saturating_add(1);
        self.end_if_given(each, id)
    }

    fn end_if_given(&mut self, each: &mut Each<'_>, id: StreamId) -> io::Result<()> {
        let stream = &mut self.progress[id.0];
        let is_given = |last: u64| stream.given > last;
        if !stream.ended && stream.terminal_index.is_some_and(is_given) {
            stream.ended = true;
            each(&self.catalog, Event::Ended(id))?;
        }
        Ok(())
    }

    /// Bytes that wait, in the stage where more do.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.entries.held().max(self.turns.held())
    }
}

impl StreamProgress {
    fn miss(&mut self, indices: std::ops::Range<u64>) {
        let count = indices.end.saturating_sub(indices.start);
        if count > 0 && self.missing == 0 {
            self.first_missing = indices.start;
        }
        self.missing = self.missing.saturating_add(count);
    }
}

fn check_prefix(bundle: &BundleView<'_>) -> Result<(), Malformed> {
    if !bundle.prefix.is_empty() {
        StreamName::new(bundle.prefix).map_err(|_| Malformed)?;
    }
    Ok(())
}

/// The least prefix_index of its entries.
fn first_index(bundle: &BundleView<'_>) -> Result<u64, Malformed> {
    let mut first = None;
    for entry in bundle.entries() {
        for log in entry?.logs() {
            let index = log?.prefix_index;
            first = Some(first.map_or(index, |first: u64| first.min(index)));
        }
    }
    Ok(first.unwrap_or(0))
}
