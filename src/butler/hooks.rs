//! The callbacks of the library, and what they see.

use std::cell::RefCell;
use std::fmt;

use ahash::AHashMap;

use crate::proto::logpb::{LogEntry, LogStreamDescriptor};
use crate::stream::arena::Key;
use crate::watch::Wrapper;

/// Sees the entries of one stream, then `None` once at its end.
pub type ChunkCallback = Box<dyn FnMut(Option<&LogEntry>)>;

/// Is asked about each new stream; what it returns watches that stream.
pub type RegistrationCallback = Box<dyn FnMut(&LogStreamDescriptor) -> Option<ChunkCallback>>;

struct Registration {
    callback: RegistrationCallback,
    wrap: bool,
}

struct Watcher {
    callback: ChunkCallback,
    wrapper: Option<Wrapper>,
}

/// Callbacks are run with nothing borrowed: they may use the butler.
#[derive(Default)]
pub(super) struct Hooks {
    registrations: RefCell<Vec<Registration>>,
    watchers: RefCell<AHashMap<Key, Watcher>>,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").finish_non_exhaustive()
    }
}

impl Hooks {
    pub fn add(&self, callback: RegistrationCallback, wrap: bool) {
        self.registrations
            .borrow_mut()
            .push(Registration { callback, wrap });
    }

    pub fn is_empty(&self) -> bool {
        self.registrations.borrow().is_empty()
    }

    /// Asks the callbacks about a new stream, in the order in which they were
    /// added. True if one watches it.
    pub fn registered(&self, key: Key, descriptor: &LogStreamDescriptor) -> bool {
        let mut registrations = self.registrations.take();
        let watcher = registrations.iter_mut().find_map(|registration| {
            let callback = (registration.callback)(descriptor)?;
            let kind = crate::wire::descriptor::StreamType::from_proto(descriptor.stream_type());
            Some(Watcher {
                callback,
                wrapper: registration.wrap.then(|| Wrapper::new(kind)),
            })
        });
        // Those that a callback added come after those that were there.
        let added = self.registrations.replace(registrations);
        self.registrations.borrow_mut().extend(added);
        match watcher {
            Some(watcher) => self.watchers.borrow_mut().insert(key, watcher).is_none(),
            None => false,
        }
    }

    /// A watched stream had an entry, or has ended.
    pub fn entry(&self, key: Key, entry: Option<LogEntry>) {
        let Some(mut watcher) = self.watchers.borrow_mut().remove(&key) else {
            return;
        };
        match entry {
            Some(entry) => {
                let shown = match &mut watcher.wrapper {
                    Some(wrapper) => wrapper.push(entry),
                    None => Some(entry),
                };
                if let Some(entry) = shown {
                    (watcher.callback)(Some(&entry));
                }
                self.watchers.borrow_mut().insert(key, watcher);
            }
            None => {
                if let Some(entry) = watcher.wrapper.and_then(Wrapper::finish) {
                    (watcher.callback)(Some(&entry));
                }
                (watcher.callback)(None);
            }
        }
    }
}
