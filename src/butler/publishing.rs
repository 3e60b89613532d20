//! The task of an output that takes several bundles at once.

use std::collections::HashMap;
use std::rc::Rc;

use tokio::task::{Id, JoinSet};

use super::engine::Engine;
use crate::bundle::Bundle;
use crate::edge::clock;
use crate::ledger::DropReason;
use crate::limits::PUBLISHES_BYTES_MAX;
use crate::outcome::Outcome;
use crate::output::logdog::{LogdogSink, Message};

/// Bundles on their way. They stay here, and not with what publishes them, so
/// that none is unaccounted for when that is given up.
#[derive(Debug)]
struct Flights {
    publishes: JoinSet<Result<u64, DropReason>>,
    /// With the bytes of their messages.
    bundles: HashMap<Id, (Bundle, usize)>,
    /// Bytes of all messages.
    bytes: usize,
    bytes_max: usize,
}

impl Flights {
    fn new(buffered_max: u64) -> Self {
        let bytes_max = PUBLISHES_BYTES_MAX.min(buffered_max / 4);
        Self {
            publishes: JoinSet::new(),
            bundles: HashMap::new(),
            bytes: 0,
            bytes_max: usize::try_from(bytes_max).unwrap_or(usize::MAX),
        }
    }

    fn begin(&mut self, sink: &LogdogSink, bundle: Bundle, message: Message) {
        let len = message.len();
        let handle = self.publishes.spawn_local(sink.publish(message));
        self.bundles.insert(handle.id(), (bundle, len));
        self.bytes += len;
    }

    /// The next one that ends; `None` when there is none.
    async fn next(&mut self) -> Option<(Bundle, Result<u64, DropReason>)> {
        let (id, result) = match self.publishes.join_next_with_id().await? {
            Ok(ended) => ended,
            // It panicked, which has been told.
            Err(error) => (error.id(), Err(DropReason::Undelivered)),
        };
        let (bundle, len) = self.bundles.remove(&id)?;
        self.bytes -= len;
        Some((bundle, result))
    }

    fn has_room(&self) -> bool {
        self.bundles.len() < LogdogSink::AT_ONCE && self.bytes < self.bytes_max
    }

    fn is_empty(&self) -> bool {
        self.bundles.is_empty()
    }

    /// Gives all of them up.
    fn abandon(&mut self) -> impl Iterator<Item = Bundle> + use<> {
        self.publishes = JoinSet::new();
        self.bytes = 0;
        std::mem::take(&mut self.bundles)
            .into_values()
            .map(|(bundle, _)| bundle)
    }
}

impl Engine {
    /// Like [`run_output`](Self::run_output), with several bundles at once.
    pub async fn run_publishing(self: Rc<Self>, mut sink: LogdogSink) {
        let mut flights = Flights::new(self.core.borrow().buffered_max());
        loop {
            if self.has_given_up() {
                for bundle in flights.abandon() {
                    self.output_took(bundle, &mut Outcome::lost(DropReason::Undelivered));
                }
            }
            let bundle = match flights.has_room() {
                true => self.core.borrow_mut().poll_bundle(&clock::now()),
                false => None,
            };
            match bundle {
                Some(bundle) if self.has_given_up() => {
                    self.output_took(bundle, &mut Outcome::lost(DropReason::Undelivered));
                }
                Some(mut bundle) => {
                    let message = sink.encode(&bundle);
                    // gRPC copies it once more while it is sent.
                    let memory = 2 * message.len();
                    self.core.borrow_mut().encoded(&mut bundle, memory);
                    self.read_again(clock::mono_ns());
                    flights.begin(&sink, bundle, message);
                    // Compressing takes a while: streams are read in between.
                    tokio::task::yield_now().await;
                }
                None => {
                    // An abort has ended all streams by then.
                    let nothing_left = self.core.borrow().is_settled();
                    if self.finished.get() && nothing_left {
                        break;
                    }
                    tokio::select! {
                        Some((bundle, result)) = flights.next(), if !flights.is_empty() => {
                            self.output_took(bundle, &mut result.into());
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
