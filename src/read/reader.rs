//! Reads outputs: the thin edge that opens files and directories, and what
//! follows them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::assembly::{Assembly, SPOOLS};
use super::catalog::Catalog;
use super::directory::{EarlierRuns, StreamDirectory};
use super::event::{Each, Event, Flow};
use super::file::MessageFile;
use super::finding::Finding;
use super::origin::Origin;
use super::spool::SpoolFiles;

/// How often to [poll](Reader::poll).
pub const POLL: Duration = Duration::from_millis(200);
/// A directory is walked again at every so many polls.
const WALK_POLLS: u32 = 5;
/// What waits for something that did not come in so many polls, 5 s, is
/// given: a butler by default does not hold data back for longer.
const PATIENCE_POLLS: u32 = 25;

/// Reads outputs of butlers, as if they were one.
///
/// [Open](Self::open) them, then [read](Self::read) them, or [poll](Self::poll)
/// what comes until there is nothing left to come, and [finish](Self::finish).
/// After an error, which is always one that was returned to it, a reader is of
/// no use any more.
#[derive(Debug)]
pub struct Reader {
    follows: bool,
    earlier: EarlierRuns,
    is_surveyed: bool,
    assembly: Assembly,
    files: Vec<MessageFile>,
    spools: Vec<SpoolFiles>,
    directories: Vec<StreamDirectory>,
    /// That streams are left out was told.
    told_left_out: bool,
    polls: u32,
    /// Polls since anything came from a file.
    idle_polls: u32,
}

/// What was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Opened {
    /// A file of messages.
    File,
    /// A spool, or a segment of one.
    Spool,
    /// A directory output.
    Directory {
        /// Streams of earlier runs that are not read.
        left_out: usize,
        /// Outputs of their own in it, which are not read; ten at most.
        within: Vec<PathBuf>,
    },
}

/// Why an output can't be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The kernel says no.
    #[error("can't be opened")]
    Io(#[from] io::Error),
    /// It is a device, a FIFO or a socket. What comes from those can be fed to
    /// an [`Assembly`].
    #[error("is neither a file nor a directory, and must be one to be read twice")]
    NotAnOutput,
    /// Whoever takes what is found does not.
    #[error(transparent)]
    Refused(io::Error),
}

impl Reader {
    /// `wants` says which streams are wanted, by origin and name. The others
    /// are not held.
    pub fn new(wants: impl Fn(&Origin, &str) -> bool + Send + 'static) -> Self {
        Self {
            follows: false,
            earlier: EarlierRuns::default(),
            is_surveyed: false,
            assembly: Assembly::new(wants),
            files: Vec::new(),
            spools: Vec::new(),
            directories: Vec::new(),
            told_left_out: false,
            polls: 0,
            idle_polls: 0,
        }
    }

    /// It will be polled, not read.
    pub fn following(mut self) -> Self {
        self.follows = true;
        self
    }

    /// Reads what earlier runs have left in directories, too.
    pub fn earlier_runs(mut self, earlier: EarlierRuns) -> Self {
        self.earlier = earlier;
        self
    }

    /// The streams that are known so far.
    pub fn catalog(&self) -> &Catalog {
        self.assembly.catalog()
    }

    /// Adds the output at that path: a file, or a directory, whose streams are
    /// known from now on; or a spool, or one of its segments. Only findings are
    /// given.
    pub fn open(&mut self, path: &Path, each: &mut Each<'_>) -> Result<Opened, OpenError> {
        let metadata = fs::metadata(path)?;
        let spool = match metadata.is_dir() {
            true => SpoolFiles::open(path, self.follows)?,
            false if metadata.is_file() => SpoolFiles::open_segment(path)?,
            false => None,
        };
        if let Some(spool) = spool {
            self.spools.push(spool);
            self.is_surveyed = false;
            return Ok(Opened::Spool);
        }
        if metadata.is_dir() {
            let mut directory = StreamDirectory::new(path, self.earlier, self.follows);
            let catalog = self.assembly.catalog_mut();
            let walked = directory.walk(&mut Flow { catalog, each });
            walked.map_err(OpenError::Refused)?;
            let opened = Opened::Directory {
                left_out: directory.left_out,
                within: directory.within.clone(),
            };
            self.directories.push(directory);
            return Ok(opened);
        }
        if !metadata.is_file() {
            return Err(OpenError::NotAnOutput);
        }
        self.files.push(MessageFile::open(path)?);
        self.is_surveyed = false;
        Ok(Opened::File)
    }

    /// Looks through the files, so that their streams are known, and where they
    /// begin. What is wrong with a file is told when it is read.
    ///
    /// Reading and polling begin with it, if it was not called.
    pub fn survey(&mut self, each: &mut Each<'_>) -> io::Result<()> {
        let assembly = &mut self.assembly;
        for file in &mut self.files {
            let look = &mut |bundle: &[u8]| Ok(assembly.survey(bundle)?);
            while file.read(look)?.is_some() {}
            file.rewind(self.follows);
        }
        for spool in &mut self.spools {
            let look = &mut |bundle: &[u8]| Ok(assembly.survey(bundle)?);
            while spool.read(look)?.is_some() {}
            spool.rewind();
        }
        assembly.surveyed();
        self.is_surveyed = true;
        self.tell_left_out(each)
    }

    /// Gives all that there is: first what is in files, with the streams of a
    /// prefix in the order in which they were read, then one stream of a
    /// directory after the other.
    pub fn read(&mut self, each: &mut Each<'_>) -> io::Result<()> {
        if !self.is_surveyed {
            self.survey(each)?;
        }
        self.read_files(each)?;
        for file in &mut self.files {
            if let Some(finding) = file.tail() {
                each(self.assembly.catalog(), Event::Finding(finding))?;
            }
        }
        self.assembly.finish(each)?;
        self.read_directories(false, each)
    }

    /// Gives what is new. What is out of order is waited for over some polls.
    pub fn poll(&mut self, each: &mut Each<'_>) -> io::Result<()> {
        if !self.is_surveyed {
            self.survey(each)?;
        }
        let is_idle = !self.read_files(each)?;
        self.restart_changed(each)?;
        self.idle_polls = if is_idle { self.idle_polls + 1 } else { 0 };
        self.assembly.poll(PATIENCE_POLLS, each)?;
        if self.idle_polls >= PATIENCE_POLLS {
            self.assembly.release(each)?;
            self.idle_polls = 0;
        }
        let is_walk = self.polls.is_multiple_of(WALK_POLLS);
        self.polls = self.polls.wrapping_add(1);
        self.read_directories(is_walk, each)?;
        self.tell_left_out(each)
    }

    /// Is there nothing to come any more? Files end with their streams, and
    /// directories never.
    pub fn is_over(&self) -> bool {
        self.directories.is_empty()
            && (self.spools.is_empty() && self.files.iter().all(MessageFile::is_broken)
                || self.assembly.is_complete())
    }

    /// After the last poll: gives what waits, and tells what is missing.
    pub fn finish(&mut self, each: &mut Each<'_>) -> io::Result<()> {
        self.assembly.finish(each)
    }

    /// Says whether anything came.
    fn read_files(&mut self, each: &mut Each<'_>) -> io::Result<bool> {
        let mut any = false;
        let assembly = &mut self.assembly;
        for (source, file) in self.files.iter_mut().enumerate() {
            while let Some(finding) = file.read(&mut |bundle| {
                any = true;
                assembly.feed(source, bundle, each)
            })? {
                each(assembly.catalog(), Event::Finding(finding))?;
            }
        }
        for (number, spool) in self.spools.iter_mut().enumerate() {
            while let Some(finding) = spool.read(&mut |bundle| {
                any = true;
                assembly.feed(SPOOLS + number, bundle, each)
            })? {
                each(assembly.catalog(), Event::Finding(finding))?;
            }
        }
        Ok(any)
    }

    fn read_directories(&mut self, is_walk: bool, each: &mut Each<'_>) -> io::Result<()> {
        let catalog = self.assembly.catalog_mut();
        let mut flow = Flow { catalog, each };
        for directory in &mut self.directories {
            if is_walk {
                directory.walk(&mut flow)?;
            }
            directory.read(&mut flow)?;
        }
        Ok(())
    }

    fn restart_changed(&mut self, each: &mut Each<'_>) -> io::Result<()> {
        for (source, file) in self.files.iter_mut().enumerate() {
            let Some(finding) = file.change() else {
                continue;
            };
            // It may be replaced again this moment; then the next poll sees.
            let Ok(new) = MessageFile::open(file.path()) else {
                continue;
            };
            *file = new;
            each(self.assembly.catalog(), Event::Finding(finding))?;
            self.assembly.restart(source, each)?;
        }
        Ok(())
    }

    fn tell_left_out(&mut self, each: &mut Each<'_>) -> io::Result<()> {
        let catalog = self.assembly.catalog();
        if !catalog.left_out() || self.told_left_out {
            return Ok(());
        }
        self.told_left_out = true;
        let streams = catalog.len();
        each(catalog, Event::Finding(Finding::LeftOut(streams)))
    }
}
