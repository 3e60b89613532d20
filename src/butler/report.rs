//! What a butler says of itself at its end, and when asked.

use std::collections::BTreeSet;
use std::fmt;

use super::snapshot::Snapshot;
use crate::core::Core;
use crate::delivery::stored::Left;
use crate::ledger::DropReason;
use crate::wire::name::StreamName;

/// What of a stream was accepted and not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The stream.
    pub stream: StreamName,
    /// Why.
    pub reason: DropReason,
    /// How many of the client's bytes; none, if only the mark of the stream's
    /// end was not delivered.
    pub bytes: u64,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            stream,
            reason,
            bytes,
        } = self;
        match bytes {
            0 => write!(f, "stream {stream}: its end is lost, {reason}"),
            1 => write!(f, "stream {stream}: 1 byte lost, {reason}"),
            _ => write!(f, "stream {stream}: {bytes} bytes lost, {reason}"),
        }
    }
}

/// How a butler's run ended.
#[derive(Debug, Clone)]
pub struct Report {
    /// What was lost, by stream; empty when all that was accepted was
    /// delivered.
    pub losses: Vec<Loss>,
    /// Bundles of which something was given up.
    pub bundles_lost: u64,
    /// Streams that ended because reading failed.
    pub read_errors: u64,
    /// Streams that were still open for writing when their time was over. What
    /// was written by then is delivered.
    pub cut: Vec<StreamName>,
    /// What waits in the spool, if there is one: also what earlier butlers have
    /// left there.
    pub left: Option<Left>,
    /// What the butler has done, to its end.
    pub snapshot: Snapshot,
}

impl Report {
    /// Was all that was accepted delivered, or kept where it outlives the butler?
    pub fn is_complete(&self) -> bool {
        self.losses.is_empty()
    }

    /// Is something of it kept in a spool, to be delivered later?
    pub fn is_spooled(&self) -> bool {
        self.snapshot.spooled > 0
    }

    pub(super) fn new(core: &Core) -> Self {
        let bytes = core.losses().iter().flat_map(|(stream, account)| {
            DropReason::ALL.into_iter().map(|reason| Loss {
                stream: stream.clone(),
                reason,
                bytes: account.dropped(reason),
            })
        });
        // Of a stream that has lost bytes nobody expects an end.
        let ends = core.ends_lost().iter();
        let ends = ends.filter(|(stream, _)| !core.losses().contains_key(*stream));
        let ends = ends.map(|(stream, reason)| Loss {
            stream: stream.clone(),
            reason: *reason,
            bytes: 0,
        });
        Self {
            losses: bytes.filter(|loss| loss.bytes > 0).chain(ends).collect(),
            bundles_lost: core.stats().bundles_lost,
            read_errors: core.stats().read_errors,
            cut: Vec::new(),
            left: None,
            snapshot: Snapshot::new(core),
        }
    }

    /// All losses in one sentence; `None` if there are none.
    pub fn summary(&self) -> Option<String> {
        let bytes: u64 = self.losses.iter().map(|loss| loss.bytes).sum();
        let streams = |losses: &mut dyn Iterator<Item = &Loss>| {
            let names: BTreeSet<_> = losses.map(|loss| &loss.stream).collect();
            match names.len() {
                1 => "1 stream".to_owned(),
                count => format!("{count} streams"),
            }
        };
        let mut of_bytes = self.losses.iter().filter(|loss| loss.bytes > 0);
        let mut of_ends = self.losses.iter().filter(|loss| loss.bytes == 0);
        match (bytes, self.is_complete()) {
            (_, true) => None,
            (0, _) => Some(format!(
                "logs were lost: the end of {}",
                streams(&mut of_ends)
            )),
            _ => Some(format!(
                "logs were lost: {bytes} bytes of {}",
                streams(&mut of_bytes)
            )),
        }
    }
}
