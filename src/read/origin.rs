//! Where streams come from.

use std::collections::BTreeSet;

/// A namespace of streams.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// A butler's prefix, in messages, and which of its runs: who appends to a
    /// file may have the prefix of the one before. The first one is 0.
    Prefix(String, u32),
    /// A directory output, by its path.
    Directory(String),
}

impl Origin {
    /// The name with what tells it from those of all other origins.
    pub fn path_of(&self, name: &str) -> String {
        match self {
            Self::Prefix(prefix, 0) => format!("{prefix}/+/{name}"),
            Self::Prefix(prefix, run) => format!("{prefix}/+/{name} ({})", run + 1),
            Self::Directory(path) => format!("{path}/{name}"),
        }
    }

    pub(super) fn set_run(&mut self, new: u32) {
        if let Self::Prefix(_, run) = self {
            *run = new;
        }
    }
}

/// The first streams, by name, of those that are not wanted: to tell what
/// there is when nothing is wanted.
#[derive(Debug, Default)]
pub struct Unwanted {
    named: BTreeSet<(String, Origin)>,
    has_more: bool,
}

impl Unwanted {
    const NAMED_MAX: usize = 10;

    /// Their names and origins.
    pub fn named(&self) -> impl Iterator<Item = (&str, &Origin)> {
        self.named.iter().map(|(name, origin)| (&**name, origin))
    }

    /// Are there others?
    pub fn has_more(&self) -> bool {
        self.has_more
    }

    pub(super) fn add(&mut self, origin: &Origin, name: &str) {
        let last = self.named.last().map(|(name, origin)| (&**name, origin));
        let is_full = self.named.len() == Self::NAMED_MAX;
        if is_full && last.is_some_and(|last| last <= (name, origin)) {
            self.has_more |= last != Some((name, origin));
            return;
        }
        if self.named.insert((name.to_owned(), origin.clone())) && is_full {
            self.named.pop_last();
            self.has_more = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_ten_are_told() {
        let prefix = Origin::Prefix("p".into(), 0);
        let mut unwanted = Unwanted::default();
        for n in (0..10).rev() {
            unwanted.add(&prefix, &format!("s{n:02}"));
        }
        assert!(!unwanted.has_more());
        for n in (0..12).chain(0..12) {
            unwanted.add(&prefix, &format!("s{n:02}"));
        }
        let names: Vec<_> = unwanted.named().map(|(name, _)| name.to_owned()).collect();
        let expected: Vec<_> = (0..10).map(|n| format!("s{n:02}")).collect();
        assert_eq!((names, unwanted.has_more()), (expected, true));
    }
}
