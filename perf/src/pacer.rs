//! Full speed is simple; a given rate is not: this says when the next write
//! is due.

use std::time::Duration;

use rustix::thread::{clock_nanosleep_absolute, set_current_timer_slack};
use rustix::time::{ClockId, Timespec};

use crate::clock;

/// Writes at even distances.
#[derive(Debug)]
pub struct Pacer {
    start_ns: u64,
    /// How many are done.
    done: u64,
    interval_ns: f64,
}

impl Pacer {
    /// From now on, one each `interval`.
    pub fn new(interval: Duration) -> Self {
        // Otherwise the kernel makes every sleep 50 µs longer. Without it the
        // writes come in small groups: no reason to fail.
        let _ = set_current_timer_slack(std::num::NonZeroU64::new(1));
        Self {
            start_ns: clock::monotonic_ns(),
            done: 0,
            interval_ns: interval.as_nanos() as f64,
        }
    }

    /// Counts one write, and waits until it is due. One that is late makes
    /// the next ones follow faster: the rate is kept.
    pub fn wait(&mut self) {
        let due = self.start_ns + (self.done as f64 * self.interval_ns) as u64;
        self.done += 1;
        if due > clock::monotonic_ns() {
            let until = Timespec {
                tv_sec: (due / 1_000_000_000) as i64,
                tv_nsec: (due % 1_000_000_000) as _,
            };
            // A signal only makes one write early.
            let _ = clock_nanosleep_absolute(ClockId::Monotonic, &until);
        }
    }
}
