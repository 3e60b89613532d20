//! Which signals are one demand.
//!
//! Whoever ends a program decides that once, and it may get several signals for
//! it: timeout(1) sends one to its child and then one to the group, a user holds
//! Ctrl-C down for a moment. So what comes within a second is one demand. Only
//! who waits for longer, and sees us go on, means it when they ask again.

/// How long the signals of one decision may take to come.
const ONE_DECISION_NS: u64 = 1_000_000_000;

/// What a signal is that asks for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Demand {
    /// The first.
    First,
    /// The last one once more: it adds nothing.
    Same,
    /// One that was made after the last one was acted on.
    Again,
}

/// The demands of one kind so far. Times are on the monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Demands {
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    /// When its first signal came.
    came_ns: u64,
    acted_on_ns: u64,
}

impl Demands {
    /// A signal that came at `came_ns` is acted on now.
    pub fn take(&mut self, came_ns: u64, now_ns: u64) -> Demand {
        let demand = match &self.last {
            None => Demand::First,
            // A second that was asked for before the first had any effect says
            // nothing of what the first one did.
            Some(last)
                if came_ns <= last.acted_on_ns
                    || came_ns.saturating_sub(last.came_ns) < ONE_DECISION_NS =>
            {
                return Demand::Same;
            }
            Some(_) => Demand::Again,
        };
        self.last = Some(Last {
            came_ns,
            acted_on_ns: now_ns,
        });
        demand
    }

    /// Has there been one?
    pub fn any(&self) -> bool {
        self.last.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn what_comes_within_a_second_is_one() {
        let mut demands = Demands::default();
        assert!(!demands.any());
        for (came_ms, demand) in [
            (5, Demand::First),
            (5, Demand::Same),
            (6, Demand::Same),
            (700, Demand::Same),
            (1004, Demand::Same),
            (1005, Demand::Again),
            (1300, Demand::Same),
            (2005, Demand::Again),
        ] {
            let found = demands.take(came_ms * MS, came_ms * MS + 1);
            assert_eq!(found, demand, "at {came_ms} ms");
            assert!(demands.any());
        }
    }

    #[test]
    fn what_came_before_the_first_had_an_effect_is_one_with_it() {
        let mut demands = Demands::default();
        assert_eq!(demands.take(0, 3000 * MS), Demand::First);
        for came_ms in [1500, 2999, 3000] {
            assert_eq!(demands.take(came_ms * MS, 3001 * MS), Demand::Same);
        }
        assert_eq!(demands.take(3002 * MS, 3003 * MS), Demand::Again);
    }
}
