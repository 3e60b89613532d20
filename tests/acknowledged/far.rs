//! A far end that acknowledges.

use std::collections::HashSet;
use std::io::{Read, Write};

use butler::proto::logpb::ButlerLogBundle;
use butler::read::Receiver;

use crate::common::process::parse;

/// The messages that a far end has taken, over all its connections, as they came.
#[derive(Debug, Default)]
pub struct Store {
    messages: Vec<Vec<u8>>,
}

impl Store {
    /// Takes messages over one connection until it ends, or has brought so many. All
    /// that are taken are acknowledged, but for the last `withheld`.
    pub fn take(&mut self, mut connection: impl Read + Write, most: u64, withheld: u64) {
        let mut receiver = Receiver::new();
        let (mut taken, mut safe) = (0, 0);
        // One that is reset ends like any other.
        while taken < most && receiver.read_from(&mut connection).is_ok_and(|len| len > 0) {
            while let Some(message) = receiver.message().unwrap() {
                taken = message.number();
                self.messages.push(message.bytes().to_vec());
            }
            safe = taken.saturating_sub(withheld).max(safe);
            // Who has gone does not hear it.
            let _ = connection.write_all(&receiver.acknowledge_first(safe));
        }
    }

    /// Takes all that comes over one connection, and acknowledges it.
    pub fn take_all(&mut self, connection: impl Read + Write) {
        self.take(connection, u64::MAX, 0);
    }

    /// How many messages came.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Each message once: those that came again are the same to the byte, or they
    /// would be others with the same entries.
    pub fn bundles(&self) -> Vec<ButlerLogBundle> {
        let mut seen = HashSet::new();
        let fresh = self.messages.iter().filter(|message| seen.insert(*message));
        fresh.flat_map(|message| parse(message)).collect()
    }
}
