//! How long to wait between attempts.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::limits::{BACKOFF_FIRST, BACKOFF_LONGEST};

/// Doubling waits with jitter: each is drawn from the upper half of its
/// length, so that many butlers do not come back at the same time.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    next: Duration,
    random: RandomState,
    attempts: u64,
}

impl Backoff {
    pub fn new() -> Self {
        Self::starting_with(BACKOFF_FIRST)
    }

    /// The first wait is of that length at most.
    pub fn starting_with(first: Duration) -> Self {
        Self {
            first,
            next: first,
            random: RandomState::new(),
            attempts: 0,
        }
    }

    /// The wait before the next attempt.
    pub fn wait(&mut self) -> Duration {
        self.attempts += 1;
        let length = self.next;
        self.next = (length * 2).min(BACKOFF_LONGEST);
        let fraction = self.random.hash_one(self.attempts) as u32;
        length / 2 + (length / 2).mul_f64(f64::from(fraction) / f64::from(u32::MAX))
    }

    /// It worked: the next failure begins with the shortest wait.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_with_jitter_up_to_the_longest() {
        let mut backoff = Backoff::new();
        for _ in 0..2 {
            let mut length = BACKOFF_FIRST;
            for _ in 0..12 {
                let wait = backoff.wait();
                assert!(
                    wait >= length / 2 && wait <= length,
                    "{wait:?} of {length:?}"
                );
                length = (length * 2).min(BACKOFF_LONGEST);
            }
            backoff.reset();
        }
    }
}
