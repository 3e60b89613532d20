//! The task of an output that takes several bundles at once.

use std::collections::HashMap;
use std::rc::Rc;

use tokio::task::{Id, JoinSet};

use super::engine::Engine;
use crate::bundle::Bundle;
use crate::ledger::DropReason;
use crate::output::logdog::LogdogSink;
use crate::reactor::clock;

/// Bundles on their way. They stay here, and not with what publishes them, so
/// that none is unaccounted for when that is given up.
#[derive(Debug, Default)]
struct Flights {
    publishes: JoinSet<Result<u64, DropReason>>,
    bundles: HashMap<Id, Bundle>,
}

impl Flights {
    fn begin(&mut self, sink: &mut LogdogSink, bundle: Bundle) {
        let publish = sink.publish(&bundle);
        let handle = self.publishes.spawn_local(publish);
        self.bundles.insert(handle.id(), bundle);
    }

    /// The next one that ends; `None` when there is none.
    async fn next(&mut self) -> Option<(Bundle, Result<u64, DropReason>)> {
        let (id, result) = match self.publishes.join_next_with_id().await? {
            Ok(ended) => ended,
            // It panicked, which has been told.
            Err(error) => (error.id(), Err(DropReason::Undelivered)),
        };
        self.bundles.remove(&id).map(|bundle| (bundle, result))
    }

    fn has_room(&self) -> bool {
        self.bundles.len() < LogdogSink::AT_ONCE
    }

    fn is_empty(&self) -> bool {
        self.bundles.is_empty()
    }

    /// Gives all of them up.
    fn abandon(&mut self) -> impl Iterator<Item = Bundle> + use<> {
        self.publishes = JoinSet::new();
        std::mem::take(&mut self.bundles).into_values()
    }
}

impl Engine {
    /// Like [`run_output`](Self::run_output), with several bundles at once.
    pub async fn run_publishing(self: Rc<Self>, mut sink: LogdogSink) {
        let mut flights = Flights::default();
        loop {
            if self.aborted.get() {
                for bundle in flights.abandon() {
                    self.output_took(bundle, Err(DropReason::Undelivered), sink.health());
                }
            }
            let bundle = match flights.has_room() {
                true => self.core.borrow_mut().poll_bundle(&clock::now()),
                false => None,
            };
            match bundle {
                Some(bundle) if self.aborted.get() => {
                    self.output_took(bundle, Err(DropReason::Undelivered), sink.health());
                }
                Some(bundle) => {
                    flights.begin(&mut sink, bundle);
                    // Compressing takes a while: streams are read in between.
                    tokio::task::yield_now().await;
                }
                None => {
                    let nothing_left = self.aborted.get() || self.core.borrow().is_settled();
                    if self.finished.get() && nothing_left {
                        break;
                    }
                    tokio::select! {
                        Some((bundle, result)) = flights.next(), if !flights.is_empty() => {
                            self.output_took(bundle, result, sink.health());
                        }
                        () = self.wake_output.notified() => {}
                    }
                }
            }
        }
        self.output_ended(sink.health());
    }
}
