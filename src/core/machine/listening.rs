//! The listeners, and who comes in.

use std::fmt;
use std::io;

use super::{Command, Machine, NotAccepted, Visitor};
use crate::core::ListenerKey;
use crate::core::clients::Phase;
use crate::core::door::Users;
use crate::core::life::Life;
use crate::core::listeners::Next;
use crate::time::Moment;
use crate::wire::header::HeaderReader;

impl<C, L> Machine<C, L> {
    /// Takes the streams of everybody who connects to the listener and may.
    pub fn listen(&mut self, now: &Moment, users: Users, edge: L) {
        let listener = self.listeners.add(edge, users);
        if self.life != Life::Running {
            self.stop_listening(listener);
        }
        self.tend(now, listener);
    }

    /// Brings the listener to where it should be.
    pub(super) fn tend(&mut self, now: &Moment, listener: ListenerKey) {
        let insist = self.clients.len() == 0;
        match self.listeners.next(listener, now.mono_ns) {
            Next::Nothing => {}
            Next::Accept => self.command(Command::Accept { listener, insist }),
            Next::AcceptWaiting => self.command(Command::AcceptWaiting { listener, insist }),
            Next::Close => {
                if let Some(edge) = self.listeners.remove(listener) {
                    self.changes += 1;
                    self.command(Command::CloseListener { listener, edge });
                }
            }
        }
    }

    pub(super) fn tend_all(&mut self, now: &Moment) {
        for listener in self.listeners.keys() {
            self.tend(now, listener);
        }
    }

    /// Somebody has connected. `armed`: others may follow without being asked for.
    pub fn accepted(
        &mut self,
        now: &Moment,
        listener: ListenerKey,
        (edge, visitor): (C, Visitor),
        armed: bool,
    ) {
        self.listeners.came_back(listener, armed);
        let admitted = self.listeners.admits(listener, now.mono_ns, &visitor.peer);
        let phase = match admitted {
            true => Phase::Header(HeaderReader::default()),
            false => Phase::Abandoned,
        };
        let client = self.clients.insert(edge, phase);
        if !admitted {
            self.give_up(now, client);
            return self.tend(now, listener);
        }
        self.headers.begin(client, now.mono_ns);
        if let Some(why) = visitor.refused {
            self.refuse(now, client, &why);
        } else {
            self.read_on(now, client, false);
            if self.ending {
                self.command(Command::End(client));
            }
        }
        if visitor.last {
            if armed {
                self.command(Command::CancelAccept(listener));
            }
            self.exhausted(now, listener, &"Too many open files (os error 24)");
        }
        self.tend(now, listener);
    }

    /// Nobody could be accepted. `armed`: it goes on.
    pub fn not_accepted(
        &mut self,
        now: &Moment,
        listener: ListenerKey,
        why: &NotAccepted,
        armed: bool,
    ) {
        self.listeners.came_back(listener, armed);
        match why {
            NotAccepted::Exhausted(error) => self.exhausted(now, listener, error),
            NotAccepted::Failed(error) => {
                log::debug!("can't accept connections: {error}");
                self.listeners.failed(listener, now.mono_ns);
            }
            NotAccepted::Gone | NotAccepted::Cancelled => {}
        }
        self.tend(now, listener);
    }

    /// There are not even the descriptors that are kept back.
    pub fn no_spare(&mut self, now: &Moment, listener: ListenerKey, error: &io::Error) {
        self.listeners.came_back(listener, false);
        self.exhausted(now, listener, error);
    }

    /// Of those who waited already, all are accepted.
    pub fn nobody_waits(&mut self, now: &Moment, listener: ListenerKey) {
        self.listeners.nobody_waits(listener);
        self.tend(now, listener);
    }

    fn exhausted(&mut self, now: &Moment, listener: ListenerKey, why: &dyn fmt::Display) {
        let clients = self.clients.len();
        self.listeners
            .exhausted(listener, now.mono_ns, why, clients);
        self.command(Command::DropSpare);
    }

    fn stop_listening(&mut self, listener: ListenerKey) {
        if let Some(armed) = self.listeners.close(listener) {
            self.command(Command::Unlink(listener));
            if armed {
                self.command(Command::CancelAccept(listener));
            }
        }
    }

    /// Takes those who wait to be accepted, and nobody after them.
    pub(super) fn stop_accepting(&mut self, now: &Moment) {
        self.life.drain();
        for listener in self.listeners.keys() {
            self.stop_listening(listener);
        }
        self.listeners.begin_round();
        self.tend_all(now);
    }
}
