//! The listeners: when each accepts, and what happens when descriptors run out.

use super::door::{Door, Users};
use super::{ListenerKey, Peer};
use crate::arena::Arena;
use crate::keys::OfListener;
use crate::limits::{ACCEPT_RETRY, BACKLOG};

/// They have run out until there were enough for so long: whoever is at the
/// limit for hours hears of it once.
const DESCRIPTORS_BACK_NS: u64 = 1_000_000_000;
/// Of those who wait when a listener closes, so many are taken in a round.
const LAST_AT_A_TIME: u32 = 256;

const RETRY_NS: u64 = ACCEPT_RETRY.as_nanos() as u64;

/// What is done next about a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing, for now.
    Nothing,
    /// It accepts whoever comes.
    Accept,
    /// It accepts one of those who wait already.
    AcceptWaiting,
    /// It closes.
    Close,
}

#[derive(Debug)]
struct Listener<L> {
    edge: L,
    users: Users,
    /// It accepts, or was told to.
    armed: bool,
    /// It takes those that wait already, so many at most, then closes.
    closing: Option<Closing>,
    /// Out of descriptors: when to try again.
    retry_ns: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Closing {
    left: u32,
    left_in_round: u32,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Listeners<L> {
    all: Arena<Listener<L>, OfListener>,
    door: Door,
    /// When descriptors were last found to have run out.
    exhausted_ns: Option<u64>,
}

impl<L> Default for Listeners<L> {
    fn default() -> Self {
        Self {
            all: Arena::default(),
            door: Door::default(),
            exhausted_ns: None,
        }
    }
}

impl<L> Listeners<L> {
    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn keys(&self) -> Vec<ListenerKey> {
        self.all.keys()
    }

    /// Connections of users who may not open streams.
    pub fn refused(&self) -> u64 {
        self.door.refused()
    }

    pub fn edge(&self, key: ListenerKey) -> Option<&L> {
        Some(&self.all.get(key)?.edge)
    }

    pub fn add(&mut self, edge: L, users: Users) -> ListenerKey {
        self.all.insert(Listener {
            edge,
            users,
            armed: false,
            closing: None,
            retry_ns: None,
        })
    }

    pub fn remove(&mut self, key: ListenerKey) -> Option<L> {
        Some(self.all.remove(key)?.edge)
    }

    /// When a listener that could not accept tries again.
    pub fn next_retry_ns(&self) -> Option<u64> {
        let retries = self.all.iter();
        retries.filter_map(|(_, listener)| listener.retry_ns).min()
    }

    /// A descriptor is free again.
    pub fn descriptor_is_free(&mut self) {
        for listener in self.all.values_mut() {
            listener.retry_ns = listener.retry_ns.map(|_| 0);
        }
    }

    /// From now on the listener takes those who wait already, and then closes.
    /// True if that is new; and whether it was accepting.
    pub fn close(&mut self, key: ListenerKey) -> Option<bool> {
        let listener = self.all.get_mut(key)?;
        if listener.closing.is_some() {
            return None;
        }
        listener.closing = Some(Closing {
            left: BACKLOG,
            left_in_round: 0,
        });
        Some(listener.armed)
    }

    /// A round begins.
    pub fn begin_round(&mut self) {
        for listener in self.all.values_mut() {
            if let Some(closing) = &mut listener.closing {
                closing.left_in_round = LAST_AT_A_TIME;
            }
        }
    }

    /// An accept has come back; `armed`: and goes on.
    pub fn came_back(&mut self, key: ListenerKey, armed: bool) {
        if let Some(listener) = self.all.get_mut(key) {
            listener.armed = armed;
        }
    }

    /// What the listener should do now, which it is then taken to do.
    pub fn next(&mut self, key: ListenerKey, now_ns: u64) -> Next {
        let Some(listener) = self.all.get_mut(key) else {
            return Next::Nothing;
        };
        if listener.armed || listener.retry_ns.is_some_and(|at| at > now_ns) {
            return Next::Nothing;
        }
        listener.retry_ns = None;
        match &mut listener.closing {
            None => {
                listener.armed = true;
                Next::Accept
            }
            Some(Closing { left: 0, .. }) => Next::Close,
            // The others come in the next round.
            Some(Closing {
                left_in_round: 0, ..
            }) => {
                listener.retry_ns = Some(now_ns);
                Next::Nothing
            }
            Some(closing) => {
                closing.left -= 1;
                closing.left_in_round -= 1;
                Next::AcceptWaiting
            }
        }
    }

    /// Nobody waits any more.
    pub fn nobody_waits(&mut self, key: ListenerKey) {
        if let Some(listener) = self.all.get_mut(key)
            && let Some(closing) = &mut listener.closing
        {
            closing.left = 0;
        }
    }

    /// It does not work: it tries again later, if it is to go on.
    pub fn failed(&mut self, key: ListenerKey, now_ns: u64) {
        if let Some(listener) = self.all.get_mut(key) {
            match &mut listener.closing {
                Some(closing) => closing.left = 0,
                None => listener.retry_ns = Some(now_ns + RETRY_NS),
            }
        }
    }

    /// May somebody who has connected there come in?
    pub fn admits(&mut self, key: ListenerKey, now_ns: u64, peer: &std::io::Result<Peer>) -> bool {
        let back = |at| now_ns > at + DESCRIPTORS_BACK_NS;
        if self.exhausted_ns.is_some_and(back) {
            self.exhausted_ns = None;
            log::warn!("connections are accepted again");
        }
        match self.all.get(key) {
            Some(listener) => self.door.admits(now_ns, &listener.users, peer),
            None => false,
        }
    }

    /// No descriptor is left to accept with, while so many clients are served:
    /// it tries again later.
    pub fn exhausted(
        &mut self,
        key: ListenerKey,
        now_ns: u64,
        why: &dyn std::fmt::Display,
        clients: usize,
    ) {
        if self.exhausted_ns.replace(now_ns).is_none() {
            log::error!(
                "can't accept connections: {why}; those that are open are served on, \
                 the others wait ({clients} are open)"
            );
        }
        if let Some(listener) = self.all.get_mut(key) {
            listener.retry_ns = Some(now_ns + RETRY_NS);
        }
    }
}
