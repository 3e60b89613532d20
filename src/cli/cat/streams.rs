//! Which streams there are, and which of them are selected.

use std::collections::HashMap;

use globset::{GlobBuilder, GlobMatcher};

use crate::proto::logpb::LogStreamDescriptor;
use crate::wire::descriptor::StreamType;
use crate::wire::name::StreamName;

/// A stream, for as long as `cat` runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub usize);

/// Where streams come from; names are unique in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OriginId(pub usize);

/// A namespace of streams.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A butler's prefix, in file outputs.
    Prefix(String),
    /// A directory output, by its path.
    Directory(String),
}

/// One stream.
#[derive(Debug)]
pub struct Stream {
    pub origin: OriginId,
    pub descriptor: LogStreamDescriptor,
    pub selected: bool,
    /// It was written by an earlier run than what is beside it.
    pub is_earlier: bool,
}

/// All streams that were met so far.
#[derive(Debug)]
pub struct Streams {
    selector: Selector,
    origins: Vec<Origin>,
    by_origin: HashMap<Origin, OriginId>,
    all: Vec<Stream>,
    /// For every origin.
    by_name: Vec<HashMap<Box<str>, StreamId>>,
    selected: usize,
}

impl Stream {
    pub fn name(&self) -> &str {
        &self.descriptor.name
    }

    pub fn kind(&self) -> StreamType {
        let of_proto = |kind: &StreamType| kind.to_proto() == self.descriptor.stream_type();
        StreamType::ALL
            .into_iter()
            .find(of_proto)
            .unwrap_or_default()
    }
}

impl Streams {
    pub fn new(selector: Selector) -> Self {
        Self {
            selector,
            origins: Vec::new(),
            by_origin: HashMap::new(),
            all: Vec::new(),
            by_name: Vec::new(),
            selected: 0,
        }
    }

    /// The origin, new or known.
    pub fn origin(&mut self, origin: &Origin) -> OriginId {
        if let Some(&id) = self.by_origin.get(origin) {
            return id;
        }
        let id = OriginId(self.origins.len());
        self.origins.push(origin.clone());
        self.by_origin.insert(origin.clone(), id);
        self.by_name.push(HashMap::new());
        id
    }

    pub fn find(&self, origin: OriginId, name: &str) -> Option<StreamId> {
        self.by_name[origin.0].get(name).copied()
    }

    /// Adds a stream that [`find`](Self::find) does not find.
    pub fn add(&mut self, origin: OriginId, descriptor: LogStreamDescriptor) -> StreamId {
        let id = StreamId(self.all.len());
        let selected = self
            .selector
            .matches(&self.origins[origin.0], &descriptor.name);
        self.selected += usize::from(selected);
        self.by_name[origin.0].insert(descriptor.name.as_str().into(), id);
        self.all.push(Stream {
            origin,
            descriptor,
            selected,
            is_earlier: false,
        });
        id
    }

    /// The stream is one of an earlier run.
    pub fn set_earlier(&mut self, id: StreamId) {
        self.all[id.0].is_earlier = true;
    }

    pub fn get(&self, id: StreamId) -> &Stream {
        &self.all[id.0]
    }

    pub fn origin_of(&self, id: StreamId) -> &Origin {
        &self.origins[self.get(id).origin.0]
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// How many streams are selected.
    pub fn selected(&self) -> usize {
        self.selected
    }

    /// The selected streams, in the order of their names.
    pub fn selected_by_name(&self) -> Vec<StreamId> {
        let mut ids: Vec<_> = (0..self.all.len()).map(StreamId).collect();
        ids.retain(|&id| self.get(id).selected);
        ids.sort_by_key(|&id| (self.get(id).name(), self.get(id).origin));
        ids
    }

    pub fn has_several_origins(&self) -> bool {
        self.origins.len() > 1
    }

    /// The name, with as much before it as tells it from all others.
    pub fn label(&self, id: StreamId) -> String {
        let name = self.get(id).name();
        match self.origin_of(id) {
            _ if !self.has_several_origins() => name.to_owned(),
            Origin::Prefix(prefix) => format!("{prefix}/+/{name}"),
            Origin::Directory(path) => format!("{path}/{name}"),
        }
    }

    /// Why nothing is selected; `None` if something is, or nothing was asked.
    pub fn nothing_selected(&self) -> Option<String> {
        const NAMED_MAX: usize = 10;
        if self.selected > 0 {
            return None;
        }
        let asked = self.selector.text()?;
        if self.all.is_empty() {
            return Some(format!(
                "no stream matches {asked:?}: there are no streams at all"
            ));
        }
        let mut labels: Vec<_> = (0..self.all.len())
            .map(|id| self.label(StreamId(id)))
            .collect();
        labels.sort_unstable();
        let mut sentence = format!(
            "no stream matches {asked:?}; there are {}",
            labels[..labels.len().min(NAMED_MAX)].join(", ")
        );
        if let Some(more @ 1..) = labels.len().checked_sub(NAMED_MAX) {
            sentence.push_str(&format!(" and {more} more"));
        }
        Some(sentence)
    }
}

/// Which streams are wanted.
#[derive(Debug)]
pub enum Selector {
    /// All.
    All,
    /// Those of that name, or of that path (`PREFIX/+/NAME`).
    Exact(String),
    /// Those whose name, or path, matches.
    Glob(GlobMatcher),
}

impl Selector {
    /// No name is also a glob with special characters, so that which of the
    /// two is meant does not depend on what streams there are.
    pub fn new(wanted: Option<&str>) -> Result<Self, String> {
        let Some(wanted) = wanted else {
            return Ok(Self::All);
        };
        let is_exact = match wanted.split_once("/+/") {
            Some((prefix, name)) => StreamName::new(prefix).and(StreamName::new(name)).is_ok(),
            None => StreamName::new(wanted).is_ok(),
        };
        if is_exact {
            return Ok(Self::Exact(wanted.to_owned()));
        }
        GlobBuilder::new(wanted)
            .literal_separator(true)
            .build()
            .map(|glob| Self::Glob(glob.compile_matcher()))
            .map_err(|error| {
                let why = error.kind();
                format!("--stream {wanted:?} is neither a stream's name nor a glob: {why}")
            })
    }

    fn matches(&self, origin: &Origin, name: &str) -> bool {
        let (wanted, glob) = match self {
            Self::All => return true,
            Self::Exact(wanted) => (wanted.as_str(), None),
            Self::Glob(glob) => (glob.glob().glob(), Some(glob)),
        };
        let matches = |candidate: &str| match glob {
            Some(glob) => glob.is_match(candidate),
            None => candidate == wanted,
        };
        match origin {
            Origin::Prefix(prefix) if wanted.contains("/+/") => {
                matches(&format!("{prefix}/+/{name}"))
            }
            _ => matches(name),
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::All => None,
            Self::Exact(wanted) => Some(wanted),
            Self::Glob(glob) => Some(glob.glob().glob()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_selected(wanted: &str) -> Vec<String> {
        let mut streams = Streams::new(Selector::new(Some(wanted)).unwrap());
        for prefix in ["p/1", "p/2"] {
            let origin = streams.origin(&Origin::Prefix(prefix.into()));
            for name in ["stdout", "step/1/log", "step/2/log", "step/log"] {
                assert_eq!(streams.find(origin, name), None);
                let id = streams.add(
                    origin,
                    LogStreamDescriptor {
                        name: name.into(),
                        ..Default::default()
                    },
                );
                assert_eq!(streams.find(origin, name), Some(id));
            }
        }
        let ids = streams.selected_by_name();
        assert_eq!(ids.len(), streams.selected());
        ids.into_iter()
            .filter(|&id| streams.get(id).origin == OriginId(1))
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
        let origin = streams.origin(&Origin::Prefix("p".into()));
        for n in 0..12 {
            let name = format!("s{n:02}");
            let descriptor = LogStreamDescriptor {
                name,
                ..Default::default()
            };
            streams.add(origin, descriptor);
        }
        let sentence = streams.nothing_selected().unwrap();
        assert!(
            sentence.ends_with("s00, s01, s02, s03, s04, s05, s06, s07, s08, s09 and 2 more"),
            "{sentence}"
        );
    }
}
