//! What must hold whenever nobody is in the middle of something.

use super::Machine;
use crate::core::ClientKey;
use crate::core::clients::{Client, Ends, Phase, Reads};

impl<C, L> Machine<C, L> {
    /// Panics unless all that it keeps in more than one place agrees. It looks at
    /// all there is: tests call it after every event.
    ///
    /// # Panics
    ///
    /// See above.
    pub fn invariants(&self) {
        self.core.invariants();
        self.headers.invariants();
        let mut idle = 0;
        for (key, client) in self.clients.iter() {
            self.check_phase(key, client);
            match client.reads {
                // At most the one whose header was just taken: what follows it comes
                // next.
                Reads::Idle => idle += 1,
                Reads::Waiting => {
                    let is_queued = self.clients.is_queued(key) || self.headers.is_queued(key);
                    assert!(is_queued, "{key:?} waits, and nobody will ask for it");
                    assert_ne!(client.ends, Ends::Now, "{key:?} is over and waits");
                }
                Reads::Armed | Reads::Parked => {}
            }
        }
        assert!(idle <= 1 || !self.commands.is_empty(), "{idle} are idle");
        let unfinished = |(_, it): &(_, &Client<C>)| matches!(it.phase, Phase::Header(_));
        let unfinished = self.clients.iter().filter(unfinished).count();
        assert_eq!(self.headers.len(), unfinished, "clients without a stream");
    }

    fn check_phase(&self, key: ClientKey, client: &Client<C>) {
        match &client.phase {
            Phase::Header(reader) => {
                let held = self.headers.held_by(key);
                assert_eq!(held, Some(reader.buffered()), "of the header of {key:?}");
            }
            Phase::Stream(stream) => {
                assert!(self.core.name(*stream).is_some(), "{key:?} has a stream");
                assert!(!client.at_end, "{key:?} is read to its end");
            }
            Phase::Abandoned => assert_eq!(client.ends, Ends::Now, "{key:?} is abandoned"),
        }
    }
}
