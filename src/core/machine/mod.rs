//! The butler without its edge: clients, listeners, streams and the butler's own
//! life. Whatever is decided is decided here.
//!
//! # Order of calls
//!
//! Whoever drives it (the [driver](crate::edge::driver)) tells what has happened,
//! and when, and then does what it is told, in a loop:
//!
//! 1. [`begin_round`](Machine::begin_round), once.
//! 2. [`poll_command`](Machine::poll_command) until there is none: the commands
//!    are done in that order, and some of them have an answer, which is told at
//!    once.
//! 3. What the kernel has completed, one after the other while
//!    [`takes_one_more`](Machine::takes_one_more): [`readable`](Machine::readable),
//!    [`data`](Machine::data), [`ended`](Machine::ended),
//!    [`accepted`](Machine::accepted). After each one, 2. Data is only handed on
//!    while [`may_read`](Machine::may_read); else it is [`parked`](Machine::parked).
//! 4. [`end_round`](Machine::end_round), and 2. again.
//! 5. [`poll_message`](Machine::poll_message) for the output, which tells
//!    what became of them: [`take`](Machine::take).
//! 6. Until [`next_tick_ns`](Machine::next_tick_ns), or something happens, there is
//!    nothing to do, unless [`has_work`](Machine::has_work).
//!
//! `C` and `L` are what the edge keeps of a client and a listener, as their
//! descriptors. The machine has them in hand, and never looks into them: they leave
//! it with the command to close them.

mod command;
mod invariants;
mod listening;
mod living;
mod reading;
mod rounds;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use prost_types::Timestamp;

use super::clients::Clients;
use super::headers::Headers;
use super::life::Life;
use super::listeners::Listeners;
use super::pace::Pace;
use super::{ClientKey, Core, CoreConfig, ListenerKey};
use crate::keys::StreamKey;
use crate::limits::AHEAD_WAIT;
use crate::wire::name::StreamName;
pub use command::{Command, NotAccepted, Stopped, Visitor};

const AHEAD_WAIT_NS: u64 = AHEAD_WAIT.as_nanos() as u64;

/// What a machine is told before it starts.
#[derive(Debug, Clone)]
pub struct MachineConfig {
    /// Of its streams.
    pub core: CoreConfig,
    /// How long it may take for what is left at the end.
    pub flush_timeout: Duration,
    /// When this process is killed.
    pub deadline: Option<Timestamp>,
}

/// How far [`Machine::data`] has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// All of it is taken.
    All,
    /// The first of it were the header. Once whoever wants to was asked about the
    /// new stream, what follows is handed on, by the same call.
    Header {
        /// So many bytes.
        used: usize,
        /// That was opened.
        stream: StreamKey,
    },
}

/// See the module.
#[derive(Debug)]
pub struct Machine<C, L> {
    core: Core,
    clients: Clients<C>,
    listeners: Listeners<L>,
    headers: Headers,
    pace: Pace,
    life: Life,
    commands: VecDeque<Command<C, L>>,
    /// [`wait_for_the_end`](Self::wait_for_the_end) was called.
    ends_when_idle: bool,
    /// Clients end after what is there, also those that come yet.
    ending: bool,
    /// Streams that were still written to when their time was over.
    cut: Vec<StreamName>,
    /// Clients and listeners that are over, and parts of life.
    changes: u64,
    /// When the output last took a bundle.
    output_took_ns: u64,
    /// Bytes of the largest read of this round.
    largest_read: Option<usize>,
    flush_timeout: Duration,
    deadline: Option<Timestamp>,
}

impl<C, L> Machine<C, L> {
    /// Without any client.
    pub fn new(config: MachineConfig) -> Self {
        let core = Core::new(config.core);
        Self {
            pace: Pace::new(core.is_eager()),
            core,
            clients: Clients::default(),
            listeners: Listeners::default(),
            headers: Headers::default(),
            life: Life::Running,
            commands: VecDeque::new(),
            ends_when_idle: false,
            ending: false,
            cut: Vec::new(),
            changes: 0,
            output_took_ns: 0,
            largest_read: None,
            flush_timeout: config.flush_timeout,
            deadline: config.deadline,
        }
    }

    /// The streams.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// The streams, to be told things that are not about their clients.
    pub fn core_mut(&mut self) -> &mut Core {
        &mut self.core
    }

    /// How far its life has come.
    pub fn life(&self) -> &Life {
        &self.life
    }

    /// Clients that are connected.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// What the edge keeps of a client.
    pub fn client(&self, key: ClientKey) -> Option<&C> {
        Some(&self.clients.find(key)?.edge)
    }

    /// The same of all that are connected.
    pub fn edges(&self) -> impl Iterator<Item = &C> {
        self.clients.iter().map(|(_, client)| &client.edge)
    }

    /// What the edge keeps of a listener.
    pub fn listener(&self, key: ListenerKey) -> Option<&L> {
        self.listeners.edge(key)
    }

    /// Connections of users who may not open streams.
    pub fn peers_refused(&self) -> u64 {
        self.listeners.refused()
    }

    /// All clients are read to what was written so far, and end.
    pub fn is_ending(&self) -> bool {
        self.ending
    }

    /// This is another number when a client or listener is over, or life has gone
    /// on.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Streams that were still written to when their time was over, by name.
    pub fn cut(&self) -> &[StreamName] {
        &self.cut
    }

    /// What is to be done next.
    pub fn poll_command(&mut self) -> Option<Command<C, L>> {
        self.commands.pop_front()
    }

    /// Is there something to be done?
    pub fn has_commands(&self) -> bool {
        !self.commands.is_empty()
    }

    fn command(&mut self, command: Command<C, L>) {
        self.commands.push_back(command);
    }
}
