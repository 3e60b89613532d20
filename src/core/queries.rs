//! What can be asked of the streams.

use std::collections::BTreeMap;

use super::Core;
use crate::keys::StreamKey;
use crate::ledger::{Account, DropReason};
use crate::stats::Stats;
use crate::wire::name::{Namespace, StreamName};

impl Core {
    /// How many streams are open.
    pub fn open_streams(&self) -> usize {
        self.streams.len()
    }

    /// The keys of the open streams in the namespace.
    pub fn open_in(&self, namespace: &Namespace) -> Vec<StreamKey> {
        self.streams
            .iter()
            .filter(|(_, stream)| stream.info.name.is_in(namespace))
            .map(|(key, _)| key)
            .collect()
    }

    /// From now on no stream is opened in the namespace.
    pub fn drain(&mut self, namespace: Namespace) {
        if !self.drained.contains(&namespace) {
            self.drained.push(namespace);
        }
    }

    /// All names ever used, sorted.
    pub fn names(&self) -> Vec<StreamName> {
        let mut names: Vec<_> = self.registry.names().cloned().collect();
        names.sort_unstable();
        names
    }

    /// The open stream of that name.
    pub fn find(&self, name: &str) -> Option<StreamKey> {
        self.registry.find(name)
    }

    /// Where the bytes of all streams went.
    pub fn account(&self) -> &Account {
        &self.total
    }

    /// What was lost on its way to the output, by stream.
    pub fn losses(&self) -> &BTreeMap<StreamName, Account> {
        &self.losses
    }

    /// Streams whose end was not delivered, and why. Of some all bytes were.
    pub fn ends_lost(&self) -> &BTreeMap<StreamName, DropReason> {
        &self.ends_lost
    }

    /// Counters and histograms.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// For what the edge counts.
    pub fn stats_mut(&mut self) -> &mut Stats {
        &mut self.stats
    }
}
