//! The task that turns the driver, and what is shared with it.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use rustix::thread::nanosleep;
use rustix::time::Timespec;
use tokio::io::Interest;
use tokio::sync::Notify;

use super::hooks::Hooks;
use crate::core::{Core, Life, Machine, StreamRefused};
use crate::delivery::stored::Left;
use crate::edge::driver::{Connection, Driver, Onlooker, Tell};
use crate::edge::io::{Io, ReadBy};
use crate::edge::system::System;
use crate::edge::{clock, wake};
use crate::keys::StreamKey;
use crate::time::Moment;
use crate::wire::descriptor::StreamProperties;

/// Rounds of the driver before the other tasks get a turn.
const ROUNDS: usize = 16;

/// Between offers to the output, when nobody tells whether it is ready.
const OFFER_PAUSE_NS: u64 = 5_000_000;

/// The machine of the real kernel.
type SystemMachine = Machine<Connection<OwnedFd>, <System as Io>::Server>;

/// What the task and the handles share. No borrow of a cell is held across an await or a
/// callback.
#[derive(Debug)]
pub(super) struct Engine {
    driver: RefCell<Driver<System>>,
    pub hooks: Hooks,
    /// Streams that are not read because those who watch them are behind.
    held_up: RefCell<Vec<StreamKey>>,
    /// The driver has something to do that the kernel does not tell.
    pub wake_driver: Arc<Notify>,
    /// A stream has ended, all is delivered, or something failed.
    pub changed: Notify,
    /// The driver does not work any more.
    failure: RefCell<Option<Failure>>,
}

/// Why a driver does not work any more.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// The kernel refused what must work.
    Reading(Arc<io::Error>),
    /// A fault of our own: what it had not delivered is gone.
    Panicked,
}

impl Engine {
    pub fn new(driver: Driver<System>) -> Rc<Self> {
        let wake_driver = Arc::new(Notify::new());
        let buffered_max = driver.machine().core().buffered_max();
        Rc::new(Self {
            driver: RefCell::new(driver),
            hooks: Hooks::new(buffered_max, Arc::clone(&wake_driver)),
            held_up: RefCell::default(),
            wake_driver,
            changed: Notify::new(),
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
        self.changed.notify_waiters();
        result
    }

    /// Why the driver does not work any more, if that is so.
    pub fn failure(&self) -> Option<Failure> {
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
    ) -> Result<StreamKey, StreamRefused> {
        let mut driver = self.driver.borrow_mut();
        let key = driver.machine_mut().core_mut().open(now, properties)?;
        driver.registered(&properties.name);
        drop(driver);
        self.opened(key);
        Ok(key)
    }

    /// A stream was opened: tells those who want to know.
    fn opened(&self, key: StreamKey) {
        let Some(descriptor) = self.core(|core| core.descriptor(key)) else {
            return;
        };
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

    /// All is over, also if the driver has panicked.
    pub fn is_over(&self) -> bool {
        self.life().is_over() || matches!(*self.failure.borrow(), Some(Failure::Panicked))
    }

    /// The driver has panicked, and nobody drives any more.
    pub fn panicked(&self) {
        *self.failure.borrow_mut() = Some(Failure::Panicked);
        self.changed.notify_waiters();
    }

    /// The task of the driver. Ends with the engine.
    pub async fn run_driver(self: Rc<Self>) {
        if let Err(error) = self.drive().await {
            *self.failure.borrow_mut() = Some(Failure::Reading(Arc::new(error)));
            self.driver.borrow_mut().fail(&clock::now());
            self.tell(|_, _| ());
            self.deliver_what_is_left().await;
        }
    }

    /// The kernel does not work any more, but perhaps for the output: it is
    /// offered what is left.
    async fn deliver_what_is_left(&self) {
        while !self.life().is_over() {
            self.driver.borrow_mut().turn_output(&clock::now());
            clock::sleep_until(Some(clock::mono_ns() + OFFER_PAUSE_NS)).await;
        }
        self.changed.notify_waiters();
    }

    async fn drive(&self) -> io::Result<()> {
        let wait_fd = self.driver.borrow_mut().io().wait_fd().try_clone_to_owned();
        let watched = wake::watch(wait_fd?, Interest::READABLE);
        let kernel = watched.map_err(|(_, error)| error)?;
        let alarm = self.driver.borrow().alarm();
        while !self.life().is_over() {
            let mut rounds = 0;
            let (now, busy) = loop {
                pause(self.machine(|machine| machine.pause_us()));
                let now = clock::now();
                self.round(&now)?;
                rounds += 1;
                let busy = self.driver.borrow_mut().has_work(&now);
                // What publishes has tasks of its own, which want their turn.
                let yields = alarm.is_some() && self.core(|core| core.in_flight() > 0);
                if !busy || yields || rounds == ROUNDS {
                    break (now, busy);
                }
            };
            if busy {
                // The runtime submits its own operations only when it waits.
                self.driver.borrow_mut().io().signal()?;
            }
            let due = self.driver.borrow().next_tick_ns(&now);
            let alarm = async {
                match &alarm {
                    Some(alarm) => alarm.notified().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                ready = kernel.readable() => ready?.clear_ready(),
                () = self.wake_driver.notified() => {}
                () = alarm => {}
                () = clock::sleep_until(due) => {}
            }
            // Whatever wakes it: other tasks, as that of the signals, have their turn.
            tokio::task::consume_budget().await;
        }
        Ok(())
    }

    /// One round: everything that has come is handled.
    fn round(&self, now: &Moment) -> io::Result<()> {
        self.look_at_watchers();
        let mut driver = self.driver.borrow_mut();
        let changes = driver.machine().changes();
        driver.begin_round(now)?;
        while let Some(tell) = driver.step(now)? {
            drop(driver);
            match tell {
                Tell::Opened(stream) => self.opened(stream),
                Tell::Watched => self.dispatch(),
                // What leaves was read since the round began: the statistics tell how
                // long before.
                Tell::Cut => self.driver.borrow_mut().turn_output(&clock::now()),
            }
            driver = self.driver.borrow_mut();
        }
        driver.end_round(&clock::now())?;
        let machine = driver.machine();
        if machine.changes() != changes {
            self.changed.notify_waiters();
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
        Ok(())
    }

    /// Brings what the driver and the output count themselves into the
    /// statistics.
    pub(super) fn count_outside(&self) {
        let mut driver = self.driver.borrow_mut();
        let peers_refused = driver.machine().peers_refused();
        let output_errors = driver.output_errors();
        let stats = driver.machine_mut().core_mut().stats_mut();
        stats.peers_refused = peers_refused;
        stats.output_errors = output_errors;
    }

    /// What waits in the spool of the output, if it has one.
    pub(super) fn left(&self) -> Option<Left> {
        self.driver.borrow().left()
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
