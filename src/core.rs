//! The butler without its edge: streams, bundles and the account of both.
//!
//! The core is told what happens and when ([`open`](Core::open),
//! [`data`](Core::data), [`end`](Core::end), [`tick`](Core::tick)), and asked
//! what to do next: [`poll_message`](Core::poll_message) for the output,
//! [`poll_watched`](Core::poll_watched) for callbacks,
//! [`next_tick_ns`](Core::next_tick_ns) for the timer,
//! [`may_read`](Core::may_read) before more data is read. It opens nothing,
//! reads no clock and never waits.
//!
//! Whoever moves a stream (its data, its end) knows that it is open. A key of
//! none is a fault of the caller, by which bytes would vanish from the account:
//! that is a panic, not silence.

mod age_queue;
mod clients;
mod door;
mod headers;
mod invariants;
mod life;
mod listeners;
mod machine;
mod pace;
mod queries;
mod registry;
mod settling;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use self::registry::Registry;
use crate::arena::Arena;
use crate::bundler::{Bundler, Slot};
use crate::delivery::message::{BundleLimits, Identity, StreamInfo};
use crate::delivery::window::{Capacity, Window};
use crate::keys::{OfStream, StreamKey};
use crate::ledger::{Account, DropReason};
use crate::proto::logpb::LogStreamDescriptor;
use crate::stats::Stats;
use crate::stream::{Carry, FramingError, Parser, Progress, WatchEvents};
use crate::time::Moment;
use crate::wire::descriptor::{StreamProperties, Tags};
use crate::wire::name::{Namespace, StreamName};

pub use crate::keys::{ClientKey, ListenerKey};
pub use door::{Peer, Users};
pub use life::{Ending, Life};
pub use machine::{Command, Machine, MachineConfig, NotAccepted, Stopped, Taken, Visitor};

/// What the core is told before it starts.
#[derive(Debug, Clone)]
pub struct CoreConfig {
    /// How large the output wants its bundles.
    pub bundle_limits: BundleLimits,
    /// The output wants text in lines; else it gets text as bytes, in binary
    /// entries, unless the stream is watched.
    pub text_in_lines: bool,
    /// What all bundles carry.
    pub identity: Identity,
    /// Put on every stream that has not a tag of the same key.
    pub global_tags: Tags,
    /// How long data waits, in nanoseconds; 0: all is sent at once.
    pub age_max_ns: u64,
    /// Bytes of memory after which nothing more should be read.
    pub buffered_max: u64,
    /// Bytes that a stream may carry.
    pub stream_size_max: u64,
}

/// Why a stream is not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamRefused {
    /// The name was used before, perhaps by a stream that has ended.
    #[error("the stream name {0} was used before")]
    NameUsed(StreamName),
    /// The butler takes no new streams at all.
    #[error("stream {0}: no new streams are taken any more")]
    Ending(StreamName),
    /// The namespace takes no new streams.
    #[error("stream {0}: the namespace {namespace} takes no new streams", namespace = .1.as_str())]
    Drained(StreamName, Namespace),
}

/// An open stream.
#[derive(Debug)]
struct Stream {
    parser: Parser,
    carry: Carry,
    progress: Progress,
    info: Arc<StreamInfo>,
    account: Account,
    /// Bytes until the size limit.
    size_left: u64,
    watched: bool,
    /// Who watches it is behind.
    held_up: bool,
    /// Neighbours in the queue by age; `None` at its ends.
    older: Option<StreamKey>,
    younger: Option<StreamKey>,
    /// Since when its carry waits in that queue.
    queued_ns: Option<u64>,
}

impl Stream {
    /// Bytes of memory that hold what is unfinished. For those who watch the
    /// stream it will be there a second time when it is put out.
    fn memory(&self) -> usize {
        self.carry.memory() * (1 + usize::from(self.watched))
    }
}

/// What must hold of a key that data or an end comes for.
const OPEN: &str = "the stream of this key is open";

/// What must hold of a ticket that something is told of.
const IN_FLIGHT: &str = "the message of this ticket is in flight";

/// See the module.
#[derive(Debug)]
pub struct Core {
    config: CoreConfig,
    streams: Arena<Stream, OfStream>,
    registry: Registry,
    drained: SmallVec<[Namespace; 2]>,
    bundler: Bundler,
    window: Window,
    /// The streams whose carry waits, the longest first.
    oldest: Option<StreamKey>,
    youngest: Option<StreamKey>,
    /// Bytes of memory in the carries that wait.
    carried: usize,
    /// Bytes of memory in all others.
    idle: usize,
    total: Account,
    losses: BTreeMap<StreamName, Account>,
    /// Streams whose end was not delivered, and why.
    ends_lost: BTreeMap<StreamName, DropReason>,
    events: WatchEvents,
    /// Streams that those who watch them hold up.
    held_up: usize,
    /// Bytes of memory that watchers hold.
    watchers_hold: usize,
    stats: Stats,
    /// No more is awaited: what is there leaves at once.
    flushing: bool,
}

impl Core {
    /// Without any stream.
    pub fn new(config: CoreConfig) -> Self {
        Self {
            bundler: Bundler::new(
                config.bundle_limits,
                usize::try_from(config.buffered_max).unwrap_or(usize::MAX),
                &config.identity,
            ),
            config,
            streams: Arena::default(),
            registry: Registry::default(),
            drained: SmallVec::new(),
            window: Window::new(Capacity::UNBOUNDED),
            oldest: None,
            youngest: None,
            carried: 0,
            idle: 0,
            total: Account::default(),
            losses: BTreeMap::new(),
            ends_lost: BTreeMap::new(),
            events: WatchEvents::default(),
            held_up: 0,
            watchers_hold: 0,
            stats: Stats::default(),
            flushing: false,
        }
    }

    /// Opens a stream.
    pub fn open(
        &mut self,
        now: &Moment,
        properties: &StreamProperties,
    ) -> Result<StreamKey, StreamRefused> {
        let name = &properties.name;
        let refused = if self.registry.contains(name) {
            Some(StreamRefused::NameUsed(name.clone()))
        } else {
            self.drained
                .iter()
                .find(|namespace| name.is_in(namespace))
                .map(|namespace| match namespace.as_str() {
                    "" => StreamRefused::Ending(name.clone()),
                    _ => StreamRefused::Drained(name.clone(), namespace.clone()),
                })
        };
        if let Some(error) = refused {
            self.stats.streams_refused += 1;
            return Err(error);
        }
        let descriptor = properties.descriptor(now.wall, &self.config.global_tags);
        let info = |key| StreamInfo::new(key, name.clone(), properties.stream_type, &descriptor);
        let key = self.streams.insert_with(|key| Stream {
            parser: Parser::new(properties.stream_type, self.config.text_in_lines),
            carry: Carry::default(),
            progress: Progress {
                base: descriptor.timestamp.unwrap_or(now.wall),
                next_index: 0,
                last_offset: (0, 0),
                slot: Slot::default(),
            },
            info: Arc::new(info(key)),
            account: Account::default(),
            size_left: self.config.stream_size_max,
            watched: false,
            held_up: false,
            older: None,
            younger: None,
            queued_ns: None,
        });
        self.registry.open(name.clone(), key);
        self.stats.streams += 1;
        Ok(key)
    }

    /// Notes the entries of a stream that was just opened for
    /// [`poll_watched`](Self::poll_watched).
    ///
    /// # Panics
    ///
    /// If it is not open, or data has come.
    pub fn watch(&mut self, key: StreamKey) {
        let stream = self.streams.get_mut(key).expect(OPEN);
        assert_eq!(stream.account.accepted(), 0, "it was just opened");
        stream.watched = true;
        stream.parser = Parser::new(stream.info.stream_type, true);
    }

    /// The stream's descriptor.
    pub fn descriptor(&self, key: StreamKey) -> Option<LogStreamDescriptor> {
        Some(self.streams.get(key)?.info.descriptor())
    }

    /// What does not change of the stream.
    pub fn info(&self, key: StreamKey) -> Option<Arc<StreamInfo>> {
        Some(Arc::clone(&self.streams.get(key)?.info))
    }

    /// Where the bytes of a stream went: of any that there ever was.
    pub fn account_of(&self, name: &str) -> Option<Account> {
        match self.registry.find(name) {
            Some(key) => Some(self.streams.get(key)?.account),
            None => self.registry.account(name),
        }
    }

    /// The stream's name.
    pub fn name(&self, key: StreamKey) -> Option<&StreamName> {
        Some(&self.streams.get(key)?.info.name)
    }

    /// The client of the stream wrote `data`. After an error nothing more can
    /// be read from it and the stream must be ended; all of `data` is
    /// accounted for.
    ///
    /// # Panics
    ///
    /// If the stream is not open.
    pub fn data(&mut self, now: &Moment, key: StreamKey, data: &[u8]) -> Result<(), FramingError> {
        let stream = self.streams.get_mut(key).expect(OPEN);
        stream.account.accept(data.len() as u64);
        self.total.accept(data.len() as u64);
        self.stats.reads += 1;
        let keep =
            usize::try_from(stream.size_left).map_or(data.len(), |left| left.min(data.len()));
        let (data, beyond) = data.split_at(keep);
        let limit = self.config.stream_size_max;
        let age_max_ns = self.config.age_max_ns;

        let result = self.with_stage(now, key, |parser, carry, stage, size_left| {
            *size_left -= data.len() as u64;
            let result = parser.push(stage, carry, data);
            if !beyond.is_empty() {
                let first = stage.account.dropped(DropReason::OverLimit) == 0;
                if first && result.is_ok() {
                    parser.cut(stage, carry, limit);
                }
                stage.drop(DropReason::OverLimit, beyond.len() as u64);
            } else if let Some(since) = carry.waiting_since()
                && now.mono_ns.saturating_sub(since) >= age_max_ns
                && result.is_ok()
            {
                parser.expire(stage, carry);
            }
            result
        });
        if self.window.is_empty() && !self.bundler.has_sealed() {
            self.bundler.seal_if_enough();
        }
        self.note_peak();
        result
    }

    /// The stream has ended: what is left of it is put out and its key is
    /// gone.
    ///
    /// # Panics
    ///
    /// If the stream is not open.
    pub fn end(&mut self, now: &Moment, key: StreamKey) {
        self.with_stage(now, key, |parser, carry, stage, _| {
            let omitted = stage.account.dropped(DropReason::OverLimit);
            let total = stage.account.accepted();
            parser.finish(stage, carry, omitted, total);
            // A stream without entries is not mentioned at all.
            if let Some(last) = stage.progress.next_index.checked_sub(1) {
                stage
                    .bundler
                    .terminate(stage.info, &mut stage.progress.slot, last, now);
            }
        });
        self.unqueue(key);
        self.hold_up(key, false);
        let stream = self.streams.remove(key).expect(OPEN);
        self.idle -= stream.memory();
        if stream.watched {
            self.events.end(key);
        }
        self.retire(&stream);
        self.note_peak();
    }

    /// What the messages of a stream that has ended keep of it, and its
    /// account.
    fn retire(&mut self, stream: &Stream) {
        let (name, account) = (&stream.info.name, stream.account);
        let messages = stream.progress.slot.messages;
        let memory = stream.info.memory();
        self.registry.end(name, account, messages, memory);
        if messages > 0 {
            self.bundler.keep(memory);
        }
        let beyond = account.dropped(DropReason::OverLimit);
        if beyond > 0 {
            log::warn!(
                "stream {name}: {beyond} of {} bytes were beyond its maximum size and are omitted",
                account.accepted(),
            );
        }
    }

    /// Time has passed: puts out what has waited for the maximum age.
    pub fn tick(&mut self, now: &Moment) {
        while let Some(key) = self.oldest
            && let Some(since) = self.streams.get(key).and_then(|stream| stream.queued_ns)
            && now.mono_ns.saturating_sub(since) >= self.config.age_max_ns
        {
            self.expire(now, key);
        }
    }

    /// When [`tick`](Self::tick) and [`poll_message`](Self::poll_message) have
    /// something to do for reasons of age, on the monotonic clock. A bundle
    /// that is due already waits for the output, not for the clock.
    pub fn next_tick_ns(&self, now: &Moment) -> Option<u64> {
        let due = |since: u64| since.saturating_add(self.config.age_max_ns);
        let carried = self.oldest.and_then(|key| self.streams.get(key)?.queued_ns);
        let staged = self.bundler.oldest_ns().map(due);
        let staged = staged.filter(|due| *due > now.mono_ns);
        carried.map(due).into_iter().chain(staged).min()
    }

    /// Is a bundle ready to leave?
    pub fn has_message(&self, now: &Moment) -> bool {
        self.bundler.has_sealed()
            || self.bundler.oldest_ns().is_some_and(|oldest| {
                self.flushing
                    || !self.may_read()
                    || now.mono_ns.saturating_sub(oldest) >= self.config.age_max_ns
            })
            || (!self.may_read() && self.oldest.is_some())
    }

    /// Is data sent as soon as it is read?
    pub fn is_eager(&self) -> bool {
        self.config.age_max_ns == 0
    }

    /// Bytes of memory after which nothing more should be read.
    pub(crate) fn buffered_max(&self) -> u64 {
        self.config.buffered_max
    }

    /// May more data be read?
    pub fn may_read(&self) -> bool {
        self.buffered() < self.config.buffered_max
    }

    /// Half of the memory that data may take is taken: what can be kept elsewhere
    /// should be, before those who write have to wait.
    pub fn is_filling_up(&self) -> bool {
        self.buffered() >= self.config.buffered_max / 2
    }

    /// Messages that wait for the output, or that it has.
    pub fn messages_waiting(&self) -> usize {
        self.bundler.waiting() + self.window.len()
    }

    /// Do so many messages, or more, wait besides those that the output has, and
    /// that it still has room for?
    pub fn is_ahead_by(&self, messages: usize) -> bool {
        let waiting = self.bundler.waiting();
        waiting >= messages && waiting >= self.window.places_left().saturating_add(messages)
    }

    /// Messages that the output has.
    pub fn in_flight(&self) -> usize {
        self.window.len()
    }

    /// Bytes of memory that hold data.
    pub fn buffered(&self) -> u64 {
        let watched = self.events.held() + self.watchers_hold;
        (self.carried + self.bundler.held() + watched) as u64
    }

    /// No more data is awaited: what is there leaves without waiting.
    pub fn flush(&mut self) {
        self.flushing = true;
    }

    /// As if the maximum age were 0 from now on: what is there leaves without
    /// waiting, and what comes as well.
    pub fn stop_buffering(&mut self, now: &Moment) {
        self.config.age_max_ns = 0;
        self.tick(now);
    }

    /// Is all that came in delivered or dropped?
    pub fn is_settled(&self) -> bool {
        self.streams.is_empty() && self.bundler.is_empty() && self.window.is_empty()
    }

    /// The next entry of a watched stream, as a `logs` field of a bundle;
    /// `None` in it is the stream's end.
    pub fn poll_watched(&mut self) -> Option<(StreamKey, Option<Bytes>)> {
        self.events.pop()
    }

    /// So many bytes of memory hold what was polled and not looked at yet.
    pub fn watchers_hold(&mut self, bytes: usize) {
        if bytes != self.watchers_hold {
            self.watchers_hold = bytes;
            self.note_peak();
        }
    }

    /// Has [`poll_watched`](Self::poll_watched) something?
    pub fn has_watched(&self) -> bool {
        !self.events.is_empty()
    }

    /// Who watches the stream is behind, or (`false`) is not any more.
    pub(crate) fn hold_up(&mut self, key: StreamKey, holds_up: bool) {
        if let Some(stream) = self.streams.get_mut(key)
            && stream.held_up != holds_up
        {
            stream.held_up = holds_up;
            match holds_up {
                true => self.held_up += 1,
                false => self.held_up -= 1,
            }
        }
    }

    /// Is who watches the stream behind, so that it is not to be read?
    pub(crate) fn is_held_up(&self, key: StreamKey) -> bool {
        self.held_up > 0 && self.streams.get(key).is_some_and(|stream| stream.held_up)
    }

    /// More may be held than before.
    fn note_peak(&mut self) {
        let buffered = self.buffered();
        self.stats.peak_buffered = self.stats.peak_buffered.max(buffered);
        // What a slow output needed is not kept beside what has come since.
        let left = self.config.buffered_max.saturating_sub(buffered);
        self.bundler
            .leave_room(usize::try_from(left).unwrap_or(usize::MAX));
    }
}

#[cfg(test)]
mod tests;
