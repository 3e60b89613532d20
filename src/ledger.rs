//! Where every byte went, per stream and in all. The core keeps the accounts,
//! and only what outputs say of messages moves them.

use std::fmt;

/// Why bytes of a stream were dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// Beyond the stream's maximum size: discarded by rule.
    OverLimit,
    /// Not a datagram, or a length without one: the client's error.
    Framing,
    /// The output did not take it before the butler had to stop.
    Undelivered,
    /// The output refused it for good.
    Refused,
    /// It was delivered, and somebody removed it while its stream was still
    /// written.
    Removed,
    /// The spool is full, and was told not to wait.
    SpoolFull,
    /// It was in the spool, and can't be read there any more.
    Unreadable,
}

impl DropReason {
    /// All, in order.
    pub const ALL: [Self; 7] = [
        Self::OverLimit,
        Self::Framing,
        Self::Undelivered,
        Self::Refused,
        Self::Removed,
        Self::SpoolFull,
        Self::Unreadable,
    ];

    /// A name for statistics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OverLimit => "over_limit",
            Self::Framing => "framing",
            Self::Undelivered => "undelivered",
            Self::Refused => "refused",
            Self::Removed => "removed",
            Self::SpoolFull => "spool_full",
            Self::Unreadable => "unreadable",
        }
    }

    /// Is it a loss of logs, which the exit status tells? What a client wrote
    /// against the rules, or beyond the limit it was given, is none.
    pub const fn is_loss(self) -> bool {
        !matches!(self, Self::OverLimit | Self::Framing)
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OverLimit => "beyond the stream's maximum size",
            Self::Framing => "not a datagram",
            Self::Undelivered => "not delivered in time",
            Self::Refused => "refused by the output",
            Self::Removed => "removed by others after they were written",
            Self::SpoolFull => "beyond what the spool may keep",
            Self::Unreadable => "in the spool, where they can't be read any more",
        })
    }
}

/// The account of a stream, or of all. Bytes are what the client wrote after
/// its header, the length before each datagram included.
///
/// accepted = delivered + stored + dropped + pending
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account {
    accepted: u64,
    delivered: u64,
    stored: u64,
    dropped: [u64; DropReason::ALL.len()],
}

impl Account {
    /// Of a stream of which all is delivered.
    pub(crate) fn of_delivered(bytes: u64) -> Self {
        Self {
            accepted: bytes,
            delivered: bytes,
            ..Self::default()
        }
    }

    /// The account of one stream more is part of this one.
    pub(crate) fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.delivered += other.delivered;
        self.stored += other.stored;
        for (bytes, others) in self.dropped.iter_mut().zip(other.dropped) {
            *bytes += others;
        }
    }

    /// Bytes were read from the client.
    pub(crate) fn accept(&mut self, bytes: u64) {
        self.accepted += bytes;
    }

    /// The output has taken bytes.
    pub(crate) fn deliver(&mut self, bytes: u64) {
        self.delivered += bytes;
    }

    /// Bytes are where they outlive the butler, and not delivered.
    pub(crate) fn store(&mut self, bytes: u64) {
        self.stored += bytes;
    }

    /// Bytes that are stored are delivered by us after all, or (`lost`) will not be.
    ///
    /// # Panics
    ///
    /// If they are not stored.
    pub(crate) fn fetch(&mut self, bytes: u64, lost: Option<DropReason>) {
        let left = self.stored.checked_sub(bytes);
        self.stored = left.expect("they were stored");
        match lost {
            None => self.deliver(bytes),
            Some(reason) => self.drop(reason, bytes),
        }
    }

    /// Bytes will not be delivered.
    pub(crate) fn drop(&mut self, reason: DropReason, bytes: u64) {
        self.dropped[reason as usize] += bytes;
    }

    /// Bytes that were delivered are there no more.
    ///
    /// # Panics
    ///
    /// If they were not delivered.
    pub(crate) fn withdraw(&mut self, bytes: u64) {
        let left = self.delivered.checked_sub(bytes);
        self.delivered = left.expect("they were delivered");
        self.drop(DropReason::Removed, bytes);
    }

    /// Bytes ever accepted.
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Bytes that are delivered.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Bytes that are kept in a spool, where they outlive the butler, to be
    /// delivered later, perhaps by another one.
    pub fn stored(&self) -> u64 {
        self.stored
    }

    /// Bytes ever dropped for that reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    /// Bytes ever dropped.
    pub fn dropped_in_all(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Accepted, and none of the others yet: in the butler's memory.
    ///
    /// # Panics
    ///
    /// If more went out than came in: bytes were counted twice.
    pub fn pending(&self) -> u64 {
        self.accepted
            .checked_sub(self.delivered + self.stored + self.dropped_in_all())
            .expect("no byte is delivered or dropped twice")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons() {
        let told: Vec<_> = DropReason::ALL
            .iter()
            .map(|reason| (reason.as_str(), reason.to_string(), reason.is_loss()))
            .collect();
        let expected = [
            ("over_limit", "beyond the stream's maximum size", false),
            ("framing", "not a datagram", false),
            ("undelivered", "not delivered in time", true),
            ("refused", "refused by the output", true),
            ("removed", "removed by others after they were written", true),
            ("spool_full", "beyond what the spool may keep", true),
            (
                "unreadable",
                "in the spool, where they can't be read any more",
                true,
            ),
        ];
        assert_eq!(
            told,
            expected.map(|(name, text, loss)| (name, text.to_owned(), loss))
        );
    }

    #[test]
    fn what_is_pending() {
        let mut account = Account::default();
        account.accept(100);
        account.accept(11);
        account.deliver(50);
        for (reason, bytes) in DropReason::ALL.into_iter().zip(1..) {
            account.drop(reason, bytes);
            account.drop(reason, bytes);
            assert_eq!(account.dropped(reason), 2 * bytes);
        }
        assert_eq!((account.accepted(), account.delivered()), (111, 50));
        assert_eq!(account.dropped_in_all(), 56);
        assert_eq!(account.pending(), 5);
        account.withdraw(8);
        assert_eq!((account.delivered(), account.pending()), (42, 5));
        assert_eq!(account.dropped(DropReason::Removed), 18);
        account.store(4);
        assert_eq!((account.stored(), account.pending()), (4, 1));
        account.fetch(2, None);
        account.fetch(1, Some(DropReason::Unreadable));
        assert_eq!((account.stored(), account.delivered()), (1, 44));
        assert_eq!(account.dropped(DropReason::Unreadable), 15);
        assert_eq!(account.pending(), 1);
    }

    #[test]
    #[should_panic(expected = "no byte is delivered or dropped twice")]
    fn more_than_came() {
        let mut account = Account::default();
        account.accept(1);
        account.deliver(1);
        account.drop(DropReason::Refused, 1);
        account.pending();
    }
}
