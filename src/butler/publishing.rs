//! The task of an output that takes several messages at once.

use std::collections::HashMap;
use std::rc::Rc;

use tokio::task::{Id, JoinSet};

use super::engine::Engine;
use crate::core::Core;
use crate::delivery::message::Ticket;
use crate::delivery::outcome::Outcome;
use crate::ledger::DropReason;
use crate::output::logdog::{LogdogSink, Publish};

/// Messages on their way.
#[derive(Debug, Default)]
struct Flights {
    publishes: JoinSet<Result<u64, DropReason>>,
    tickets: HashMap<Id, Ticket>,
}

impl Flights {
    fn begin(&mut self, sink: &LogdogSink, ticket: Ticket, publish: Publish) {
        let handle = self.publishes.spawn_local(sink.publish(publish));
        self.tickets.insert(handle.id(), ticket);
    }

    /// The next one that ends; `None` when there is none.
    async fn next(&mut self) -> Option<Outcome> {
        let (id, result) = match self.publishes.join_next_with_id().await? {
            Ok(ended) => ended,
            // It panicked, which has been told.
            Err(error) => (error.id(), Err(DropReason::Undelivered)),
        };
        let ticket = self.tickets.remove(&id)?;
        Some(match result {
            Ok(bytes_out) => Outcome::delivered(ticket, bytes_out),
            Err(reason) => Outcome::lost(ticket, reason),
        })
    }

    fn is_empty(&self) -> bool {
        self.tickets.is_empty()
    }

    /// None of them is waited for any more.
    fn abandon(&mut self) {
        *self = Self::default();
    }
}

impl Engine {
    /// Like [`run_output`](Self::run_output), with several messages at once.
    pub async fn run_publishing(self: Rc<Self>, mut sink: LogdogSink) {
        let mut flights = Flights::default();
        loop {
            if self.has_given_up() {
                flights.abandon();
                self.tell(|machine, now| machine.core_mut().give_up(now));
            }
            let message = self.poll_message();
            match message {
                // The next round loses it too.
                Some(_) if self.has_given_up() => {}
                Some(message) => {
                    let ticket = message.ticket();
                    let publish = sink.encode(&message);
                    drop(message);
                    let memory = LogdogSink::memory(&publish);
                    self.tell(|machine, _| machine.core_mut().encoded(ticket, memory));
                    flights.begin(&sink, ticket, publish);
                    // Compressing takes a while: streams are read in between.
                    tokio::task::yield_now().await;
                }
                None => {
                    // An abort has ended all streams by then.
                    let is_settled = self.core(Core::is_settled);
                    if self.life().is_flushing() && is_settled {
                        break;
                    }
                    tokio::select! {
                        Some(mut outcome) = flights.next(), if !flights.is_empty() => {
                            self.settle(&mut outcome);
                        }
                        () = self.wake_output.notified() => {}
                        () = self.give_up_waiting(), if !flights.is_empty() => {}
                    }
                }
            }
        }
        self.output_ended();
    }
}
