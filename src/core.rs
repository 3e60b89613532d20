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

mod clients;
mod door;
mod headers;
mod invariants;
mod life;
mod listeners;
mod machine;
mod pace;
mod registry;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use self::registry::Registry;
use crate::arena::Arena;
use crate::bundler::{Bundler, Slot};
use crate::delivery::message::{BundleLimits, Identity, Message, StreamInfo, Ticket};
use crate::delivery::outcome::{Fate, Later, Outcome, Outcomes};
use crate::delivery::window::{Capacity, Window};
use crate::keys::{OfStream, StreamKey};
use crate::ledger::{Account, DropReason};
use crate::limits::IDLE_BUFFERS_MAX;
use crate::proto::logpb::LogStreamDescriptor;
use crate::stats::Stats;
use crate::stream::{Carry, FramingError, Parser, Progress, Stage, WatchEvents};
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
pub enum OpenError {
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
    ) -> Result<StreamKey, OpenError> {
        let name = &properties.name;
        let refused = if self.registry.contains(name) {
            Some(OpenError::NameUsed(name.clone()))
        } else {
            self.drained
                .iter()
                .find(|namespace| name.is_in(namespace))
                .map(|namespace| match namespace.as_str() {
                    "" => OpenError::Ending(name.clone()),
                    _ => OpenError::Drained(name.clone(), namespace.clone()),
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

    /// What the output takes before it tells the outcome of any of it;
    /// without this, all.
    pub fn set_capacity(&mut self, capacity: Capacity) {
        self.window.capacity = capacity;
    }

    /// See [`set_capacity`](Self::set_capacity).
    pub fn capacity(&self) -> Capacity {
        self.window.capacity
    }

    /// Would [`poll_message`](Self::poll_message) have one, as far as is known?
    pub fn offers_message(&self, now: &Moment) -> bool {
        self.window.has_room() && self.has_message(now)
    }

    /// The next message for the output, if that has room for one: a bundle
    /// that is full, or that has waited for the maximum age, or any when memory
    /// is short or all is flushed. It is in flight until its outcome is told,
    /// by [`settle`](Self::settle) or one of its kind.
    pub fn poll_message(&mut self, now: &Moment) -> Option<Arc<Message>> {
        if !self.window.has_room() {
            return None;
        }
        if !self.bundler.has_sealed() && self.has_message(now) {
            // Short of memory and nothing else to send: unfinished lines are
            // what holds it, the oldest go first.
            while !self.may_read()
                && !self.bundler.has_sealed()
                && let Some(key) = self.oldest
            {
                self.expire(now, key);
            }
            if !self.bundler.has_sealed() {
                self.bundler.seal();
            }
        }
        let message = self.bundler.pop()?;
        self.window.begin(&message);
        Some(message)
    }

    /// The output has made of the message what it sends, which takes `memory`
    /// bytes until its outcome is told, and has let go of it. Its entries are
    /// gone.
    ///
    /// # Panics
    ///
    /// If it is not in flight.
    pub fn encoded(&mut self, ticket: Ticket, memory: usize) {
        let message = self.window.get_mut(ticket).expect(IN_FLIGHT);
        self.bundler.release(message, memory);
        self.note_peak();
    }

    /// The output has taken the message, as `bytes_out` bytes.
    ///
    /// # Panics
    ///
    /// If it is not in flight.
    pub fn delivered(&mut self, now: &Moment, ticket: Ticket, bytes_out: u64) {
        self.settle(now, &Outcome::delivered(ticket, bytes_out));
    }

    /// The message will not be delivered.
    ///
    /// # Panics
    ///
    /// If it is not in flight.
    pub fn lost(&mut self, now: &Moment, ticket: Ticket, reason: DropReason) {
        self.settle(now, &Outcome::lost(ticket, reason));
    }

    /// The output is given up: what is in flight is lost.
    pub fn give_up(&mut self, now: &Moment) {
        while let Some(ticket) = self.window.oldest() {
            self.lost(now, ticket, DropReason::Undelivered);
        }
    }

    /// The output is done with a message, and that became of it. It has let go
    /// of it, so that its memory can be used again.
    ///
    /// # Panics
    ///
    /// If the message is not in flight.
    pub fn settle(&mut self, now: &Moment, outcome: &Outcome) {
        let message = self.window.end(outcome.ticket()).expect(IN_FLIGHT);
        match self.account_for(&message, outcome) {
            true => self.stats.delivered(now, &message),
            false => self.stats.bundles_lost += 1,
        }
        self.stats.bytes_out += outcome.bytes_out();
        self.bundler.recycle(message);
    }

    /// All that the output has to tell. True if a message was settled.
    ///
    /// # Panics
    ///
    /// If one of the messages is not in flight.
    pub fn take(&mut self, now: &Moment, outcomes: &mut Outcomes) -> bool {
        for (ticket, memory) in outcomes.take_encoded() {
            self.encoded(ticket, memory);
        }
        let mut settled = false;
        for outcome in outcomes.take_settled() {
            self.settle(now, &outcome);
            settled = true;
        }
        for later in outcomes.take_later() {
            self.account_later(&later);
        }
        self.stats.bytes_out += outcomes.take_bytes_out();
        settled
    }

    /// True if nothing of the message is lost.
    fn account_for(&mut self, message: &Message, outcome: &Outcome) -> bool {
        let mut whole = true;
        for (at, stream) in message.streams.iter().enumerate() {
            let name = &stream.info.name;
            let split = outcome.split(at, stream.client_bytes);
            split.book(&mut self.total);
            match self.streams.get_mut(stream.info.key) {
                Some(open) if Arc::ptr_eq(&open.info, &stream.info) => {
                    open.progress.slot.messages -= 1;
                    split.book(&mut open.account);
                }
                _ => {
                    let forgotten = self.registry.settle(name, |it| split.book(it));
                    self.bundler.forget(forgotten);
                }
            }
            let Some(reason) = split.reason else {
                continue;
            };
            self.note_loss(name, reason, split.dropped);
            let end_lost = split.end_lost && stream.terminal.is_some();
            if end_lost {
                self.ends_lost.insert(name.clone(), reason);
            }
            whole &= split.dropped == 0 && !end_lost;
        }
        whole
    }

    /// Something became of bytes of a message that was settled before.
    fn account_later(&mut self, later: &Later) {
        let Later {
            stream,
            bytes,
            fate,
        } = later;
        let book = |account: &mut Account| match fate {
            Fate::Delivered => account.deliver(*bytes),
            Fate::Dropped(reason) => account.drop(*reason, *bytes),
            Fate::Removed => account.withdraw(*bytes),
        };
        book(&mut self.total);
        match self.registry.find(stream.as_str()) {
            Some(key) => book(&mut self.streams.get_mut(key).expect(OPEN).account),
            None => self.registry.book(stream, book),
        }
        match fate {
            Fate::Delivered => {}
            Fate::Dropped(reason) => self.note_loss(stream, *reason, *bytes),
            Fate::Removed => self.note_loss(stream, DropReason::Removed, *bytes),
        }
    }

    fn note_loss(&mut self, stream: &StreamName, reason: DropReason, bytes: u64) {
        if bytes > 0 {
            let losses = self.losses.entry(stream.clone()).or_default();
            losses.drop(reason, bytes);
        }
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

    /// Messages that wait for the output, or that it has.
    pub fn messages_waiting(&self) -> usize {
        self.bundler.waiting() + self.window.len()
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

    /// How many streams are open.
    pub fn open_streams(&self) -> usize {
        self.streams.len()
    }

    /// The keys of the open streams in the namespace.
    pub fn open_in(&self, namespace: &Namespace) -> Vec<StreamKey> {
        self.streams
            .iter()
            .filter(|(_, stream)| stream.info.name.is_in(namespace))
            .map(|(key, _)| key)
            .collect()
    }

    /// From now on no stream is opened in the namespace.
    pub fn drain(&mut self, namespace: Namespace) {
        if !self.drained.contains(&namespace) {
            self.drained.push(namespace);
        }
    }

    /// All names ever used, sorted.
    pub fn names(&self) -> Vec<StreamName> {
        let mut names: Vec<_> = self.registry.names().cloned().collect();
        names.sort_unstable();
        names
    }

    /// The open stream of that name.
    pub fn find(&self, name: &str) -> Option<StreamKey> {
        self.registry.find(name)
    }

    /// Where the bytes of all streams went.
    pub fn account(&self) -> &Account {
        &self.total
    }

    /// What was lost on its way to the output, by stream.
    pub fn losses(&self) -> &BTreeMap<StreamName, Account> {
        &self.losses
    }

    /// Streams whose end was not delivered, and why. Of some all bytes were.
    pub fn ends_lost(&self) -> &BTreeMap<StreamName, DropReason> {
        &self.ends_lost
    }

    /// Counters and histograms.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// For what the edge counts.
    pub fn stats_mut(&mut self) -> &mut Stats {
        &mut self.stats
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

    /// Puts out what the stream carries.
    fn expire(&mut self, now: &Moment, key: StreamKey) {
        self.with_stage(now, key, |parser, carry, stage, _| {
            parser.expire(stage, carry);
        });
    }

    /// Runs the stream's parser, and keeps the memory count and the queue by
    /// age in step with its carry.
    fn with_stage<R>(
        &mut self,
        now: &Moment,
        key: StreamKey,
        run: impl FnOnce(&mut Parser, &mut Carry, &mut Stage<'_>, &mut u64) -> R,
    ) -> R {
        let stream = self.streams.get_mut(key).expect(OPEN);
        match stream.queued_ns {
            Some(_) => self.carried -= stream.memory(),
            None => self.idle -= stream.memory(),
        }
        let mut stage = Stage {
            bundler: &mut self.bundler,
            info: &stream.info,
            progress: &mut stream.progress,
            watch: stream.watched.then_some((&mut self.events, key)),
            account: &mut stream.account,
            total: &mut self.total,
            now,
        };
        let result = run(
            &mut stream.parser,
            &mut stream.carry,
            &mut stage,
            &mut stream.size_left,
        );
        let waiting = stream.carry.waiting_since();
        if waiting == stream.queued_ns {
            match waiting {
                Some(_) => self.carried += stream.memory(),
                None => self.rest(key),
            }
            return result;
        }
        self.unqueue(key);
        match waiting {
            Some(since) if self.is_youngest(since) => self.enqueue(key, since),
            Some(_) => {
                self.rest(key);
                self.expire(now, key);
            }
            None => self.rest(key),
        }
        result
    }

    /// The stream is not in the queue by age; its carry may keep some memory.
    fn rest(&mut self, key: StreamKey) {
        let stream = self.streams.get_mut(key).expect(OPEN);
        if self.idle + stream.memory() > IDLE_BUFFERS_MAX {
            stream.carry.shrink();
        }
        self.idle += stream.memory();
    }

    /// May what was read then be appended to the queue by age?
    ///
    /// Moments of reading never go back, so that nearly all may. But the tail
    /// of a line that was held and goes on is as old as it is, and others have
    /// come since. It is not sought a place between them: it leaves at once,
    /// and so the age holds for it too.
    fn is_youngest(&self, since: u64) -> bool {
        self.youngest
            .and_then(|youngest| self.streams.get(youngest)?.queued_ns)
            .is_none_or(|youngest| youngest <= since)
    }

    /// Appends the stream to the queue by age.
    fn enqueue(&mut self, key: StreamKey, since: u64) {
        let older = self.youngest.replace(key);
        match older.and_then(|older| self.streams.get_mut(older)) {
            Some(older) => older.younger = Some(key),
            None => self.oldest = Some(key),
        }
        let stream = self.streams.get_mut(key).expect(OPEN);
        stream.queued_ns = Some(since);
        stream.older = older;
        self.carried += stream.memory();
    }

    fn unqueue(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        if stream.queued_ns.take().is_none() {
            return;
        }
        let (older, younger) = (stream.older.take(), stream.younger.take());
        match older.and_then(|key| self.streams.get_mut(key)) {
            Some(stream) => stream.younger = younger,
            None => self.oldest = younger,
        }
        match younger.and_then(|key| self.streams.get_mut(key)) {
            Some(stream) => stream.older = older,
            None => self.youngest = older,
        }
    }
}

#[cfg(test)]
mod tests;
