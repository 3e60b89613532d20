//! Reads one file output.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::pipeline::FeedError;
use super::report::Report;
use super::trace::Trace;
use crate::wire::message::MessageError;
use crate::wire::reader::MessageReader;

/// A file output that is open.
#[derive(Debug)]
pub struct FileOutput {
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

/// What became of a file that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Another file has its path now.
    Replaced,
    /// It has not any more what was read.
    Truncated,
}

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

    /// Gives the bundle of every message that is there to `each`. Errors are
    /// those of writing; those of the file are reported.
    pub fn read(
        &mut self,
        report: &mut Report<'_>,
        mut each: impl FnMut(&[u8]) -> Result<(), FeedError>,
    ) -> io::Result<()> {
        while !self.is_broken {
            self.take_messages(report, &mut each)?;
            if self.is_broken || !self.read_more(report) {
                break;
            }
        }
        // There may be many files, and a message is large.
        self.reader.shrink();
        self.inflated = Vec::new();
        Ok(())
    }

    /// Reports what is left of a message that the end of the file cuts.
    pub fn report_tail(&mut self, report: &mut Report<'_>) {
        let offset = self.reader.offset();
        match self.reader.tail() {
            _ if self.is_broken => {}
            Ok(0) => {}
            Ok(pending) => report.note(format_args!(
                "{}: the file ends inside the message at offset {offset}: {pending} bytes of it \
                 are there and are left out",
                self.path.display(),
            )),
            Err(error) => self.breaks(report, offset, &error),
        }
    }

    fn breaks(&mut self, report: &mut Report<'_>, offset: u64, error: &MessageError) {
        self.is_broken = true;
        report.error(format_args!(
            "{}: at offset {offset}: {error}; nothing after it can be read",
            self.path.display()
        ));
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

    fn take_messages(
        &mut self,
        report: &mut Report<'_>,
        each: &mut impl FnMut(&[u8]) -> Result<(), FeedError>,
    ) -> io::Result<()> {
        loop {
            let offset = self.reader.offset();
            let fed = match self.reader.message() {
                Ok(None) => return Ok(()),
                Ok(Some((_, view))) => match view.bundle_bytes(&mut self.inflated) {
                    Ok(bundle) => each(bundle),
                    Err(_) => Err(FeedError::Malformed),
                },
                Err(error) => {
                    self.breaks(report, offset, &error);
                    return Ok(());
                }
            };
            match fed {
                Ok(()) => {}
                Err(FeedError::Write(error)) => return Err(error),
                // The frames hold, so what comes next can be read.
                Err(FeedError::Malformed) => report.error(format_args!(
                    "{}: the message at offset {offset} is left out, or a part of it: {}",
                    self.path.display(),
                    MessageError::Data
                )),
            }
        }
    }

    /// Reads once; says whether anything came.
    fn read_more(&mut self, report: &mut Report<'_>) -> bool {
        let at = self.trace.read();
        if self.file.metadata().is_ok_and(|found| found.len() <= at) {
            return false;
        }
        let left = self.end.map_or(u64::MAX, |end| end - at);
        let space = self.reader.space();
        let len = space.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let why = match self.trace.read_on(&self.file, &mut space[..len]) {
            Ok(Some(read)) => {
                self.reader.filled(read);
                return read > 0;
            }
            // Whoever follows it finds that out.
            Ok(None) if self.end.is_none() => return false,
            Ok(None) => "it was changed while it was read".to_owned(),
            Err(error) => error.to_string(),
        };
        self.is_broken = true;
        report.error(format_args!(
            "{}: can't be read at offset {at}: {why}",
            self.path.display(),
        ));
        false
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}
