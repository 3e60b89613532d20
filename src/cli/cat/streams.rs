//! Which streams there are that are wanted, and what is known of them.
//!
//! What is not wanted is not held. What is known of the others is bounded by
//! [`CAT_STREAMS_MAX`]: an output may have more streams than memory has room
//! for, and then some are left out, which is told.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use prost_types::Timestamp;

use super::selector::Selector;
use crate::limits::{CAT_RUNS_MAX, CAT_STREAM_COST, CAT_STREAMS_MAX, CAT_TAG_COST};
use crate::proto::logpb::LogStreamDescriptor;
use crate::wire::descriptor::StreamType;

/// A stream, for as long as it is not retired; then another may get it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub usize);

/// Where streams come from; names are unique in it. As long as it has any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OriginId(pub usize);

/// A namespace of streams.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// A butler's prefix, in file outputs, and which of its runs: who appends
    /// to a file may have the prefix of the one before.
    Prefix(String, u32),
    /// A directory output, by its path.
    Directory(String),
}

/// One stream.
#[derive(Debug)]
pub struct Stream {
    pub origin: OriginId,
    /// But for the name.
    pub descriptor: LogStreamDescriptor,
    /// An earlier run wrote it than the one that its output is of.
    pub is_earlier: bool,
    name: Rc<str>,
    cost: usize,
}

/// All wanted streams that were met so far and have room.
#[derive(Debug)]
pub struct Streams {
    selector: Selector,
    /// By OriginId.
    origins: Vec<Namespace>,
    by_origin: HashMap<Rc<Origin>, OriginId>,
    /// By StreamId; `None`: retired.
    all: Vec<Option<Stream>>,
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
pub enum Located {
    /// A stream that is known.
    Known(StreamId),
    /// None yet; its origin would be this.
    New(Origin),
    /// None, and there are more runs than are told apart.
    OneRunMore,
}

#[derive(Debug)]
struct Namespace {
    origin: Rc<Origin>,
    by_name: HashMap<Rc<str>, StreamId>,
}

/// The first of those that were not wanted, to tell what there is.
#[derive(Debug, Default)]
struct Unwanted {
    named: BTreeSet<(String, Origin)>,
    has_more: bool,
}

impl Stream {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn kind(&self) -> StreamType {
        let of_proto = |kind: &StreamType| kind.to_proto() == self.descriptor.stream_type();
        StreamType::ALL
            .into_iter()
            .find(of_proto)
            .unwrap_or_default()
    }
}

impl Unwanted {
    const NAMED_MAX: usize = 10;

    fn add(&mut self, origin: &Origin, name: &str) {
        let last = self.named.last().map(|(name, origin)| (&**name, origin));
        let is_full = self.named.len() == Self::NAMED_MAX;
        if is_full && last.is_some_and(|last| last <= (name, origin)) {
            self.has_more |= last != Some((name, origin));
            return;
        }
        if self.named.insert((name.to_owned(), origin.clone())) && is_full {
            self.named.pop_last();
            self.has_more = true;
        }
    }
}

impl Streams {
    pub fn new(selector: Selector) -> Self {
        Self {
            selector,
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
    pub fn origin(&self, origin: &Origin) -> Option<OriginId> {
        self.by_origin.get(origin).copied()
    }

    /// The stream of that name, if it is known.
    pub fn find(&self, origin: &Origin, name: &str) -> Option<StreamId> {
        let id = self.origin(origin)?;
        self.origins[id.0].by_name.get(name).copied()
    }

    /// The stream of a file's entry. One that has the name of another and
    /// began at another time is of another run.
    pub fn locate(&mut self, prefix: &str, name: &str, began: Option<Timestamp>) -> Located {
        let current = self.current.get(prefix).copied();
        let mut origin = Origin::Prefix(prefix.to_owned(), 0);
        let mut last_has_name = true;
        let mut runs = 0;
        for run in current.into_iter().chain(0..CAT_RUNS_MAX) {
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
        if run >= CAT_RUNS_MAX {
            self.left_out = true;
            return Located::OneRunMore;
        }
        self.set_current(prefix, run);
        origin.set_run(run);
        Located::New(origin)
    }

    /// The prefix's origin of the run that was looked up last.
    pub fn current(&self, prefix: &str) -> Option<OriginId> {
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
    pub fn wants(&mut self, origin: &Origin, name: &str) -> bool {
        let wants = self.selector.matches(origin, name);
        if !wants {
            self.unwanted.add(origin, name);
        }
        wants
    }

    /// Is there room for something more? If not, it is left out, which
    /// [`left_out`](Self::left_out) remembers.
    pub fn has_room(&mut self, cost: usize) -> bool {
        let has_room = self.held.saturating_add(cost) <= CAT_STREAMS_MAX;
        self.left_out |= !has_room;
        has_room
    }

    /// Counts what is held beside streams, for good.
    pub fn hold(&mut self, cost: usize) {
        self.held += cost;
    }

    /// Was something left out, for want of room?
    pub fn left_out(&self) -> bool {
        self.left_out
    }

    /// Adds a stream that is wanted and not known; `None` if there is no room.
    /// `besides` is what whoever adds it holds of it.
    pub fn add(
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
        let name: Rc<str> = std::mem::take(&mut descriptor.name).into();
        let stream = Stream {
            origin,
            descriptor,
            is_earlier: false,
            name: Rc::clone(&name),
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
    pub fn redescribe(&mut self, id: StreamId, mut descriptor: LogStreamDescriptor) {
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
    pub fn retire(&mut self, id: StreamId) {
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
        let origin = Rc::new(origin.clone());
        let namespace = Namespace {
            origin: Rc::clone(&origin),
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

    /// How many streams of the origin are known.
    pub fn of_origin(&self, origin: OriginId) -> usize {
        self.origins[origin.0].by_name.len()
    }

    pub fn set_earlier(&mut self, id: StreamId) {
        if let Some(stream) = &mut self.all[id.0] {
            stream.is_earlier = true;
        }
    }

    /// The stream, which is not retired.
    pub fn get(&self, id: StreamId) -> &Stream {
        self.all[id.0].as_ref().expect("it is not retired")
    }

    pub fn origin_of(&self, id: StreamId) -> &Origin {
        &self.origins[self.get(id).origin.0].origin
    }

    /// How many streams there are.
    pub fn len(&self) -> usize {
        self.all.len() - self.free.len()
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

    pub fn has_several_origins(&self) -> bool {
        self.by_origin.len() > 1
    }

    /// The name, with as much before it as tells it from all others.
    pub fn label(&self, id: StreamId) -> String {
        let name = self.get(id).name();
        match self.has_several_origins() {
            true => path(self.origin_of(id), name),
            false => name.to_owned(),
        }
    }

    /// Why nothing is selected; `None` if something is, or nothing was asked.
    pub fn nothing_selected(&self) -> Option<String> {
        if self.len() > 0 || self.left_out {
            return None;
        }
        let asked = self.selector.text()?;
        let named = &self.unwanted.named;
        let Some((_, first)) = named.first() else {
            return Some(format!(
                "no stream matches {asked:?}: there are no streams at all"
            ));
        };
        let is_one = named.iter().all(|(_, origin)| origin == first);
        let label = |(name, origin): &(String, Origin)| match is_one {
            true => name.clone(),
            false => path(origin, name),
        };
        let labels: Vec<_> = named.iter().map(label).collect();
        let more = if self.unwanted.has_more {
            " and more"
        } else {
            ""
        };
        Some(format!(
            "no stream matches {asked:?}; there are {}{more}",
            labels.join(", ")
        ))
    }
}

fn path(origin: &Origin, name: &str) -> String {
    match origin {
        Origin::Prefix(prefix, 0) => format!("{prefix}/+/{name}"),
        Origin::Prefix(prefix, run) => format!("{prefix}/+/{name} ({})", run + 1),
        Origin::Directory(path) => format!("{path}/{name}"),
    }
}

impl Origin {
    fn set_run(&mut self, new: u32) {
        if let Self::Prefix(_, run) = self {
            *run = new;
        }
    }
}

/// What holding a stream costs, about: what the heap adds, and what shows the
/// stream has of it, is in the constants.
fn cost(descriptor: &LogStreamDescriptor) -> usize {
    let tag = |(key, value): (&String, &String)| CAT_TAG_COST + key.len() + value.len();
    CAT_STREAM_COST
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

    fn names_selected(wanted: &str) -> Vec<String> {
        let mut streams = Streams::new(Selector::new(Some(wanted)).unwrap());
        for origin in ["p/1", "p/2"].map(prefix) {
            for name in ["stdout", "step/1/log", "step/2/log", "step/log"] {
                assert_eq!(streams.find(&origin, name), None);
                if streams.wants(&origin, name) {
                    let id = streams.add(&origin, descriptor(name), 0);
                    assert!(id.is_some());
                    assert_eq!(streams.find(&origin, name), id);
                }
            }
        }
        let ids = streams.by_name();
        assert_eq!(ids.len(), streams.len());
        ids.into_iter()
            .filter(|&id| *streams.origin_of(id) == prefix("p/2"))
            .map(|id| streams.get(id).name().to_owned())
            .collect()
    }

    #[test]
    fn names_paths_and_globs_select() {
        for (wanted, expected) in [
            ("stdout", &["stdout"][..]),
            ("std", &[]),
            ("*", &["stdout"]),
            ("std*", &["stdout"]),
            ("step/*", &["step/log"]),
            ("step/*/log", &["step/1/log", "step/2/log"]),
            ("step/**", &["step/1/log", "step/2/log", "step/log"]),
            ("**/log", &["step/1/log", "step/2/log", "step/log"]),
            ("{stdout,step/[2-9]/log}", &["stdout", "step/2/log"]),
            ("p/2/+/stdout", &["stdout"]),
            ("p/1/+/stdout", &[]),
            ("p/*/+/std*", &["stdout"]),
        ] {
            assert_eq!(names_selected(wanted), expected, "{wanted}");
        }
        let error = Selector::new(Some("a[")).unwrap_err();
        assert!(error.contains("a["), "{error}");
    }

    #[test]
    fn says_what_there_is() {
        let mut streams = Streams::new(Selector::new(Some("x*")).unwrap());
        assert!(streams.nothing_selected().unwrap().contains("no streams"));
        for n in (0..12).rev().chain(0..12) {
            assert!(!streams.wants(&prefix("p"), &format!("s{n:02}")));
        }
        let sentence = streams.nothing_selected().unwrap();
        assert!(
            sentence.ends_with("s00, s01, s02, s03, s04, s05, s06, s07, s08, s09 and more"),
            "{sentence}"
        );
    }

    #[test]
    fn what_is_retired_makes_room() {
        let mut streams = Streams::new(Selector::All);
        let tag = |n: usize| (n.to_string(), "v".repeat(10_000));
        let large = |name: &str| LogStreamDescriptor {
            tags: (0..100).map(tag).collect(),
            ..descriptor(name)
        };
        let mut ids = Vec::new();
        while let Some(id) = streams.add(&prefix("p"), large(&ids.len().to_string()), 0) {
            ids.push(id);
        }
        let count = ids.len();
        assert!(count > CAT_STREAMS_MAX / 1_100_000 && count < CAT_STREAMS_MAX / 1_000_000);
        assert!(streams.left_out());
        for id in ids {
            streams.retire(id);
        }
        assert_eq!((streams.held, streams.len()), (0, 0));
        assert_eq!(streams.origin(&prefix("p")), None);
        for n in 0..count {
            let id = streams.add(&prefix("q"), large(&n.to_string()), 0).unwrap();
            assert!(id.0 < count, "it takes the place of another");
        }
        assert_eq!(streams.origins.len(), 1);
    }
}
