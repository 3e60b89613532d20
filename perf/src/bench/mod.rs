//! The driver: runs butler and what it is compared with, in turn, and says
//! how they compare.
//!
//! ```text
//! options    what was asked for
//! scenario   the list: what is measured, and the bounds
//! system     butler, the floor, peers: their command lines
//! program    a child process: pinned, watched, never left behind
//! streams    one run: sink, system, load, and what the system took
//! outlet     where a run's output goes: sink, collector, files
//! measure    the runs of one scenario, in turn, to rows
//! row        a figure, its ratio, its bound
//! table, json, chart   the rows for people, programs and pages
//! ```

pub mod chart;
pub mod json;
pub mod measure;
pub mod options;
pub mod outlet;
pub mod program;
pub mod row;
pub mod scenario;
pub mod streams;
pub mod system;
pub mod table;

use std::path::{Path, PathBuf};

use crate::Result;

/// Where everything is.
#[derive(Debug)]
pub struct Environment {
    /// The butler to be measured.
    pub butler: PathBuf,
    /// Where our own programs are.
    pub bin: PathBuf,
    /// Sockets, outputs, logs of the programs. Removed at the end.
    pub dir: PathBuf,
    /// For the system under test, and for everything else.
    pub cores: (usize, usize),
    /// Run beside each system under test, with its process id filled in.
    pub attach: Option<String>,
}

impl Environment {
    /// One of our own programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// A directory for one run, empty.
    pub fn run_dir(&self) -> Result<PathBuf> {
        let dir = self.dir.join("run");
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        std::fs::create_dir_all(&dir)?;
        Ok(dir)
    }
}

/// A directory that is removed when this goes.
#[derive(Debug)]
pub struct WorkDir(PathBuf);

const PREFIX: &str = "butler-bench-";

impl WorkDir {
    /// A new one in `parent`. Those of drivers that were killed are removed.
    pub fn new(parent: &Path) -> Result<Self> {
        for entry in std::fs::read_dir(parent)? {
            let entry = entry?;
            let name = entry.file_name();
            let owner = name.to_str().and_then(|it| it.strip_prefix(PREFIX));
            let owner = owner.and_then(|it| it.parse::<u32>().ok());
            if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
                // Another user's is that user's to remove.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        let dir = parent.join(format!("{PREFIX}{}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        Ok(Self(dir))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
