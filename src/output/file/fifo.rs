//! A FIFO, which may have no reader at times.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::OFlags;

use super::{Unplaced, Writing};
use crate::output::write::Unwritten;
use crate::reactor::writer::Writer;

#[derive(Debug)]
pub(super) struct Fifo {
    path: PathBuf,
    /// Open while there is a reader.
    file: Option<Unplaced>,
}

impl Fifo {
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            file: None,
        }
    }

    /// Writes the message wholly to a reader, waiting for one if need be.
    pub async fn write(&mut self, pieces: &[Bytes], writer: &mut Writing) {
        let mut unwritten = Unwritten::new(pieces);
        loop {
            let error = match self.write_on(&mut unwritten, writer).await {
                Ok(()) => return,
                Err(error) => error,
            };
            if error.kind() == io::ErrorKind::BrokenPipe {
                self.file = None;
                unwritten = Unwritten::new(pieces);
            }
            writer.attempts.failed(&error).await;
        }
    }

    async fn write_on(
        &mut self,
        unwritten: &mut Unwritten<'_>,
        writer: &mut Writing,
    ) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => open(&self.path)?,
        };
        self.file.insert(file).write_on(unwritten, writer).await
    }
}

/// Opens it if it has a reader: `ENXIO` otherwise.
fn open(path: &Path) -> io::Result<Unplaced> {
    let file = OpenOptions::new()
        .write(true)
        .custom_flags(OFlags::NONBLOCK.bits() as i32)
        .open(path)?;
    if !file.metadata()?.file_type().is_fifo() {
        return Err(io::Error::other("it is no FIFO any more"));
    }
    Ok(Unplaced(Writer::own(file)?))
}
