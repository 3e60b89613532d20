//! A FIFO, which may have no reader at times.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::{Ring, Writer};
use crate::output::write::Unwritten;

#[derive(Debug)]
pub(super) struct Fifo {
    path: PathBuf,
    /// Open while there is a reader.
    ring: Option<Ring>,
}

impl Fifo {
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            ring: None,
        }
    }

    /// Writes the message wholly to a reader, waiting for one if need be.
    pub async fn write(&mut self, pieces: &[Bytes], writer: &mut Writer) {
        let mut unwritten = Unwritten::new(pieces);
        loop {
            let error = match self.write_on(&mut unwritten, writer).await {
                Ok(()) => return,
                Err(error) => error,
            };
            if error.kind() == io::ErrorKind::BrokenPipe {
                self.ring = None;
                unwritten = Unwritten::new(pieces);
            }
            writer.attempts.failed(&error).await;
        }
    }

    async fn write_on(
        &mut self,
        unwritten: &mut Unwritten<'_>,
        writer: &mut Writer,
    ) -> io::Result<()> {
        let ring = match self.ring.take() {
            Some(ring) => ring,
            None => open(&self.path)?,
        };
        self.ring.insert(ring).write_on(unwritten, writer).await
    }
}

/// Opens it if it has a reader: `ENXIO` otherwise.
fn open(path: &Path) -> io::Result<Ring> {
    let file = OpenOptions::new()
        .write(true)
        .custom_flags(OFlags::NONBLOCK.bits() as i32)
        .open(path)?;
    if !file.metadata()?.file_type().is_fifo() {
        return Err(io::Error::other("it is no FIFO any more"));
    }
    // The ring waits by itself, but not for files that say they never block.
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    Ok(Ring(tokio_uring::fs::File::from_std(file)))
}
