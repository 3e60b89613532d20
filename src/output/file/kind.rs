//! What there is to know of the file output.

use std::io;
use std::path::{Path, PathBuf};

use super::{Appender, fifo};
use crate::delivery::message::BundleLimits;
use crate::edge::io::Io;
use crate::edge::transport::Transport;
use crate::output::Compress;
use crate::output::kind::{self, Kind, Need, Settings};
use crate::output::spec::{compress, of};

/// The settings of the file output.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileOutput {
    /// The file; made if it is not there.
    pub path: PathBuf,
    /// How bundles are compressed.
    pub compress: Compress,
}

impl FileOutput {
    /// Messages in that file, not compressed.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            compress: Compress::None,
        }
    }
}

impl Settings for FileOutput {
    const KIND: &'static Kind = &Kind {
        keys: &["path", "compress", "level"],
        help: "  file,path=FILE[,compress=none|zlib][,level=1..12]
                        append messages of the LogDog protocol to a file, which
                        butler cat reads (default compress=none, level=4)
",
        ..Kind::new("file", |given| {
            let pairs = given.pairs()?;
            let path = pairs.required_path("path").map_err(of("file"))?;
            let compress = compress(&pairs).map_err(of("file"))?;
            Ok(Self { path, compress }.into())
        })
    };

    fn open<I: Io + 'static>(&self, io: &mut I) -> io::Result<Box<dyn Transport<I>>> {
        Ok(Box::new(Appender::open(io, &self.path, self.compress)?))
    }

    fn bundle_limits(&self) -> BundleLimits {
        kind::bundle_limits(self.compress)
    }

    fn file(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn needs(&self) -> Vec<Need> {
        // A regular file is open, and stays so.
        match fifo::is_reopened(&self.path) {
            true => vec![Need::Reopen(self.path.clone())],
            false => Vec::new(),
        }
    }
}
