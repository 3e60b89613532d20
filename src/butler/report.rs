//! What a butler says of itself at its end, and when asked.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Value, json};

use crate::core::Core;
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
    /// The statistics: one JSON object, as `--stats-path` writes it.
    pub statistics: Value,
}

impl Report {
    /// Was all that was accepted delivered?
    pub fn is_complete(&self) -> bool {
        self.losses.is_empty()
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
            statistics: statistics(core),
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

/// The statistics as JSON.
pub(super) fn statistics(core: &Core) -> Value {
    let stats = core.stats();
    let account = core.account();
    let dropped: serde_json::Map<_, _> = DropReason::ALL
        .into_iter()
        .map(|reason| (reason.as_str().into(), account.dropped(reason).into()))
        .collect();
    let quantiles = |histogram: &hdrhistogram::Histogram<u64>| {
        json!({
            "p50": histogram.value_at_quantile(0.5),
            "p90": histogram.value_at_quantile(0.9),
            "p99": histogram.value_at_quantile(0.99),
            "p999": histogram.value_at_quantile(0.999),
            "max": histogram.max(),
        })
    };
    json!({
        "streams": stats.streams,
        "streams_refused": stats.streams_refused,
        "peers_refused": stats.peers_refused,
        "streams_open": core.open_streams(),
        "bytes_in": account.accepted(),
        "bytes_delivered": account.delivered(),
        "bytes_pending": account.pending(),
        "reads": stats.reads,
        "read_errors": stats.read_errors,
        "entries": stats.entries,
        "bundles": stats.bundles,
        "bundles_lost": stats.bundles_lost,
        "bytes_out": stats.bytes_out,
        "bytes_dropped": account.dropped_in_all(),
        "bytes_dropped_by_reason": dropped,
        "output_errors": stats.output_errors,
        "read_to_sent_us": quantiles(&stats.read_to_sent_us),
        "bundle_bytes": quantiles(&stats.bundle_bytes),
        "peak_buffered": stats.peak_buffered,
    })
}
