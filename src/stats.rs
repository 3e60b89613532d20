//! Counters and histograms of a butler.

use hdrhistogram::Histogram;

use crate::delivery::message::Message;
use crate::time::Moment;

/// What a butler has done so far. Bytes of streams are in the
/// [`Account`](crate::ledger::Account).
#[derive(Debug)]
pub struct Stats {
    /// Streams opened.
    pub streams: u64,
    /// Streams refused: bad header, used name, drained namespace.
    pub streams_refused: u64,
    /// Connections of users who may not open streams; nothing of theirs was
    /// read.
    pub peers_refused: u64,
    /// Pieces of data read.
    pub reads: u64,
    /// Streams that ended because reading failed.
    pub read_errors: u64,
    /// Entries of bundles that were delivered whole.
    pub entries: u64,
    /// Bundles delivered whole.
    pub bundles: u64,
    /// Bundles that were stored in a spool; those that are delivered from there
    /// are not counted again.
    pub bundles_stored: u64,
    /// Bundles of which something was given up.
    pub bundles_lost: u64,
    /// Bytes that the output took.
    pub bytes_out: u64,
    /// Errors of the output, each of which was tried again or reported.
    pub output_errors: u64,
    /// The most bytes buffered at any time.
    pub peak_buffered: u64,
    /// Microseconds from reading to the output's having taken it, an entry.
    pub read_to_sent_us: Histogram<u64>,
    /// Bytes of a bundle, before compression.
    pub bundle_bytes: Histogram<u64>,
}

impl Default for Stats {
    fn default() -> Self {
        let histogram =
            |highest| Histogram::new_with_bounds(1, highest, 2).expect("the bounds are in order");
        Self {
            streams: 0,
            streams_refused: 0,
            peers_refused: 0,
            reads: 0,
            read_errors: 0,
            entries: 0,
            bundles: 0,
            bundles_stored: 0,
            bundles_lost: 0,
            bytes_out: 0,
            output_errors: 0,
            peak_buffered: 0,
            // Up to a day.
            read_to_sent_us: histogram(86_400_000_000),
            bundle_bytes: histogram(crate::limits::BUNDLE_MAX as u64),
        }
    }
}

impl Stats {
    pub(crate) fn delivered(&mut self, now: &Moment, bundle: &Message) {
        self.bundles += 1;
        self.entries += bundle.entries;
        self.bundle_bytes.saturating_record(bundle.len() as u64);
        for part in &bundle.parts {
            let waited_us = now.mono_ns.saturating_sub(part.read_ns) / 1000;
            self.read_to_sent_us
                .saturating_record_n(waited_us, part.entries.into());
        }
    }
}
