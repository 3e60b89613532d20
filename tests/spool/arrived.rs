//! What the far end has on its disk, and what a spool has.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::path::{Path, PathBuf};

use butler::proto::logpb::ButlerLogBundle;
use butler::wire::message::MessageView;

use crate::common::{Stream, reassemble};

/// By which a message is known again: its first stream, and its first index in
/// that. Two with the same are one that was sent twice.
type Key = (String, u64);

/// Messages by prefix, in the order in which they came, each once.
#[derive(Default)]
pub struct Messages {
    runs: BTreeMap<String, (Vec<ButlerLogBundle>, BTreeMap<Key, usize>)>,
    /// Those that came again.
    pub repeated: usize,
}

impl Messages {
    /// All that is in the far end's file.
    pub fn arrived(file: &Path) -> Self {
        let bytes = fs::read(file).unwrap_or_default();
        let (mut all, mut at) = (Self::default(), 0);
        while let Some(view) = MessageView::parse(&bytes[at..]).expect("a message") {
            all.take(view.bundle().expect("a bundle"));
            at += view.len;
        }
        all
    }

    /// Takes a message; panics if there is another one in its place.
    pub fn take(&mut self, bundle: ButlerLogBundle) {
        let first = &bundle.entries[0];
        let name = first.desc.as_ref().unwrap().name.clone();
        let index = first.logs.first().map(|it| it.stream_index);
        let key = (name, index.unwrap_or(first.terminal_index + 1));
        let (bundles, places) = self.runs.entry(bundle.prefix.clone()).or_default();
        match places.entry(key) {
            Entry::Vacant(place) => {
                place.insert(bundles.len());
                bundles.push(bundle);
            }
            Entry::Occupied(place) => {
                let known = &bundles[*place.get()];
                assert!(*known == bundle, "a message came twice, with other bytes");
                self.repeated += 1;
            }
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.runs.values().map(|(bundles, _)| bundles.len()).sum()
    }

    /// The streams of each run, put together: in order, without a hole.
    pub fn runs(&self) -> BTreeMap<&str, BTreeMap<String, Stream>> {
        let runs = self.runs.iter();
        let runs = runs.map(|(prefix, (bundles, _))| (&**prefix, reassemble(bundles)));
        runs.collect()
    }
}

/// The segments of a spool, in order.
pub fn segments(spool: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(spool) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|it| it == "segment"))
        .collect();
    segments.sort();
    segments
}
