//! The loop that feeds a [`Transport`]: messages go to it, and what it tells of
//! them goes to the machine. It is turned with each round of the
//! [`Driver`](super::driver::Driver).

use std::fmt;
use std::io;
use std::sync::Arc;

use tokio::sync::Notify;

use super::io::Io;
use super::transport::{Completed, Now, Transport};
use crate::core::Machine;
use crate::delivery::outcome::Outcomes;
use crate::delivery::stored::Left;
use crate::limits::{REGISTRATIONS_MAX, RETREAT_MAX};
use crate::time::Moment;
use crate::wire::name::StreamName;

/// Messages that a transport is given before streams are read again.
const MESSAGES_AT_ONCE: usize = 4;

/// How far the output has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It takes messages.
    Open,
    /// It has the last one, and brings what it holds to its place.
    Finishing,
    /// Nothing is tried any more: what there is is lost.
    GivenUp,
    /// Nothing more is to come of it.
    Over,
}

/// See the module.
pub(super) struct Outlet<I> {
    transport: Box<dyn Transport<I>>,
    state: State,
    outcomes: Outcomes,
    /// Names of new streams that the transport has not heard of: one without
    /// entries is in no message.
    registered: Vec<StreamName>,
    /// When the transport was last given something to do.
    given_ns: u64,
    /// It keeps what there is, until then at the latest.
    retreats_until_ns: Option<u64>,
    /// There is more than it was given in the last turn.
    has_more: bool,
    /// A message was settled in the last turn.
    has_settled: bool,
    /// Since a message was settled, something did not work.
    pub has_failed: bool,
    /// Errors that were counted before the last turn.
    errors: u64,
}

impl<I> fmt::Debug for Outlet<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl<I: Io> Outlet<I> {
    pub fn new(transport: Box<dyn Transport<I>>) -> Self {
        Self {
            transport,
            state: State::Open,
            outcomes: Outcomes::default(),
            registered: Vec::new(),
            given_ns: 0,
            retreats_until_ns: None,
            has_more: false,
            has_settled: false,
            has_failed: false,
            errors: 0,
        }
    }

    /// A stream was registered. One that stands still does not hear of all.
    pub fn registered(&mut self, name: &StreamName) {
        if self.transport.wants_registrations() && self.registered.len() < REGISTRATIONS_MAX {
            self.registered.push(name.clone());
        }
    }

    /// An operation of the transport has completed.
    pub fn completed(&mut self, io: &mut I, now: &Moment, number: u32, what: Completed) {
        let outcomes = &mut self.outcomes;
        let ns = now.mono_ns;
        let mut now = Now { io, ns, outcomes };
        self.transport.completed(&mut now, number, what);
    }

    /// Is given by others who want it to be turned.
    pub fn alarm(&self) -> Option<Arc<Notify>> {
        self.transport.alarm()
    }

    /// Errors of the transport.
    pub fn errors(&self) -> u64 {
        self.transport.errors()
    }

    /// What waits in the spool of the transport, if it has one.
    pub fn left(&self) -> Option<Left> {
        self.transport.left()
    }

    /// Is there something to do at once?
    pub fn has_work(&self, now: &Moment) -> bool {
        let is_due = self
            .transport_due_ns()
            .is_some_and(|due| due <= now.mono_ns);
        self.has_more || !self.registered.is_empty() || is_due
    }

    /// When it is to be turned for reasons of time.
    pub fn due_ns<C, L>(&self, machine: &Machine<C, L>) -> Option<u64> {
        let last_offer = self.last_offer_ns(machine);
        last_offer.into_iter().chain(self.transport_due_ns()).min()
    }

    fn transport_due_ns(&self) -> Option<u64> {
        match self.state {
            State::Open | State::Finishing => self.transport.due_ns(),
            State::GivenUp | State::Over => None,
        }
    }

    /// Until when the transport is waited for, if that is not as long as it likes.
    fn last_offer_ns<C, L>(&self, machine: &Machine<C, L>) -> Option<u64> {
        let waits = match self.state {
            State::Open => machine.core().in_flight() > 0,
            State::Finishing => true,
            State::GivenUp | State::Over => false,
        };
        match (waits, self.retreats_until_ns) {
            (false, _) => None,
            (true, Some(until)) => Some(until),
            (true, None) => machine.life().last_offer_ns(self.given_ns),
        }
    }

    /// Goes on with what there is.
    pub fn turn<C, L>(&mut self, io: &mut I, now: &Moment, machine: &mut Machine<C, L>) {
        self.has_settled = false;
        self.go_on(io, now, machine);
        let errors = self.transport.errors();
        self.has_failed = !self.has_settled && (self.has_failed || errors > self.errors);
        self.errors = errors;
    }

    fn go_on<C, L>(&mut self, io: &mut I, now: &Moment, machine: &mut Machine<C, L>) {
        match self.state {
            State::Over => return,
            State::GivenUp => self.lose_all(now, machine),
            State::Open | State::Finishing => {
                self.call(io, now, machine, |transport, now| transport.poll(now));
                self.give(io, now, machine);
            }
        }
        let last_offer = self.last_offer_ns(machine);
        if last_offer.is_some_and(|until| until <= now.mono_ns) {
            self.stop_waiting(io, now, machine);
        }
        if self.state == State::Open && !self.has_more && nothing_is_left(machine) {
            self.state = State::Finishing;
            self.given_ns = now.mono_ns;
            self.call(io, now, machine, |transport, now| transport.finish(now));
        }
        let is_done = match self.state {
            State::Finishing => self.transport.is_finished(),
            State::GivenUp => nothing_is_left(machine),
            State::Open | State::Over => false,
        };
        if is_done {
            self.state = State::Over;
            machine.output_ended();
        }
    }

    /// Calls the transport, and tells the machine what comes of it.
    fn call<C, L>(
        &mut self,
        io: &mut I,
        now: &Moment,
        machine: &mut Machine<C, L>,
        call: impl FnOnce(&mut dyn Transport<I>, &mut Now<'_, I>),
    ) {
        let outcomes = &mut self.outcomes;
        let ns = now.mono_ns;
        call(&mut *self.transport, &mut Now { io, ns, outcomes });
        if !self.outcomes.is_empty() {
            self.has_settled |= machine.take(now, &mut self.outcomes);
        }
    }

    /// Gives the transport what there is, until it has to wait.
    fn give<C, L>(&mut self, io: &mut I, now: &Moment, machine: &mut Machine<C, L>) {
        self.has_more = false;
        for _ in 0..MESSAGES_AT_ONCE {
            let Some(message) = machine.poll_message(now) else {
                return self.register(io, now, machine);
            };
            // It has no stream that the transport has not heard of.
            self.register(io, now, machine);
            self.given_ns = now.mono_ns;
            self.call(io, now, machine, |transport, now| {
                transport.start(now, message);
            });
            if machine.core().in_flight() > 0 {
                break;
            }
        }
        self.has_more = machine.core().offers_message(now);
    }

    fn register<C, L>(&mut self, io: &mut I, now: &Moment, machine: &mut Machine<C, L>) {
        for name in std::mem::take(&mut self.registered) {
            self.call(io, now, machine, |transport, now| {
                transport.registered(now, &name);
            });
        }
    }

    /// The transport has had its time. What it keeps elsewhere is not lost.
    fn stop_waiting<C, L>(&mut self, io: &mut I, now: &Moment, machine: &mut Machine<C, L>) {
        let mut retreats = false;
        if self.retreats_until_ns.is_none() {
            self.call(io, now, machine, |transport, now| {
                retreats = transport.retreat(now);
            });
        }
        match retreats {
            true => {
                self.retreats_until_ns = Some(now.mono_ns + RETREAT_MAX.as_nanos() as u64);
                // The next turn gives it what is left.
                self.has_more = true;
            }
            false => self.give_up(io, now, machine),
        }
    }

    fn give_up<C, L>(&mut self, io: &mut I, now: &Moment, machine: &mut Machine<C, L>) {
        self.call(io, now, machine, |transport, now| transport.give_up(now));
        self.state = State::GivenUp;
        machine.output_given_up(now);
        self.lose_all(now, machine);
    }

    /// Nothing more goes to the transport.
    fn lose_all<C, L>(&mut self, now: &Moment, machine: &mut Machine<C, L>) {
        self.has_more = false;
        self.registered.clear();
        while machine.poll_message(now).is_some() {
            machine.output_given_up(now);
        }
    }
}

/// No message is there, and none comes.
fn nothing_is_left<C, L>(machine: &Machine<C, L>) -> bool {
    let life = machine.life();
    life.is_flushing()
        && machine.core().in_flight() == 0
        && (life.aborted_ns().is_some() || machine.core().is_settled())
}

/// What became of an operation of the output; `None`: it is none.
pub(super) fn completed(result: io::Result<()>) -> Completed {
    if let Err(error) = result {
        log::debug!("an output can't be waited for: {error}");
    }
    Completed::Ready
}

#[cfg(test)]
mod tests;
