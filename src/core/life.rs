//! How far a butler has come in its life, and what is due in it.

use std::time::Duration;

use prost_types::Timestamp;

use crate::limits::{DEADLINE_MARGIN, HEADER_GRACE, LAST_OFFER_MAX, LAST_OFFER_STEP};
use crate::time::{Moment, offset};

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Streams are taken, read and delivered.
    Running,
    /// Nobody new is let in; who is there may go on for some time.
    Draining(Ending),
    /// No stream is open any more, and the output takes what is left.
    Flushing(Ending),
    /// All is delivered or lost, and the output is closed.
    Over,
}

/// When what is still to come of an end is due; `None`: it is not, or was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ending {
    /// Clients that have not sent a whole header end.
    headers_ns: Option<u64>,
    /// Streams that are still open end, with what was written to them.
    streams_ns: Option<u64>,
    /// The output is waited for no longer.
    output: Option<Wait>,
    /// Since when nobody is waited for.
    aborted_ns: Option<u64>,
}

/// A wait for the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wait {
    until_ns: u64,
    /// How long it was.
    time: Duration,
}

/// What has come due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// See [`Ending`].
    Headers,
    /// See [`Ending`].
    Streams,
    /// The output had so long.
    Output(Duration),
    /// What can't be read to its end by now is left.
    Abandon,
}

fn after(now: &Moment, time: Duration) -> u64 {
    now.mono_ns
        .saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

fn earlier(a: Option<Wait>, b: Wait) -> Option<Wait> {
    Some(a.filter(|a| a.until_ns <= b.until_ns).unwrap_or(b))
}

/// As long as `time` from now on, or less: the process must not be killed, at
/// `deadline`, before it has told what was lost.
fn before_deadline(now: &Moment, deadline: Option<&Timestamp>, time: Duration) -> Duration {
    let Some(deadline) = deadline else {
        return time;
    };
    let (seconds, nanos) = offset(&now.wall, deadline);
    time.min(Duration::new(seconds, nanos).saturating_sub(DEADLINE_MARGIN))
}

impl Life {
    /// No stream is open any more, and none comes.
    pub fn is_flushing(&self) -> bool {
        matches!(self, Self::Flushing(_) | Self::Over)
    }

    /// All is done.
    pub fn is_over(&self) -> bool {
        *self == Self::Over
    }

    fn ending(&self) -> Option<&Ending> {
        match self {
            Self::Draining(ending) | Self::Flushing(ending) => Some(ending),
            Self::Running | Self::Over => None,
        }
    }

    /// Since when nobody is waited for, if that is so.
    pub fn aborted_ns(&self) -> Option<u64> {
        self.ending()?.aborted_ns
    }

    /// Nobody new is let in.
    pub(super) fn drain(&mut self) {
        if *self == Self::Running {
            *self = Self::Draining(Ending::default());
        }
    }

    /// Streams may go on for `grace`; then the output has `flush`. Said again, what
    /// is due earlier holds.
    pub(super) fn shut_down(
        &mut self,
        now: &Moment,
        deadline: Option<&Timestamp>,
        (grace, flush): (Duration, Duration),
    ) {
        self.drain();
        let Self::Draining(ending) = self else {
            return;
        };
        let sooner = |due: Option<u64>, time| {
            let at = after(now, time);
            Some(due.map_or(at, |due| due.min(at)))
        };
        ending.headers_ns = sooner(ending.headers_ns, grace.min(HEADER_GRACE));
        ending.streams_ns = sooner(ending.streams_ns, grace);
        let time = before_deadline(now, deadline, grace.saturating_add(flush));
        let until_ns = after(now, time);
        ending.output = earlier(ending.output, Wait { until_ns, time });
    }

    /// No stream is open: the output has `flush` for what is left.
    pub(super) fn flush(&mut self, now: &Moment, deadline: Option<&Timestamp>, flush: Duration) {
        let mut ending = self.ending().copied().unwrap_or_default();
        (ending.headers_ns, ending.streams_ns) = (None, None);
        let time = before_deadline(now, deadline, flush);
        let until_ns = after(now, time);
        ending.output = earlier(ending.output, Wait { until_ns, time });
        *self = Self::Flushing(ending);
    }

    /// From now on nobody is waited for. False if that was so already.
    pub(super) fn abort(&mut self, now: &Moment) -> bool {
        self.drain();
        let (Self::Draining(ending) | Self::Flushing(ending)) = self else {
            return false;
        };
        if ending.aborted_ns.is_some() {
            return false;
        }
        *ending = Ending {
            aborted_ns: Some(now.mono_ns),
            ..Ending::default()
        };
        true
    }

    /// What has come due, one after the other.
    pub(super) fn poll_due(&mut self, now: &Moment) -> Option<Due> {
        let is_draining = matches!(self, Self::Draining(_));
        let (Self::Draining(ending) | Self::Flushing(ending)) = self else {
            return None;
        };
        let is_due = |due: &mut Option<u64>| due.take_if(|at| *at <= now.mono_ns).is_some();
        if is_due(&mut ending.headers_ns) {
            return Some(Due::Headers);
        }
        if is_due(&mut ending.streams_ns) {
            return Some(Due::Streams);
        }
        let output = ending.output.take_if(|it| it.until_ns <= now.mono_ns);
        if let Some(wait) = output {
            return Some(Due::Output(wait.time));
        }
        let step = ending.aborted_ns.map(|at| at + nanos(LAST_OFFER_STEP));
        (is_draining && step.is_some_and(|at| at <= now.mono_ns)).then_some(Due::Abandon)
    }

    /// When [`poll_due`](Self::poll_due) has something.
    pub(super) fn next_ns(&self) -> Option<u64> {
        let ending = self.ending()?;
        let step = ending.aborted_ns.map(|at| at + nanos(LAST_OFFER_STEP));
        let step = step.filter(|_| matches!(self, Self::Draining(_)));
        let output = ending.output.map(|it| it.until_ns);
        let due = ending.headers_ns.into_iter().chain(ending.streams_ns);
        due.chain(output).chain(step).min()
    }

    /// Until when the output may take what it was given then, if nobody waits for
    /// it any more. Whoever takes one message in time gets the next one, but
    /// not for long.
    pub fn last_offer_ns(&self, given_ns: u64) -> Option<u64> {
        let aborted = self.aborted_ns()?;
        let step = given_ns.max(aborted) + nanos(LAST_OFFER_STEP);
        Some(step.min(aborted + nanos(LAST_OFFER_MAX)))
    }
}

const fn nanos(time: Duration) -> u64 {
    time.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(ms: u64) -> Moment {
        Moment {
            mono_ns: ms * 1_000_000,
            wall: Timestamp {
                seconds: 1000 + (ms / 1000) as i64,
                nanos: (ms % 1000 * 1_000_000) as i32,
            },
        }
    }

    fn all_due(life: &mut Life, ms: u64) -> Vec<Due> {
        std::iter::from_fn(|| life.poll_due(&at(ms))).collect()
    }

    #[test]
    fn an_end_in_order() {
        let mut life = Life::Running;
        assert_eq!((life.next_ns(), life.poll_due(&at(0))), (None, None));
        life.shut_down(&at(0), None, (5 * SECOND, 120 * SECOND));
        assert_eq!(all_due(&mut life, 999), []);
        assert_eq!(all_due(&mut life, 1000), [Due::Headers]);
        // Somebody is in a hurry.
        life.shut_down(&at(1500), None, (2 * SECOND, 120 * SECOND));
        assert_eq!(all_due(&mut life, 2500), [Due::Headers]);
        assert_eq!(life.next_ns(), Some(3_500_000_000));
        assert_eq!(all_due(&mut life, 3500), [Due::Streams]);
        life.flush(&at(4000), None, 120 * SECOND);
        assert!(life.is_flushing() && !life.is_over());
        assert_eq!(life.next_ns(), Some(123_500_000_000));
        let waited = Due::Output(122 * SECOND);
        assert_eq!(all_due(&mut life, 123_500), [waited]);
        assert!(life.abort(&at(123_500)) && !life.abort(&at(123_501)));
        assert_eq!(life.last_offer_ns(0), Some(123_600_000_000));
        assert_eq!(life.last_offer_ns(123_750_000_000), Some(123_800_000_000));
        assert_eq!(all_due(&mut life, 999_999), []);
    }

    /// However it is said: what can't be read by the next step is left.
    #[test]
    fn an_abort_waits_for_nobody() {
        let mut life = Life::Running;
        assert!(life.abort(&at(70)));
        assert_eq!(all_due(&mut life, 169), []);
        assert_eq!(life.poll_due(&at(170)), Some(Due::Abandon));
        life.flush(&at(170), None, SECOND);
        assert_eq!(life.aborted_ns(), Some(70_000_000));
    }

    #[test]
    fn the_deadline_leaves_time_to_tell() {
        let mut life = Life::Running;
        let deadline = at(10_000).wall;
        life.shut_down(&at(0), Some(&deadline), (30 * SECOND, 120 * SECOND));
        let waited = Due::Output(SECOND * 19 / 2);
        assert_eq!(all_due(&mut life, 9500), [Due::Headers, waited]);
        let mut life = Life::Running;
        life.flush(&at(20_000), Some(&deadline), SECOND);
        assert_eq!(all_due(&mut life, 20_000), [Due::Output(Duration::ZERO)]);
    }
}
