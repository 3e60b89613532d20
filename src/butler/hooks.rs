//! Those who look at streams: callbacks, and queues to other threads.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ahash::AHashMap;
use bytes::Bytes;
use smallvec::SmallVec;
use tokio::sync::Notify;

use crate::keys::StreamKey;
use crate::proto::logpb::{LogEntry, LogStreamDescriptor};
use crate::watch;
use crate::watch::budget::{Budget, SharedEntry};
use crate::watch::queue::{Sender, StreamWatch};
use crate::watch::whole::Whole;
use crate::wire::name::StreamName;

/// Sees the entries of one stream, then `None` once at its end.
pub type ChunkCallback = Box<dyn FnMut(Option<&LogEntry>)>;

/// Is asked about each new stream; what it returns watches that stream.
pub type RegistrationCallback = Box<dyn FnMut(&LogStreamDescriptor) -> Option<ChunkCallback>>;

/// Is a new stream to be watched?
pub(crate) type Selects = Box<dyn FnMut(&LogStreamDescriptor) -> bool>;

/// Who is asked about new streams.
enum Asked {
    Callback {
        callback: RegistrationCallback,
        wrap: bool,
    },
    Queue {
        selects: Selects,
        queue: Sender,
    },
}

/// Who looks at one stream.
enum Viewer {
    Callback {
        callback: ChunkCallback,
        whole: Option<Whole>,
    },
    Queue(StreamWatch),
}

type Viewers = SmallVec<[Viewer; 1]>;

/// Callbacks are run with nothing borrowed: they may use the butler. What that
/// brings about for other callbacks, or for themselves, comes after they return.
/// One that panics is not called again; the stream goes on.
pub(super) struct Hooks {
    registrations: RefCell<Vec<Asked>>,
    /// New streams that are still to be asked about.
    opened: RefCell<VecDeque<(StreamKey, LogStreamDescriptor)>>,
    is_asking: Cell<bool>,
    viewers: RefCell<AHashMap<StreamKey, Viewers>>,
    is_showing: Cell<bool>,
    /// Some queue is full.
    holds_up: Cell<bool>,
    budget: Arc<Budget>,
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
    /// For a butler that may buffer so much. `wake` is told when streams that
    /// waited for those who watch them may go on.
    pub fn new(buffered_max: u64, wake: Arc<Notify>) -> Self {
        Self {
            registrations: RefCell::default(),
            opened: RefCell::default(),
            is_asking: Cell::new(false),
            viewers: RefCell::default(),
            is_showing: Cell::new(false),
            holds_up: Cell::new(false),
            budget: Budget::new(buffered_max, wake),
        }
    }

    /// What those who watch may hold.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    pub fn add(&self, callback: RegistrationCallback, wrap: bool) {
        let registration = Asked::Callback { callback, wrap };
        self.registrations.borrow_mut().push(registration);
    }

    /// Puts all that is seen of the streams that are selected in `queue`.
    pub fn add_queue(&self, selects: Selects, queue: Sender) {
        let registration = Asked::Queue { selects, queue };
        self.registrations.borrow_mut().push(registration);
    }

    /// Nobody is asked any more.
    pub fn forget(&self) {
        self.registrations.take();
    }

    /// Nobody asks about streams.
    pub fn is_empty(&self) -> bool {
        !self.is_asking.get() && self.registrations.borrow().is_empty()
    }

    /// A stream was opened: somebody is to be asked about it.
    pub fn opened(&self, key: StreamKey, descriptor: LogStreamDescriptor) {
        self.opened.borrow_mut().push_back((key, descriptor));
    }

    /// Asks about the streams that were opened, until one is to be watched. A
    /// stream that a callback opens is asked about when that has returned.
    pub fn next_watched(&self) -> Option<StreamKey> {
        let _running = Running::begin(&self.is_asking)?;
        loop {
            let (key, descriptor) = self.opened.borrow_mut().pop_front()?;
            let viewers = self.ask(&descriptor);
            if !viewers.is_empty() {
                self.viewers.borrow_mut().insert(key, viewers);
                return Some(key);
            }
        }
    }

    /// Asks in the order in which they were added: of the callbacks until one
    /// watches it, and all queues.
    fn ask(&self, descriptor: &LogStreamDescriptor) -> Viewers {
        let mut registrations = self.registrations.take();
        let mut viewers = Viewers::new();
        let mut has_callback = false;
        registrations.retain_mut(|registration| match registration {
            Asked::Callback { .. } if has_callback => true,
            Asked::Callback { callback, wrap } => {
                let asked = guarded(|| callback(descriptor));
                if let Some(Some(callback)) = asked {
                    has_callback = true;
                    let whole = wrap.then(|| Whole::new(&self.budget));
                    viewers.push(Viewer::Callback { callback, whole });
                    return true;
                }
                asked.is_some()
            }
            Asked::Queue { queue, .. } if queue.is_closed() => false,
            Asked::Queue { selects, queue } => {
                let selected = guarded(|| selects(descriptor));
                if selected == Some(true) {
                    let name = StreamName::new(&*descriptor.name).expect("it is a stream's");
                    viewers.push(Viewer::Queue(StreamWatch::new(queue.clone(), name)));
                }
                selected.is_some()
            }
        });
        // Those that a callback added come after those that were there.
        let added = self.registrations.replace(registrations);
        self.registrations.borrow_mut().extend(added);
        viewers
    }

    /// Entries may be shown to viewers now: none is being shown.
    pub fn begin_to_show(&self) -> Option<Running<'_>> {
        Running::begin(&self.is_showing)
    }

    /// A watched stream had an entry, or has ended.
    pub fn entry(&self, key: StreamKey, logs: Option<Bytes>) {
        let Some(mut viewers) = self.viewers.borrow_mut().remove(&key) else {
            return;
        };
        match logs {
            Some(logs) => {
                let logs = SharedEntry::new(logs, &self.budget);
                viewers.retain(|viewer| viewer.entry(&logs));
                let full = viewers.iter().any(Viewer::holds_up);
                self.holds_up.set(self.holds_up.get() || full);
                self.viewers.borrow_mut().insert(key, viewers);
            }
            None => viewers.into_iter().for_each(Viewer::end),
        }
    }

    /// Is the stream not to be read, as somebody who watches it is behind?
    pub fn holds_up(&self, key: StreamKey) -> bool {
        self.holds_up.get()
            && self
                .viewers
                .borrow()
                .get(&key)
                .is_some_and(|viewers| viewers.iter().any(Viewer::holds_up))
    }

    /// Those who were behind may have caught up.
    pub fn look_again(&self) {
        if self.holds_up.get() && self.budget.has_news() {
            let viewers = self.viewers.borrow();
            let mut viewers = viewers.values().flatten();
            self.holds_up.set(viewers.any(Viewer::holds_up));
        }
    }
}

impl Viewer {
    /// False if it looks no more.
    fn entry(&mut self, logs: &SharedEntry) -> bool {
        match self {
            Self::Queue(watched) => {
                watched.entry(logs);
                !watched.queue.is_closed()
            }
            Self::Callback { callback, whole } => {
                let entry = watch::decode(logs.bytes().clone());
                let shown = match whole {
                    Some(whole) => whole.push(entry),
                    None => Some(entry),
                };
                shown.is_none_or(|entry| guarded(|| callback(Some(&entry))).is_some())
            }
        }
    }

    fn end(self) {
        // A queue is told when what it watched is dropped.
        if let Self::Callback {
            mut callback,
            whole,
        } = self
        {
            let last = whole.and_then(Whole::finish);
            guarded(|| {
                if let Some(entry) = last {
                    callback(Some(&entry));
                }
                callback(None);
            });
        }
    }

    fn holds_up(&self) -> bool {
        match self {
            Self::Callback { .. } => false,
            Self::Queue(watched) => watched.queue.holds_up(),
        }
    }
}

/// Runs what is not ours. `None`: it panicked, and is not to be run again.
fn guarded<R>(callback: impl FnOnce() -> R) -> Option<R> {
    // It is dropped now, so that nobody sees the state that it has left.
    let returned = catch_unwind(AssertUnwindSafe(callback));
    if returned.is_err() {
        log::error!("a callback has panicked and is not called again; its streams go on");
    }
    returned.ok()
}
