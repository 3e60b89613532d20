//! What waits in the spool.

use ahash::{AHashSet, RandomState};

use super::Store;
use crate::delivery::stored::Left;
use crate::edge::io::Io;
use crate::spool::{Found, Window};

impl<D: 'static> Store<D> {
    /// What waits, which is looked up on the disk: to be asked at an end, not in
    /// between. What can't be read is not counted.
    pub fn left<I: Io<Fd = D>>(&mut self, io: &mut I) -> Left {
        let mut left = Left {
            path: self.place.path().to_owned(),
            ..Left::default()
        };
        let hasher = RandomState::new();
        let mut streams = AHashSet::new();
        let mut window = Window::default();
        for segment in self
            .earlier
            .segments
            .iter_mut()
            .chain(&mut self.own.segments)
        {
            let was_open = segment.file.is_some();
            let mut walk = segment.beginning();
            window.clear();
            while let Ok(Some(found)) = segment.next(io, &self.place, &mut walk, &mut window) {
                let Found::Record(record) = found else {
                    continue;
                };
                if !segment.done.contains(record.index) {
                    left.messages += 1;
                    left.bytes += record.manifest.bytes();
                    let names = record.manifest.streams.iter().map(|part| &part.name);
                    streams.extend(names.map(|name| hasher.hash_one((segment.run, name.as_str()))));
                }
            }
            if !was_open {
                segment.close();
            }
        }
        left.streams = streams.len() as u64;
        left
    }
}
