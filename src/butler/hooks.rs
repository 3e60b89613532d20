//! The callbacks of the library, and what they see.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;

use ahash::AHashMap;

use crate::proto::logpb::{LogEntry, LogStreamDescriptor};
use crate::stream::StreamKey;
use crate::watch::Wrapper;
use crate::wire::descriptor::StreamType;

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

/// Callbacks are run with nothing borrowed: they may use the butler. What that
/// brings about for other callbacks, or for themselves, comes after they return.
#[derive(Default)]
pub(super) struct Hooks {
    registrations: RefCell<Vec<Registration>>,
    /// New streams that callbacks are still to be asked about.
    opened: RefCell<VecDeque<(StreamKey, LogStreamDescriptor)>>,
    is_asking: Cell<bool>,
    watchers: RefCell<AHashMap<StreamKey, Watcher>>,
    is_showing: Cell<bool>,
}

/// While it lives callbacks of one kind are run, and not once more within
/// themselves.
pub(super) struct Running<'a>(&'a Cell<bool>);

impl<'a> Running<'a> {
    fn begin(is_running: &'a Cell<bool>) -> Option<Self> {
        (!is_running.replace(true)).then_some(Self(is_running))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
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

    /// Nobody asks about streams.
    pub fn is_empty(&self) -> bool {
        !self.is_asking.get() && self.registrations.borrow().is_empty()
    }

    /// A stream was opened: callbacks are to be asked about it.
    pub fn opened(&self, key: StreamKey, descriptor: LogStreamDescriptor) {
        self.opened.borrow_mut().push_back((key, descriptor));
    }

    /// Asks about the streams that were opened, until one is to be watched. A
    /// stream that a callback opens is asked about when that has returned.
    pub fn next_watched(&self) -> Option<StreamKey> {
        let _running = Running::begin(&self.is_asking)?;
        loop {
            let (key, descriptor) = self.opened.borrow_mut().pop_front()?;
            if let Some(watcher) = self.ask(&descriptor) {
                self.watchers.borrow_mut().insert(key, watcher);
                return Some(key);
            }
        }
    }

    /// Asks the callbacks in the order in which they were added.
    fn ask(&self, descriptor: &LogStreamDescriptor) -> Option<Watcher> {
        let mut registrations = self.registrations.take();
        let watcher = registrations.iter_mut().find_map(|registration| {
            let callback = (registration.callback)(descriptor)?;
            let kind = StreamType::from_proto(descriptor.stream_type());
            Some(Watcher {
                callback,
                wrapper: registration.wrap.then(|| Wrapper::new(kind)),
            })
        });
        // Those that a callback added come after those that were there.
        let added = self.registrations.replace(registrations);
        self.registrations.borrow_mut().extend(added);
        watcher
    }

    /// Entries may be shown to watchers now: none is being shown.
    pub fn begin_to_show(&self) -> Option<Running<'_>> {
        Running::begin(&self.is_showing)
    }

    /// A watched stream had an entry, or has ended.
    pub fn entry(&self, key: StreamKey, entry: Option<LogEntry>) {
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
