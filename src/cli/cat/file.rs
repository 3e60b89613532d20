//! Reads one file output.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::pipeline::FeedError;
use super::report::Report;
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
    /// Bytes read from `file`.
    read: u64,
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
    /// It is shorter than what was read.
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
            read: 0,
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
    pub fn rewind(&mut self, follow: bool) -> io::Result<()> {
        use std::io::{Seek, SeekFrom};
        self.file.seek(SeekFrom::Start(0))?;
        self.end = (!follow).then_some(self.read);
        self.reader = MessageReader::new();
        self.read = 0;
        self.is_broken = false;
        Ok(())
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
        let length = self.file.metadata().map_or(u64::MAX, |found| found.len());
        // A path that is gone may come back.
        match fs::metadata(&self.path) {
            Ok(found) if identity(&found) != self.identity => Some(Change::Replaced),
            _ if length < self.read => Some(Change::Truncated),
            _ => None,
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
        let left = self.end.map_or(u64::MAX, |end| end - self.read);
        let space = self.reader.space();
        let len = space.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = loop {
            match self.file.read(&mut space[..len]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        match read {
            Ok(read) => {
                self.reader.filled(read);
                self.read += read as u64;
                read > 0
            }
            Err(error) => {
                self.is_broken = true;
                report.error(format_args!(
                    "{}: can't be read at offset {}: {error}",
                    self.path.display(),
                    self.read
                ));
                false
            }
        }
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}
