//! The loop that ties driver and output together.
//!
//! Two tasks on one thread share it: one turns the driver (reads, parses,
//! encodes), one brings bundles to the output. They wake each other.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use rustix::thread::nanosleep;
use rustix::time::Timespec;
use tokio::io::Interest;
use tokio::sync::Notify;

use super::hooks::Hooks;
use super::registrations::Registrations;
use crate::core::{Core, Life, Machine, OpenError};
use crate::delivery::message::Message;
use crate::delivery::outcome::Outcome;
use crate::edge::driver::{Connection, Driver, Onlooker, Tell};
use crate::edge::io::{Io, ReadBy};
use crate::edge::system::System;
use crate::edge::{clock, wake};
use crate::output::health::Health;
use crate::output::sink::AnySink;
use crate::stream::StreamKey;
use crate::time::Moment;
use crate::wire::descriptor::StreamProperties;

/// Rounds of the driver before the other tasks get a turn.
const ROUNDS: usize = 16;

/// The machine of the real kernel.
type SystemMachine = Machine<Connection<OwnedFd>, <System as Io>::Server>;

/// What the tasks share. No borrow of a cell is held across an await or a
/// callback.
#[derive(Debug)]
pub(super) struct Engine {
    driver: RefCell<Driver<System>>,
    pub hooks: Hooks,
    /// Streams that are not read because those who watch them are behind.
    held_up: RefCell<Vec<StreamKey>>,
    pub registrations: Registrations,
    /// Of the output.
    health: Health,
    /// The driver has something to do that the kernel does not tell.
    pub wake_driver: Arc<Notify>,
    /// There is a bundle, or the end.
    pub wake_output: Notify,
    /// A stream has ended, all is delivered, or something failed.
    pub changed: Notify,
    /// The output waits though nobody waits for it: nothing more is delivered.
    given_up: Cell<bool>,
    /// The driver does not work any more.
    failure: RefCell<Option<Arc<io::Error>>>,
}

impl Engine {
    pub fn new(driver: Driver<System>, health: Health) -> Rc<Self> {
        let wake_driver = Arc::new(Notify::new());
        let buffered_max = driver.machine().core().buffered_max();
        Rc::new(Self {
            driver: RefCell::new(driver),
            hooks: Hooks::new(buffered_max, Arc::clone(&wake_driver)),
            held_up: RefCell::default(),
            registrations: Registrations::default(),
            health,
            wake_driver,
            wake_output: Notify::new(),
            changed: Notify::new(),
            given_up: Cell::new(false),
            failure: RefCell::new(None),
        })
    }

    /// Looks at the core.
    pub fn core<R>(&self, look: impl FnOnce(&Core) -> R) -> R {
        look(self.driver.borrow().machine().core())
    }

    /// Looks at the machine.
    pub fn machine<R>(&self, look: impl FnOnce(&SystemMachine) -> R) -> R {
        look(self.driver.borrow().machine())
    }

    /// Tells the machine something, and everybody that there may be something to
    /// do now.
    pub fn tell<R>(&self, tell: impl FnOnce(&mut SystemMachine, &Moment) -> R) -> R {
        let result = tell(self.driver.borrow_mut().machine_mut(), &clock::now());
        self.dispatch();
        self.wake_driver.notify_one();
        self.wake_output.notify_one();
        self.changed.notify_waiters();
        result
    }

    /// Why the driver does not work any more, if that is so.
    pub fn failure(&self) -> Option<Arc<io::Error>> {
        self.failure.borrow().clone()
    }

    /// How far life has come.
    pub fn life(&self) -> Life {
        *self.driver.borrow().machine().life()
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

    /// Opens a stream and asks the callbacks about it.
    pub fn open(
        &self,
        now: &Moment,
        properties: &StreamProperties,
    ) -> Result<StreamKey, OpenError> {
        let mut driver = self.driver.borrow_mut();
        let key = driver.machine_mut().core_mut().open(now, properties)?;
        drop(driver);
        self.opened(key);
        Ok(key)
    }

    /// A stream was opened: tells those who want to know.
    fn opened(&self, key: StreamKey) {
        let told = self.core(|core| core.descriptor(key).zip(core.name(key).cloned()));
        let Some((descriptor, name)) = told else {
            return;
        };
        if self.registrations.note(&name) {
            self.wake_output.notify_one();
        }
        if self.hooks.is_empty() {
            return;
        }
        self.hooks.opened(key, descriptor);
        while let Some(watched) = self.hooks.next_watched() {
            let mut driver = self.driver.borrow_mut();
            let core = driver.machine_mut().core_mut();
            match core.name(watched).is_some() {
                true => core.watch(watched),
                // A callback has ended it.
                false => {
                    drop(driver);
                    self.hooks.entry(watched, None);
                }
            }
        }
    }

    /// From now on somebody is asked about new streams.
    pub fn ask_about_streams(&self) {
        self.driver.borrow_mut().ask_about_streams();
    }

    /// Takes a descriptor as a stream that was opened.
    pub fn attach(
        &self,
        stream: StreamKey,
        source: (OwnedFd, ReadBy),
        onlooker: Option<Rc<dyn Onlooker>>,
    ) {
        let now = clock::now();
        self.driver
            .borrow_mut()
            .attach(&now, stream, source, onlooker);
        self.wake_driver.notify_one();
    }

    /// Takes the streams of everybody who connects to a server and may.
    pub fn listen(&self, server: <System as Io>::Server) {
        let users = server.users().clone();
        let now = clock::now();
        self.driver.borrow_mut().listen(&now, users, server);
        self.wake_driver.notify_one();
    }

    /// The task of the driver. Ends with the engine.
    pub async fn run_driver(self: Rc<Self>) {
        if let Err(error) = self.drive().await {
            *self.failure.borrow_mut() = Some(Arc::new(error));
            self.tell(|machine, now| machine.fail(now));
        }
    }

    async fn drive(&self) -> io::Result<()> {
        let wait_fd = self.driver.borrow_mut().io().wait_fd().try_clone_to_owned();
        let watched = wake::watch(wait_fd?, Interest::READABLE);
        let kernel = watched.map_err(|(_, error)| error)?;
        while !self.life().is_over() {
            let mut rounds = 0;
            let (now, busy) = loop {
                pause(self.machine(|machine| machine.pause_us()));
                let now = clock::now();
                let output_woken = self.round(&now)?;
                rounds += 1;
                let busy = self.driver.borrow_mut().has_work(&now);
                // The output starts at once, while what it sends is in cache.
                if !busy || output_woken || rounds == ROUNDS {
                    break (now, busy);
                }
            };
            if busy {
                // The runtime submits its own operations only when it waits.
                self.driver.borrow_mut().io().signal()?;
            }
            let due = self.driver.borrow().next_tick_ns(&now);
            tokio::select! {
                ready = kernel.readable() => ready?.clear_ready(),
                () = self.wake_driver.notified() => {}
                () = clock::sleep_until(due) => {}
            }
        }
        Ok(())
    }

    /// One round: everything that has come is handled. True if there is something
    /// to send.
    fn round(&self, now: &Moment) -> io::Result<bool> {
        self.look_at_watchers();
        let mut driver = self.driver.borrow_mut();
        let changes = driver.machine().changes();
        driver.begin_round(now)?;
        while let Some(tell) = driver.step(now)? {
            drop(driver);
            match tell {
                Tell::Opened(stream) => self.opened(stream),
                Tell::Watched => self.dispatch(),
            }
            driver = self.driver.borrow_mut();
        }
        driver.end_round(now)?;
        let machine = driver.machine();
        let has_message = machine.core().has_message(now);
        if machine.changes() != changes {
            self.changed.notify_waiters();
            self.wake_output.notify_one();
        }
        if has_message {
            self.wake_output.notify_one();
        }
        let is_watched = machine.core().has_watched();
        let is_ending = machine.is_ending();
        drop(driver);
        if is_watched {
            self.dispatch();
        }
        if is_ending {
            // All streams are read to their end, whoever watches them.
            self.hooks.budget().end();
        }
        self.count_watched();
        Ok(has_message)
    }

    /// Brings what the driver and the output count themselves into the
    /// statistics.
    pub(super) fn count_outside(&self) {
        let mut driver = self.driver.borrow_mut();
        let peers_refused = driver.machine().peers_refused();
        let stats = driver.machine_mut().core_mut().stats_mut();
        stats.peers_refused = peers_refused;
        stats.output_errors = self.health.errors();
    }

    /// Runs the callbacks of watched streams. What one of them brings about
    /// comes when it has returned.
    pub fn dispatch(&self) {
        let Some(_running) = self.hooks.begin_to_show() else {
            return;
        };
        loop {
            let mut driver = self.driver.borrow_mut();
            let event = driver.machine_mut().core_mut().poll_watched();
            drop(driver);
            let Some((key, entry)) = event else {
                return;
            };
            self.hooks.entry(key, entry);
            if self.hooks.holds_up(key) {
                self.hold_up(key, true);
                self.held_up.borrow_mut().push(key);
            }
        }
    }

    fn hold_up(&self, key: StreamKey, holds_up: bool) {
        let mut driver = self.driver.borrow_mut();
        driver.machine_mut().core_mut().hold_up(key, holds_up);
    }

    /// Those who were behind may have caught up.
    fn look_at_watchers(&self) {
        self.hooks.look_again();
        for key in self.held_up.take() {
            match self.hooks.holds_up(key) {
                true => self.held_up.borrow_mut().push(key),
                false => self.hold_up(key, false),
            }
        }
    }

    /// The core is told what watchers hold; when it waits for them, they tell
    /// when that is less.
    fn count_watched(&self) {
        let budget = self.hooks.budget();
        let mut driver = self.driver.borrow_mut();
        let core = driver.machine_mut().core_mut();
        core.watchers_hold(budget.held());
        if !core.may_read() {
            core.watchers_hold(budget.held_until_told());
        }
    }

    /// The task of the output.
    pub async fn run_output(self: Rc<Self>, mut sink: AnySink) {
        let mut outcome = sink.outcome();
        loop {
            let message = self.poll_message();
            for name in self.registrations.take() {
                self.unless_given_up(sink.registered(&name)).await;
            }
            let Some(message) = message else {
                if self.nothing_is_left() {
                    break;
                }
                tokio::select! {
                    () = self.wake_output.notified() => {}
                    () = sink.go_on(&mut outcome) => self.settle(&mut outcome),
                }
                continue;
            };
            outcome.begin(message.ticket());
            self.unless_given_up(sink.deliver(&message, &mut outcome))
                .await;
            // What is settled is to be its last owner's.
            drop(message);
            self.settle(&mut outcome);
        }
        self.unless_given_up(sink.finish(&mut outcome)).await;
        sink.give_up(&mut outcome);
        self.settle(&mut outcome);
        self.output_ended();
    }

    pub(super) fn poll_message(&self) -> Option<Arc<Message>> {
        let mut driver = self.driver.borrow_mut();
        driver.machine_mut().poll_message(&clock::now())
    }

    /// No message is there, and none comes.
    pub(super) fn nothing_is_left(&self) -> bool {
        self.machine(|machine| {
            let life = machine.life();
            life.is_flushing() && (life.aborted_ns().is_some() || machine.core().is_settled())
        })
    }

    /// The output is done with a message, or something became of an earlier one.
    pub(super) fn settle(&self, outcome: &mut Outcome) {
        let now = clock::now();
        let mut driver = self.driver.borrow_mut();
        driver.machine_mut().settle(&now, outcome);
        drop(driver);
        self.read_again(&now);
    }

    /// There may be room for more data.
    pub(super) fn read_again(&self, now: &Moment) {
        let driver = self.driver.borrow();
        if driver.has_waiting() && driver.machine().may_read(now) {
            self.wake_driver.notify_one();
        }
    }

    /// Nothing more goes to the output.
    pub(super) fn output_ended(&self) {
        self.tell(|machine, _| machine.output_ended());
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

    /// Nothing more goes to the output, whatever it would take.
    pub(super) fn has_given_up(&self) -> bool {
        self.given_up.get()
    }

    /// Gives the output up once it has been waited for since this was called,
    /// and an abort is what it is waited for in spite of. An output that takes
    /// one bundle after the other goes on, but not for long.
    pub(super) async fn give_up_waiting(&self) {
        let begun = clock::mono_ns();
        self.until(|engine| engine.life().aborted_ns().is_some())
            .await;
        clock::sleep_until(self.life().last_offer_ns(begun)).await;
        self.given_up.set(true);
    }
}

/// Lets arrivals gather.
fn pause(us: u64) {
    if us > 0 {
        let wait = Timespec {
            tv_sec: 0,
            tv_nsec: us as i64 * 1000,
        };
        // A signal may end it early, which does no harm.
        let _ = nanosleep(&wait);
    }
}
