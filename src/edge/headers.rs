//! The headers that are not complete: how long their clients may take over
//! them, and what all of them together may hold.
//!
//! Time also passes while we don't run: stopped, or in a machine that is. So
//! before somebody is late, there is a last look: what has come is read.
//!
//! When they hold too much, those go whose last progress is the longest ago:
//! however many stall, and however little each of them holds, whoever goes on
//! writing has his header complete before it is his turn. Whose bytes wait for
//! us does not stall: [`goes_on`](Headers::goes_on).

use std::collections::BTreeSet;
use std::time::Duration;

use ahash::AHashMap;

use crate::core::ClientKey;
use crate::limits::{HEADER_LAST_LOOK, HEADER_PROGRESS, HEADER_TIMEOUT, HEADERS_BUFFERED_MAX};

/// Connections without a complete header.
#[derive(Debug, Default)]
pub(super) struct Headers {
    clients: AHashMap<ClientKey, Client>,
    /// By when something is due of each.
    due: BTreeSet<(u64, ClientKey)>,
    /// Those that hold something, by when each made progress, as `steps`
    /// counts it.
    stalled: BTreeSet<(u64, ClientKey)>,
    steps: u64,
    /// Bytes of memory that all of them hold.
    held: usize,
}

#[derive(Debug)]
struct Client {
    due_ns: u64,
    /// What is due is the end of the last look, not its beginning.
    last_look: bool,
    /// Its place among those who stall.
    step: u64,
    /// Bytes that have come since.
    came: usize,
    /// Bytes of memory.
    held: usize,
}

impl Headers {
    /// The connection's time begins.
    pub fn begin(&mut self, key: ClientKey, now_ns: u64) {
        let client = Client {
            due_ns: after(now_ns, HEADER_TIMEOUT - HEADER_LAST_LOOK),
            last_look: false,
            step: 0,
            came: HEADER_PROGRESS,
            held: 0,
        };
        self.due.insert((client.due_ns, key));
        self.clients.insert(key, client);
    }

    /// So many bytes have come of it, and its header takes so much memory by
    /// now. A byte now and then is no progress.
    pub fn came(&mut self, key: ClientKey, bytes: usize, held: usize) {
        let Some(client) = self.clients.get_mut(&key) else {
            return;
        };
        self.held = self.held - client.held + held;
        client.held = held;
        client.came += bytes;
        if client.came >= HEADER_PROGRESS {
            self.goes_on(key);
        }
    }

    /// It makes progress, or would if we did.
    pub fn goes_on(&mut self, key: ClientKey) {
        self.steps += 1;
        if let Some(client) = self.clients.get_mut(&key) {
            self.stalled.remove(&(client.step, key));
            self.stalled.insert((self.steps, key));
            client.step = self.steps;
            client.came = 0;
        }
    }

    /// It is complete, or its connection is over.
    pub fn over(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.remove(&key) {
            self.due.remove(&(client.due_ns, key));
            self.stalled.remove(&(client.step, key));
            self.held -= client.held;
        }
    }

    /// All of them.
    pub fn keys(&self) -> impl Iterator<Item = ClientKey> {
        self.due.iter().map(|(_, key)| *key)
    }

    /// One to refuse because all together hold too much, if it does stall.
    pub fn to_refuse(&self) -> Option<ClientKey> {
        let (_, key) = self.stalled.first()?;
        (self.held > HEADERS_BUFFERED_MAX).then_some(*key)
    }

    /// When [`late`](Self::late) has something to do.
    pub fn next_ns(&self) -> Option<u64> {
        Some(self.due.first()?.0)
    }

    /// Those whose time is over. While nothing may be read it is not they who
    /// are slow: it begins anew.
    pub fn late(&mut self, now_ns: u64, may_read: bool) -> Vec<ClientKey> {
        let mut late = Vec::new();
        while let Some(&(due_ns, key)) = self.due.first()
            && due_ns <= now_ns
        {
            self.due.pop_first();
            let Some(client) = self.clients.get_mut(&key) else {
                continue;
            };
            let wait = match (may_read, client.last_look) {
                (true, true) => {
                    late.push(key);
                    self.over(key);
                    continue;
                }
                (true, false) => HEADER_LAST_LOOK,
                (false, _) => HEADER_TIMEOUT - HEADER_LAST_LOOK,
            };
            client.last_look = may_read;
            client.due_ns = after(now_ns, wait);
            self.due.insert((client.due_ns, key));
        }
        late
    }
}

fn after(now_ns: u64, time: Duration) -> u64 {
    now_ns + time.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn two() -> (Headers, ClientKey, ClientKey) {
        let mut headers = Headers::default();
        let (first, second) = (ClientKey::from_u64(1), ClientKey::from_u64(2));
        headers.begin(first, 0);
        headers.begin(second, 5 * SECOND);
        (headers, first, second)
    }

    #[test]
    fn each_has_its_time() {
        let (mut headers, first, second) = two();
        let mut late = |now| headers.late(now, true);
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
        assert!(headers.late(now, true).is_empty());
        assert_eq!(headers.next_ns(), Some(now + SECOND));
        assert_eq!(headers.keys().collect::<Vec<_>>(), [first, second]);
        headers.over(first);
        assert_eq!(headers.late(now + SECOND, true), [second]);
    }

    #[test]
    fn no_time_passes_while_nothing_may_be_read() {
        let (mut headers, first, second) = two();
        assert!(headers.late(29 * SECOND, true).is_empty());
        // One is at its last look by now.
        let now = 50 * SECOND;
        assert!(headers.late(now, false).is_empty());
        assert_eq!(headers.next_ns(), Some(now + 29 * SECOND));
        assert!(headers.late(now + 29 * SECOND, true).is_empty());
        let late = headers.late(now + 30 * SECOND, true);
        assert_eq!(late, [first, second]);
    }

    #[test]
    fn who_is_finished_is_forgotten() {
        let (mut headers, first, second) = two();
        headers.came(first, 100, 1000);
        assert_eq!(headers.next_ns(), Some(29 * SECOND));
        headers.over(first);
        assert_eq!(headers.next_ns(), Some(34 * SECOND));
        assert_eq!(headers.keys().collect::<Vec<_>>(), [second]);
        headers.over(second);
        headers.over(second);
        let empty = (
            headers.held,
            headers.due.len(),
            headers.stalled.len(),
            headers.clients.len(),
        );
        assert_eq!(empty, (0, 0, 0, 0));
    }

    /// Who goes is who has stalled the longest, be it small or large; a byte
    /// now and then does not help.
    #[test]
    fn who_stalls_is_refused() {
        let mut headers = Headers::default();
        let keys: Vec<_> = (0..4).map(ClientKey::from_u64).collect();
        for key in &keys {
            headers.begin(*key, 0);
        }
        assert_eq!(headers.to_refuse(), None);
        let large = HEADERS_BUFFERED_MAX / 2;
        headers.came(keys[3], 1, 64);
        headers.came(keys[1], 200, 256);
        headers.came(keys[0], 160_000, large - 320);
        headers.came(keys[2], 160_000, large);
        assert_eq!(headers.to_refuse(), None, "they may hold that much");
        for _ in 1..HEADER_PROGRESS {
            headers.came(keys[3], 1, 128);
        }
        assert_eq!(headers.to_refuse(), Some(keys[3]));
        headers.came(keys[3], 1, 128);
        assert_eq!(headers.to_refuse(), Some(keys[1]));
        // We have not read what it wrote.
        headers.goes_on(keys[1]);
        assert_eq!(headers.to_refuse(), Some(keys[0]));
        headers.over(keys[0]);
        assert_eq!(headers.to_refuse(), None);
    }
}
