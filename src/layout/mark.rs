//! The mark of a run: the file `.butler-run` in its directory.
//!
//! It is locked for as long as the butler lives that writes there, so that no
//! second one begins: two would replace each other's files. The kernel takes
//! the lock away however that butler ends.
//!
//! And it lists what this run has written, so that a reader can tell that from
//! what earlier runs have left:
//!
//! ```text
//! {"run":"1f8e7c32a9b04d56","pid":4711}
//! stdout
//! a~/b
//! ```
//!
//! The first line says which run it is. Each of the others is a stream's path
//! on disk: `a~/b` is the stream that `a~/.meta.b` describes. A butler that is
//! killed may leave a last line without its end, which is none.

use std::collections::HashSet;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, Read};

use serde_json::Value;

use crate::limits::{RUN_MARK_MAX, RUN_MARK_STREAMS_MAX};

/// The mark's name, which no file of a stream has.
pub(crate) const MARK: &str = ".butler-run";

/// What a mark says to a reader.
#[derive(Debug, Default)]
pub(crate) struct Marked {
    /// Hashes of the paths of the last run's streams, which take less room;
    /// `None`: the mark can't tell.
    paths: Option<HashSet<u64>>,
    hasher: RandomState,
}

impl Marked {
    /// Reads a mark.
    ///
    /// # Errors
    ///
    /// Those of reading, and if it is too long to be kept in memory.
    pub fn read(file: File) -> io::Result<Self> {
        let mut lines = io::BufReader::new(file.take(RUN_MARK_MAX));
        let mut line = String::new();
        let mut next = || {
            line.clear();
            lines.read_line(&mut line)?;
            io::Result::Ok(line.strip_suffix('\n').map(Box::<str>::from))
        };
        let head = next()?.and_then(|head| serde_json::from_str::<Value>(&head).ok());
        if head.is_some_and(|head| head["incomplete"] == true) {
            return Ok(Self::default());
        }
        let hasher = RandomState::new();
        let mut paths = HashSet::new();
        while let Some(path) = next()? {
            paths.insert(hasher.hash_one(&*path));
            if paths.len() > RUN_MARK_STREAMS_MAX {
                return Err(io::Error::other(format!(
                    "it has more than {RUN_MARK_STREAMS_MAX} streams"
                )));
            }
        }
        if lines.into_inner().limit() == 0 {
            return Err(io::Error::other(format!(
                "it has more than {RUN_MARK_MAX} bytes"
            )));
        }
        let paths = Some(paths);
        Ok(Self { paths, hasher })
    }

    /// Was the stream at that path written by an earlier run than the last?
    pub fn is_earlier(&self, path: &str) -> bool {
        self.paths
            .as_ref()
            .is_some_and(|paths| !paths.contains(&self.hasher.hash_one(path)))
    }
}
