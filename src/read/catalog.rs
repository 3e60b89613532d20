//! Which streams there are that are wanted, and what is known of them.
//!
//! What is not wanted is not held. What is known of the others is bounded by
//! [`READER_STREAMS_MAX`]: an output may have more streams than memory has room
//! for, and then some are left out, which is told.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use prost_types::Timestamp;

use super::origin::{Origin, Unwanted};
use crate::limits::{READER_RUNS_MAX, READER_STREAM_COST, READER_STREAMS_MAX, READER_TAG_COST};
use crate::proto::logpb::LogStreamDescriptor;
use crate::wire::descriptor::StreamType;

/// A stream, for as long as it is not over; then another may get it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub(super) usize);

/// An origin that has streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct OriginId(pub usize);

/// What is known of a stream.
#[derive(Debug)]
pub struct StreamRecord {
    /// But for the name.
    pub descriptor: LogStreamDescriptor,
    /// An earlier run wrote it than the one that its output is of.
    pub is_earlier: bool,
    pub(super) origin: OriginId,
    name: Arc<str>,
    cost: usize,
}

/// All wanted streams that were met so far and have room.
#[derive(Debug)]
pub struct Catalog {
    wants: Wants,
    /// By OriginId.
    origins: Vec<OriginStreams>,
    by_origin: HashMap<Arc<Origin>, OriginId>,
    /// By StreamId; `None`: retired.
    all: Vec<Option<StreamRecord>>,
    /// Those of `origins` and `all` that are free.
    free_origins: Vec<OriginId>,
    free: Vec<StreamId>,
    /// What all that is held costs.
    held: usize,
    left_out: bool,
    unwanted: Unwanted,
    version: u64,
    /// The run that was looked up last, of prefixes that have several.
    current: HashMap<String, u32>,
}

/// What an entry's name, prefix and time lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Located {
    /// A stream that is known.
    Known(StreamId),
    /// None yet; its origin would be this.
    New(Origin),
    /// None, and there are more runs than are told apart.
    OneRunMore,
}

#[derive(Debug)]
struct OriginStreams {
    origin: Arc<Origin>,
    by_name: HashMap<Arc<str>, StreamId>,
}

/// Says whether the stream of that name is wanted.
type Predicate = dyn Fn(&Origin, &str) -> bool + Send;

struct Wants(Box<Predicate>);

impl fmt::Debug for Wants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wants")
    }
}

impl StreamRecord {
    /// Unique in its origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type, which is text if the descriptor has none that is known.
    pub fn kind(&self) -> StreamType {
        let of_proto = |kind: &StreamType| kind.to_proto() == self.descriptor.stream_type();
        StreamType::ALL
            .into_iter()
            .find(of_proto)
            .unwrap_or_default()
    }
}

impl Catalog {
    /// `wants` says whether the stream of that name is wanted.
    pub(super) fn new(wants: impl Fn(&Origin, &str) -> bool + Send + 'static) -> Self {
        Self {
            wants: Wants(Box::new(wants)),
            origins: Vec::new(),
            by_origin: HashMap::new(),
            all: Vec::new(),
            free_origins: Vec::new(),
            free: Vec::new(),
            held: 0,
            left_out: false,
            unwanted: Unwanted::default(),
            version: 0,
            current: HashMap::new(),
        }
    }

    /// The origin, if a stream of it is known.
    pub(super) fn origin(&self, origin: &Origin) -> Option<OriginId> {
        self.by_origin.get(origin).copied()
    }

    /// The stream of that name, if it is known.
    pub fn find(&self, origin: &Origin, name: &str) -> Option<StreamId> {
        let id = self.origin(origin)?;
        self.origins[id.0].by_name.get(name).copied()
    }

    /// The stream of a file's entry. One that has the name of another and
    /// began at another time is of another run.
    pub(super) fn locate(&mut self, prefix: &str, name: &str, began: Option<Timestamp>) -> Located {
        let current = self.current.get(prefix).copied();
        let mut origin = Origin::Prefix(prefix.to_owned(), 0);
        let mut last_has_name = true;
        let mut runs = 0;
        for run in current.into_iter().chain(0..READER_RUNS_MAX) {
            origin.set_run(run);
            let Some(known) = self.origin(&origin) else {
                if Some(run) == current {
                    continue;
                }
                break;
            };
            let id = self.origins[known.0].by_name.get(name).copied();
            if let Some(id) = id
                && self.get(id).descriptor.timestamp == began
            {
                self.set_current(prefix, run);
                return Located::Known(id);
            }
            last_has_name = id.is_some();
            runs = runs.max(run + 1);
        }
        let run = if last_has_name { runs } else { runs - 1 };
        if run >= READER_RUNS_MAX {
            self.left_out = true;
            return Located::OneRunMore;
        }
        self.set_current(prefix, run);
        origin.set_run(run);
        Located::New(origin)
    }

    /// The prefix's origin of the run that was looked up last.
    pub(super) fn current(&self, prefix: &str) -> Option<OriginId> {
        let run = self.current.get(prefix).copied().unwrap_or(0);
        self.origin(&Origin::Prefix(prefix.to_owned(), run))
    }

    fn set_current(&mut self, prefix: &str, run: u32) {
        match self.current.get_mut(prefix) {
            Some(current) => *current = run,
            None if run == 0 => {}
            None => {
                self.current.insert(prefix.to_owned(), run);
            }
        }
    }

    /// Is a stream of that name wanted?
    pub(super) fn wants(&mut self, origin: &Origin, name: &str) -> bool {
        let wants = (self.wants.0)(origin, name);
        if !wants {
            self.unwanted.add(origin, name);
        }
        wants
    }

    /// Is there room for something more? If not, it is left out, which
    /// [`left_out`](Self::left_out) remembers.
    pub(super) fn has_room(&mut self, cost: usize) -> bool {
        let has_room = self.held.saturating_add(cost) <= READER_STREAMS_MAX;
        self.left_out |= !has_room;
        has_room
    }

    /// Counts what is held beside streams, for good.
    pub(super) fn hold(&mut self, cost: usize) {
        self.held += cost;
    }

    /// Was something left out, for want of room?
    pub fn left_out(&self) -> bool {
        self.left_out
    }

    /// Adds a stream that is wanted and not known; `None` if there is no room.
    /// `besides` is what whoever adds it holds of it.
    pub(super) fn add(
        &mut self,
        origin: &Origin,
        mut descriptor: LogStreamDescriptor,
        besides: usize,
    ) -> Option<StreamId> {
        let cost = cost(&descriptor).saturating_add(besides);
        if !self.has_room(cost) {
            return None;
        }
        self.held += cost;
        self.version += 1;
        let origin = self.namespace(origin);
        let name: Arc<str> = std::mem::take(&mut descriptor.name).into();
        let stream = StreamRecord {
            origin,
            descriptor,
            is_earlier: false,
            name: Arc::clone(&name),
            cost,
        };
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                self.all.push(None);
                StreamId(self.all.len() - 1)
            }
        };
        self.all[id.0] = Some(stream);
        self.origins[origin.0].by_name.insert(name, id);
        Some(id)
    }

    /// The stream begins anew, with another descriptor of the same name.
    pub(super) fn redescribe(&mut self, id: StreamId, mut descriptor: LogStreamDescriptor) {
        let new = cost(&descriptor);
        let Some(stream) = &mut self.all[id.0] else {
            return;
        };
        let old = stream.cost;
        descriptor.name = String::new();
        (stream.descriptor, stream.cost) = (descriptor, new);
        stream.is_earlier = false;
        self.held = self.held - old + new;
    }

    /// Forgets the stream: it is over, or begins anew.
    pub(super) fn retire(&mut self, id: StreamId) {
        let Some(stream) = self.all[id.0].take() else {
            return;
        };
        self.held -= stream.cost;
        self.version += 1;
        self.free.push(id);
        let namespace = &mut self.origins[stream.origin.0];
        namespace.by_name.remove(&stream.name);
        if namespace.by_name.is_empty() {
            namespace.by_name = HashMap::new();
            self.by_origin.remove(&namespace.origin);
            if let Origin::Prefix(prefix, _) = &*namespace.origin {
                self.current.remove(prefix);
            }
            self.free_origins.push(stream.origin);
        }
    }

    fn namespace(&mut self, origin: &Origin) -> OriginId {
        if let Some(id) = self.origin(origin) {
            return id;
        }
        let origin = Arc::new(origin.clone());
        let namespace = OriginStreams {
            origin: Arc::clone(&origin),
            by_name: HashMap::new(),
        };
        let id = match self.free_origins.pop() {
            Some(id) => {
                self.origins[id.0] = namespace;
                id
            }
            None => {
                self.origins.push(namespace);
                OriginId(self.origins.len() - 1)
            }
        };
        self.by_origin.insert(origin, id);
        id
    }

    pub(super) fn set_earlier(&mut self, id: StreamId) {
        if let Some(stream) = &mut self.all[id.0] {
            stream.is_earlier = true;
        }
    }

    /// What is known of the stream.
    ///
    /// # Panics
    ///
    /// If it is over, and no other took its place.
    pub fn get(&self, id: StreamId) -> &StreamRecord {
        self.all[id.0].as_ref().expect("the stream is not over")
    }

    /// Where the stream comes from.
    pub fn origin_of(&self, id: StreamId) -> &Origin {
        &self.origins[self.get(id).origin.0].origin
    }

    /// How many streams there are.
    pub fn len(&self) -> usize {
        self.all.len() - self.free.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first of those that are there and not wanted.
    pub fn unwanted(&self) -> &Unwanted {
        &self.unwanted
    }

    /// Changes whenever a stream comes or goes.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// All of them.
    pub fn ids(&self) -> impl Iterator<Item = StreamId> {
        let is_there = |id: &StreamId| self.all[id.0].is_some();
        (0..self.all.len()).map(StreamId).filter(is_there)
    }

    /// All of them, in the order of their names.
    pub fn by_name(&self) -> Vec<StreamId> {
        let mut ids: Vec<_> = self.ids().collect();
        ids.sort_by_key(|&id| (self.get(id).name(), self.get(id).origin));
        ids
    }

    /// Do the streams come from more than one?
    pub fn has_several_origins(&self) -> bool {
        self.by_origin.len() > 1
    }

    /// The name, with as much before it as tells it from all others.
    pub fn label(&self, id: StreamId) -> String {
        let name = self.get(id).name();
        match self.has_several_origins() {
            true => self.origin_of(id).path_of(name),
            false => name.to_owned(),
        }
    }
}

/// What holding a stream costs, about: what the heap adds, and what shows the
/// stream has of it, is in the constants.
fn cost(descriptor: &LogStreamDescriptor) -> usize {
    let tag = |(key, value): (&String, &String)| READER_TAG_COST + key.len() + value.len();
    READER_STREAM_COST
        + descriptor.name.len()
        + descriptor.content_type.len()
        + descriptor.tags.iter().map(tag).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(name: &str) -> LogStreamDescriptor {
        LogStreamDescriptor {
            name: name.into(),
            ..Default::default()
        }
    }

    fn prefix(prefix: &str) -> Origin {
        Origin::Prefix(prefix.into(), 0)
    }

    #[test]
    fn what_is_retired_makes_room() {
        let mut catalog = Catalog::new(|_, _| true);
        let tag = |n: usize| (n.to_string(), "v".repeat(10_000));
        let large = |name: &str| LogStreamDescriptor {
            tags: (0..100).map(tag).collect(),
            ..descriptor(name)
        };
        let mut ids = Vec::new();
        while let Some(id) = catalog.add(&prefix("p"), large(&ids.len().to_string()), 0) {
            ids.push(id);
        }
        let count = ids.len();
        assert!(count > READER_STREAMS_MAX / 1_100_000 && count < READER_STREAMS_MAX / 1_000_000);
        assert!(catalog.left_out());
        for id in ids {
            catalog.retire(id);
        }
        assert_eq!((catalog.held, catalog.len()), (0, 0));
        assert_eq!(catalog.origin(&prefix("p")), None);
        for n in 0..count {
            let id = catalog.add(&prefix("q"), large(&n.to_string()), 0).unwrap();
            assert!(id.0 < count, "it takes the place of another");
        }
        assert_eq!(catalog.origins.len(), 1);
    }
}
