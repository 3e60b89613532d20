//! Time as the core sees it: a value it is handed, never a clock it reads.

use prost_types::Timestamp;

/// When something happened, by both clocks: the monotonic one decides what is
/// due, the wall clock is what entries and bundles are stamped with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// Nanoseconds on a clock that never goes back, from any start.
    pub mono_ns: u64,
    /// The wall clock, which may jump.
    pub wall: Timestamp,
}

/// Seconds and nanoseconds from `base` to `wall`; zero if `base` is later.
pub fn offset(base: &Timestamp, wall: &Timestamp) -> (u64, u32) {
    let mut seconds = i128::from(wall.seconds) - i128::from(base.seconds);
    let mut nanos = wall.nanos - base.nanos;
    if nanos < 0 {
        seconds -= 1;
        nanos += 1_000_000_000;
    }
    match u64::try_from(seconds) {
        Ok(seconds) => (seconds, nanos as u32),
        Err(_) => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_borrow_and_never_go_below_zero() {
        let at = |seconds, nanos| Timestamp { seconds, nanos };
        assert_eq!(offset(&at(5, 900), &at(7, 100)), (1, 999_999_200));
        assert_eq!(offset(&at(5, 900), &at(5, 901)), (0, 1));
        assert_eq!(offset(&at(5, 900), &at(6, 900)), (1, 0));
        assert_eq!(offset(&at(5, 900), &at(5, 899)), (0, 0));
        assert_eq!(offset(&at(i64::MAX, 0), &at(i64::MIN, 0)), (0, 0));
        assert_eq!(
            offset(&at(crate::wire::timestamp::SECONDS_MIN, 0), &at(0, 1)),
            (62_135_596_800, 1)
        );
    }
}
