//! What there is to know of the directory output.

use std::io;
use std::path::PathBuf;

use super::DirectoryWriter;
use crate::edge::io::Io;
use crate::edge::transport::Transport;
use crate::output::kind::{Finds, Kind, Need, Settings};
use crate::output::spec::of;

/// The settings of the directory output.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirectoryOutput {
    /// Where the files go; made if it is not there.
    pub path: PathBuf,
}

impl DirectoryOutput {
    /// Files at that path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

impl Settings for DirectoryOutput {
    const KIND: &'static Kind = &Kind {
        keys: &["path"],
        wants_lines: false,
        help: "  directory,path=DIR    a file for every stream: DIR/NAME has the very bytes
                        that were written (a file for each, if they are
                        datagrams), DIR/.meta.NAME describes them. One butler
                        at a time may write there
",
        ..Kind::new("directory", |given| {
            let path = given.pairs()?.required_path("path");
            Ok(Self::new(path.map_err(of("directory"))?).into())
        })
    };

    fn open<I: Io + 'static>(&self, io: &mut I) -> io::Result<Box<dyn Transport<I>>> {
        Ok(Box::new(DirectoryWriter::open(io, &self.path)?))
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::Tree(self.path.clone())]
    }

    fn finds(&self) -> Finds {
        Finds::Directory(self.path.clone())
    }
}
