//! Rounds, turns and what is due.

use super::{AHEAD_WAIT_NS, Machine};
use crate::core::ClientKey;
use crate::core::clients::Reads;
use crate::limits::HEADER_TIMEOUT;
use crate::time::Moment;

impl<C, L> Machine<C, L> {
    /// A round begins: those that have data get their turns.
    pub fn begin_round(&mut self, now: &Moment) {
        self.clients.begin_round();
        self.largest_read = None;
        self.core.tick(now);
        self.listeners.begin_round();
        let due = self.listeners.next_retry_ns();
        if due.is_some_and(|due| due <= now.mono_ns) {
            self.tend_all(now);
        }
        self.tick_headers(now);
        self.live(now);
        if self.may_read(now) {
            for client in self.clients.take_ready() {
                self.turn(client);
            }
        }
    }

    /// It is the turn of a client that has data.
    fn turn(&mut self, client: ClientKey) {
        let known = self.clients.find(client);
        if known.is_some_and(|known| known.reads == Reads::Waiting) {
            self.read(client, true);
        }
    }

    fn tick_headers(&mut self, now: &Moment) {
        let may_read = self.may_read(now);
        let due = self.headers.next_ns(may_read);
        if due.is_none_or(|due| due > now.mono_ns) {
            return;
        }
        for client in self.headers.late(now.mono_ns, may_read) {
            let seconds = HEADER_TIMEOUT.as_secs();
            let why = format!("its header is not complete after {seconds} s");
            self.refuse(now, client, &why);
        }
        while may_read && let Some(client) = self.headers.stalled(now.mono_ns) {
            self.refuse(now, client, &"too much memory is in unfinished headers");
        }
    }

    /// May one thing more be handled in this round?
    pub fn takes_one_more(&mut self) -> bool {
        self.clients.takes_one_more()
    }

    /// A client that waited is read on, if it still waits.
    fn resume(&mut self, now: &Moment, client: Option<ClientKey>) {
        if let Some(client) = client
            && let Some(known) = self.clients.find(client)
            && known.reads == Reads::Waiting
        {
            self.read_on(now, client, false);
        }
    }

    /// The round is over: those that waited for room are read, if there is some.
    pub fn end_round(&mut self, now: &Moment) {
        if self.may_read(now) {
            let (waiting, held) = self.clients.counts_waiting();
            for _ in 0..waiting {
                let client = self.clients.pop_waiting();
                self.resume(now, client);
            }
            self.grant_headers(now);
            for _ in 0..held {
                let client = self.clients.pop_held();
                self.resume(now, client);
            }
        }
        self.live(now);
        self.pace.note(self.largest_read);
    }

    /// How long to let arrivals gather before the next round, in microseconds.
    /// Who is known to have data, or a header, does not wait for company.
    pub fn pause_us(&self) -> u64 {
        match self.clients.has_ready() || self.headers.has_queue() {
            true => 0,
            false => self.pace.wait_us(),
        }
    }

    /// Is there something to do at once, whatever the kernel has?
    pub fn has_work(&self, now: &Moment) -> bool {
        !self.commands.is_empty() || self.may_read(now) && self.clients.has_ready()
    }

    /// Does a read wait for room? `parked`: or what was read already.
    pub fn has_waiting(&self, parked: bool) -> bool {
        parked || self.clients.has_waiting() || self.headers.has_queue()
    }

    /// After a round at `now`: when the next one is due for reasons of time.
    pub fn next_tick_ns(&self, now: &Moment, parked: bool) -> Option<u64> {
        let ahead = self.output_took_ns + AHEAD_WAIT_NS;
        let resume = (ahead > now.mono_ns && self.has_waiting(parked)).then_some(ahead);
        self.core
            .next_tick_ns(now)
            .into_iter()
            .chain(self.listeners.next_retry_ns())
            .chain(self.headers.next_ns(self.may_read(now)))
            .chain(self.life.next_ns())
            .chain(resume)
            .min()
    }
}
