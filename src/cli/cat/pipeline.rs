//! From bundles, in whatever order and however often they come, to entries
//! in order: first each stream's own, then, when several are shown, all those
//! of a prefix.
//!
//! What is in order passes through. What is early is held, up to
//! [`CAT_HELD_MAX`] in each of the two stages; then what it waits for is given
//! up. In the first stage, which is here, that is content which is missing,
//! and reported; in the second, [`Interleave`], it costs nothing but the order
//! among streams.

use std::cmp::Reverse;
use std::io;

use super::interleave::{HELD_OVERHEAD, Interleave};
use super::order::{Place, Sequencer};
use super::report::Report;
use super::sink::Sink;
use super::streams::{Located, Origin, OriginId, StreamId, Streams};
use crate::limits::{CAT_HELD_MAX, CAT_STREAM_COST, CAT_TAG_COST};
use crate::wire::bundle_view::{BundleView, EntryView, LogView};
use crate::wire::name::StreamName;
use crate::wire::walk::Malformed;

/// Puts entries in order.
#[derive(Debug, Default)]
pub struct Pipeline {
    /// By StreamId.
    orders: Vec<StreamOrder>,
    held: usize,
    interleave: Interleave,
}

/// What of a stream came, and how far it was shown.
#[derive(Debug)]
struct StreamOrder {
    order: Sequencer<Box<[u8]>>,
    held: usize,
    /// Its last stream_index, once it has ended.
    terminal_index: Option<u64>,
    /// The stream_index after the last entry that was shown.
    shown: u64,
    ended: bool,
    missing: u64,
    first_missing: u64,
    /// What came early was more than may wait.
    did_not_wait: bool,
    /// Which file its entries come from.
    source: usize,
}

/// Why a bundle was not taken whole.
#[derive(Debug)]
pub enum FeedError {
    /// It is not what the schema says.
    Malformed,
    /// The sink can't write.
    Write(io::Error),
}

impl From<Malformed> for FeedError {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

impl From<io::Error> for FeedError {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

/// Where what is new begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begins {
    /// Not after what is looked at now.
    NotAfter,
    /// At the beginning, whatever comes first.
    AtZero,
}

impl Pipeline {
    /// Looks at a bundle before any is fed, to know the streams and where
    /// they begin. The beginning of a stream may be in another file.
    pub fn survey(&mut self, streams: &mut Streams, bundle: &[u8]) -> Result<(), FeedError> {
        let bundle = BundleView::parse(bundle)?;
        check_prefix(&bundle)?;
        for entry in bundle.entries() {
            let entry = entry?;
            let id = self.stream(streams, &bundle, &entry, Begins::NotAfter)?;
            let Some(origin) = streams.current(bundle.prefix) else {
                continue;
            };
            for log in entry.logs() {
                let log = log?;
                self.interleave.begins_by(origin, log.prefix_index);
                if let Some(id) = id {
                    let stream = &mut self.orders[id.0];
                    if log.stream_index < stream.order.next() {
                        *stream = StreamOrder::new(log.stream_index);
                    }
                }
            }
        }
        Ok(())
    }

    /// The survey is over.
    pub fn surveyed(&mut self) {
        for stream in &mut self.orders {
            match stream.order.next() {
                // No entry was seen of it.
                u64::MAX => *stream = StreamOrder::new(0),
                first => stream.miss(0..first),
            }
        }
    }

    /// Takes a bundle of the file `source`.
    pub fn feed(
        &mut self,
        streams: &mut Streams,
        sink: &mut dyn Sink,
        source: usize,
        bundle: &[u8],
    ) -> Result<(), FeedError> {
        let bundle = BundleView::parse(bundle)?;
        check_prefix(&bundle)?;
        // How a stream is shown depends on which others there are.
        for entry in bundle.entries() {
            self.stream(streams, &bundle, &entry?, Begins::AtZero)?;
        }
        let Some(origin) = streams.current(bundle.prefix) else {
            return Ok(());
        };
        for entry in bundle.entries() {
            let entry = entry?;
            let Some(id) = self.stream(streams, &bundle, &entry, Begins::AtZero)? else {
                for log in entry.logs() {
                    self.pass(streams, sink, origin, &log?)?;
                }
                continue;
            };
            self.orders[id.0].source = source;
            for log in entry.logs() {
                let log = log?;
                log.check()?;
                self.log(streams, sink, id, &log)?;
            }
            if let Some(index) = entry.terminal_index {
                self.orders[id.0].terminal_index = Some(index);
                end_if_shown(&mut self.orders, streams, sink, id)?;
            }
        }
        Ok(())
    }

    /// Have all streams ended, and was all of them shown that will be? Not
    /// when there are none.
    pub fn is_complete(&self, streams: &Streams) -> bool {
        let mut ids = of_files(streams).peekable();
        ids.peek().is_some() && ids.all(|id| self.orders[id.0].ended)
    }

    /// Bytes that are held, in the stage that holds more.
    #[cfg(test)]
    pub fn held(&self) -> usize {
        self.held.max(self.interleave.held())
    }

    /// Gives up on all that is missing, and shows what waits for it.
    pub fn release(&mut self, streams: &Streams, sink: &mut dyn Sink) -> io::Result<()> {
        for id in of_files(streams) {
            while self.give_up(streams, sink, id)? {}
        }
        let orders = &mut self.orders;
        self.interleave
            .release(&mut |id, log| show(orders, streams, sink, id, log))?;
        for id in of_files(streams) {
            let stream = &mut self.orders[id.0];
            if stream.terminal_index.is_some() && !stream.ended {
                stream.ended = true;
                sink.ended(streams, id)?;
            }
        }
        Ok(())
    }

    /// Called at every poll: gives up on what something waited for in so many
    /// of them.
    pub fn poll(
        &mut self,
        streams: &Streams,
        sink: &mut dyn Sink,
        polls_max: u32,
    ) -> io::Result<()> {
        for id in of_files(streams) {
            if self.orders[id.0].order.is_stuck(polls_max) {
                self.give_up(streams, sink, id)?;
            }
        }
        let orders = &mut self.orders;
        self.interleave.poll(polls_max, &mut |id, log| {
            show(orders, streams, sink, id, log)
        })
    }

    /// Nothing comes any more: shows what waits, and reports what is missing.
    pub fn finish(
        &mut self,
        streams: &Streams,
        sink: &mut dyn Sink,
        report: &mut Report<'_>,
    ) -> io::Result<()> {
        self.release(streams, sink)?;
        for id in of_files(streams) {
            self.report_missing(streams, report, id);
        }
        Ok(())
    }

    /// The file `source` begins anew: its streams are shown as far as they
    /// came, and forgotten.
    pub fn restart(
        &mut self,
        streams: &mut Streams,
        sink: &mut dyn Sink,
        report: &mut Report<'_>,
        source: usize,
    ) -> io::Result<()> {
        self.release(streams, sink)?;
        let is_its = |id: &StreamId| self.orders[id.0].source == source;
        let ids: Vec<_> = of_files(streams).filter(is_its).collect();
        for id in ids {
            self.report_missing(streams, report, id);
            sink.restarted(streams, id)?;
            streams.retire(id);
        }
        Ok(())
    }

    fn report_missing(&mut self, streams: &Streams, report: &mut Report<'_>, id: StreamId) {
        let stream = &mut self.orders[id.0];
        if let Some(last) = stream.terminal_index {
            let next = stream.order.next();
            stream.miss(next..last.saturating_add(1));
        }
        let (label, first) = (streams.label(id), stream.first_missing);
        let late = match stream.did_not_wait {
            true => format!(
                "; or they came too late: {} MiB of others had waited",
                CAT_HELD_MAX >> 20
            ),
            false => String::new(),
        };
        match stream.missing {
            0 => {}
            1 => report.error(format_args!(
                "stream {label}: 1 entry is missing, stream_index {first}{late}"
            )),
            many => report.error(format_args!(
                "stream {label}: {many} entries are missing, from stream_index {first} on{late}"
            )),
        }
    }

    /// The stream of the entry; `None` if it is not wanted, or has no room.
    fn stream(
        &mut self,
        streams: &mut Streams,
        bundle: &BundleView<'_>,
        entry: &EntryView<'_>,
        begins: Begins,
    ) -> Result<Option<StreamId>, FeedError> {
        let prefix = match streams.locate(bundle.prefix, entry.name, entry.began) {
            Located::Known(id) => return Ok(Some(id)),
            Located::New(prefix) => prefix,
            Located::OneRunMore => return Ok(None),
        };
        StreamName::new(entry.name).map_err(|_| FeedError::Malformed)?;
        if !streams.wants(&prefix, entry.name) {
            return Ok(None);
        }
        let (bytes, tags) = entry.descriptor_size();
        if !streams.has_room(CAT_STREAM_COST + bytes + tags * CAT_TAG_COST) {
            return Ok(None);
        }
        let Some(id) = streams.add(&prefix, entry.descriptor()?, 0) else {
            return Ok(None);
        };
        let first = match begins {
            Begins::NotAfter => u64::MAX,
            Begins::AtZero => 0,
        };
        let order = StreamOrder::new(first);
        match self.orders.get_mut(id.0) {
            Some(retired) => *retired = order,
            None => self
                .orders
                .resize_with(id.0 + 1, || StreamOrder::new(first)),
        }
        let origin = streams.get(id).origin;
        if streams.of_origin(origin) == 1 {
            let first_turn = match begins {
                Begins::NotAfter => u64::MAX,
                // What came before was of none that is shown.
                Begins::AtZero => first_index(bundle)?,
            };
            self.interleave.begin(origin, first_turn);
        }
        Ok(Some(id))
    }

    fn log(
        &mut self,
        streams: &Streams,
        sink: &mut dyn Sink,
        id: StreamId,
        log: &LogView<'_>,
    ) -> io::Result<()> {
        let stream = &mut self.orders[id.0];
        match stream.order.place(log.stream_index) {
            // It is here for the second time.
            Place::Past => Ok(()),
            Place::Early if stream.order.holds(log.stream_index) => Ok(()),
            Place::Early => {
                let size = HELD_OVERHEAD + log.bytes.len();
                stream.order.hold(log.stream_index, log.bytes.into());
                stream.held += size;
                self.held += size;
                self.relieve(streams, sink)
            }
            Place::Due => {
                stream.order.advance();
                self.in_order(streams, sink, id, log)?;
                self.take_due(streams, sink, id)
            }
        }
    }

    fn take_due(&mut self, streams: &Streams, sink: &mut dyn Sink, id: StreamId) -> io::Result<()> {
        while let Some(bytes) = self.orders[id.0].order.take_due() {
            let size = HELD_OVERHEAD + bytes.len();
            self.orders[id.0].held -= size;
            self.held -= size;
            // It parsed before it was held.
            if let Ok(log) = LogView::parse(&bytes) {
                self.in_order(streams, sink, id, &log)?;
            }
        }
        Ok(())
    }

    /// Goes on with what came early; says whether there was any.
    fn give_up(
        &mut self,
        streams: &Streams,
        sink: &mut dyn Sink,
        id: StreamId,
    ) -> io::Result<bool> {
        let stream = &mut self.orders[id.0];
        let Some(missing) = stream.order.give_up() else {
            return Ok(false);
        };
        stream.miss(missing);
        self.take_due(streams, sink, id)?;
        Ok(true)
    }

    fn relieve(&mut self, streams: &Streams, sink: &mut dyn Sink) -> io::Result<()> {
        if self.held <= CAT_HELD_MAX {
            return Ok(());
        }
        // The largest first, and down to a half, so that the search is rare.
        let holds = |id: &StreamId| self.orders[id.0].held > 0;
        let mut ids: Vec<_> = of_files(streams).filter(holds).collect();
        ids.sort_unstable_by_key(|id| Reverse(self.orders[id.0].held));
        for id in ids {
            while self.held > CAT_HELD_MAX / 2 && self.give_up(streams, sink, id)? {
                self.orders[id.0].did_not_wait = true;
            }
        }
        Ok(())
    }

    /// The entry is the next of its stream.
    fn in_order(
        &mut self,
        streams: &Streams,
        sink: &mut dyn Sink,
        id: StreamId,
        log: &LogView<'_>,
    ) -> io::Result<()> {
        let origin = streams.get(id).origin;
        let orders = &mut self.orders;
        if streams.len() <= 1 {
            show(orders, streams, sink, id, log)?;
            return self.pass(streams, sink, origin, log);
        }
        self.interleave.offer(origin, id, log, &mut |id, log| {
            show(orders, streams, sink, id, log)
        })
    }

    fn pass(
        &mut self,
        streams: &Streams,
        sink: &mut dyn Sink,
        origin: OriginId,
        log: &LogView<'_>,
    ) -> io::Result<()> {
        let orders = &mut self.orders;
        self.interleave
            .pass(origin, log.prefix_index, &mut |id, log| {
                show(orders, streams, sink, id, log)
            })
    }
}

impl StreamOrder {
    fn new(first: u64) -> Self {
        Self {
            order: Sequencer::new(first),
            held: 0,
            terminal_index: None,
            shown: 0,
            ended: false,
            missing: 0,
            first_missing: 0,
            did_not_wait: false,
            source: 0,
        }
    }

    fn miss(&mut self, indices: std::ops::Range<u64>) {
        let count = indices.end.saturating_sub(indices.start);
        if count > 0 && self.missing == 0 {
            self.first_missing = indices.start;
        }
        self.missing = self.missing.saturating_add(count);
    }
}

/// The streams that come through here, not those of directories.
fn of_files(streams: &Streams) -> impl Iterator<Item = StreamId> {
    let is_of_file = |id: &StreamId| matches!(streams.origin_of(*id), Origin::Prefix(..));
    streams.ids().filter(is_of_file)
}

fn check_prefix(bundle: &BundleView<'_>) -> Result<(), FeedError> {
    if !bundle.prefix.is_empty() {
        StreamName::new(bundle.prefix).map_err(|_| FeedError::Malformed)?;
    }
    Ok(())
}

/// The least prefix_index of its entries.
fn first_index(bundle: &BundleView<'_>) -> Result<u64, FeedError> {
    let mut first = None;
    for entry in bundle.entries() {
        for log in entry?.logs() {
            let index = log?.prefix_index;
            first = Some(first.map_or(index, |first: u64| first.min(index)));
        }
    }
    Ok(first.unwrap_or(0))
}

fn show(
    orders: &mut [StreamOrder],
    streams: &Streams,
    sink: &mut dyn Sink,
    id: StreamId,
    log: &LogView<'_>,
) -> io::Result<()> {
    sink.entry(streams, id, log)?;
    orders[id.0].shown = log.stream_index.saturating_add(1);
    end_if_shown(orders, streams, sink, id)
}

fn end_if_shown(
    orders: &mut [StreamOrder],
    streams: &Streams,
    sink: &mut dyn Sink,
    id: StreamId,
) -> io::Result<()> {
    let stream = &mut orders[id.0];
    let is_shown = |last: u64| stream.shown > last;
    if !stream.ended && stream.terminal_index.is_some_and(is_shown) {
        stream.ended = true;
        sink.ended(streams, id)?;
    }
    Ok(())
}
