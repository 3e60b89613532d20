//! How long clients may take over their headers.
//!
//! Time also passes while we don't run: stopped, or in a machine that is. So
//! before somebody is late, there is a last look: what has come is read.

use std::collections::VecDeque;
use std::time::Duration;

use crate::limits::{HEADER_LAST_LOOK, HEADER_TIMEOUT};
use crate::stream::arena::Key;

/// Connections without a complete header.
#[derive(Debug, Default)]
pub(super) struct Headers {
    /// The oldest first, and when the last look is due.
    waiting: Queue,
    /// Those that have their last look, and when it is over.
    last: Queue,
}

type Queue = VecDeque<(Key, u64)>;

impl Headers {
    /// The connection's time begins.
    pub fn begin(&mut self, key: Key, now_ns: u64) {
        let due = after(now_ns, HEADER_TIMEOUT - HEADER_LAST_LOOK);
        self.waiting.push_back((key, due));
    }

    /// All of them, and some whose header is complete by now.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.last.iter().chain(&self.waiting).map(|(key, _)| *key)
    }

    /// When [`late`](Self::late) has something to do.
    pub fn next_ns(&self) -> Option<u64> {
        let fronts = [self.last.front(), self.waiting.front()];
        fronts.into_iter().flatten().map(|(_, due)| *due).min()
    }

    /// Those whose time is over. While nothing may be read it is not they who
    /// are slow: it begins anew.
    pub fn late(
        &mut self,
        now_ns: u64,
        may_read: bool,
        unfinished: impl Fn(Key) -> bool,
    ) -> Vec<Key> {
        let mut late = Vec::new();
        while let Some(key) = due(&mut self.last, now_ns, &unfinished) {
            if may_read {
                late.push(key);
            } else {
                self.begin(key, now_ns);
            }
        }
        while let Some(key) = due(&mut self.waiting, now_ns, &unfinished) {
            if may_read {
                self.last.push_back((key, after(now_ns, HEADER_LAST_LOOK)));
            } else {
                self.begin(key, now_ns);
            }
        }
        late
    }
}

fn after(now_ns: u64, time: Duration) -> u64 {
    now_ns + time.as_nanos() as u64
}

/// Takes the next that is due. What is finished is forgotten.
fn due(queue: &mut Queue, now_ns: u64, unfinished: impl Fn(Key) -> bool) -> Option<Key> {
    while let Some(&(key, due)) = queue.front() {
        let unfinished = unfinished(key);
        if unfinished && due > now_ns {
            return None;
        }
        queue.pop_front();
        if unfinished {
            return Some(key);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn two() -> (Headers, Key, Key) {
        let mut headers = Headers::default();
        let (first, second) = (Key::from_u64(1), Key::from_u64(2));
        headers.begin(first, 0);
        headers.begin(second, 5 * SECOND);
        (headers, first, second)
    }

    #[test]
    fn each_has_its_time() {
        let (mut headers, first, second) = two();
        let mut late = |now| headers.late(now, true, |_| true);
        assert!(late(29 * SECOND - 1).is_empty());
        assert!(late(29 * SECOND).is_empty());
        assert!(late(30 * SECOND - 1).is_empty());
        assert_eq!(late(30 * SECOND), [first]);
        assert!(late(34 * SECOND).is_empty());
        assert_eq!(late(35 * SECOND), [second]);
        assert_eq!(headers.next_ns(), None);
    }

    /// However late it is: they may have written meanwhile.
    #[test]
    fn nobody_is_late_without_a_last_look() {
        let (mut headers, first, second) = two();
        let now = 100 * SECOND;
        assert!(headers.late(now, true, |_| true).is_empty());
        assert_eq!(headers.next_ns(), Some(now + SECOND));
        assert_eq!(headers.keys().collect::<Vec<_>>(), [first, second]);
        let late = headers.late(now + SECOND, true, |key| key != first);
        assert_eq!(late, [second]);
    }

    #[test]
    fn no_time_passes_while_nothing_may_be_read() {
        let (mut headers, first, second) = two();
        assert!(headers.late(29 * SECOND, true, |_| true).is_empty());
        // One is at its last look by now.
        let now = 50 * SECOND;
        assert!(headers.late(now, false, |_| true).is_empty());
        assert_eq!(headers.next_ns(), Some(now + 29 * SECOND));
        assert!(headers.late(now + 29 * SECOND, true, |_| true).is_empty());
        let late = headers.late(now + 30 * SECOND, true, |_| true);
        assert_eq!(late, [first, second]);
    }

    #[test]
    fn who_is_finished_is_forgotten() {
        let (mut headers, _, second) = two();
        assert_eq!(headers.next_ns(), Some(29 * SECOND));
        assert!(headers.late(0, true, |key| key == second).is_empty());
        assert_eq!(headers.next_ns(), Some(34 * SECOND));
        assert_eq!(headers.keys().collect::<Vec<_>>(), [second]);
    }
}
