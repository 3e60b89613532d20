//! What a plan leaves open is drawn here, and here things are done wrong.

use crate::broken::Broken;
use crate::plan::{Fault, Plan};
use crate::random::Random;

#[derive(Debug)]
pub struct Chance {
    pub random: Random,
    pub broken: Option<Broken>,
    /// It was done; once is enough.
    broke: bool,
    faults: Vec<Fault>,
    read_max: usize,
}

impl Chance {
    pub fn new(plan: &Plan, broken: Option<Broken>) -> Self {
        Self {
            random: Random::new(plan.seed),
            broken,
            broke: false,
            faults: plan.faults.clone(),
            read_max: plan.read_max,
        }
    }

    pub fn is_allowed(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    /// Does it happen, if it may, once in `times`?
    pub fn happens(&mut self, fault: Fault, times: u64) -> bool {
        self.is_allowed(fault) && self.random.one_in(times)
    }

    /// Is it done wrong now?
    pub fn breaks(&mut self, how: Broken) -> bool {
        let breaks = self.broken == Some(how) && !self.broke;
        self.broke |= breaks;
        breaks
    }

    /// Some time up to that many milliseconds.
    pub fn nanos(&mut self, ms_max: u64) -> u64 {
        self.random.below(ms_max * 1_000_000) + 1
    }

    /// Bytes that a read brings at most.
    pub fn read_len(&mut self) -> usize {
        if self.is_allowed(Fault::ShortReads) {
            self.random.size(1, self.read_max)
        } else {
            self.read_max
        }
    }
}
