//! Reads one file output.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::assembly::FeedError;
use super::finding::Finding;
use super::trace::Trace;
use crate::wire::message::MessageError;
use crate::wire::reader::MessageReader;

/// A file output that is open.
#[derive(Debug)]
pub(super) struct MessageFile {
    path: PathBuf,
    file: File,
    /// Device and inode of `file`.
    identity: (u64, u64),
    reader: MessageReader,
    trace: Trace,
    /// Reading stops here.
    end: Option<u64>,
    is_broken: bool,
    inflated: Vec<u8>,
}

impl MessageFile {
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let identity = identity(&file.metadata()?);
        Ok(Self {
            path: path.to_owned(),
            file,
            identity,
            reader: MessageReader::new(),
            trace: Trace::default(),
            end: None,
            is_broken: false,
            inflated: Vec::new(),
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Can nothing more be read from it?
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Starts again from the beginning; unless it is followed, up to where
    /// reading came the last time.
    pub fn rewind(&mut self, follow: bool) {
        self.end = (!follow).then_some(self.trace.read());
        self.reader = MessageReader::new();
        self.trace = Trace::default();
        self.is_broken = false;
    }

    /// Gives the bundle of every message that is there, or up to something that
    /// is to be told; `None` when there is nothing more. Errors are those of
    /// `feed`.
    pub fn read(
        &mut self,
        feed: &mut dyn FnMut(&[u8]) -> Result<(), FeedError>,
    ) -> io::Result<Option<Finding>> {
        let mut finding = None;
        while finding.is_none() && !self.is_broken {
            finding = self.take_messages(feed)?;
            if finding.is_some() || self.is_broken {
                break;
            }
            match self.read_more() {
                Ok(true) => {}
                Ok(false) => break,
                Err(found) => finding = Some(found),
            }
        }
        // There may be many files, and a message is large.
        self.reader.shrink();
        self.inflated = Vec::new();
        Ok(finding)
    }

    /// What is left of a message that the end of the file cuts.
    pub fn tail(&mut self) -> Option<Finding> {
        if self.is_broken {
            return None;
        }
        let (path, offset) = (self.path.clone(), self.reader.offset());
        match self.reader.tail() {
            Ok(0) => None,
            Ok(bytes) => Some(Finding::Torn(path, offset, bytes)),
            Err(why) => {
                self.is_broken = true;
                Some(Finding::Corrupt(path, offset, why))
            }
        }
    }

    /// Was the file replaced or truncated since it was opened?
    pub fn change(&self) -> Option<Finding> {
        let path = self.path.clone();
        // A path that is gone may come back.
        match fs::metadata(&self.path) {
            Ok(found) if identity(&found) != self.identity => Some(Finding::Replaced(path)),
            _ if self.trace.is_of(&self.file).unwrap_or(true) => None,
            _ => Some(Finding::Truncated(path)),
        }
    }

    fn take_messages(
        &mut self,
        feed: &mut dyn FnMut(&[u8]) -> Result<(), FeedError>,
    ) -> io::Result<Option<Finding>> {
        loop {
            let offset = self.reader.offset();
            let bundle = match self.reader.message() {
                Ok(None) => return Ok(None),
                Ok(Some((_, view))) => view.bundle_bytes(&mut self.inflated),
                Err(why) => {
                    self.is_broken = true;
                    return Ok(Some(Finding::Corrupt(self.path.clone(), offset, why)));
                }
            };
            let why = match bundle.map(&mut *feed) {
                Ok(Ok(())) => continue,
                Ok(Err(FeedError::Refused(error))) => return Err(error),
                Ok(Err(FeedError::Malformed(_))) => MessageError::Data,
                Err(why) => why,
            };
            // The frames hold, so what comes next can be read.
            return Ok(Some(Finding::Malformed(self.path.clone(), offset, why)));
        }
    }

    /// Reads once; says whether anything came.
    fn read_more(&mut self) -> Result<bool, Finding> {
        let offset = self.trace.read();
        if self
            .file
            .metadata()
            .is_ok_and(|found| found.len() <= offset)
        {
            return Ok(false);
        }
        let left = self.end.map_or(u64::MAX, |end| end - offset);
        let space = self.reader.space();
        let len = space.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let why = match self.trace.read_on(&self.file, &mut space[..len]) {
            Ok(Some(read)) => {
                self.reader.filled(read);
                return Ok(read > 0);
            }
            // Whoever follows it finds that out.
            Ok(None) if self.end.is_none() => return Ok(false),
            Ok(None) => io::Error::other("it was changed while it was read"),
            Err(error) => error,
        };
        self.is_broken = true;
        Err(Finding::Unreadable(self.path.clone(), offset, why))
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}
