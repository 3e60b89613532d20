//! The clients whose headers are not complete: how long they may take, what all
//! of them together may hold, and who is read next.
//!
//! # Time
//!
//! Time also passes while we don't run: stopped, or in a machine that is. So
//! before somebody is late there is a last look: what has come is read. And it
//! does not pass for who waits for us: while a client has written and is not
//! read, or nobody may be read at all. A look whose end we did not see was none.
//!
//! # Room
//!
//! A client with an unfinished header is only read when there is room for what
//! a read may bring; until then its bytes stay in its socket, and it waits for
//! its [turn](Headers::grant). So all of them together hold no more than
//! [`HEADERS_BUFFERED_MAX`], however many come at once, and nobody is refused
//! for having come at a bad time. A part of the room is kept for one of them at a
//! time, the [favoured](Headers::favoured) one: large headers that are read side
//! by side can't hold each other up.
//!
//! Only while somebody waits for room it is sought who takes it without need: a
//! client that has not written for [`HEADER_STALL`] is refused, after a last look
//! too.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use ahash::AHashMap;

use super::ClientKey;
use crate::limits::{
    HEADER_FAVOUR, HEADER_LAST_LOOK, HEADER_STALL, HEADER_STALL_LOOK, HEADER_TIMEOUT,
    HEADERS_BUFFERED_MAX, READ_BUFFER_SIZE,
};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Headers {
    clients: AHashMap<ClientKey, Unfinished>,
    /// By when something is due of each that has to write.
    due: BTreeSet<(u64, ClientKey)>,
    /// Those that hold something and have to write, by since when.
    idle: BTreeSet<(u64, ClientKey)>,
    /// Those that can be read and wait for room, in the order of their turns.
    /// Among them there may be some that are over.
    queue: VecDeque<ClientKey>,
    /// How many of them are not.
    queued: usize,
    /// Who may use the room that is kept for one.
    favoured: Option<ClientKey>,
    /// Bytes of memory that all of them hold, with those that reads which are
    /// under way may bring.
    held: usize,
    /// When the last look at those that stall began.
    look_ns: Option<u64>,
}

#[derive(Debug)]
struct Unfinished {
    /// When its time is over, or its last look begins.
    due_ns: u64,
    /// What is due is the end of the last look, not its beginning.
    last_look: bool,
    stands: Stands,
    /// Bytes of memory.
    held: usize,
}

/// Whose move it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// The client's, since then.
    Idle(u64),
    /// Ours: it can be read, and waits for room. So much of its time is left.
    Queued { left_ns: u64 },
    /// The kernel's: it is being read, for which so much memory is set aside.
    Reading { left_ns: u64, set_aside: usize },
}

impl Unfinished {
    /// What one read may bring. What holds it may double when it grows.
    fn set_aside(&self) -> usize {
        READ_BUFFER_SIZE + self.held
    }
}

impl Headers {
    /// The time of a client begins.
    pub fn begin(&mut self, key: ClientKey, now_ns: u64) {
        let due_ns = after(now_ns, HEADER_TIMEOUT - HEADER_LAST_LOOK);
        self.due.insert((due_ns, key));
        let client = Unfinished {
            due_ns,
            last_look: false,
            stands: Stands::Idle(now_ns),
            held: 0,
        };
        self.clients.insert(key, client);
    }

    /// The client can be read: it gets its turn.
    pub fn readable(&mut self, key: ClientKey, now_ns: u64) {
        if let Some(client) = self.clients.get_mut(&key)
            && let Stands::Idle(since) = client.stands
        {
            self.due.remove(&(client.due_ns, key));
            self.idle.remove(&(since, key));
            let left_ns = client.due_ns.saturating_sub(now_ns);
            client.stands = Stands::Queued { left_ns };
            self.queue.push_back(key);
            self.queued += 1;
        }
    }

    /// The next client to be read, if there is room for what that may bring.
    pub fn grant(&mut self) -> Option<ClientKey> {
        let key = match self.favoured.filter(|key| self.is_queued(*key)) {
            Some(favoured) => {
                self.queue.retain(|key| *key != favoured);
                favoured
            }
            None => self.first_with_room()?,
        };
        let client = self.clients.get_mut(&key)?;
        if let Stands::Queued { left_ns } = client.stands {
            let set_aside = client.set_aside();
            client.stands = Stands::Reading { left_ns, set_aside };
            self.held += set_aside;
            self.queued -= 1;
        }
        Some(key)
    }

    /// The first of the queue, if there is room for it.
    fn first_with_room(&mut self) -> Option<ClientKey> {
        let key = loop {
            let key = *self.queue.front()?;
            if self.is_queued(key) {
                break key;
            }
            self.queue.pop_front();
        };
        let wants = self.clients.get(&key).map_or(0, Unfinished::set_aside);
        if self.held + wants > HEADERS_BUFFERED_MAX - HEADER_FAVOUR {
            if self.favoured.is_some() {
                return None;
            }
            self.favoured = Some(key);
        }
        self.queue.pop_front()
    }

    pub fn is_queued(&self, key: ClientKey) -> bool {
        let client = self.clients.get(&key);
        client.is_some_and(|it| matches!(it.stands, Stands::Queued { .. }))
    }

    /// The client was read, and its header, which is not complete, takes so much
    /// memory by now.
    pub fn came(&mut self, key: ClientKey, now_ns: u64, held: usize) {
        let Some(client) = self.clients.get_mut(&key) else {
            return;
        };
        if let Stands::Reading { left_ns, set_aside } = client.stands {
            self.held = self.held - set_aside - client.held + held;
            client.held = held;
            client.due_ns = now_ns.saturating_add(left_ns);
            client.stands = Stands::Idle(now_ns);
            self.due.insert((client.due_ns, key));
            if held > 0 {
                self.idle.insert((now_ns, key));
            }
        }
    }

    /// It is complete, or its client is over.
    pub fn over(&mut self, key: ClientKey) {
        let Some(client) = self.clients.remove(&key) else {
            return;
        };
        self.held -= client.held;
        match client.stands {
            Stands::Idle(since) => {
                self.due.remove(&(client.due_ns, key));
                self.idle.remove(&(since, key));
            }
            Stands::Reading { set_aside, .. } => self.held -= set_aside,
            Stands::Queued { .. } => self.queued -= 1,
        }
        if self.favoured == Some(key) {
            self.favoured = None;
        }
    }

    /// All of them.
    pub fn keys(&self) -> Vec<ClientKey> {
        let mut keys: Vec<_> = self.clients.keys().copied().collect();
        keys.sort_unstable();
        keys
    }

    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Bytes of memory that the client's header takes.
    pub fn held_by(&self, key: ClientKey) -> Option<usize> {
        Some(self.clients.get(&key)?.held)
    }

    /// Panics unless the counts and queues agree with the clients.
    pub fn invariants(&self) {
        let (mut held, mut queued, mut due, mut idle) = (0, 0, 0, 0);
        for (key, client) in &self.clients {
            held += client.held;
            match client.stands {
                Stands::Idle(since) => {
                    due += 1;
                    assert!(
                        self.due.contains(&(client.due_ns, *key)),
                        "{key:?} has a time"
                    );
                    if client.held > 0 {
                        idle += 1;
                        assert!(
                            self.idle.contains(&(since, *key)),
                            "{key:?} holds something"
                        );
                    }
                }
                Stands::Queued { .. } => {
                    queued += 1;
                    let turns = self.queue.iter().filter(|it| *it == key).count();
                    assert_eq!(turns, 1, "{key:?} waits for its turn");
                }
                Stands::Reading { set_aside, .. } => held += set_aside,
            }
        }
        assert_eq!((self.held, self.queued), (held, queued), "held and queued");
        assert_eq!((self.due.len(), self.idle.len()), (due, idle), "times");
        assert!(self.held <= HEADERS_BUFFERED_MAX, "{held} bytes are held");
        let favoured = self
            .favoured
            .is_none_or(|key| self.clients.contains_key(&key));
        assert!(favoured, "who is favoured is there");
    }

    /// Does somebody wait for room?
    pub fn has_queue(&self) -> bool {
        self.queued > 0
    }

    /// When [`late`](Self::late) or [`stalled`](Self::stalled) have something to
    /// do. While nothing may be read, nobody has to make room.
    pub fn next_ns(&self, may_read: bool) -> Option<u64> {
        let due = self.due.first().map(|(due, _)| *due);
        let stall = self.next_stall_ns().filter(|_| may_read);
        due.into_iter().chain(stall).min()
    }

    fn next_stall_ns(&self) -> Option<u64> {
        let (since, _) = self.idle.first().filter(|_| self.has_queue())?;
        let due = after(*since, HEADER_STALL);
        Some(match self.look_ns {
            Some(look) if due <= look => after(look, HEADER_STALL_LOOK),
            _ => due,
        })
    }

    /// Somebody to refuse because others wait for the room that it takes, and it
    /// does not write.
    pub fn stalled(&mut self, now_ns: u64) -> Option<ClientKey> {
        let (since, key) = *self.idle.first().filter(|_| self.has_queue())?;
        let due = after(since, HEADER_STALL);
        match self.look_ns {
            Some(look) if due <= look && were_there(now_ns, after(look, HEADER_STALL_LOOK)) => {
                (after(look, HEADER_STALL_LOOK) <= now_ns).then_some(key)
            }
            _ => {
                if due <= now_ns {
                    self.look_ns = Some(now_ns);
                }
                None
            }
        }
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
            let was_looked = client.last_look && were_there(now_ns, due_ns);
            let wait = match (may_read, was_looked) {
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

/// Is it no later than one can be who runs?
fn were_there(now_ns: u64, due_ns: u64) -> bool {
    now_ns < after(due_ns, HEADER_STALL_LOOK)
}

fn after(now_ns: u64, time: Duration) -> u64 {
    now_ns.saturating_add(time.as_nanos() as u64)
}

#[cfg(test)]
mod tests;
