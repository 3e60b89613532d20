//! The entries of watched streams, on their way to those who watch.

use std::collections::VecDeque;

use bytes::Bytes;

use super::StreamKey;

/// In the order in which they were put out; `None` is a stream's end.
#[derive(Debug, Default)]
pub(crate) struct WatchEvents {
    queue: VecDeque<(StreamKey, Option<Bytes>)>,
    held: usize,
}

impl WatchEvents {
    /// An entry, encoded as a `logs` field, was put out.
    pub fn entry(&mut self, key: StreamKey, logs: &[u8]) {
        self.held += logs.len();
        self.queue
            .push_back((key, Some(Bytes::copy_from_slice(logs))));
    }

    /// The stream has ended.
    pub fn end(&mut self, key: StreamKey) {
        self.queue.push_back((key, None));
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub fn pop(&mut self) -> Option<(StreamKey, Option<Bytes>)> {
        let (key, logs) = self.queue.pop_front()?;
        self.held -= logs.as_ref().map_or(0, Bytes::len);
        Some((key, logs))
    }

    /// Bytes of memory that hold data.
    pub fn held(&self) -> usize {
        self.held
    }
}
