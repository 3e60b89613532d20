//! The virtual output: sends messages over connections that stall, break,
//! are refused and take less than they are given, and keeps the promise of
//! the socket output: a message goes wholly over one connection.

use std::collections::VecDeque;
use std::sync::Arc;

use butler::core::Core;
use butler::ledger::DropReason;
use butler::proto::logpb::ButlerLogBundle;
use butler::time::Moment;
use butler::{Gather, Message};

use crate::broken::Broken;
use crate::chance::Chance;
use crate::plan::Fault;
use crate::trace::Trace;

/// What its reader got over one connection.
#[derive(Debug, Default)]
pub struct Received {
    pub bytes: Vec<u8>,
    /// It broke inside a message.
    pub cut: bool,
}

/// What became of a bundle.
#[derive(Debug)]
pub enum Fate {
    Delivered,
    Lost(Box<ButlerLogBundle>, DropReason),
}

/// A bundle that is being sent.
#[derive(Debug)]
struct Sending {
    bundle: Arc<Message>,
    message: Vec<u8>,
    done: usize,
}

#[derive(Debug, Default)]
pub struct Output {
    sending: Option<Sending>,
    connected: bool,
    /// It does nothing before.
    wakes_ns: u64,
    backoff_ns: u64,
    hung: bool,
    gather: Gather,
    pub received: Vec<Received>,
    /// Of all bundles, in the order in which they were cut.
    pub fates: VecDeque<Fate>,
}

const BACKOFF_FIRST_NS: u64 = 100_000_000;
const BACKOFF_LONGEST_NS: u64 = 30_000_000_000;

impl Output {
    /// Is there something that it could do now?
    pub fn has_work(&self, core: &Core, now: &Moment) -> bool {
        match self.sending {
            Some(_) => !self.hung && self.wakes_ns <= now.mono_ns,
            None => core.has_message(now),
        }
    }

    /// When it goes on.
    pub fn due(&self) -> Option<u64> {
        (self.sending.is_some() && !self.hung).then_some(self.wakes_ns)
    }

    /// Nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.sending.is_none()
    }

    /// Takes the next bundle, or writes a piece of the one it has. True if
    /// one is done with.
    pub fn step(
        &mut self,
        core: &mut Core,
        chance: &mut Chance,
        trace: &mut Trace,
        now: &Moment,
    ) -> bool {
        if self.sending.is_none() {
            let Some(bundle) = core.poll_message(now) else {
                return false;
            };
            self.gather.message(&bundle);
            let message = self.gather.concat();
            self.gather.clear();
            trace.note(|| format!("bundle of {} entries", bundle.entries()));
            self.sending = Some(Sending {
                bundle,
                message,
                done: 0,
            });
            self.hung |= chance.happens(Fault::Hangs, 10);
            return false;
        }
        if chance.happens(Fault::Losses, 20) {
            trace.note(|| "output refuses the bundle".into());
            self.lose(core, chance, now, DropReason::Refused);
            return true;
        }
        self.write(core, chance, trace, now)
    }

    fn write(
        &mut self,
        core: &mut Core,
        chance: &mut Chance,
        trace: &mut Trace,
        now: &Moment,
    ) -> bool {
        if chance.happens(Fault::Stalls, 6) {
            self.wakes_ns = now.mono_ns + chance.nanos(9_000);
            trace.note(|| format!("output stalls until {}", self.wakes_ns));
            return false;
        }
        if !self.connected {
            if chance.happens(Fault::Refusals, 2) {
                trace.note(|| "output refuses to be connected to".into());
                self.back_off(now);
                return false;
            }
            self.connected = true;
            self.received.push(Received::default());
        }
        let Some(sending) = &mut self.sending else {
            return false;
        };
        let rest = &sending.message[sending.done..];
        let cut = chance.happens(Fault::Cuts, 5);
        let len = match chance.is_allowed(Fault::ShortWrites) || cut {
            true => chance.random.size(0, rest.len() - 1),
            false => rest.len(),
        };
        let len = if cut { len } else { len.max(1) };
        let received = self.received.last_mut().expect("it is connected");
        received.bytes.extend_from_slice(&rest[..len]);
        sending.done += len;
        trace.note(|| format!("wrote {len} of {}", rest.len()));
        if cut {
            trace.note(|| "output cuts the connection".into());
            if !chance.breaks(Broken::ResumesMessage) {
                sending.done = 0;
            }
            received.cut = true;
            self.connected = false;
            self.back_off(now);
            return false;
        }
        if sending.done < sending.message.len() {
            return false;
        }
        if chance.breaks(Broken::RepeatsMessage) {
            received.bytes.extend_from_slice(&sending.message);
        }
        if chance.breaks(Broken::SkipsMessage) {
            let kept = received.bytes.len() - sending.message.len().min(received.bytes.len());
            received.bytes.truncate(kept);
        }
        if chance.breaks(Broken::SpoilsMessage) {
            // In the middle are its entries.
            let at = received.bytes.len() - sending.message.len() / 2;
            received.bytes[at] ^= 1;
        }
        self.backoff_ns = 0;
        self.delivered(core, now);
        true
    }

    fn delivered(&mut self, core: &mut Core, now: &Moment) {
        if let Some(sending) = self.sending.take() {
            self.fates.push_back(Fate::Delivered);
            core.delivered(now, sending.bundle.ticket(), sending.message.len() as u64);
        }
    }

    fn lose(&mut self, core: &mut Core, chance: &mut Chance, now: &Moment, reason: DropReason) {
        let Some(sending) = self.sending.take() else {
            return;
        };
        // What was begun stays a torn tail.
        if sending.done > 0
            && let Some(received) = self.received.last_mut()
        {
            received.cut = true;
            self.connected = false;
        }
        let lost = Box::new(sending.bundle.decode());
        self.fates.push_back(Fate::Lost(lost, reason));
        if !chance.breaks(Broken::ForgetsLoss) {
            core.lost(now, sending.bundle.ticket(), reason);
        }
    }

    /// The butler stops: what is under way and what is left is lost.
    pub fn abort(&mut self, core: &mut Core, chance: &mut Chance, now: &Moment) {
        loop {
            self.lose(core, chance, now, DropReason::Undelivered);
            let Some(bundle) = core.poll_message(now) else {
                return;
            };
            self.sending = Some(Sending {
                bundle,
                message: Vec::new(),
                done: 0,
            });
        }
    }

    fn back_off(&mut self, now: &Moment) {
        self.backoff_ns = (2 * self.backoff_ns).clamp(BACKOFF_FIRST_NS, BACKOFF_LONGEST_NS);
        self.wakes_ns = now.mono_ns + self.backoff_ns;
    }
}
