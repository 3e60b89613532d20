//! An output that has several messages at once, and tells what became of them in
//! any order: that they are delivered, or refused.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use butler::edge::transport::{Now, Transport};
use butler::ledger::DropReason;
use butler::{Capacity, Gather, Message, Outcome, Ticket};

use crate::broken::Broken;
use crate::kernel::peer::Received;
use crate::kernel::{Kernel, State};
use crate::plan::Fault;

/// See the module.
pub struct Window {
    kernel: Rc<RefCell<State>>,
    capacity: usize,
    in_flight: Vec<Sent>,
    gather: Gather,
}

/// A message that is on its way.
struct Sent {
    ticket: Ticket,
    bytes: Vec<u8>,
    /// Where it is received.
    at: usize,
    due_ns: u64,
}

impl Window {
    pub fn new(capacity: usize, kernel: &Rc<RefCell<State>>) -> Self {
        Self {
            kernel: Rc::clone(kernel),
            capacity,
            in_flight: Vec::new(),
            gather: Gather::default(),
        }
    }

    /// What becomes of one of those that are due.
    fn settle(&mut self, at: usize) -> Outcome {
        let sent = self.in_flight.remove(at);
        let mut state = self.kernel.borrow_mut();
        if state.chance.happens(Fault::Losses, 10) {
            state.trace.note(|| "output refuses a message".into());
            state.peer.refused.push(sent.at);
            return Outcome::lost(sent.ticket, DropReason::Refused);
        }
        let len = sent.bytes.len() as u64;
        state.peer.received[sent.at].bytes = sent.bytes;
        Outcome::delivered(sent.ticket, len)
    }
}

impl Transport<Kernel> for Window {
    fn start(&mut self, now: &mut Now<'_, Kernel>, message: Arc<Message>) {
        self.gather.message(&message);
        let bytes = self.gather.concat();
        self.gather.clear();
        let mut state = self.kernel.borrow_mut();
        state.peer.received.push(Received::default());
        let late = match state.chance.is_allowed(Fault::Stalls) {
            true => state.chance.nanos(3000),
            false => state.chance.random.below(2),
        };
        state.peer.hung |= state.chance.happens(Fault::Hangs, 10);
        self.in_flight.push(Sent {
            ticket: message.ticket(),
            bytes,
            at: state.peer.received.len() - 1,
            due_ns: if state.peer.hung {
                u64::MAX
            } else {
                now.ns + late
            },
        });
    }

    fn poll(&mut self, now: &mut Now<'_, Kernel>) {
        let is_due = |it: &Sent| it.due_ns <= now.ns;
        let broken = self.in_flight.len() > 1
            && self.in_flight.iter().any(is_due)
            && self.kernel.borrow().chance.broken == Some(Broken::MixesOutcomes);
        if broken {
            let (first, last) = (0, self.in_flight.len() - 1);
            let ticket = self.in_flight[first].ticket;
            self.in_flight[first].ticket = self.in_flight[last].ticket;
            self.in_flight[last].ticket = ticket;
        }
        loop {
            let due = self.in_flight.iter().enumerate();
            let due: Vec<_> = due.filter(|(_, it)| it.due_ns <= now.ns).collect();
            if due.is_empty() {
                return;
            }
            let all: Vec<_> = due.into_iter().map(|(at, _)| at).collect();
            let at = self.kernel.borrow_mut().chance.random.pick(&all);
            let outcome = self.settle(at);
            now.outcomes.settle(outcome);
        }
    }

    fn due_ns(&self) -> Option<u64> {
        let due = self.in_flight.iter().map(|it| it.due_ns);
        due.min().filter(|due| *due < u64::MAX)
    }

    fn finish(&mut self, _: &mut Now<'_, Kernel>) {}

    fn is_finished(&self) -> bool {
        self.in_flight.is_empty()
    }

    fn give_up(&mut self, _: &mut Now<'_, Kernel>) {
        self.in_flight.clear();
    }

    fn capacity(&self) -> Capacity {
        Capacity::of(self.capacity, usize::MAX)
    }

    fn errors(&self) -> u64 {
        0
    }
}
