//! Accepting, with descriptors that run out.

use butler::limits::ACCEPT_RETRY;

use crate::edge::Around;
use crate::kernel::Kernel;
use crate::plan::Fault;

const RETRY_NS: u64 = ACCEPT_RETRY.as_nanos() as u64;
/// Between one want of descriptors and the next, at least.
const EXHAUSTED_APART_NS: u64 = 5_000_000_000;
const EXHAUSTED_MS_MAX: u64 = 3000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Open,
    /// It takes those that wait already, then closes.
    Closing,
    Closed,
}

#[derive(Debug, Default)]
pub struct Listener {
    state: State,
    /// Out of descriptors: when to try again.
    pub retry_ns: Option<u64>,
}

impl Listener {
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    pub fn has_work(&self, kernel: &Kernel) -> bool {
        self.retry_ns.is_none()
            && match self.state {
                State::Open => kernel.has_waiting(),
                State::Closing => true,
                State::Closed => false,
            }
    }

    pub fn close(&mut self) {
        if self.state == State::Open {
            self.state = State::Closing;
        }
    }

    /// A descriptor was closed: it is worth trying again.
    pub fn descriptor_back(&mut self) {
        if self.retry_ns.is_some() {
            self.retry_ns = Some(0);
        }
    }

    /// The next client.
    pub fn accept(&mut self, around: &mut Around<'_>) -> Option<usize> {
        let now_ns = around.now.mono_ns;
        if self.retry_ns.is_some_and(|at| at <= now_ns) {
            self.retry_ns = None;
        }
        if !self.has_work(around.kernel) {
            return None;
        }
        if !around.kernel.has_waiting() {
            self.state = State::Closed;
            return None;
        }
        let until = around.kernel.exhausted_until_ns;
        let apart = until == 0 || until + EXHAUSTED_APART_NS < now_ns;
        if apart && around.chance.happens(Fault::NoDescriptors, 4) {
            around.kernel.exhausted_until_ns = now_ns + around.chance.nanos(EXHAUSTED_MS_MAX);
        }
        let client = around.kernel.accept(now_ns);
        if client.is_none() {
            around.trace.note(|| "no descriptor to accept with".into());
            self.retry_ns = Some(now_ns + RETRY_NS);
        }
        client
    }
}
