//! The loop that ties edge, core and output together.
//!
//! Two tasks on one thread share it: one turns the edge (reads, parses,
//! encodes), one brings bundles to the output. They wake each other.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use tokio::io::Interest;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::hooks::Hooks;
use super::registrations::Registrations;
use crate::chain::Chain;
use crate::core::{ClientKey, Core, OpenError};
use crate::delivery::outcome::Outcome;
use crate::edge::driver::{Edge, Filled, NextRead, Phase, ReadBy, Step};
use crate::edge::pace::Pace;
use crate::edge::tee::Tee;
use crate::edge::{clock, wake};
use crate::limits::{AHEAD_BUNDLES, AHEAD_WAIT, LAST_OFFER_MAX, LAST_OFFER_STEP};
use crate::output::health::Health;
use crate::output::sink::AnySink;
use crate::stream::StreamKey;
use crate::time::Moment;
use crate::wire::descriptor::StreamProperties;

/// Rounds of the edge before the other tasks get a turn.
const ROUNDS: usize = 16;

const AHEAD_WAIT_NS: u64 = AHEAD_WAIT.as_nanos() as u64;

/// What came of a round of the edge.
#[derive(Debug)]
struct Round {
    /// There is something to send.
    output_woken: bool,
    /// Bytes of the largest read, if there was one.
    largest_read: Option<usize>,
}

/// What the tasks share. No borrow of a cell is held across an await or a
/// callback.
#[derive(Debug)]
pub(super) struct Engine {
    pub core: RefCell<Core>,
    pub edge: RefCell<Edge>,
    pub hooks: Hooks,
    pub registrations: Registrations,
    /// Of the output.
    health: Health,
    /// When the output last took a bundle.
    output_took_ns: Cell<u64>,
    /// The edge has something to do that the kernel does not tell.
    pub wake_edge: Arc<Notify>,
    /// There is a bundle, or the end.
    pub wake_output: Notify,
    /// A stream has ended, all is delivered, or something failed.
    pub changed: Notify,
    /// Since when only what the output takes without waiting is delivered.
    aborted: Cell<Option<Instant>>,
    /// The output waits all the same: nothing more is delivered.
    given_up: Cell<bool>,
    /// What is still open is not read any more.
    pub abandoned: Cell<bool>,
    /// All streams have ended and no more come.
    pub finished: Cell<bool>,
    /// The output is at its end.
    pub output_done: Cell<bool>,
    /// The edge does not work any more.
    pub failure: RefCell<Option<Arc<io::Error>>>,
}

impl Engine {
    pub fn new(core: Core, edge: Edge, health: Health) -> Rc<Self> {
        let wake_edge = Arc::new(Notify::new());
        Rc::new(Self {
            health,
            hooks: Hooks::new(core.buffered_max(), Arc::clone(&wake_edge)),
            core: RefCell::new(core),
            edge: RefCell::new(edge),
            registrations: Registrations::default(),
            output_took_ns: Cell::new(0),
            wake_edge,
            wake_output: Notify::new(),
            changed: Notify::new(),
            aborted: Cell::new(None),
            given_up: Cell::new(false),
            abandoned: Cell::new(false),
            finished: Cell::new(false),
            output_done: Cell::new(false),
            failure: RefCell::new(None),
        })
    }

    /// From now on nobody is waited for. Not any later if it is said again.
    pub fn abort(&self) {
        if self.aborted.get().is_none() {
            self.aborted.set(Some(Instant::now()));
        }
        self.changed.notify_waiters();
        self.wake_output.notify_one();
    }

    /// Since when nobody is waited for.
    pub fn aborted(&self) -> Option<Instant> {
        self.aborted.get()
    }

    /// Nothing more goes to the output, whatever it would take.
    pub(super) fn has_given_up(&self) -> bool {
        self.given_up.get()
    }

    /// Waits until something has changed that makes `done` true.
    pub async fn until(&self, mut done: impl FnMut(&Self) -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            if done(self) {
                return;
            }
            changed.await;
        }
    }

    /// May data be read? Not beyond what may be buffered; and while the output
    /// keeps taking bundles at a good pace, not far ahead of it either: what
    /// it sends is then still in the cache.
    fn may_read(&self, now_ns: u64) -> bool {
        let core = self.core.borrow();
        let far_ahead = core.messages_waiting() >= core.capacity().messages + AHEAD_BUNDLES;
        core.may_read() && !(far_ahead && now_ns < self.output_took_ns.get() + AHEAD_WAIT_NS)
    }

    /// Opens a stream and asks the callbacks about it.
    pub fn open(
        &self,
        now: &Moment,
        properties: &StreamProperties,
    ) -> Result<StreamKey, OpenError> {
        let mut core = self.core.borrow_mut();
        let key = core.open(now, properties)?;
        if self.registrations.note(&properties.name) {
            self.wake_output.notify_one();
        }
        if self.hooks.is_empty() {
            return Ok(key);
        }
        let descriptor = core.descriptor(key);
        drop(core);
        if let Some(descriptor) = descriptor {
            self.hooks.opened(key, descriptor);
        }
        while let Some(watched) = self.hooks.next_watched() {
            let mut core = self.core.borrow_mut();
            match core.name(watched).is_some() {
                true => core.watch(watched),
                // A callback has ended it.
                false => {
                    drop(core);
                    self.hooks.entry(watched, None);
                }
            }
        }
        Ok(key)
    }

    /// Takes a descriptor as a stream.
    pub fn add_stream(
        &self,
        fd: OwnedFd,
        by: ReadBy,
        stream: StreamKey,
        tee: Option<Tee>,
    ) -> io::Result<()> {
        let mut edge = self.edge.borrow_mut();
        let key = edge.add_stream(fd, by, stream, tee);
        let may_read = self.may_read(clock::mono_ns()) && !self.hooks.holds_up(stream);
        edge.read_on(key, NextRead::Unknown, may_read)?;
        drop(edge);
        self.wake_edge.notify_one();
        Ok(())
    }

    /// The task of the edge. Ends with the engine.
    pub async fn run_edge(self: Rc<Self>) {
        if let Err(error) = self.turn_edge().await {
            *self.failure.borrow_mut() = Some(Arc::new(error));
        }
        self.changed.notify_waiters();
    }

    async fn turn_edge(&self) -> io::Result<()> {
        let watched = wake::watch(self.edge.borrow().wait_fd()?, Interest::READABLE);
        let kernel = watched.map_err(|(_, error)| error)?;
        let mut pace = Pace::new(self.core.borrow().is_eager());
        while !self.output_done.get() && !self.abandoned.get() {
            let mut rounds = 0;
            let (now, busy) = loop {
                // Who is known to have data does not wait for company.
                if !self.edge.borrow().has_ready() {
                    pace.pause();
                }
                let now = clock::now();
                let round = self.round(&now)?;
                pace.note(round.largest_read);
                rounds += 1;
                let busy = self.edge.borrow_mut().has_work(self.may_read(now.mono_ns));
                // The output starts at once, while what it sends is in cache.
                if !busy || round.output_woken || rounds == ROUNDS {
                    break (now, busy);
                }
            };
            if busy {
                // The runtime submits its own operations only when it waits.
                self.edge.borrow().signal()?;
            }
            let due = self.next_tick(&now);
            tokio::select! {
                ready = kernel.readable() => ready?.clear_ready(),
                () = self.wake_edge.notified() => {}
                () = clock::sleep_until(due) => {}
            }
        }
        Ok(())
    }

    /// One round: everything that has come is handled.
    fn round(&self, now: &Moment) -> io::Result<Round> {
        let listeners = self.edge.borrow().listeners();
        self.tick(now)?;
        let may_read = self.may_read(now.mono_ns);
        self.edge.borrow_mut().enter(may_read)?;
        let mut largest_read = None;
        loop {
            let may_read = self.may_read(now.mono_ns);
            let step = self.edge.borrow_mut().step(now.mono_ns, may_read)?;
            match step {
                None => break,
                Some(Step::Data(key, filled, next)) => {
                    largest_read = largest_read.max(Some(filled.len()));
                    self.data(now, key, filled, next)?;
                }
                Some(Step::End(key, error)) => self.end(now, key, error.as_ref()),
            }
        }
        let may_read = self.may_read(now.mono_ns);
        self.hooks.look_again();
        let holds_up = |stream| self.hooks.holds_up(stream);
        let ends = self.edge.borrow_mut().resume(may_read, holds_up)?;
        for key in ends {
            self.end(now, key, None);
        }
        if self.edge.borrow().listeners() < listeners {
            self.changed.notify_waiters();
        }
        self.count_watched();
        let output_woken = self.core.borrow().has_message(now);
        if output_woken {
            self.wake_output.notify_one();
        }
        Ok(Round {
            output_woken,
            largest_read,
        })
    }

    /// The core is told what watchers hold; when it waits for them, they tell
    /// when that is less.
    fn count_watched(&self) {
        let budget = self.hooks.budget();
        let mut core = self.core.borrow_mut();
        core.watchers_hold(budget.held());
        if !core.may_read() {
            core.watchers_hold(budget.held_until_told());
        }
    }

    fn tick(&self, now: &Moment) -> io::Result<()> {
        self.core.borrow_mut().tick(now);
        self.dispatch();
        let due = self.edge.borrow().next_tick_ns();
        if due.is_none_or(|due| due > now.mono_ns) {
            return Ok(());
        }
        let may_read = self.may_read(now.mono_ns);
        let late = self.edge.borrow_mut().tick(now.mono_ns, may_read)?;
        for key in late {
            let seconds = crate::limits::HEADER_TIMEOUT.as_secs();
            self.refuse(
                key,
                &format!("its header is not complete after {seconds} s"),
            )?;
        }
        Ok(())
    }

    /// After a round at `now`. Not any later: what has come due since then
    /// woke no output in that round, and needs the next one.
    fn next_tick(&self, now: &Moment) -> Option<u64> {
        let core = self.core.borrow().next_tick_ns(now);
        let edge = self.edge.borrow();
        let ahead = self.output_took_ns.get() + AHEAD_WAIT_NS;
        let resume = (ahead > now.mono_ns && edge.has_waiting()).then_some(ahead);
        core.into_iter()
            .chain(edge.next_tick_ns())
            .chain(resume)
            .min()
    }

    fn data(&self, now: &Moment, key: ClientKey, filled: Filled, next: NextRead) -> io::Result<()> {
        let mut header_used = 0;
        let mut edge = self.edge.borrow_mut();
        let stream = match edge.connection(key).map(|it| &it.phase) {
            Some(Phase::Stream(stream)) => Some(*stream),
            Some(Phase::Header(_)) => match edge.header(key, &filled) {
                Ok(Some((properties, used))) => {
                    header_used = used;
                    drop(edge);
                    let opened = self.open(now, &properties);
                    edge = self.edge.borrow_mut();
                    match opened {
                        Ok(stream) => {
                            edge.opened(key, stream);
                            Some(stream)
                        }
                        Err(error) => {
                            edge.recycle(filled);
                            drop(edge);
                            log::error!("stream refused: {error}");
                            return self.turn_away(key);
                        }
                    }
                }
                Ok(None) => {
                    edge.recycle(filled);
                    drop(edge);
                    self.refuse_who_stalls()?;
                    return self.read_on(now, key, next, false);
                }
                Err(error) => {
                    edge.recycle(filled);
                    drop(edge);
                    self.refuse(key, &Chain(&error).to_string())?;
                    return Ok(());
                }
            },
            Some(Phase::Abandoned) | None => None,
        };
        let mut failed = false;
        if let Some(stream) = stream {
            let bytes = &edge.bytes(&filled)[header_used..];
            let mut core = self.core.borrow_mut();
            if let Err(error) = core.data(now, stream, bytes) {
                let name = core.name(stream).map_or("", |name| name.as_str());
                log::error!("stream {name} ends: {error}");
                failed = true;
            }
            if let Some(tee) = edge.tee(key) {
                tee.push(&edge.bytes(&filled)[header_used..]);
            }
        }
        edge.count_read(key, filled.len());
        edge.recycle(filled);
        drop(edge);
        self.dispatch();
        if failed {
            return self.close(key);
        }
        let held_up = stream.is_some_and(|stream| self.hooks.holds_up(stream));
        self.read_on(now, key, next, held_up)
    }

    /// Asks for the client's next read, unless its stream is held up.
    fn read_on(
        &self,
        now: &Moment,
        key: ClientKey,
        next: NextRead,
        held_up: bool,
    ) -> io::Result<()> {
        let may_read = self.may_read(now.mono_ns) && !held_up;
        let must_end = self.edge.borrow_mut().read_on(key, next, may_read)?;
        if must_end {
            self.end(now, key, None);
        }
        Ok(())
    }

    /// Unfinished headers keep within what they may hold.
    fn refuse_who_stalls(&self) -> io::Result<()> {
        loop {
            let victim = self.edge.borrow_mut().header_to_refuse();
            match victim {
                None => return Ok(()),
                Some(key) => self.refuse(key, "too much memory is in unfinished headers")?,
            }
        }
    }

    /// The client of an unfinished header is turned away.
    fn refuse(&self, key: ClientKey, why: &str) -> io::Result<()> {
        log::error!("stream refused: {why}");
        self.core.borrow_mut().stats_mut().streams_refused += 1;
        self.turn_away(key)
    }

    fn turn_away(&self, key: ClientKey) -> io::Result<()> {
        let at_once = self.edge.borrow_mut().turn_away(key)?;
        if at_once {
            self.end(&clock::now(), key, None);
        }
        Ok(())
    }

    /// Brings what the edge and the output count themselves into the statistics.
    pub(super) fn count_outside(&self) {
        let mut core = self.core.borrow_mut();
        core.stats_mut().peers_refused = self.edge.borrow().peers_refused();
        core.stats_mut().output_errors = self.health.errors();
    }

    /// Ends a connection from our side.
    pub fn close(&self, key: ClientKey) -> io::Result<()> {
        let at_once = self.edge.borrow_mut().give_up(key)?;
        if at_once {
            self.end(&clock::now(), key, None);
        }
        Ok(())
    }

    /// A connection is over.
    pub fn end(&self, now: &Moment, key: ClientKey, error: Option<&io::Error>) {
        let removed = self.edge.borrow_mut().remove(key);
        let Some(connection) = removed else {
            return;
        };
        if let Some(tee) = &connection.tee {
            tee.close();
        }
        match connection.phase {
            // That was told already.
            Phase::Abandoned => {}
            Phase::Stream(stream) => {
                let mut core = self.core.borrow_mut();
                if let Some(error) = error {
                    let name = core.name(stream).map_or("", |name| name.as_str());
                    log::warn!("stream {name}: reading failed, it ends here: {error}");
                    core.stats_mut().read_errors += 1;
                }
                core.end(now, stream);
                drop(core);
                self.dispatch();
            }
            Phase::Header(reader) => {
                let error = match error {
                    None if reader.buffered() == 0 => None,
                    None => Some(reader.end().to_string()),
                    Some(error) => Some(error.to_string()),
                };
                // Somebody who only tried whether we listen is no stream.
                if let Some(error) = error {
                    log::error!("stream refused: {error}");
                    self.core.borrow_mut().stats_mut().streams_refused += 1;
                }
            }
        }
        self.changed.notify_waiters();
    }

    /// Runs the callbacks of watched streams. What one of them brings about
    /// comes when it has returned.
    pub fn dispatch(&self) {
        let Some(_running) = self.hooks.begin_to_show() else {
            return;
        };
        loop {
            let event = self.core.borrow_mut().poll_watched();
            match event {
                Some((key, entry)) => self.hooks.entry(key, entry),
                None => return,
            }
        }
    }

    /// The task of the output.
    pub async fn run_output(self: Rc<Self>, mut sink: AnySink) {
        let mut outcome = sink.outcome();
        loop {
            let now = clock::now();
            let message = self.core.borrow_mut().poll_message(&now);
            for name in self.registrations.take() {
                self.unless_given_up(sink.registered(&name)).await;
            }
            let Some(message) = message else {
                let nothing_left = self.aborted().is_some() || self.core.borrow().is_settled();
                if self.finished.get() && nothing_left {
                    break;
                }
                tokio::select! {
                    () = self.wake_output.notified() => {}
                    () = sink.go_on(&mut outcome) => {
                        self.core.borrow_mut().settle(&clock::now(), &mut outcome);
                    }
                }
                continue;
            };
            outcome.begin(message.ticket());
            self.unless_given_up(sink.deliver(&message, &mut outcome))
                .await;
            // What is settled is to be its last owner's.
            drop(message);
            self.output_took(&mut outcome);
        }
        self.unless_given_up(sink.finish(&mut outcome)).await;
        sink.give_up(&mut outcome);
        self.core.borrow_mut().settle(&clock::now(), &mut outcome);
        self.output_ended();
    }

    /// The output is done with a message.
    pub(super) fn output_took(&self, outcome: &mut Outcome) {
        let now = clock::now();
        self.core.borrow_mut().settle(&now, outcome);
        self.output_took_ns.set(now.mono_ns);
        self.read_again(now.mono_ns);
    }

    /// There may be room for more data.
    pub(super) fn read_again(&self, now_ns: u64) {
        if self.edge.borrow().has_waiting() && self.may_read(now_ns) {
            self.wake_edge.notify_one();
        }
    }

    /// Nothing more goes to the output.
    pub(super) fn output_ended(&self) {
        self.output_done.set(true);
        self.wake_edge.notify_one();
        self.changed.notify_waiters();
    }

    async fn unless_given_up<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        if self.has_given_up() {
            return None;
        }
        tokio::select! {
            biased;
            result = future => Some(result),
            () = self.give_up_waiting() => None,
        }
    }

    /// Gives the output up once it has been waited for since this was called,
    /// and an abort is what it is waited for in spite of. An output that takes
    /// one bundle after the other goes on, but not for long.
    pub(super) async fn give_up_waiting(&self) {
        let begun = Instant::now();
        self.until(|engine| engine.aborted.get().is_some()).await;
        let aborted = self.aborted.get().unwrap_or(begun);
        let step = begun.max(aborted) + LAST_OFFER_STEP;
        tokio::time::sleep_until(step.min(aborted + LAST_OFFER_MAX)).await;
        self.given_up.set(true);
    }
}
