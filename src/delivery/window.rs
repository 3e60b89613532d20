//! What is in flight: the messages that the output has and has not told the
//! outcome of.
//!
//! The output may tell of them in any order.

use std::collections::VecDeque;
use std::sync::Arc;

use super::message::{Message, Ticket};

/// What an output takes before it has told the outcome of any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Messages.
    pub messages: usize,
    /// Bytes of memory that they take: one more is given out while they take
    /// less.
    pub bytes: usize,
    /// One more is also given out when memory fills up: it keeps it elsewhere.
    pub overflows: bool,
}

impl Capacity {
    /// One message after the other.
    pub const ONE: Self = Self::of(1, usize::MAX);
    /// As many as there are.
    pub const UNBOUNDED: Self = Self::of(usize::MAX, usize::MAX);

    /// So many messages, and bytes that they take.
    pub const fn of(messages: usize, bytes: usize) -> Self {
        Self {
            messages,
            bytes,
            overflows: false,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Window {
    pub capacity: Capacity,
    /// By ticket, the oldest first.
    messages: VecDeque<Arc<Message>>,
}

impl Window {
    pub fn new(capacity: Capacity) -> Self {
        Self {
            capacity,
            messages: VecDeque::new(),
        }
    }

    /// May the output have one more message?
    pub fn has_room(&self) -> bool {
        self.places_left() > 0
    }

    /// How many more messages it may have, if they are small.
    pub fn places_left(&self) -> usize {
        let bytes: usize = self.messages.iter().map(|it| it.memory).sum();
        match bytes < self.capacity.bytes {
            true => self.capacity.messages.saturating_sub(self.messages.len()),
            false => 0,
        }
    }

    /// The output gets the message. Messages come in the order of their
    /// tickets.
    pub fn begin(&mut self, message: &Arc<Message>) {
        let last = self.messages.back().map(|it| it.ticket);
        assert!(last < Some(message.ticket), "messages leave in order");
        self.messages.push_back(Arc::clone(message));
    }

    /// The message of the ticket.
    pub fn get_mut(&mut self, ticket: Ticket) -> Option<&mut Arc<Message>> {
        let at = self.position(ticket)?;
        self.messages.get_mut(at)
    }

    /// The outcome of the message is known: it is in flight no more.
    pub fn end(&mut self, ticket: Ticket) -> Option<Arc<Message>> {
        let at = self.position(ticket)?;
        self.messages.remove(at)
    }

    /// The message that is longest in flight.
    pub fn oldest(&self) -> Option<Ticket> {
        self.messages.front().map(|it| it.ticket)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Message>> {
        self.messages.iter()
    }

    /// Panics unless they stand in the order of their tickets.
    pub fn invariants(&self) {
        assert!(
            self.messages.iter().is_sorted_by_key(|it| it.ticket),
            "by ticket"
        );
        assert!(
            self.capacity.overflows || self.len() <= self.capacity.messages,
            "{} are in flight",
            self.len()
        );
    }

    pub fn len(&self) -> usize {
        self.messages.len()
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    fn position(&self, ticket: Ticket) -> Option<usize> {
        self.messages
            .binary_search_by_key(&ticket, |it| it.ticket)
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::testing::{bundles, lines};
    use crate::wire::descriptor::StreamType;

    #[test]
    fn acknowledged_in_any_order() {
        let messages = bundles(5000, &[("s", StreamType::Text, &lines(30_000))]);
        let mut window = Window::new(Capacity::of(3, usize::MAX));
        assert!(window.is_empty() && window.oldest().is_none());
        for message in &messages[..3] {
            assert!(window.has_room());
            window.begin(message);
        }
        assert!(!window.has_room());
        let tickets: Vec<_> = messages.iter().map(|it| it.ticket()).collect();
        assert_eq!(window.end(tickets[1]).unwrap().ticket(), tickets[1]);
        assert!(window.has_room());
        assert!(window.end(tickets[1]).is_none() && window.end(tickets[3]).is_none());
        assert_eq!((window.len(), window.oldest()), (2, Some(tickets[0])));
        assert!(window.end(tickets[0]).is_some());
        assert_eq!(window.oldest(), Some(tickets[2]));

        // Bytes have a bound of their own.
        window.capacity.bytes = messages[2].memory;
        assert!(!window.has_room());
        window.capacity.bytes += 1;
        assert!(window.has_room());
    }
}
