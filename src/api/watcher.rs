//! What is seen of streams, on the thread of who looks.

use std::fmt;

use ahash::AHashMap;

use super::reply::block_on;
use crate::proto::logpb::{LogEntry, LogStreamDescriptor};
use crate::watch;
use crate::watch::queue::{Receiver, Seen, Sighting};
use crate::watch::whole::Whole;
use crate::wire::name::{Namespace, StreamName};

/// Which streams are watched.
#[non_exhaustive]
pub enum Selector {
    /// All.
    All,
    /// The one of that name.
    Stream(StreamName),
    /// Those in that namespace.
    Namespace(Namespace),
    /// Those of which this is true. It is called on the butler's thread, and
    /// must not wait for anything.
    Where(Box<dyn FnMut(&LogStreamDescriptor) -> bool + Send>),
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("All"),
            Self::Stream(name) => f.debug_tuple("Stream").field(name).finish(),
            Self::Namespace(namespace) => f.debug_tuple("Namespace").field(namespace).finish(),
            Self::Where(_) => f.debug_tuple("Where").finish_non_exhaustive(),
        }
    }
}

impl From<StreamName> for Selector {
    fn from(name: StreamName) -> Self {
        Self::Stream(name)
    }
}

impl From<Namespace> for Selector {
    fn from(namespace: Namespace) -> Self {
        Self::Namespace(namespace)
    }
}

impl Selector {
    pub(super) fn selects(&mut self, descriptor: &LogStreamDescriptor) -> bool {
        match self {
            Self::All => true,
            Self::Stream(name) => descriptor.name == name.as_str(),
            Self::Namespace(namespace) => descriptor.name.starts_with(namespace.as_str()),
            Self::Where(selects) => selects(descriptor),
        }
    }
}

/// How entries are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// Text in whole lines, datagrams whole. Stream indices and sequences count
    /// what is seen; time offset and prefix index are 0. A line may lack its
    /// end at the end of its stream; a datagram that is never completed is not
    /// seen. What is larger than 16 MiB comes in parts, as does what there is
    /// no memory for.
    Whole,
    /// Exactly as they are sent.
    Chunks,
}

/// What is seen of a watched stream.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum WatchEvent {
    /// It has an entry.
    Entry {
        /// The stream.
        stream: StreamName,
        /// The entry.
        entry: LogEntry,
    },
    /// Nothing more is seen of it. Of each stream this comes once, however it
    /// and its butler end.
    #[non_exhaustive]
    End {
        /// The stream.
        stream: StreamName,
        /// Entries that are not seen: the butler had to end and did not wait
        /// for a watcher that was behind.
        missed: u64,
    },
}

/// Sees what streams carry: iterate over it, or await [`recv`](Self::recv).
/// It ends when the butler has ended.
///
/// Take what comes: while a good part of what a watcher may hold waits in it,
/// the streams that it watches are not read, and their writers wait; other
/// streams go on. All watchers together may hold half of
/// [`Config::max_buffered`](crate::Config::max_buffered), and it counts as
/// buffered. A butler that ends does not wait: see [`WatchEvent::End`]. When the
/// watcher is dropped its streams go on without.
#[derive(Debug)]
pub struct Watcher {
    /// `None`: there was no butler any more.
    receiver: Option<Receiver>,
    /// Of each stream what is not whole yet, if it is to be.
    whole: Option<AHashMap<StreamName, Whole>>,
    /// The end of a stream that had a last entry.
    end: Option<WatchEvent>,
}

impl Watcher {
    pub(super) fn new(receiver: Option<Receiver>, watch: Watch) -> Self {
        Self {
            receiver,
            whole: match watch {
                Watch::Whole => Some(AHashMap::default()),
                Watch::Chunks => None,
            },
            end: None,
        }
    }

    /// What is seen next; `None` when the butler has ended. Nothing is lost if
    /// the future is dropped.
    pub async fn recv(&mut self) -> Option<WatchEvent> {
        loop {
            if let Some(end) = self.end.take() {
                return Some(end);
            }
            let event = self.receiver.as_mut()?.recv().await?;
            if let Some(seen) = self.see(event) {
                return Some(seen);
            }
        }
    }

    fn see(&mut self, event: Sighting) -> Option<WatchEvent> {
        let Sighting { stream, seen, .. } = event;
        match seen {
            Seen::Entry(logs) => {
                let entry = watch::decode(logs.bytes().clone());
                let entry = match &mut self.whole {
                    None => entry,
                    Some(whole) => {
                        let budget = self.receiver.as_ref()?.budget();
                        let whole = whole.entry(stream.clone());
                        whole.or_insert_with(|| Whole::new(budget)).push(entry)?
                    }
                };
                Some(WatchEvent::Entry { stream, entry })
            }
            Seen::End { missed } => {
                let whole = self.whole.as_mut().and_then(|whole| whole.remove(&stream));
                let end = WatchEvent::End {
                    stream: stream.clone(),
                    missed,
                };
                match whole.and_then(Whole::finish) {
                    None => Some(end),
                    Some(entry) => {
                        self.end = Some(end);
                        Some(WatchEvent::Entry { stream, entry })
                    }
                }
            }
        }
    }
}

impl Iterator for Watcher {
    type Item = WatchEvent;

    /// Blocks until there is something: in async code await
    /// [`recv`](Watcher::recv).
    fn next(&mut self) -> Option<WatchEvent> {
        block_on(self.recv())
    }
}
