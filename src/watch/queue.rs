//! The way of what is watched to another thread.

use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::budget::{Budget, Portion, Share, SharedEntry};
use crate::wire::name::StreamName;

/// Something of a watched stream.
#[derive(Debug)]
pub(crate) enum Seen {
    /// An entry, encoded as a `logs` field.
    Entry(SharedEntry),
    /// The stream's end. So many entries found no room.
    End { missed: u64 },
}

/// One thing that was seen, and is held until it is taken.
#[derive(Debug)]
pub(crate) struct Sighting {
    pub stream: StreamName,
    pub seen: Seen,
    _held: Portion,
}

/// Where events of streams are put. Clones put them in the same queue.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    events: UnboundedSender<Sighting>,
    share: Arc<Share>,
}

/// Where they are taken. Dropped, it holds nothing up any more.
#[derive(Debug)]
pub(crate) struct Receiver {
    events: UnboundedReceiver<Sighting>,
    budget: Arc<Budget>,
}

/// A queue within the budget.
pub(crate) fn queue(budget: &Arc<Budget>) -> (Sender, Receiver) {
    let (sender, receiver) = unbounded_channel();
    let share = Share::new(budget);
    let receiver = Receiver {
        events: receiver,
        budget: Arc::clone(budget),
    };
    let sender = Sender {
        events: sender,
        share,
    };
    (sender, receiver)
}

impl Sender {
    /// Nobody looks any more.
    pub fn is_closed(&self) -> bool {
        self.events.is_closed()
    }

    /// Are the streams that are watched here not to be read now?
    pub fn holds_up(&self) -> bool {
        !self.is_closed() && self.share.holds_up()
    }

    fn send(&self, stream: &StreamName, seen: Seen, bytes: usize) {
        let event = Sighting {
            stream: stream.clone(),
            seen,
            _held: self.share.hold(bytes),
        };
        // Whoever looks no more misses nothing.
        let _ = self.events.send(event);
    }
}

/// One stream, on its way into a queue. At its end it is told once.
#[derive(Debug)]
pub(crate) struct StreamWatch {
    pub queue: Sender,
    stream: StreamName,
    missed: u64,
}

impl StreamWatch {
    pub fn new(queue: Sender, stream: StreamName) -> Self {
        Self {
            queue,
            stream,
            missed: 0,
        }
    }

    /// The stream has put out an entry.
    pub fn entry(&mut self, logs: &SharedEntry) {
        match self.queue.share.must_miss() {
            true => self.missed += 1,
            false => {
                let bytes = logs.bytes().len();
                let seen = Seen::Entry(logs.clone());
                self.queue.send(&self.stream, seen, bytes);
            }
        }
    }
}

impl Drop for StreamWatch {
    /// However it comes about that nothing more is to be seen of the stream.
    fn drop(&mut self) {
        let missed = self.missed;
        self.queue.send(&self.stream, Seen::End { missed }, 0);
    }
}

impl Receiver {
    /// The next event; `None` when the butler has ended.
    pub async fn recv(&mut self) -> Option<Sighting> {
        self.events.recv().await
    }

    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }
}
