//! What became of a bundle at its output: of each stream how much is
//! delivered, and why the rest is not.

use std::rc::Rc;

use crate::bundle::StreamInfo;
use crate::ledger::DropReason;
use crate::wire::name::StreamName;

/// See the module.
///
/// An output that delivers stream by stream notes here what it has done as it
/// goes on, so that this is known also when it is stopped in the middle. One
/// that sends whole messages only says whether it could.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Bytes that the output took, as it counts them.
    bytes_out: u64,
    /// Why what nobody noted is lost; `None`: it is delivered.
    lost: Option<DropReason>,
    /// What is noted of the bundle's streams, by their position in it. Those
    /// behind its end have nothing noted.
    parts: Vec<Part>,
    /// The output has no mark of a stream's end, so none can be lost.
    without_ends: bool,
    /// What became of bytes of earlier bundles.
    later: Vec<Later>,
}

/// What is noted of one stream of the bundle, in bytes of its client.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Part {
    /// They are where they should be.
    pub delivered: u64,
    /// The output keeps them: what becomes of them is told later.
    pub held: u64,
    /// Why the others are lost, if not for the reason that all have.
    pub dropped: Option<DropReason>,
}

/// What became of bytes after the outcome of their bundle was told.
#[derive(Debug, Clone)]
pub(crate) struct Later {
    pub stream: StreamName,
    /// As its bundles know it, while the output knows that too.
    pub info: Option<Rc<StreamInfo>>,
    pub bytes: u64,
    pub fate: Fate,
}

/// See [`Later`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// They were held, and are delivered now.
    Delivered,
    /// They were held, and are lost.
    Dropped(DropReason),
    /// They were delivered, and somebody has removed them while their stream
    /// was still written.
    Removed,
}

/// What of a stream's bytes goes into which column of its account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Split {
    pub delivered: u64,
    pub dropped: u64,
    /// Of those dropped.
    pub reason: Option<DropReason>,
    /// The mark of the stream's end would be lost.
    pub end_lost: bool,
}

impl Outcome {
    /// All of the bundle is delivered, as `bytes_out` bytes.
    pub fn delivered(bytes_out: u64) -> Self {
        Self {
            bytes_out,
            ..Self::default()
        }
    }

    /// None of it is, and won't be.
    pub fn lost(reason: DropReason) -> Self {
        Self {
            lost: Some(reason),
            ..Self::default()
        }
    }

    /// Begins with a bundle, of which nothing is delivered yet. What is known
    /// of earlier ones stays until it is taken.
    pub(crate) fn begin(&mut self) {
        self.lost = Some(DropReason::Undelivered);
        self.parts.clear();
    }

    /// The output has no mark of a stream's end.
    pub(crate) fn without_ends(mut self) -> Self {
        self.without_ends = true;
        self
    }

    /// The output is done with the bundle: what has no note is delivered, or
    /// lost for that reason.
    pub(crate) fn end(&mut self, result: Result<u64, DropReason>) {
        match result {
            Ok(bytes_out) => {
                self.bytes_out += bytes_out;
                self.lost = None;
            }
            Err(reason) => self.lost = Some(reason),
        }
    }

    /// The output took so many bytes more.
    pub(crate) fn add_bytes_out(&mut self, bytes: u64) {
        self.bytes_out += bytes;
    }

    /// The bytes that the output took since this was asked last.
    pub(crate) fn take_bytes_out(&mut self) -> u64 {
        std::mem::take(&mut self.bytes_out)
    }

    /// The note of the stream at that position.
    pub(crate) fn part(&mut self, at: usize) -> &mut Part {
        if self.parts.len() <= at {
            self.parts.resize(at + 1, Part::default());
        }
        &mut self.parts[at]
    }

    /// Something became of bytes of an earlier bundle.
    pub(crate) fn later(&mut self, later: Later) {
        if later.bytes > 0 {
            self.later.push(later);
        }
    }

    /// What becomes of the `bytes` that the bundle has of the stream at that
    /// position.
    pub(crate) fn split(&self, at: usize, bytes: u64) -> Split {
        let part = self.parts.get(at).copied().unwrap_or_default();
        let held = part.held.min(bytes);
        let reason = part.dropped.or(self.lost);
        let delivered = match reason {
            None => bytes - held,
            Some(_) => part.delivered.min(bytes - held),
        };
        Split {
            delivered,
            dropped: bytes - held - delivered,
            reason,
            end_lost: self.lost.is_some() && !self.without_ends,
        }
    }

    /// What became of bytes of earlier bundles.
    pub(crate) fn take_later(&mut self) -> Vec<Later> {
        std::mem::take(&mut self.later)
    }
}

impl From<Result<u64, DropReason>> for Outcome {
    fn from(result: Result<u64, DropReason>) -> Self {
        match result {
            Ok(bytes_out) => Self::delivered(bytes_out),
            Err(reason) => Self::lost(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(outcome: &Outcome, at: usize) -> (u64, u64, Option<DropReason>) {
        let split = outcome.split(at, 10);
        (split.delivered, split.dropped, split.reason)
    }

    #[test]
    fn whole_bundles() {
        assert_eq!(split(&Outcome::from(Ok(77)), 3), (10, 0, None));
        let refused = Some(DropReason::Refused);
        let outcome = Outcome::from(Err(DropReason::Refused));
        assert_eq!(split(&outcome, 3), (0, 10, refused));
        assert!(outcome.split(0, 0).end_lost);
        assert!(!outcome.without_ends().split(0, 0).end_lost);
    }

    #[test]
    fn stream_by_stream() {
        let mut outcome = Outcome::default();
        outcome.begin();
        outcome.part(1).delivered += 4;
        *outcome.part(2) = Part {
            delivered: 3,
            held: 2,
            dropped: Some(DropReason::Refused),
        };
        // It is stopped here.
        let undelivered = Some(DropReason::Undelivered);
        let refused = Some(DropReason::Refused);
        assert_eq!(split(&outcome, 0), (0, 10, undelivered));
        assert_eq!(split(&outcome, 1), (4, 6, undelivered));
        assert_eq!(split(&outcome, 2), (3, 5, refused));
        // Or comes to its end.
        outcome.end(Ok(9));
        assert_eq!(split(&outcome, 0), (10, 0, None));
        assert_eq!(split(&outcome, 2), (3, 5, refused));
        // What our own words take is not the client's.
        outcome.part(3).dropped = refused;
        outcome.part(3).delivered = 50;
        assert_eq!(split(&outcome, 3), (10, 0, refused));
    }
}
