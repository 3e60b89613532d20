//! What the far end has on its disk, and what a spool has.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use butler::proto::logpb::log_entry::Content;
use butler::proto::logpb::{ButlerLogBundle, LogEntry};
use butler::spool::{Found, Header, Walk, Window};
use butler::wire::message::MessageView;
use prost::Message;

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

    /// Takes all that is in a spool, whether it is needed any more or not. A torn
    /// tail is no message.
    pub fn take_spool(&mut self, spool: &Path) {
        for path in segments(spool) {
            let mut file = File::open(&path).unwrap();
            // Its butler was killed before it had written a header.
            let Ok((header, bytes)) = Header::read(&mut file).unwrap() else {
                continue;
            };
            let end = file.metadata().unwrap().len();
            let (mut walk, mut window) = (
                Walk::new(header.marker, bytes.len() as u64),
                Window::default(),
            );
            while let Some(found) = walk.next(&mut file, end, &mut window).unwrap() {
                let Found::Record(record) = found else {
                    continue;
                };
                let mut body = vec![0; record.body.len as usize];
                file.seek(SeekFrom::Start(record.body_at)).unwrap();
                file.read_exact(&mut body).unwrap();
                assert!(record.has_body(&body), "what was not torn is whole");
                let mut bundle = ButlerLogBundle::decode(&body[..]).unwrap();
                bundle.project.clone_from(&header.run.project);
                bundle.prefix.clone_from(&header.run.prefix);
                bundle.secret.clone_from(&header.run.secret);
                self.take(bundle);
            }
        }
    }

    /// Panics unless all of these are there.
    pub fn expect_all(&self, others: &Self) {
        for (prefix, (bundles, places)) in &others.runs {
            for (key, place) in places {
                let ours = self.runs.get(prefix).and_then(|(bundles, places)| {
                    let place = places.get(key)?;
                    Some(&bundles[*place])
                });
                let ours = ours.unwrap_or_else(|| panic!("{prefix}: {key:?} has not arrived"));
                assert!(*ours == bundles[*place], "{prefix}: {key:?} is another one");
            }
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.runs.values().map(|(bundles, _)| bundles.len()).sum()
    }

    /// Bytes of clients in text streams, all told.
    pub fn bytes(&self) -> u64 {
        let bundles = self.runs.values().flat_map(|(bundles, _)| bundles);
        let logs = bundles.flat_map(|it| &it.entries).flat_map(|it| &it.logs);
        let of = |log: &LogEntry| match log.content.as_ref().unwrap() {
            Content::Text(text) => {
                let lines = text.lines.iter();
                lines.map(|it| it.value.len() + it.delimiter.len()).sum()
            }
            _ => 0,
        };
        logs.map(|log| of(log) as u64).sum()
    }

    /// The names of all streams.
    pub fn streams(&self) -> BTreeSet<&str> {
        let bundles = self.runs.values().flat_map(|(bundles, _)| bundles);
        let entries = bundles.flat_map(|it| &it.entries);
        entries.map(|it| &*it.desc.as_ref().unwrap().name).collect()
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
