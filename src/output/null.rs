//! The output that counts and discards.

use super::Sink;
use super::health::Health;
use crate::delivery::message::Message;
use crate::ledger::DropReason;
use crate::wire::message::{Compression, frames_len};

/// Takes every bundle at once.
#[derive(Debug)]
pub(crate) struct NullSink {
    health: Health,
}

impl NullSink {
    pub fn new() -> Self {
        Self {
            health: Health::new("output null"),
        }
    }
}

impl Sink for NullSink {
    /// Returns what the message would take, uncompressed.
    async fn deliver(&mut self, bundle: &Message) -> Result<u64, DropReason> {
        let len = bundle.len();
        Ok((frames_len(Compression::None, len) + len) as u64)
    }

    async fn finish(&mut self) {}

    fn health(&self) -> &Health {
        &self.health
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::gather::Gather;
    use crate::output::testing::{start, text_bundle};

    #[test]
    fn counts_the_message() {
        let bundle = text_bundle(b"a line\n");
        let mut gather = Gather::default();
        gather.message(&bundle);
        let taken = start(async { NullSink::new().deliver(&bundle).await });
        assert_eq!(taken, Ok(gather.len() as u64));
    }
}
