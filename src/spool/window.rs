//! The part of a file that is in memory while somebody goes through it.

use std::io::{self, Read, Seek, SeekFrom};

/// What is read at least: several small records, and little beside a large one,
/// whose body is passed over.
const READ: usize = 16 * 1024;

/// See the module.
#[derive(Debug, Default)]
pub struct Window {
    bytes: Vec<u8>,
    /// Where they are in the file.
    at: u64,
}

impl Window {
    /// Forgets what is there: another file follows.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// What the file has from `at` on: `want` bytes at least, if there are as many
    /// before `end`.
    pub(super) fn get(
        &mut self,
        file: &mut (impl Read + Seek),
        at: u64,
        want: usize,
        end: u64,
    ) -> io::Result<&[u8]> {
        let left = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
        let want = want.min(left);
        if self.has(at, want).is_none() {
            self.bytes.clear();
            self.at = at;
            file.seek(SeekFrom::Start(at))?;
            let len = want.max(READ).min(left) as u64;
            file.take(len).read_to_end(&mut self.bytes)?;
            self.bytes.shrink_to(READ.max(want));
        }
        let from = usize::try_from(at - self.at).unwrap_or(usize::MAX);
        Ok(self.bytes.get(from..).unwrap_or_default())
    }

    fn has(&self, at: u64, len: usize) -> Option<&[u8]> {
        let from = usize::try_from(at.checked_sub(self.at)?).ok()?;
        self.bytes.get(from..from.checked_add(len)?)
    }

    /// Fills `into` with what is at `at`. False: the file ends before.
    pub fn read(
        &self,
        file: &mut (impl Read + Seek),
        at: u64,
        into: &mut [u8],
    ) -> io::Result<bool> {
        if let Some(bytes) = self.has(at, into.len()) {
            into.copy_from_slice(bytes);
            return Ok(true);
        }
        file.seek(SeekFrom::Start(at))?;
        match file.read_exact(into) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }
}
