//! What a butler has done up to a moment, as values.

use std::fmt;

use hdrhistogram::Histogram;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::core::Core;
use crate::ledger::DropReason;

/// What a butler has done so far. As JSON ([`Display`](fmt::Display), or any
/// serializer) it is the statistics that the command writes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// Streams opened.
    pub streams: u64,
    /// Streams refused: bad header, used name, drained namespace.
    pub streams_refused: u64,
    /// Connections of users who may not open streams.
    pub peers_refused: u64,
    /// Streams that are open now.
    pub streams_open: u64,
    /// Bytes of streams accepted, headers left out.
    pub bytes_in: u64,
    /// Of these, bytes that the output has taken.
    pub bytes_delivered: u64,
    /// Of these, bytes that are neither delivered nor dropped yet.
    pub bytes_pending: u64,
    /// Pieces of data read.
    pub reads: u64,
    /// Streams that ended because reading failed.
    pub read_errors: u64,
    /// Entries of bundles that were delivered whole.
    pub entries: u64,
    /// Bundles delivered whole.
    pub bundles: u64,
    /// Bundles of which something was given up.
    pub bundles_lost: u64,
    /// Bytes that the output took, with what frames and describes the logs.
    pub bytes_out: u64,
    /// Bytes of streams accepted that will not be delivered.
    pub bytes_dropped: u64,
    /// The same by reason.
    pub bytes_dropped_by_reason: Dropped,
    /// Errors of the output, each of which was tried again or reported.
    pub output_errors: u64,
    /// Microseconds from an entry's being read to its being delivered.
    pub read_to_sent_us: Quantiles,
    /// Bytes of a bundle, before compression.
    pub bundle_bytes: Quantiles,
    /// The most bytes buffered at any time.
    pub peak_buffered: u64,
    /// Bytes of streams accepted that are kept in a spool, to be delivered later.
    pub spooled: u64,
}

/// Bytes dropped, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped([u64; DropReason::ALL.len()]);

/// How values are distributed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[non_exhaustive]
pub struct Quantiles {
    /// Half of them are not above it.
    pub p50: u64,
    /// 90 % of them are not above it.
    pub p90: u64,
    /// 99 % of them are not above it.
    pub p99: u64,
    /// 99.9 % of them are not above it.
    pub p999: u64,
    /// The largest.
    pub max: u64,
}

impl Dropped {
    /// Bytes dropped for that reason.
    pub fn of(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }
}

impl Serialize for Dropped {
    /// A map from the name of each reason to its bytes.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for reason in DropReason::ALL {
            map.serialize_entry(reason.as_str(), &self.of(reason))?;
        }
        map.end()
    }
}

impl From<&Histogram<u64>> for Quantiles {
    fn from(histogram: &Histogram<u64>) -> Self {
        Self {
            p50: histogram.value_at_quantile(0.5),
            p90: histogram.value_at_quantile(0.9),
            p99: histogram.value_at_quantile(0.99),
            p999: histogram.value_at_quantile(0.999),
            max: histogram.max(),
        }
    }
}

impl Snapshot {
    pub(super) fn new(core: &Core) -> Self {
        let stats = core.stats();
        let account = core.account();
        Self {
            streams: stats.streams,
            streams_refused: stats.streams_refused,
            peers_refused: stats.peers_refused,
            streams_open: core.open_streams() as u64,
            bytes_in: account.accepted(),
            bytes_delivered: account.delivered(),
            bytes_pending: account.pending(),
            reads: stats.reads,
            read_errors: stats.read_errors,
            entries: stats.entries,
            bundles: stats.bundles,
            bundles_lost: stats.bundles_lost,
            bytes_out: stats.bytes_out,
            bytes_dropped: account.dropped_in_all(),
            bytes_dropped_by_reason: Dropped(DropReason::ALL.map(|reason| account.dropped(reason))),
            output_errors: stats.output_errors,
            read_to_sent_us: (&stats.read_to_sent_us).into(),
            bundle_bytes: (&stats.bundle_bytes).into(),
            peak_buffered: stats.peak_buffered,
            spooled: account.stored(),
        }
    }

    /// As one JSON object.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("its keys are text and its values numbers")
    }
}

impl fmt::Display for Snapshot {
    /// Writes it as one JSON object.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_json().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who reads the statistics finds what was always there, in its order.
    #[test]
    fn json() {
        let zeros = Quantiles::default();
        let snapshot = Snapshot {
            streams: 1,
            streams_refused: 2,
            peers_refused: 3,
            streams_open: 4,
            bytes_in: 5,
            bytes_delivered: 6,
            bytes_pending: 7,
            reads: 8,
            read_errors: 9,
            entries: 10,
            bundles: 11,
            bundles_lost: 12,
            bytes_out: 13,
            bytes_dropped: 14,
            bytes_dropped_by_reason: Dropped([1, 2, 3, 4, 5, 6, 7]),
            output_errors: 15,
            read_to_sent_us: Quantiles { p50: 1, ..zeros },
            bundle_bytes: Quantiles { max: 2, ..zeros },
            peak_buffered: 16,
            spooled: 17,
        };
        let expected = concat!(
            r#"{"streams":1,"streams_refused":2,"peers_refused":3,"streams_open":4,"#,
            r#""bytes_in":5,"bytes_delivered":6,"bytes_pending":7,"reads":8,"read_errors":9,"#,
            r#""entries":10,"bundles":11,"bundles_lost":12,"bytes_out":13,"bytes_dropped":14,"#,
            r#""bytes_dropped_by_reason":{"over_limit":1,"framing":2,"undelivered":3,"#,
            r#""refused":4,"removed":5,"spool_full":6,"unreadable":7},"output_errors":15,"#,
            r#""read_to_sent_us":{"p50":1,"p90":0,"p99":0,"p999":0,"max":0},"#,
            r#""bundle_bytes":{"p50":0,"p90":0,"p99":0,"p999":0,"max":2},"peak_buffered":16,"#,
            r#""spooled":17}"#,
        );
        assert_eq!(snapshot.to_string(), expected);
    }
}
