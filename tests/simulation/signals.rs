//! What is told to the butler from outside, and what must hold meanwhile.

use std::time::Duration;

use butler::core::Life;
use butler::limits::{FLUSH_TIMEOUT, LAST_OFFER_MAX, RETREAT_MAX};

use crate::plan::{Destination, How, Plan};
use crate::world::World;

/// When the operator has waited long enough, and ends it with SIGTERM.
const PATIENCE_NS: u64 = 600_000_000_000;
/// After so long without anything in the way streams must have ended.
const UNHINDERED_NS: u64 = 5_000_000_000;
/// What a bundle notes of its entries and streams: two lists, each with room
/// for twice as much as is in it.
const NOTED_MAX: usize = 16 * 1024;
/// A round may begin a little later than it is due, while arrivals gather.
const ROUND_NS: u64 = 20_000_000;

impl World<'_> {
    pub fn signals(&mut self) {
        let Plan {
            sigterm,
            sigterm_again,
            fails,
            ..
        } = *self.plan;
        if sigterm == Some(self.step) || self.now.mono_ns > PATIENCE_NS {
            self.sigterm();
        }
        let again = sigterm.zip(sigterm_again);
        if again.is_some_and(|(first, after)| first + after == self.step) {
            self.note(|| "the signal comes again".into());
            self.aborted_ns.get_or_insert(self.now.mono_ns);
            let now = self.now;
            self.driver.machine_mut().abort(&now);
            self.woken = true;
        }
        if fails == Some(self.step) {
            self.kernel.borrow_mut().failed = true;
            self.woken = true;
        }
    }

    /// As `Butler::shutdown`.
    pub fn sigterm(&mut self) {
        if self.sigterm_ns.is_none() {
            self.note(|| "SIGTERM".into());
            self.sigterm_ns = Some(self.now.mono_ns);
            self.activated = true;
            if self.aborted_ns.is_none() {
                self.stopped_ns = self.stopped_left_ns();
            }
            let (now, grace) = (self.now, Duration::from_nanos(self.plan.grace_ns));
            self.driver.machine_mut().shut_down(&now, grace);
            self.woken = true;
        }
    }

    /// As `Butler::activate` and `wait`.
    pub fn activate(&mut self) {
        self.activated = true;
        let now = self.now;
        self.driver.machine_mut().wait_for_the_end(&now);
        self.woken = true;
    }

    /// What must hold after every step.
    pub fn check(&mut self) -> Result<(), String> {
        self.driver.machine().invariants();
        let now_ns = self.now.mono_ns;
        let core = self.driver.machine().core();
        if !core.may_read() || now_ns < self.kernel.borrow().exhausted_until_ns {
            self.hindered_ns = now_ns;
        }
        let gave_up = match self.life() {
            Life::Draining(_) => self.life().aborted_ns(),
            _ => None,
        };
        if gave_up.is_some()
            && self.aborted_ns.is_none()
            && now_ns > self.hindered_ns + UNHINDERED_NS + self.stopped_ns
        {
            return Err("streams are still open, and nothing is in the way".into());
        }
        if self.kernel.borrow().starved {
            return Err("the output has no descriptor, and some are kept back for it".into());
        }
        self.check_memory()
    }

    /// What is buffered stays within what may be, and what one more read can
    /// add to it: the read itself in a carry that doubles, and the bundle it
    /// goes to. The end of a stream adds its terminal to a bundle.
    fn check_memory(&self) -> Result<(), String> {
        let doubled = 2 * self.plan.read_max + self.longest_carry();
        let bundle = self.plan.bundle_target.max(self.plan.read_max) + NOTED_MAX;
        let core = self.driver.machine().core();
        // Ends of streams are not held up, and each may be in a message of its own.
        let messages = core.capacity().messages.min(self.plan.clients.len());
        let max = self.plan.buffered_max + doubled + bundle * messages.max(1);
        let buffered = core.buffered();
        if buffered > max as u64 {
            return Err(format!(
                "{buffered} bytes are buffered, {} may be, and {max} with what is at hand",
                self.plan.buffered_max
            ));
        }
        Ok(())
    }

    /// What the largest carry can have: it holds no more than may be buffered
    /// or its client wrote.
    fn longest_carry(&self) -> usize {
        let kernel = self.kernel.borrow();
        let written = kernel.sockets.iter().map(|it| it.written).max();
        written.unwrap_or(0).min(self.plan.buffered_max)
    }

    /// When nobody has anything to do, everybody waits for something.
    pub fn check_rest(&self) -> Result<(), String> {
        if self.failed || self.driver_is_stopped() {
            return Ok(());
        }
        // A directory holds what can't be written now.
        if self.plan.destination != Destination::Directory {
            self.check_age()?;
        }
        self.check_read()
    }

    /// While the output waits, all that was read is due within the maximum
    /// age, but for what must wait for its next byte: a `\r`, a part of a
    /// character or of a datagram's size.
    fn check_age(&self) -> Result<(), String> {
        let core = self.driver.machine().core();
        let waits = 10 * core.open_streams() as u64;
        let pending = core.account().pending();
        let last = self.now.mono_ns + self.plan.age_ns;
        let due = core.next_tick_ns(&self.now);
        if core.in_flight() == 0 && pending > waits && due.is_none_or(|due| due > last) {
            return Err(format!("{pending} bytes wait until {due:?}, not {last}"));
        }
        Ok(())
    }

    /// Whoever has written is read, if anybody may be.
    fn check_read(&self) -> Result<(), String> {
        let machine = self.driver.machine();
        if *machine.life() != Life::Running || !machine.may_read(&self.now) {
            return Ok(());
        }
        let kernel = self.kernel.borrow();
        for (number, socket) in kernel.sockets.iter().enumerate() {
            let is_ours = socket.accepted || self.plan.clients[number].how.is_attached();
            let waits = socket.is_readable() && !socket.is_released();
            if is_ours && waits && !kernel.is_awaited(number) && !self.is_crowded_out(number) {
                return Err(format!("client {number} has written, and is not read"));
            }
        }
        Ok(())
    }

    /// Does its header wait for room?
    fn is_crowded_out(&self, number: usize) -> bool {
        let is_open = self.opened.iter().any(|it| it.client == number);
        self.plan.is_crowded() && !is_open && self.plan.clients[number].how == How::Connects
    }

    /// It ends in time.
    pub fn check_deadlines(&self) -> Result<(), String> {
        let now_ns = self.now.mono_ns;
        let nanos = |time: Duration| time.as_nanos() as u64;
        let retreat = match self.has_spool {
            true => nanos(RETREAT_MAX),
            false => 0,
        };
        let offers = nanos(LAST_OFFER_MAX) + retreat + ROUND_NS + self.stopped_ns;
        let patient = self
            .sigterm_ns
            .map(|at| at + self.plan.grace_ns + nanos(FLUSH_TIMEOUT) + offers);
        let aborted = self.aborted_ns.map(|at| at + offers);
        let last = patient.into_iter().chain(aborted).min();
        if last.is_some_and(|last| now_ns > last) {
            return Err(format!(
                "it was to be over at {last:?} ns, and is not at {now_ns}"
            ));
        }
        Ok(())
    }
}
