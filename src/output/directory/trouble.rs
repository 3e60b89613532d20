//! A stream whose own file can't be written: a directory of it that nobody
//! may enter, a file that may not grow.
//!
//! It is tried again, with longer and longer waits, and so long a bounded
//! part of what comes is held. After [`PATH_TIMEOUT`] that is lost, and so is
//! what comes later, until an attempt succeeds. No other stream waits for it.

use std::collections::VecDeque;

use rustix::io::Errno;

use super::contents::{Done, Piece};
use super::streams::is_for_all;
use crate::delivery::message::StreamInfo;
use crate::limits::PATH_TIMEOUT;
use crate::output::backoff::Backoff;

/// See the module.
#[derive(Debug)]
pub(super) struct Trouble {
    /// The last error, and since when it is tried in vain.
    pub errno: Errno,
    since_ns: u64,
    next_ns: u64,
    backoff: Backoff,
    /// What is held, in order.
    held: VecDeque<Held>,
    /// What that takes.
    cost: usize,
    /// Nothing is held any more.
    has_given_up: bool,
    /// The stream has ended: nothing follows what is held.
    pub has_ended: bool,
}

/// A piece that is held, and how much of it is written.
#[derive(Debug)]
struct Held {
    data: Box<[u8]>,
    client: u64,
    ends: bool,
    done: Done,
    cost: usize,
}

/// What a piece takes besides its data, and what a stream takes besides its
/// pieces and its descriptor.
const PER_PIECE: usize = 2 * size_of::<Held>() + 16;
const PER_STREAM: usize = 1024;

/// What became of an attempt to write what is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    /// All is written.
    Done,
    /// There will be another one.
    Failed,
    /// There will be none for what is held.
    LastFailed,
}

impl Trouble {
    pub fn new(errno: Errno, now_ns: u64) -> Self {
        let mut backoff = Backoff::new();
        Self {
            errno,
            since_ns: now_ns,
            next_ns: now_ns + backoff.wait_ns(now_ns),
            backoff,
            held: VecDeque::new(),
            cost: 0,
            has_given_up: false,
            has_ended: false,
        }
    }

    /// What is held takes so many bytes.
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// When what is held is to be tried next; `None` if nothing is.
    pub fn due_ns(&self) -> Option<u64> {
        (!self.held.is_empty()).then_some(self.next_ns)
    }

    /// Is it time to try a new piece?
    pub fn may_try(&self, now_ns: u64) -> bool {
        self.held.is_empty() && now_ns >= self.next_ns
    }

    /// Holds the rest of the piece, if that takes no more than `room`. Returns
    /// what it takes.
    pub fn hold(
        &mut self,
        info: &StreamInfo,
        piece: &Piece<'_>,
        done: Done,
        room: usize,
    ) -> Option<usize> {
        let data = &piece.data[done.bytes..];
        let mut cost = data.len() + PER_PIECE;
        if self.held.is_empty() {
            // The client may be gone, and only we know its stream.
            cost += PER_STREAM + info.descriptor_field.len();
        }
        if self.has_given_up || cost > room {
            return None;
        }
        self.cost += cost;
        self.held.push_back(Held {
            data: data.into(),
            client: piece.client - done.client,
            ends: piece.ends,
            done: Done::default(),
            cost,
        });
        Some(cost)
    }

    /// What follows the last piece that is held is lost: the datagram that it
    /// may be the beginning of ends with it. False if nothing is held.
    pub fn cut(&mut self) -> bool {
        let last = self.held.back_mut();
        last.map(|held| held.ends = true).is_some()
    }

    /// Tries to write what is held.
    pub fn attempt(
        &mut self,
        now_ns: u64,
        mut append: impl FnMut(&Piece<'_>, &mut Done) -> Result<(), Errno>,
    ) -> Attempt {
        while let Some(held) = self.held.front_mut() {
            let piece = Piece {
                data: &held.data,
                client: held.client,
                ends: held.ends,
            };
            if let Err(errno) = append(&piece, &mut held.done) {
                return self.failed(errno, now_ns);
            }
            self.cost -= held.cost;
            self.held.pop_front();
        }
        Attempt::Done
    }

    /// An attempt failed.
    pub fn failed(&mut self, errno: Errno, now_ns: u64) -> Attempt {
        let timeout_ns = PATH_TIMEOUT.as_nanos() as u64;
        self.errno = errno;
        self.next_ns = now_ns + self.backoff.wait_ns(now_ns);
        if is_for_all(errno) {
            // What it had of its own is over.
            self.since_ns = now_ns;
        }
        if !self.has_given_up {
            self.next_ns = self.next_ns.min(self.since_ns + timeout_ns);
        }
        match now_ns.saturating_sub(self.since_ns) >= timeout_ns && !self.has_given_up {
            true => Attempt::LastFailed,
            false => Attempt::Failed,
        }
    }

    /// Nothing is held from now on. Returns how many bytes of the client were,
    /// and whether a datagram goes on behind them.
    pub fn give_up(&mut self) -> (u64, bool) {
        self.has_given_up = true;
        self.cost = 0;
        let goes_on = self.held.back().is_some_and(|last| !last.ends);
        let rest = |held: Held| held.client - held.done.client;
        (self.held.drain(..).map(rest).sum(), goes_on)
    }
}
