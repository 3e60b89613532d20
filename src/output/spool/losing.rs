//! What can't be read back.

use std::fmt;
use std::sync::Arc;

use log::Level;

use super::Store;
use super::place::segment_name;
use super::segment::Segment;
use crate::delivery::stored::Run;
use crate::spool::{Lost, Part, RecordId, Why};

/// See the module.
#[derive(Debug)]
pub struct Loss {
    /// Whose it was.
    pub run: Arc<Run>,
    /// That is this butler's run.
    pub is_own: bool,
    /// The first record in it.
    pub first: RecordId,
    /// What that is.
    pub why: Why,
    /// How many records, if that is known.
    pub records: Option<u32>,
    /// What is known of what was in them.
    pub streams: Vec<Part>,
}

impl<D: 'static> Store<D> {
    /// What is lost there nobody sends any more.
    pub(super) fn lose(&mut self, number: u32, lost: Lost) {
        if let Some(segment) = self.find(number)
            && lost.why == Why::Damaged
        {
            segment.damaged = true;
            if let Some(records) = lost.records.filter(|records| *records > 0) {
                segment.done.insert(lost.index, lost.index + (records - 1));
            }
        }
        self.miss(number, lost);
    }

    /// Tells what is lost for this butler.
    pub(super) fn miss(&mut self, number: u32, lost: Lost) {
        let Some(run) = self.find(number).map(|segment| segment.run) else {
            return;
        };
        let (level, what) = match lost.why {
            // Whoever was writing it was killed, as a rule.
            Why::Cut => (Level::Warn, "ends in the middle of a message"),
            Why::Damaged => (Level::Error, "is damaged"),
        };
        log::log!(
            level,
            "spool: {} {what}: {} bytes at {} are lost{}",
            segment_name(number),
            lost.len,
            lost.at,
            Streams(&lost.streams)
        );
        self.losses.push(Loss {
            is_own: self.own.find(number).is_some(),
            run: Arc::clone(&self.runs[run].run),
            first: RecordId {
                segment: number,
                index: lost.index,
            },
            why: lost.why,
            records: lost.records,
            streams: lost.streams,
        });
    }

    /// Segments that were there, and of which nothing can be read.
    pub fn segments_lost(&self) -> u64 {
        self.segments_lost
    }

    /// What could not be read back since this was asked last.
    pub fn take_losses(&mut self) -> Vec<Loss> {
        std::mem::take(&mut self.losses)
    }
}

impl<D> Segment<D> {
    /// Does nobody miss it?
    pub(super) fn is_done(&self, lost: &Lost) -> bool {
        let mut indices = lost.index..lost.index.saturating_add(lost.records.unwrap_or(0));
        !indices.is_empty() && indices.all(|index| self.done.contains(index))
    }
}

/// As many as a line has room for.
const STREAMS_TOLD: usize = 5;

/// The streams that lost bytes, for a message.
struct Streams<'a>(&'a [Part]);

impl fmt::Display for Streams<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.0.iter().take(STREAMS_TOLD).enumerate() {
            let before = match at {
                0 => ", of",
                _ => ",",
            };
            write!(
                f,
                "{before} {} ({} bytes of its client)",
                part.name, part.bytes
            )?;
        }
        match self.0.len().checked_sub(STREAMS_TOLD + 1) {
            Some(more) => write!(f, " and {} streams more", more + 1),
            None => Ok(()),
        }
    }
}
