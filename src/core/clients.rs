//! A client, from when it is let in to its end, and whose turn it is to be
//! read.

use std::collections::VecDeque;

use super::ClientKey;
use crate::arena::Arena;
use crate::keys::OfClient;
use crate::keys::StreamKey;
use crate::limits::ROUND_MAX;
use crate::wire::header::HeaderReader;

/// Reads of clients that have data, at a time: what they bring stays in the
/// cache until it is handled.
const READY_BATCH: usize = 4;

/// What the stream of a client is.
#[derive(Debug)]
pub(super) enum Phase {
    /// The client has not said yet.
    Header(HeaderReader),
    /// It is that stream.
    Stream(StreamKey),
    /// Its stream has ended without its client, or it was turned away: nothing
    /// is taken of it any more.
    Abandoned,
}

/// How a client ends that does not end by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// Nobody has told it to, or its end comes when what was written is read.
    ByClient,
    /// When so many bytes have been read.
    After(u64),
    /// At once: what its read still brings was never accepted.
    Now,
    /// When what was written so far is read: how much that is can be seen once
    /// its read has come back.
    Measured,
}

/// How the reads of a client stand. There is at most one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    /// None is under way; somebody is about to ask for one.
    Idle,
    /// The edge was told to read, or to tell when it can.
    Armed,
    /// One is wanted when there is room again, or it is the client's turn.
    Waiting,
    /// The edge has read, and keeps that until there is room.
    Parked,
}

#[derive(Debug)]
pub(super) struct Client<C> {
    /// What the edge knows of it.
    pub edge: C,
    pub phase: Phase,
    pub reads: Reads,
    pub ends: Ends,
    /// All has been read, up to its end.
    pub at_end: bool,
    /// Who looks at its stream takes no more for now.
    pub held_back: bool,
}

impl<C> Client<C> {
    fn new(edge: C, phase: Phase) -> Self {
        Self {
            edge,
            phase,
            reads: Reads::Idle,
            ends: Ends::ByClient,
            at_end: false,
            held_back: false,
        }
    }
}

/// All clients, and the order of their turns.
#[derive(Debug)]
pub(super) struct Clients<C> {
    all: Arena<Client<C>, OfClient>,
    /// Those whose next read waits for room.
    waiting: VecDeque<ClientKey>,
    /// Those whose next read waits for who looks at their streams.
    held: VecDeque<ClientKey>,
    /// Those that have data, in the order of their turns.
    ready: VecDeque<ClientKey>,
    /// What may still be handled in this round.
    round_left: usize,
}

impl<C> Default for Clients<C> {
    fn default() -> Self {
        Self {
            all: Arena::default(),
            waiting: VecDeque::new(),
            held: VecDeque::new(),
            ready: VecDeque::new(),
            round_left: ROUND_MAX,
        }
    }
}

impl<C> Clients<C> {
    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn keys(&self) -> Vec<ClientKey> {
        self.all.keys()
    }

    pub fn insert(&mut self, edge: C, phase: Phase) -> ClientKey {
        self.all.insert(Client::new(edge, phase))
    }

    /// # Panics
    ///
    /// If there is none of that key: bytes would vanish.
    pub fn get(&mut self, key: ClientKey) -> &mut Client<C> {
        self.all.get_mut(key).expect("the client is there")
    }

    pub fn find(&self, key: ClientKey) -> Option<&Client<C>> {
        self.all.get(key)
    }

    pub fn find_mut(&mut self, key: ClientKey) -> Option<&mut Client<C>> {
        self.all.get_mut(key)
    }

    /// # Panics
    ///
    /// If the edge has something of it under way.
    pub fn remove(&mut self, key: ClientKey) -> Option<Client<C>> {
        let client = self.all.remove(key)?;
        assert!(
            client.reads != Reads::Armed,
            "the kernel has its descriptor"
        );
        Some(client)
    }

    pub fn iter(&self) -> impl Iterator<Item = (ClientKey, &Client<C>)> {
        self.all.iter()
    }

    /// Will somebody ask for the client's next read?
    pub fn is_queued(&self, key: ClientKey) -> bool {
        self.waiting.contains(&key) || self.held.contains(&key) || self.ready.contains(&key)
    }

    /// The streams of all clients that have one.
    pub fn streams(&self) -> impl Iterator<Item = (ClientKey, StreamKey)> {
        self.all
            .iter()
            .filter_map(|(key, client)| match client.phase {
                Phase::Stream(stream) => Some((key, stream)),
                Phase::Header(_) | Phase::Abandoned => None,
            })
    }

    /// The client is read when there is room again.
    pub fn wait(&mut self, key: ClientKey) {
        self.get(key).reads = Reads::Waiting;
        self.waiting.push_back(key);
    }

    /// The client is read when who looks at its stream takes more.
    pub fn hold(&mut self, key: ClientKey) {
        self.get(key).reads = Reads::Waiting;
        self.held.push_back(key);
    }

    /// How many wait: for room, and for who looks at their streams.
    pub fn counts_waiting(&self) -> (usize, usize) {
        (self.waiting.len(), self.held.len())
    }

    /// The next one that waits for who looks at its stream.
    pub fn pop_held(&mut self) -> Option<ClientKey> {
        self.held.pop_front()
    }

    /// The client gets its turn among those that have data.
    pub fn queue(&mut self, key: ClientKey) {
        self.get(key).reads = Reads::Waiting;
        self.ready.push_back(key);
    }

    /// The next one that waits for room.
    pub fn pop_waiting(&mut self) -> Option<ClientKey> {
        self.waiting.pop_front()
    }

    /// The next ones of those that have data.
    pub fn take_ready(&mut self) -> impl Iterator<Item = ClientKey> + use<C> {
        let batch: smallvec::SmallVec<[ClientKey; READY_BATCH]> = self
            .ready
            .drain(..self.ready.len().min(READY_BATCH))
            .collect();
        batch.into_iter()
    }

    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Does a read wait for room?
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.ready.is_empty() || !self.held.is_empty()
    }

    pub fn begin_round(&mut self) {
        self.round_left = ROUND_MAX;
    }

    /// May one thing more be handled in this round?
    pub fn takes_one_more(&mut self) -> bool {
        let left = self.round_left.checked_sub(1);
        self.round_left = left.unwrap_or(0);
        left.is_some()
    }
}
