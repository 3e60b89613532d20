//! A set of numbers that are mostly in a row.

/// See the module. As many ranges as there are gaps between them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges {
    /// First and last, in order, with a gap between two of them.
    ranges: Vec<(u32, u32)>,
}

impl Ranges {
    /// Adds all from `first` to `last`, both included.
    pub fn insert(&mut self, first: u32, last: u32) {
        if first > last {
            return;
        }
        // Those that overlap or touch it become one with it.
        let from = self
            .ranges
            .partition_point(|range| u64::from(range.1) + 1 < u64::from(first));
        let to = self
            .ranges
            .partition_point(|range| u64::from(range.0) <= u64::from(last) + 1);
        let joined = self.ranges[from..to]
            .iter()
            .fold((first, last), |joined, range| {
                (joined.0.min(range.0), joined.1.max(range.1))
            });
        self.ranges.splice(from..to, [joined]);
    }

    /// Is the number in it?
    pub fn contains(&self, number: u32) -> bool {
        let at = self.ranges.partition_point(|range| range.1 < number);
        self.ranges.get(at).is_some_and(|range| range.0 <= number)
    }

    /// Are all numbers below `end` in it?
    pub fn has_all_below(&self, end: u32) -> bool {
        end == 0
            || self
                .ranges
                .first()
                .is_some_and(|range| range.0 == 0 && range.1 >= end - 1)
    }

    /// How many numbers are in it.
    pub fn count(&self) -> u64 {
        let len = |range: &(u32, u32)| u64::from(range.1 - range.0) + 1;
        self.ranges.iter().map(len).sum()
    }

    /// First and last of each run of numbers, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32)> {
        self.ranges.iter().copied()
    }

    /// No number is in it.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Takes all numbers out.
    pub fn clear(&mut self) {
        self.ranges.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn is_a_set(inserted in prop::collection::vec((0..60u32, 0..6u32), 0..30)) {
            let mut ranges = Ranges::default();
            let mut set = BTreeSet::new();
            for (first, more) in inserted {
                ranges.insert(first, first + more);
                set.extend(first..=first + more);
                for number in 0..70 {
                    prop_assert_eq!(ranges.contains(number), set.contains(&number));
                    let all = (0..number).all(|below| set.contains(&below));
                    prop_assert_eq!(ranges.has_all_below(number), all);
                }
                prop_assert_eq!(ranges.count(), set.len() as u64);
                let apart: Vec<_> = ranges.iter().collect();
                prop_assert!(apart.windows(2).all(|it| it[0].1 + 1 < it[1].0));
            }
        }
    }

    #[test]
    fn the_largest_numbers() {
        let mut ranges = Ranges::default();
        ranges.insert(u32::MAX, u32::MAX);
        ranges.insert(5, 4);
        ranges.insert(u32::MAX - 1, u32::MAX - 1);
        assert_eq!(
            ranges.iter().collect::<Vec<_>>(),
            [(u32::MAX - 1, u32::MAX)]
        );
        ranges.insert(0, u32::MAX);
        assert!(ranges.has_all_below(u32::MAX) && ranges.contains(7));
    }
}
