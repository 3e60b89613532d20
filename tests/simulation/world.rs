//! One run: clients, the shipped driver with its output, and the virtual kernel
//! take turns by chance, and time goes on when nobody has anything to do.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use butler::StreamInfo;
use butler::core::Life;
use butler::edge::driver::{Driver, Tell};
use butler::keys::StreamKey;
use butler::time::Moment;

use crate::broken::Broken;
use crate::client::Client;
use crate::kernel::{Kernel, State};
use crate::looker::Looker;
use crate::oracle;
use crate::plan::{Destination, End, Fault, How, Plan};
use crate::start::{self, Started};
use crate::tap::Given;

/// More than any run needs.
const STEPS_MAX: usize = 200_000;
/// As many in a row have nothing to do, at most.
const EMPTY_ROUNDS_MAX: usize = 20;
const WALL_SECONDS: i64 = 1_700_000_000;
/// When a run begins: what is done before that has no faults.
pub const BEGIN_NS: u64 = 1_000_000_000;
/// How often an output is asked to go on once the kernel does not work.
const OFFER_PAUSE_NS: u64 = 10_000_000;
/// How long the process is stopped, at most.
const STOP_MS_MAX: u64 = 45_000;

/// A stream that was opened.
#[derive(Debug)]
pub struct Opened {
    pub client: usize,
    pub info: Arc<StreamInfo>,
}

pub struct World<'a> {
    pub plan: &'a Plan,
    pub driver: Driver<Kernel>,
    pub kernel: Rc<RefCell<State>>,
    pub clients: Vec<Client>,
    pub lookers: Vec<(usize, Rc<Looker>)>,
    pub opened: Vec<Opened>,
    /// The messages that the output was given.
    pub given: Given,
    /// Where files are, if the output writes to some.
    pub files: Option<tempfile::TempDir>,
    /// The output has a spool.
    pub has_spool: bool,
    pub now: Moment,
    /// What the wall clock has been set by, in seconds.
    wall_skew: i64,
    pub step: usize,
    /// The driver was told something, or has something to do at once.
    pub woken: bool,
    /// When its next round is due.
    due_ns: Option<u64>,
    /// Rounds in a row in which nothing was done.
    empty_rounds: usize,
    pub activated: bool,
    pub sigterm_ns: Option<u64>,
    /// The signal came again, or the kernel does not work.
    pub aborted_ns: Option<u64>,
    pub failed: bool,
    /// The machine has stopped waiting, of itself or because it was told to.
    pub had_aborted: bool,
    /// Until then the process is stopped; and how long it was in all, since SIGTERM.
    stopped_until_ns: u64,
    pub stopped_ns: u64,
    /// When the butler was last short of memory or of descriptors.
    pub hindered_ns: u64,
}

impl<'a> World<'a> {
    pub fn new(plan: &'a Plan, broken: Option<Broken>, traced: bool) -> Self {
        Self::with_spool(plan, broken, traced, None)
    }

    /// The same with an output that has a spool.
    pub fn with_spool(
        plan: &'a Plan,
        broken: Option<Broken>,
        traced: bool,
        spool: Option<(&start::Spool, &str)>,
    ) -> Self {
        let Started {
            driver,
            kernel,
            given,
            files,
        } = start::start(plan, broken, traced, spool);
        let clients = plan.clients.iter().enumerate();
        let mut world = Self {
            plan,
            driver,
            kernel,
            clients: clients.map(|(at, plan)| Client::new(at, plan)).collect(),
            lookers: Vec::new(),
            opened: Vec::new(),
            given,
            files,
            has_spool: spool.is_some(),
            now: moment(BEGIN_NS, 0),
            wall_skew: 0,
            step: 0,
            woken: true,
            due_ns: None,
            empty_rounds: 0,
            activated: false,
            sigterm_ns: None,
            aborted_ns: None,
            failed: false,
            had_aborted: false,
            stopped_until_ns: 0,
            stopped_ns: 0,
            hindered_ns: 0,
        };
        world.kernel.borrow_mut().now_ns = BEGIN_NS;
        world.attach_all();
        world
    }

    /// Steps so far.
    pub fn steps(&self) -> usize {
        self.step
    }

    pub fn note(&self, what: impl FnOnce() -> String) {
        self.kernel.borrow_mut().trace.note(what);
    }

    pub fn chance(&self, fault: Fault, times: u64) -> bool {
        self.kernel.borrow_mut().chance.happens(fault, times)
    }

    pub fn breaks(&self, how: Broken) -> bool {
        self.kernel.borrow().chance.broken == Some(how)
    }

    pub fn life(&self) -> &Life {
        self.driver.machine().life()
    }

    /// Runs to the end; an error says what is wrong.
    pub fn run(&mut self) -> Result<(), String> {
        self.run_until(usize::MAX)?;
        oracle::check(self)
    }

    /// Runs to the end, or to that step.
    pub fn run_until(&mut self, last: usize) -> Result<(), String> {
        while !self.life().is_over() && self.step < last {
            self.step += 1;
            if self.step > STEPS_MAX {
                return Err(format!("no end after {STEPS_MAX} steps"));
            }
            let at = (self.step, self.now.mono_ns);
            self.kernel.borrow_mut().trace.at(at.0, at.1);
            self.signals();
            if !self.turn() {
                self.pass_time()?;
            }
            self.had_aborted |= self.life().aborted_ns().is_some();
            self.check()?;
            if self.empty_rounds > EMPTY_ROUNDS_MAX {
                return Err("it is busy, and does nothing".into());
            }
        }
        Ok(())
    }

    /// Is there something for the driver?
    fn driver_has_work(&self) -> bool {
        if self.driver_is_stopped() {
            return false;
        }
        let due = self.driver_due().is_some_and(|due| due <= self.now.mono_ns);
        self.woken || due || !self.failed && self.kernel.borrow().could_complete()
    }

    fn driver_due(&self) -> Option<u64> {
        let is_deaf = match self.life() {
            Life::Draining(_) => self.breaks(Broken::SleepsThroughGrace),
            Life::Flushing(_) => self.aborted_ns.is_some() && self.breaks(Broken::NeverGivesUp),
            _ => false,
        };
        self.due_ns.filter(|_| !is_deaf)
    }

    /// Somebody who can do something does it. False if nobody can.
    fn turn(&mut self) -> bool {
        let now_ns = self.now.mono_ns;
        let mut who: Vec<_> = {
            let kernel = self.kernel.borrow();
            let ready = |at: &usize| self.clients[*at].can_act(&kernel, now_ns);
            (0..self.clients.len()).filter(ready).collect()
        };
        let (driver, lookers) = (self.clients.len(), self.clients.len() + 1);
        if self.driver_has_work() {
            who.push(driver);
        }
        if self.lookers.iter().any(|(_, it)| it.has_something()) {
            who.push(lookers);
        }
        if who.is_empty() {
            return false;
        }
        let who = self.kernel.borrow_mut().chance.random.pick(&who);
        if who == driver {
            self.round();
        } else if who == lookers {
            self.lookers.iter().for_each(|(_, it)| it.look());
            self.woken = true;
        } else {
            self.clients[who].act(&mut self.kernel.borrow_mut(), now_ns);
        }
        true
    }

    /// A round of the driver, as the butler's loop has it.
    fn round(&mut self) {
        self.woken = false;
        let calls = self.kernel.borrow().calls;
        if self.failed {
            self.due_ns = Some(self.now.mono_ns + OFFER_PAUSE_NS);
            return self.driver.turn_output(&self.now);
        }
        let pause_us = self.driver.machine().pause_us();
        self.set_time(self.now.mono_ns + pause_us * 1000);
        if let Err(error) = self.try_round() {
            self.note(|| format!("the kernel does not work: {error}"));
            self.failed = true;
            self.aborted_ns.get_or_insert(self.now.mono_ns);
            let now = self.now;
            self.driver.fail(&now);
            self.woken = true;
        }
        self.woken |= self.driver.has_work(&self.now);
        self.due_ns = self.driver.next_tick_ns(&self.now);
        let kernel = self.kernel.borrow();
        let is_busy = self.woken || self.due_ns.is_some_and(|due| due <= self.now.mono_ns);
        self.empty_rounds = match is_busy && kernel.calls == calls && !kernel.could_complete() {
            true => self.empty_rounds + 1,
            false => 0,
        };
    }

    fn try_round(&mut self) -> std::io::Result<()> {
        let now = self.now;
        self.driver.begin_round(&now)?;
        while let Some(tell) = self.driver.step(&now)? {
            match tell {
                Tell::Opened(stream) => self.note_opened(stream),
                Tell::Watched => unreachable!("nobody watches"),
                Tell::Cut => self.driver.turn_output(&now),
            }
            self.driver.machine().invariants();
        }
        self.driver.end_round(&now)
    }

    /// A stream was opened; who did it stands in its tags.
    pub fn note_opened(&mut self, stream: StreamKey) {
        let core = self.driver.machine().core();
        let info = core.info(stream).expect("it was just opened");
        let number = &info.descriptor().tags["n"];
        let mut clients = self.plan.clients.iter();
        let client = clients.position(|it| it.number.to_string() == *number);
        let client = client.expect("one of the clients");
        self.note(|| format!("client {client} is stream {}", info.name));
        self.opened.push(Opened { client, info });
    }

    /// Nobody can do anything now: on to when somebody can.
    fn pass_time(&mut self) -> Result<(), String> {
        self.check_rest()?;
        let now_ns = self.now.mono_ns;
        let at_rest = self.clients.iter().all(Client::is_at_rest);
        if !self.activated && at_rest {
            let stays = self.plan.clients.iter().any(|it| it.end == End::Stays);
            if stays || self.plan.sigterm.is_some() {
                self.sigterm();
            }
            self.activate();
            return Ok(());
        }
        let stopped = self.stopped_until_ns;
        let clients = self.clients.iter().filter_map(|it| it.due(now_ns));
        let due = clients
            .chain(self.driver_due().map(|due| due.max(stopped)))
            .chain(self.kernel.borrow().due())
            .chain((stopped > now_ns).then_some(stopped))
            .filter(|due| *due > now_ns)
            .min();
        let Some(due) = due else {
            if self.sigterm_ns.is_none() {
                // All clients wait for an output that takes nothing.
                self.sigterm();
                return Ok(());
            }
            return Err("after SIGTERM nothing ever happens any more".into());
        };
        if self.chance(Fault::WallJumps, 5) {
            let skew = self.kernel.borrow_mut().chance.random.within(0, 7200);
            self.wall_skew = skew as i64 - 3600;
        }
        self.set_time(due);
        if self.plan.destination == Destination::Directory && self.chance(Fault::Removals, 8) {
            self.note(|| "somebody removes the directory".into());
            let files = self.files.as_ref().map(|it| it.path().join("out"));
            files.map(std::fs::remove_dir_all);
        }
        if stopped <= due && self.chance(Fault::Stops, 15) {
            let ns = self.kernel.borrow_mut().chance.nanos(STOP_MS_MAX);
            self.note(|| format!("stopped for {ns} ns"));
            self.stopped_until_ns = due + ns;
            self.stopped_ns += ns;
        }
        self.check_deadlines()
    }

    fn set_time(&mut self, now_ns: u64) {
        if self.stopped_until_ns != 0
            && now_ns >= self.stopped_until_ns
            && self.breaks(Broken::SkipsLastLook)
        {
            // It looks at the clock twice before it looks at what has come.
            for wait in [0, 1_000_000_000] {
                let now = moment(now_ns + wait, self.wall_skew);
                let _ = self.driver.begin_round(&now);
            }
            self.stopped_until_ns = 0;
            self.now = moment(now_ns + 1_000_000_000, self.wall_skew);
        } else {
            self.now = moment(now_ns, self.wall_skew);
        }
        self.kernel.borrow_mut().now_ns = self.now.mono_ns;
    }

    fn attach_all(&mut self) {
        for number in 0..self.plan.clients.len() {
            let client = &self.plan.clients[number];
            if !client.how.is_attached() {
                continue;
            }
            let now = self.now;
            let onlooker = (client.how == How::Shown).then(|| {
                let forever = self.breaks(Broken::HoldsBackForEver);
                let looker = Rc::new(Looker::new(forever));
                self.lookers.push((number, Rc::clone(&looker)));
                looker
            });
            let stream = start::attach(&mut self.driver, &now, (number, client), onlooker);
            if let Some(stream) = stream {
                self.note_opened(stream);
            }
        }
    }

    /// Was nobody waited for in the end, so that the output may have been given up?
    pub fn aborted(&self) -> bool {
        self.aborted_ns.is_some() || self.had_aborted
    }

    pub fn stopped_left_ns(&self) -> u64 {
        self.stopped_until_ns.saturating_sub(self.now.mono_ns)
    }

    pub fn driver_is_stopped(&self) -> bool {
        self.stopped_left_ns() > 0
    }
}

fn moment(now_ns: u64, wall_skew: i64) -> Moment {
    Moment {
        mono_ns: now_ns,
        wall: prost_types::Timestamp {
            seconds: WALL_SECONDS + wall_skew + (now_ns / 1_000_000_000) as i64,
            nanos: (now_ns % 1_000_000_000) as i32,
        },
    }
}
