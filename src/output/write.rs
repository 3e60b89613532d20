//! Writing a message whole, however the kernel cuts it.

use std::io;

use bytes::Bytes;

use crate::limits::WRITE_SLICES_MAX;

/// How far a message is written. A new one begins with its first byte again.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Pieces that are written.
    pieces: usize,
    /// Bytes of the next one that are.
    skip: usize,
    /// Bytes written in all.
    done: u64,
}

impl Progress {
    /// Bytes written so far.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Writes the rest of `all` until nothing is left or an error comes. After
    /// an error it may be called again, and goes on at the byte where it stopped.
    ///
    /// `write` is given slices and how many bytes went before them, and says
    /// how many it wrote.
    pub fn write(
        &mut self,
        all: &[Bytes],
        mut write: impl FnMut(&[Bytes], u64) -> io::Result<usize>,
    ) -> io::Result<()> {
        while self.pieces < all.len() {
            let rest = &all[self.pieces..];
            let rest = &rest[..rest.len().min(WRITE_SLICES_MAX)];
            let result = match self.skip {
                0 => write(rest, self.done),
                skip => write(&[rest[0].slice(skip..)], self.done),
            };
            match result {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.advance(all, written),
                // A signal came; nothing is wrong.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn advance(&mut self, all: &[Bytes], mut written: usize) {
        self.done += written as u64;
        while let Some(next) = all.get(self.pieces) {
            let left = next.len() - self.skip;
            if written < left {
                self.skip += written;
                return;
            }
            written -= left;
            self.skip = 0;
            self.pieces += 1;
        }
        assert_eq!(written, 0, "no more was written than there was");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Writes to a vector, at most so many bytes at a time, and fails when
    /// that is 0.
    fn write_with(pieces: &[Bytes], limits: &[usize]) -> (Vec<u8>, usize) {
        let mut limits = limits.iter().copied();
        let mut out = Vec::new();
        let mut failures = 0;
        let mut progress = Progress::default();
        loop {
            let written = progress.write(pieces, |slices, done| {
                assert_eq!(done, out.len() as u64);
                assert!(slices.len() <= WRITE_SLICES_MAX);
                let limit = limits.next().unwrap_or(usize::MAX);
                if limit == 0 {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                let all = slices.concat();
                let written = limit.min(all.len());
                out.extend_from_slice(&all[..written]);
                Ok(written)
            });
            match written {
                Ok(()) => return (out, failures),
                Err(_) => failures += 1,
            }
        }
    }

    #[test]
    fn more_pieces_than_one_write_takes() {
        let pieces: Vec<_> = (0..3000u32)
            .map(|at| Bytes::copy_from_slice(&at.to_le_bytes()))
            .collect();
        assert_eq!(write_with(&pieces, &[]), (pieces.concat(), 0));
    }

    #[test]
    fn nothing_written_is_an_error() {
        let pieces = [Bytes::from_static(b"x")];
        let error = Progress::default().write(&pieces, |_, _| Ok(0));
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::WriteZero);
    }

    #[test]
    fn an_interrupted_write_is_made_again() {
        let pieces = [Bytes::from_static(b"xy")];
        let mut results = [Ok(1), Err(io::ErrorKind::Interrupted.into()), Ok(1)].into_iter();
        let mut progress = Progress::default();
        progress
            .write(&pieces, |_, _| results.next().unwrap())
            .unwrap();
        assert_eq!(progress.done(), 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn goes_on_where_it_stopped(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 1..20),
            limits in prop::collection::vec(0..30usize, 0..20),
        ) {
            let pieces: Vec<_> = pieces.into_iter().map(Bytes::from).collect();
            let (out, failures) = write_with(&pieces, &limits);
            prop_assert_eq!(out, pieces.concat());
            prop_assert!(failures <= limits.iter().filter(|limit| **limit == 0).count());
        }
    }
}
