//! Clients that write by their plan, as far as their socket has room.

use crate::kernel::State as Kernel;
use crate::plan::{self, Act, End};

#[derive(Debug)]
pub struct Client {
    number: usize,
    wire: Vec<u8>,
    written: usize,
    acts: std::vec::IntoIter<Act>,
    /// Bytes still to be written before the next act.
    writing: usize,
    wakes_ns: u64,
    dies_ns: u64,
    end: End,
    state: State,
    pub header: Sent,
}

/// How a client came to send its header.
#[derive(Debug, Default)]
pub struct Sent {
    /// When all of it was in the socket.
    pub done_ns: Option<u64>,
    /// How long it has waited of itself until then, in all and at most at a time.
    pub waited_ns: u64,
    pub longest_ns: u64,
    /// It could not write for a while.
    pub was_blocked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Born,
    Connected,
    /// It does nothing any more, with its socket open or not.
    AtRest,
}

impl Client {
    pub fn new(number: usize, plan: &plan::Client) -> Self {
        Self {
            number,
            wire: plan.wire(),
            written: 0,
            acts: plan.acts.clone().into_iter(),
            writing: 0,
            wakes_ns: 0,
            dies_ns: plan.dies_ns.unwrap_or(u64::MAX),
            end: plan.end,
            state: match plan.how.is_attached() {
                true => State::Connected,
                false => State::Born,
            },
            header: Sent::default(),
        }
    }

    pub fn is_at_rest(&self) -> bool {
        self.state == State::AtRest
    }

    /// Could it do something now?
    pub fn can_act(&self, kernel: &Kernel, now_ns: u64) -> bool {
        let blocked = self.writing > 0 && !kernel.sockets[self.number].has_room();
        !self.is_at_rest() && (self.dies_ns <= now_ns || self.wakes_ns <= now_ns && !blocked)
    }

    /// When it does something by itself.
    pub fn due(&self, now_ns: u64) -> Option<u64> {
        if self.is_at_rest() {
            return None;
        }
        let wakes = (self.wakes_ns > now_ns).then_some(self.wakes_ns);
        let dies = (self.dies_ns != u64::MAX).then_some(self.dies_ns);
        wakes.into_iter().chain(dies).min()
    }

    pub fn act(&mut self, kernel: &mut Kernel, now_ns: u64) {
        if self.dies_ns <= now_ns {
            kernel.trace.note(|| format!("client {} dies", self.number));
            self.close(kernel);
        } else if self.state == State::Born {
            self.state = State::Connected;
            if kernel.connect(self.number).is_err() {
                self.state = State::AtRest;
            }
        } else if self.writing > 0 {
            self.write(kernel);
        } else {
            match self.acts.next() {
                Some(Act::Wait(ns)) => {
                    self.wakes_ns = now_ns + ns;
                    if self.header.done_ns.is_none() {
                        self.header.waited_ns += ns;
                        self.header.longest_ns = self.header.longest_ns.max(ns);
                    }
                }
                Some(Act::Write(len)) => {
                    self.writing = len.min(self.wire.len() - self.written);
                }
                None if self.end == End::Closes => self.close(kernel),
                None => self.state = State::AtRest,
            }
        }
    }

    fn write(&mut self, kernel: &mut Kernel) {
        let data = &self.wire[self.written..self.written + self.writing];
        let socket = &mut kernel.sockets[self.number];
        match socket.write(data) {
            Ok(len) => {
                let is_done = socket.written >= socket.header;
                kernel
                    .trace
                    .note(|| format!("client {} writes {len}", self.number));
                self.written += len;
                self.writing -= len;
                if is_done {
                    self.header.done_ns.get_or_insert(kernel.now_ns);
                } else {
                    self.header.was_blocked |= self.writing > 0;
                }
            }
            Err(_) => self.close(kernel),
        }
    }

    fn close(&mut self, kernel: &mut Kernel) {
        kernel.sockets[self.number].closed = true;
        self.state = State::AtRest;
    }
}
