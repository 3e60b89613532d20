//! The output that counts and discards.

use std::io;
use std::sync::Arc;

use super::health::Health;
use super::kind::{Finds, Kind, Settings};
use crate::delivery::message::Message;
use crate::delivery::outcome::Outcome;
use crate::edge::io::Io;
use crate::edge::transport::{Now, Transport};
use crate::wire::message::{Compression, frames_len};

/// The settings of the output that discards: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NullOutput;

impl Settings for NullOutput {
    const KIND: &'static Kind = &Kind {
        help: "  null                  count everything and discard it
",
        ..Kind::new("null", |given| given.pairs().map(|_| Self.into()))
    };

    fn open<I: Io + 'static>(&self, _: &mut I) -> io::Result<Box<dyn Transport<I>>> {
        Ok(Box::new(Null::new()))
    }

    fn finds(&self) -> Finds {
        Finds::Nothing
    }
}

/// Takes every message at once.
#[derive(Debug)]
pub(crate) struct Null {
    health: Health,
}

impl Null {
    pub fn new() -> Self {
        Self {
            health: Health::new("output null"),
        }
    }
}

impl<I: Io> Transport<I> for Null {
    /// Counts what the message would take, uncompressed.
    fn start(&mut self, now: &mut Now<'_, I>, message: Arc<Message>) {
        let len = message.len();
        let bytes_out = frames_len(Compression::None, len) + len;
        let outcome = Outcome::delivered(message.ticket(), bytes_out as u64);
        now.outcomes.settle(outcome);
    }

    fn poll(&mut self, _: &mut Now<'_, I>) {}

    fn finish(&mut self, _: &mut Now<'_, I>) {}

    fn is_finished(&self) -> bool {
        true
    }

    fn give_up(&mut self, _: &mut Now<'_, I>) {}

    fn errors(&self) -> u64 {
        self.health.errors()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::gather::Gather;
    use crate::output::testing::{Bench, text_bundle};

    #[test]
    fn counts_the_message() {
        let message = text_bundle(b"a line\n");
        let mut gather = Gather::default();
        gather.message(&message);
        let taken = Bench::new(|_| Null::new()).deliver(&message);
        assert_eq!(taken, Ok(gather.len() as u64));
    }
}
