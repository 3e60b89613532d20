//! The butler's own life: signals, what is due after them, and its end, as
//! `Butler::shutdown`, `abort` and `wait` have it.

use butler::limits::{FLUSH_TIMEOUT, HEADER_GRACE};

use crate::broken::Broken;
use crate::edge::Edge;
use crate::world::World;

/// When the operator has waited long enough, and ends it with SIGTERM.
const PATIENCE_NS: u64 = 600_000_000_000;
/// After so long without anything in the way streams must have ended.
const UNHINDERED_NS: u64 = 5_000_000_000;

/// How far the butler's own life has come, as its `wait` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    Running,
    /// It takes those who wait to be accepted.
    Stopping,
    /// The output has until then.
    Flushing(u64),
    Over,
}

impl World<'_> {
    pub fn signals(&mut self) {
        if self.plan.sigterm == Some(self.step) || self.now.mono_ns > PATIENCE_NS {
            self.sigterm();
        }
        let again = self.plan.sigterm.zip(self.plan.sigterm_again);
        if again.is_some_and(|(first, after)| first + after == self.step) {
            self.trace.note(|| "the signal comes again".into());
            self.abort();
        }
    }

    /// As `Butler::shutdown`.
    pub fn sigterm(&mut self) {
        if self.sigterm_ns.is_none() {
            self.trace.note(|| "SIGTERM".into());
            self.sigterm_ns = Some(self.now.mono_ns);
            self.activated = true;
            self.edge.stop_accepting(&mut self.kernel);
        }
    }

    /// What is due of the shutdown, and the steps of `Butler::wait`.
    pub fn live(&mut self) -> Result<(), String> {
        let now_ns = self.now.mono_ns;
        if !self.core.may_read() || now_ns < self.kernel.exhausted_until_ns {
            self.hindered_ns = now_ns;
        }
        let [headers, streams, output] = self.deadlines();
        if headers.is_some_and(|at| at <= now_ns) && !self.headers_ended {
            self.headers_ended = true;
            self.trace.note(|| "unfinished headers end".into());
            self.edge.end_headers(&mut self.kernel);
        }
        if streams.is_some_and(|at| at <= now_ns) && !self.streams_ended {
            self.streams_ended = true;
            self.trace.note(|| "all streams end".into());
            self.with_edge(Edge::end_all);
        }
        if output.is_some_and(|at| at <= now_ns) && !self.aborted {
            self.trace.note(|| "the output was too slow".into());
            let reading = !matches!(self.life, Life::Flushing(_));
            if reading && now_ns > self.hindered_ns + UNHINDERED_NS {
                return Err("streams are still open, and nothing is in the way".into());
            }
            self.abort();
        }
        if self.life == Life::Running && self.activated && self.edge.is_idle() {
            self.edge.stop_accepting(&mut self.kernel);
            self.life = Life::Stopping;
        }
        if self.life == Life::Stopping && self.edge.is_idle() && self.edge.is_closed() {
            self.flush();
        }
        if matches!(self.life, Life::Flushing(_))
            && self.output.is_idle()
            && !self.core.has_message(&self.now)
            && (self.aborted || self.core.is_settled())
        {
            self.life = Life::Over;
        }
        Ok(())
    }

    /// When headers are ended, streams, and the wait for the output.
    pub fn deadlines(&self) -> [Option<u64>; 3] {
        let flush = FLUSH_TIMEOUT.as_nanos() as u64;
        let grace = self.plan.grace_ns;
        let after = |ns| self.sigterm_ns.map(|at| at + ns);
        let streams = match self.chance.broken {
            Some(Broken::SleepsThroughGrace) => None,
            _ => after(grace),
        };
        let shutdown = match self.chance.broken {
            Some(Broken::WaitsForOutput) => None,
            _ => after(grace + flush),
        };
        let flushed = match self.life {
            Life::Flushing(until) => Some(until),
            _ => None,
        };
        [
            after(grace.min(HEADER_GRACE.as_nanos() as u64)),
            streams,
            shutdown.into_iter().chain(flushed).min(),
        ]
    }

    fn flush(&mut self) {
        self.trace.note(|| "no more comes".into());
        self.core.flush();
        let until = self.now.mono_ns + FLUSH_TIMEOUT.as_nanos() as u64;
        self.life = Life::Flushing(until);
    }

    /// Ends now: what is not delivered is lost.
    fn abort(&mut self) {
        if self.aborted || self.life == Life::Over {
            return;
        }
        self.aborted = true;
        if matches!(self.life, Life::Running | Life::Stopping) {
            self.with_edge(Edge::abandon);
            self.flush();
        }
        self.output
            .abort(&mut self.core, &mut self.chance, &self.now);
    }
}
