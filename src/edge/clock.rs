//! Where moments come from.

use std::time::Duration;

use prost_types::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use crate::time::Moment;

/// Both clocks, now.
pub(crate) fn now() -> Moment {
    let wall = clock_gettime(ClockId::Realtime);
    Moment {
        mono_ns: mono_ns(),
        wall: Timestamp {
            seconds: wall.tv_sec,
            nanos: wall.tv_nsec as i32,
        },
    }
}

/// The monotonic clock, now.
pub(crate) fn mono_ns() -> u64 {
    let mono = clock_gettime(ClockId::Monotonic);
    mono.tv_sec as u64 * 1_000_000_000 + mono.tv_nsec as u64
}

/// Sleeps until then on the monotonic clock, or for ever.
pub(crate) async fn sleep_until(due_ns: Option<u64>) {
    match due_ns {
        None => std::future::pending().await,
        Some(due) => {
            let wait = due.saturating_sub(mono_ns());
            tokio::time::sleep(Duration::from_nanos(wait)).await;
        }
    }
}
