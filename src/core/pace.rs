//! How eagerly to read: small writes are let gather.
//!
//! A wake-up, a submission and a completion for every line cost more than the
//! line. Since data may wait for the buffer age anyway, reading may wait for a
//! little company: up to [`PACE_WAIT_MAX_US`], after which one submission serves
//! many streams. The wait shrinks as reads grow, long before a socket's buffer
//! fills, so a writer at full speed never waits for us. What was read is
//! stamped later by at most the wait.

use crate::limits::{PACE_READ_MAX, PACE_WAIT_MAX_US};

/// The wait before the next reads.
#[derive(Debug)]
pub(crate) struct Pace {
    wait_us: u64,
    max_us: u64,
}

impl Pace {
    /// `eager`: never waits.
    pub fn new(eager: bool) -> Self {
        Self {
            wait_us: 0,
            max_us: if eager { 0 } else { PACE_WAIT_MAX_US },
        }
    }

    /// A round of reads brought at most `largest` bytes from one stream;
    /// `None` if it brought nothing.
    pub fn note(&mut self, largest: Option<usize>) {
        self.wait_us = match largest {
            None => self.wait_us,
            Some(bytes) if bytes < PACE_READ_MAX => {
                (self.wait_us + self.wait_us / 2 + 20).min(self.max_us)
            }
            Some(bytes) if bytes < 2 * PACE_READ_MAX => self.wait_us * 3 / 4,
            Some(_) => self.wait_us / 4,
        };
    }

    /// How long to let arrivals gather, in microseconds. This holds up the whole
    /// thread: no timer or output waits for longer than [`PACE_WAIT_MAX_US`].
    pub fn wait_us(&self) -> u64 {
        self.wait_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_small_reads_only() {
        let mut pace = Pace::new(false);
        for _ in 0..20 {
            pace.note(Some(128));
        }
        assert_eq!(pace.wait_us, PACE_WAIT_MAX_US);
        pace.note(None);
        assert_eq!(pace.wait_us, PACE_WAIT_MAX_US);
        for _ in 0..6 {
            pace.note(Some(65_536));
        }
        assert_eq!(pace.wait_us, 0);

        let mut eager = Pace::new(true);
        eager.note(Some(128));
        assert_eq!(eager.wait_us, 0);
    }

    /// A writer at full speed writes more while we wait longer: the wait
    /// settles where a read has a few KiB, not a socket's buffer full.
    #[test]
    fn settles_below_a_full_buffer() {
        let mut pace = Pace::new(false);
        let bytes_per_us = 128;
        let mut largest = 0;
        for round in 0..1000 {
            let bytes = (5 + pace.wait_us as usize) * bytes_per_us;
            pace.note(Some(bytes));
            if round > 100 {
                largest = largest.max(bytes);
            }
        }
        assert!(largest < 8 * PACE_READ_MAX, "{largest}");
    }
}
