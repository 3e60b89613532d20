//! Reads one file output.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::assembly::FeedError;
use super::finding::{Change, Finding};
use super::trace::Trace;
use crate::wire::message::MessageError;
use crate::wire::reader::MessageReader;
use crate::wire::walk::Malformed;

/// A file output that is open.
#[derive(Debug)]
pub(super) struct FileOutput {
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

/// Takes what a file gives: the encoded bundle of a message, or a finding.
pub(super) type TakeBundle<'a> = dyn FnMut(Result<&[u8], Finding>) -> Result<(), FeedError> + 'a;

impl FileOutput {
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

    /// Gives the bundle of every message that is there.
    pub fn read(&mut self, take: &mut TakeBundle<'_>) -> io::Result<()> {
        while !self.is_broken {
            self.take_messages(take)?;
            if self.is_broken || !self.read_more(take)? {
                break;
            }
        }
        // There may be many files, and a message is large.
        self.reader.shrink();
        self.inflated = Vec::new();
        Ok(())
    }

    /// What is left of a message that the end of the file cuts.
    pub fn tail(&mut self) -> Option<Finding> {
        if self.is_broken {
            return None;
        }
        let (path, offset) = (self.path.clone(), self.reader.offset());
        match self.reader.tail() {
            Ok(0) => None,
            Ok(bytes) => Some(Finding::Torn {
                path,
                offset,
                bytes,
            }),
            Err(why) => {
                self.is_broken = true;
                Some(Finding::Corrupt { path, offset, why })
            }
        }
    }

    /// Was the file replaced or truncated since it was opened?
    pub fn change(&self) -> Option<Change> {
        // A path that is gone may come back.
        match fs::metadata(&self.path) {
            Ok(found) if identity(&found) != self.identity => Some(Change::Replaced),
            _ if self.trace.is_of(&self.file).unwrap_or(true) => None,
            _ => Some(Change::Truncated),
        }
    }

    fn take_messages(&mut self, take: &mut TakeBundle<'_>) -> io::Result<()> {
        loop {
            let offset = self.reader.offset();
            let taken = match self.reader.message() {
                Ok(None) => return Ok(()),
                Ok(Some((_, view))) => match view.bundle_bytes(&mut self.inflated) {
                    Ok(bundle) => take(Ok(bundle)),
                    Err(_) => Err(Malformed.into()),
                },
                Err(why) => {
                    self.is_broken = true;
                    let path = self.path.clone();
                    return tell(take, Finding::Corrupt { path, offset, why });
                }
            };
            match taken {
                Ok(()) => {}
                Err(FeedError::Refused(error)) => return Err(error),
                // The frames hold, so what comes next can be read.
                Err(FeedError::Malformed(_)) => tell(
                    take,
                    Finding::Malformed {
                        path: self.path.clone(),
                        offset,
                        source: MessageError::Data,
                    },
                )?,
            }
        }
    }

    /// Reads once; says whether anything came.
    fn read_more(&mut self, take: &mut TakeBundle<'_>) -> io::Result<bool> {
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
        let source = match self.trace.read_on(&self.file, &mut space[..len]) {
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
        let path = self.path.clone();
        tell(
            take,
            Finding::Unreadable {
                path,
                offset,
                source,
            },
        )?;
        Ok(false)
    }
}

/// Findings are never malformed.
fn tell(take: &mut TakeBundle<'_>, finding: Finding) -> io::Result<()> {
    match take(Err(finding)) {
        Err(FeedError::Refused(error)) => Err(error),
        Ok(()) | Err(FeedError::Malformed(_)) => Ok(()),
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}
