//! How long to wait between attempts.

use std::time::Duration;

use crate::limits::{BACKOFF_FIRST, BACKOFF_LONGEST};

/// Doubling waits with jitter: each is drawn from the upper half of its
/// length, so that many butlers do not come back at the same time. What it is
/// drawn by is the time: whoever knows that, as the simulator, knows the wait.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    next: Duration,
}

impl Backoff {
    pub fn new() -> Self {
        Self::starting_with(BACKOFF_FIRST)
    }

    /// The first wait is of that length at most.
    pub fn starting_with(first: Duration) -> Self {
        Self { first, next: first }
    }

    /// The wait before the next attempt, when the last one failed at `now_ns`.
    pub fn wait(&mut self, now_ns: u64) -> Duration {
        let length = self.next;
        self.next = (length * 2).min(BACKOFF_LONGEST);
        let fraction = scatter(now_ns) as u32;
        length / 2 + (length / 2).mul_f64(f64::from(fraction) / f64::from(u32::MAX))
    }

    /// The same in nanoseconds.
    pub fn wait_ns(&mut self, now_ns: u64) -> u64 {
        self.wait(now_ns).as_nanos() as u64
    }

    /// It worked: the next failure begins with the shortest wait.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

/// A number in which every bit depends on all of `seed` (SplitMix64).
fn scatter(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_with_jitter_up_to_the_longest() {
        let mut backoff = Backoff::new();
        for round in 0..2 {
            let mut length = BACKOFF_FIRST;
            for at in 0..12 {
                let wait = backoff.wait(100 * round + at);
                assert!(
                    wait >= length / 2 && wait <= length,
                    "{wait:?} of {length:?}"
                );
                length = (length * 2).min(BACKOFF_LONGEST);
            }
            backoff.reset();
        }
        let draws = |at| Backoff::new().wait_ns(at);
        assert!(draws(1) != draws(2) && draws(2) == draws(2));
    }
}
