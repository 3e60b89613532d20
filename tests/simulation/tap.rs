//! What stands between the driver and its output, and notes what that is given.
//! A broken one stands here too.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use butler::edge::transport::{Completed, Now, Transport};
use butler::proto::logpb::ButlerLogBundle;
use butler::wire::name::StreamName;
use butler::{Capacity, Left, Message, Outcome, Outcomes};

use crate::broken::Broken;
use crate::kernel::{Kernel, State};

/// All messages that the output was given, in that order.
pub type Given = Rc<RefCell<Vec<ButlerLogBundle>>>;

/// See the module.
pub struct Tap {
    output: Box<dyn Transport<Kernel>>,
    kernel: Rc<RefCell<State>>,
    given: Given,
    /// One that is sent once more.
    again: Option<Arc<Message>>,
    /// The outcome of this one is not told yet.
    in_flight: Option<Arc<Message>>,
}

impl Tap {
    pub fn new(output: Box<dyn Transport<Kernel>>, kernel: &Rc<RefCell<State>>) -> (Self, Given) {
        let given = Given::default();
        let tap = Self {
            output,
            kernel: Rc::clone(kernel),
            given: Rc::clone(&given),
            again: None,
            in_flight: None,
        };
        (tap, given)
    }

    fn breaks(&self, how: Broken) -> bool {
        self.kernel.borrow_mut().chance.breaks(how)
    }

    /// Sends one more time what was sent.
    fn repeat(&mut self, now: &mut Now<'_, Kernel>) {
        if let Some(again) = self.again.take() {
            let mut now = Now {
                io: &mut *now.io,
                ns: now.ns,
                outcomes: &mut Outcomes::default(),
            };
            self.output.start(&mut now, again);
        }
    }

    fn note_outcome(&mut self, now: &Now<'_, Kernel>) {
        if !now.outcomes.is_empty() {
            self.in_flight = None;
        }
    }
}

impl Transport<Kernel> for Tap {
    fn start(&mut self, now: &mut Now<'_, Kernel>, message: Arc<Message>) {
        self.repeat(now);
        self.given.borrow_mut().push(message.decode());
        self.kernel.borrow_mut().calls += 1;
        self.kernel.borrow_mut().trace.note(|| {
            let (entries, streams) = (message.entries(), message.streams().len());
            format!("a message of {entries} entries of {streams} streams")
        });
        if self.breaks(Broken::SkipsMessage) {
            return now.outcomes.settle(Outcome::delivered(message.ticket(), 1));
        }
        if self.kernel.borrow().chance.broken == Some(Broken::ForgetsLoss) {
            self.in_flight = Some(Arc::clone(&message));
        }
        if self.output.capacity() == Capacity::ONE && self.breaks(Broken::RepeatsMessage) {
            self.again = Some(Arc::clone(&message));
        }
        self.output.start(now, message);
        self.note_outcome(now);
    }

    fn poll(&mut self, now: &mut Now<'_, Kernel>) {
        self.output.poll(now);
        self.note_outcome(now);
    }

    fn completed(&mut self, now: &mut Now<'_, Kernel>, number: u32, what: Completed) {
        self.output.completed(now, number, what);
        self.note_outcome(now);
    }

    fn due_ns(&self) -> Option<u64> {
        self.output.due_ns()
    }

    fn finish(&mut self, now: &mut Now<'_, Kernel>) {
        self.repeat(now);
        self.output.finish(now);
    }

    fn is_finished(&self) -> bool {
        self.output.is_finished()
    }

    fn retreat(&mut self, now: &mut Now<'_, Kernel>) -> bool {
        self.output.retreat(now)
    }

    fn left(&self) -> Option<Left> {
        self.output.left()
    }

    fn give_up(&mut self, now: &mut Now<'_, Kernel>) {
        self.kernel
            .borrow_mut()
            .trace
            .note(|| "the output is given up".into());
        if let Some(message) = self.in_flight.take()
            && self.breaks(Broken::ForgetsLoss)
        {
            now.outcomes.settle(Outcome::delivered(message.ticket(), 1));
        }
        self.output.give_up(now);
    }

    fn capacity(&self) -> Capacity {
        self.output.capacity()
    }

    fn wants_registrations(&self) -> bool {
        self.output.wants_registrations()
    }

    fn registered(&mut self, now: &mut Now<'_, Kernel>, name: &StreamName) {
        self.output.registered(now, name);
    }

    fn errors(&self) -> u64 {
        self.output.errors()
    }
}
