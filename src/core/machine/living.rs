//! The butler's own life, from its beginning to its end.

use std::sync::Arc;
use std::time::Duration;

use super::{Command, Machine};
use crate::core::ClientKey;
use crate::core::clients::{Ends, Phase, Reads};
use crate::core::life::{Due, Life};
use crate::delivery::message::Message;
use crate::delivery::outcome::Outcomes;
use crate::time::Moment;
use crate::wire::name::Namespace;

impl<C, L> Machine<C, L> {
    /// From now on it ends when no client is connected.
    pub fn wait_for_the_end(&mut self, now: &Moment) {
        self.ends_when_idle = true;
        self.live(now);
    }

    /// Begins to end: whoever waits to be accepted is still taken, nobody after
    /// them. Clients that are still there after `grace` end, with all that they
    /// have written by then. What the output has not taken by the flush timeout
    /// after that is lost.
    pub fn shut_down(&mut self, now: &Moment, grace: Duration) {
        self.ends_when_idle = true;
        self.stop_accepting(now);
        let times = (grace, self.flush_timeout);
        self.life.shut_down(now, self.deadline.as_ref(), times);
        self.live(now);
    }

    /// What is buffered leaves now, however young it is, and from now on all
    /// leaves as it is read.
    pub fn stop_buffering(&mut self, now: &Moment) {
        self.core.stop_buffering(now);
    }

    /// Ends now: what has been written is read, and what the output takes of it
    /// without being waited for is delivered.
    pub fn abort(&mut self, now: &Moment) {
        self.ends_when_idle = true;
        self.core.stop_buffering(now);
        self.stop_accepting(now);
        if self.life.abort(now) {
            self.end_all();
        }
        self.live(now);
    }

    fn end_all(&mut self) {
        self.ending = true;
        for client in self.clients.keys() {
            self.command(Command::End(client));
        }
    }

    /// Does what is due, and goes on to the next part of life when all is done.
    pub(super) fn live(&mut self, now: &Moment) {
        while let Some(due) = self.life.poll_due(now) {
            match due {
                Due::Headers => {
                    for client in self.headers.keys() {
                        self.command(Command::End(client));
                    }
                }
                Due::Streams => {
                    let clients = self.clients.streams().map(|(client, _)| client).collect();
                    self.command(Command::LookWhoWrites(clients));
                    self.end_all();
                }
                Due::Output(time) => {
                    self.changes += 1;
                    match self.core.capacity().overflows {
                        true => log::warn!(
                            "the output did not take everything within {time:?}; the rest is kept"
                        ),
                        false => log::error!("the output did not take everything within {time:?}"),
                    }
                    self.core.stop_buffering(now);
                    if self.life.abort(now) && !self.life.is_flushing() {
                        self.end_all();
                    }
                }
                Due::Abandon => {
                    self.abandon(now);
                    self.flush(now);
                }
            }
        }
        let is_idle = self.clients.len() == 0;
        match self.life {
            Life::Running if self.ends_when_idle && is_idle => self.stop_accepting(now),
            _ => {}
        }
        let is_draining = matches!(self.life, Life::Draining(_));
        if is_draining && self.ends_when_idle && is_idle && self.listeners.len() == 0 {
            self.flush(now);
        }
    }

    fn flush(&mut self, now: &Moment) {
        self.life
            .flush(now, self.deadline.as_ref(), self.flush_timeout);
        self.changes += 1;
        self.core.flush();
        self.core.drain(Namespace::default());
    }

    /// Those of the clients that somebody may still write to: their streams are
    /// cut.
    pub fn are_written(&mut self, clients: &[ClientKey]) {
        let name = |client: &ClientKey| match self.clients.find(*client)?.phase {
            Phase::Stream(stream) => self.core.name(stream).cloned(),
            Phase::Header(_) | Phase::Abandoned => None,
        };
        self.cut = clients.iter().filter_map(name).collect();
    }

    /// How the reads of a client come to an end: when so many bytes are read
    /// which were written so far, or (`None`) by themselves.
    pub fn ends(&mut self, now: &Moment, client: ClientKey, written: Option<u64>) {
        let Some(known) = self.clients.find_mut(client) else {
            return;
        };
        known.held_back = false;
        match (written, known.reads) {
            _ if known.ends == Ends::Now => {}
            // What it brings was written too.
            (Some(_), Reads::Armed) => {
                known.ends = Ends::Measured;
                self.command(Command::Cancel(client));
            }
            (Some(left), _) => {
                known.ends = Ends::After(left);
                if known.reads == Reads::Idle || left == 0 && known.reads == Reads::Waiting {
                    self.read_on(now, client, false);
                }
            }
            (None, _) => {}
        }
    }

    /// Its read has come back: now it can be seen what was written to it.
    pub(super) fn measure(&mut self, client: ClientKey) {
        self.clients.get(client).ends = Ends::ByClient;
        self.command(Command::End(client));
    }

    /// What was read of clients that are still there is accounted for; what was
    /// not is left unread.
    fn abandon(&mut self, now: &Moment) {
        for client in self.clients.keys() {
            let known = self.clients.get(client);
            let phase = std::mem::replace(&mut known.phase, Phase::Abandoned);
            self.phase_over(now, client, phase);
            self.give_up(now, client);
        }
        for listener in self.listeners.keys() {
            if let Some(edge) = self.listeners.remove(listener) {
                self.command(Command::CloseListener { listener, edge });
            }
        }
    }

    /// The kernel does not work any more: what was read is accounted for, and goes
    /// to the output if that takes it.
    pub fn fail(&mut self, now: &Moment) {
        self.stop_accepting(now);
        self.life.abort(now);
        self.abandon(now);
        if !self.life.is_flushing() {
            self.flush(now);
        }
    }

    /// The next message for the output.
    pub fn poll_message(&mut self, now: &Moment) -> Option<Arc<Message>> {
        self.core.poll_message(now)
    }

    /// Takes what the output has to tell. True if a message was settled.
    pub fn take(&mut self, now: &Moment, outcomes: &mut Outcomes) -> bool {
        let settled = self.core.take(now, outcomes);
        if settled {
            self.output_took_ns = now.mono_ns;
        }
        settled
    }

    /// What is with the output is lost.
    pub fn output_given_up(&mut self, now: &Moment) {
        self.core.give_up(now);
    }

    /// Nothing more goes to the output, and all is settled.
    pub fn output_ended(&mut self) {
        self.life = Life::Over;
        self.changes += 1;
    }
}
