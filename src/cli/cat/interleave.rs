//! The second stage of the pipeline: entries of several streams in the order
//! of their prefix_index.
//!
//! Every index has its turn, those too of entries that are not shown, so that
//! nothing waits for them. What waits too long, or for more than
//! [`CAT_HELD_MAX`], is shown out of order; nothing is lost here.

use std::cmp::Reverse;
use std::io;

use super::order::{Place, Sequencer};
use super::streams::{OriginId, StreamId};
use crate::limits::CAT_HELD_MAX;
use crate::wire::bundle_view::LogView;

/// What a held entry takes besides its bytes, about.
pub const HELD_OVERHEAD: usize = 128;

/// Shows an entry whose turn it is.
pub type Show<'a> = dyn FnMut(StreamId, &LogView<'_>) -> io::Result<()> + 'a;

/// Puts the entries of each prefix in order.
#[derive(Debug, Default)]
pub struct Interleave {
    /// By OriginId.
    origins: Vec<Turns>,
    held: usize,
}

#[derive(Debug)]
struct Turns {
    order: Sequencer<Turn>,
    held: usize,
}

/// Who has its turn at a prefix_index.
#[derive(Debug)]
enum Turn {
    /// An entry that is to be shown.
    Show(StreamId, Box<[u8]>),
    /// One that is not.
    Pass,
}

impl Turns {
    fn new(first: u64) -> Self {
        Self {
            order: Sequencer::new(first),
            held: 0,
        }
    }
}

impl Turn {
    fn size(&self) -> usize {
        match self {
            Self::Show(_, bytes) => HELD_OVERHEAD + bytes.len(),
            Self::Pass => HELD_OVERHEAD,
        }
    }
}

impl Interleave {
    /// The origin is new; `first` has the first turn.
    pub fn begin(&mut self, origin: OriginId, first: u64) {
        match self.origins.get_mut(origin.0) {
            // Another had its number; nothing of that is held.
            Some(turns) => *turns = Turns::new(first),
            None => self.origins.resize_with(origin.0 + 1, || Turns::new(first)),
        }
    }

    /// The first turn is not after `index`. Only before anything is offered.
    pub fn begins_by(&mut self, origin: OriginId, index: u64) {
        let turns = &mut self.origins[origin.0];
        if index < turns.order.next() {
            *turns = Turns::new(index);
        }
    }

    #[cfg(test)]
    pub fn held(&self) -> usize {
        self.held
    }

    /// Takes an entry, shows it in its turn, and then those that waited.
    pub fn offer(
        &mut self,
        origin: OriginId,
        id: StreamId,
        log: &LogView<'_>,
        show: &mut Show<'_>,
    ) -> io::Result<()> {
        let order = &mut self.origins[origin.0].order;
        match order.place(log.prefix_index) {
            Place::Due => {
                order.advance();
                show(id, log)?;
                self.take_turns(origin, show)
            }
            Place::Early if !order.holds(log.prefix_index) => {
                let turn = Turn::Show(id, log.bytes.into());
                self.wait(origin, log.prefix_index, turn, show)
            }
            // Its turn is over, or somebody else has it: better out of
            // order than not at all.
            Place::Early | Place::Past => show(id, log),
        }
    }

    /// The index is that of an entry which is not shown here.
    pub fn pass(
        &mut self,
        origin: OriginId,
        prefix_index: u64,
        show: &mut Show<'_>,
    ) -> io::Result<()> {
        let order = &mut self.origins[origin.0].order;
        match order.place(prefix_index) {
            Place::Due => {
                order.advance();
                self.take_turns(origin, show)
            }
            Place::Early if !order.holds(prefix_index) => {
                self.wait(origin, prefix_index, Turn::Pass, show)
            }
            Place::Early | Place::Past => Ok(()),
        }
    }

    /// Shows all that waits.
    pub fn release(&mut self, show: &mut Show<'_>) -> io::Result<()> {
        for origin in (0..self.origins.len()).map(OriginId) {
            while self.give_up(origin, show)? {}
        }
        Ok(())
    }

    /// Called at every poll: shows what waited in so many of them for the
    /// same turn.
    pub fn poll(&mut self, polls_max: u32, show: &mut Show<'_>) -> io::Result<()> {
        for origin in (0..self.origins.len()).map(OriginId) {
            if self.origins[origin.0].order.is_stuck(polls_max) {
                self.give_up(origin, show)?;
            }
        }
        Ok(())
    }

    fn wait(
        &mut self,
        origin: OriginId,
        prefix_index: u64,
        turn: Turn,
        show: &mut Show<'_>,
    ) -> io::Result<()> {
        let turns = &mut self.origins[origin.0];
        turns.held += turn.size();
        self.held += turn.size();
        turns.order.hold(prefix_index, turn);
        if self.held <= CAT_HELD_MAX {
            return Ok(());
        }
        // The largest first, and down to a half, so that the search is rare.
        let mut ids: Vec<_> = (0..self.origins.len()).map(OriginId).collect();
        ids.retain(|id| self.origins[id.0].held > 0);
        ids.sort_unstable_by_key(|id| Reverse(self.origins[id.0].held));
        for id in ids {
            while self.held > CAT_HELD_MAX / 2 && self.give_up(id, show)? {}
        }
        Ok(())
    }

    /// Gives the turn to the first that waits; says whether there was one.
    fn give_up(&mut self, origin: OriginId, show: &mut Show<'_>) -> io::Result<bool> {
        let is_waiting = self.origins[origin.0].order.give_up().is_some();
        self.take_turns(origin, show)?;
        Ok(is_waiting)
    }

    fn take_turns(&mut self, origin: OriginId, show: &mut Show<'_>) -> io::Result<()> {
        while let Some(turn) = self.origins[origin.0].order.take_due() {
            self.origins[origin.0].held -= turn.size();
            self.held -= turn.size();
            // It parsed before it was held.
            if let Turn::Show(id, bytes) = turn
                && let Ok(log) = LogView::parse(&bytes)
            {
                show(id, &log)?;
            }
        }
        Ok(())
    }
}
