//! Writing a message whole, however the kernel cuts it.

use std::io;
use std::mem;

use bytes::Bytes;
use tokio_uring::BufResult;

use crate::limits::WRITE_SLICES_MAX;

/// What of a message is not written yet. The message itself stays as it is:
/// a new one of these begins with its first byte again.
#[derive(Debug)]
pub(crate) struct Unwritten<'a> {
    pieces: &'a [Bytes],
    /// Bytes of the first piece that are written.
    skip: usize,
    /// Bytes written in all.
    done: u64,
}

impl<'a> Unwritten<'a> {
    pub fn new(pieces: &'a [Bytes]) -> Self {
        Self {
            pieces,
            skip: 0,
            done: 0,
        }
    }

    /// Bytes written so far.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Writes until nothing is left or an error comes. After an error it may
    /// be called again, and goes on at the byte where it stopped.
    ///
    /// `write` is given slices and how many bytes went before them, and says
    /// how many it wrote. `slices` is memory that is reused.
    pub async fn write(
        &mut self,
        slices: &mut Vec<Bytes>,
        mut write: impl AsyncFnMut(Vec<Bytes>, u64) -> BufResult<usize, Vec<Bytes>>,
    ) -> io::Result<()> {
        while !self.pieces.is_empty() {
            let mut batch = mem::take(slices);
            self.fill(&mut batch);
            let (result, mut batch) = write(batch, self.done).await;
            // They keep the bundle's memory from being used again.
            batch.clear();
            *slices = batch;
            match result {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.advance(written),
                // A signal came; nothing is wrong.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn fill(&self, slices: &mut Vec<Bytes>) {
        let pieces = &self.pieces[..self.pieces.len().min(WRITE_SLICES_MAX)];
        let Some((first, others)) = pieces.split_first() else {
            return;
        };
        slices.push(first.slice(self.skip..));
        slices.extend_from_slice(others);
    }

    fn advance(&mut self, mut written: usize) {
        self.done += written as u64;
        while let Some((first, others)) = self.pieces.split_first() {
            let left = first.len() - self.skip;
            if written < left {
                self.skip += written;
                return;
            }
            written -= left;
            self.skip = 0;
            self.pieces = others;
        }
        assert_eq!(written, 0, "no more was written than there was");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::testing::start;
    use proptest::prelude::*;

    /// Writes to a vector, at most so many bytes at a time, and fails when
    /// that is 0. Never blocks.
    fn write_with(pieces: &[Bytes], limits: &[usize]) -> (Vec<u8>, usize) {
        let mut limits = limits.iter().copied();
        let mut out = Vec::new();
        let mut failures = 0;
        let mut unwritten = Unwritten::new(pieces);
        let mut slices = Vec::new();
        start(async {
            loop {
                let write = async |batch: Vec<Bytes>, done| {
                    assert_eq!(done, out.len() as u64);
                    assert!(batch.len() <= WRITE_SLICES_MAX);
                    let limit = limits.next().unwrap_or(usize::MAX);
                    if limit == 0 {
                        return (Err(io::ErrorKind::StorageFull.into()), batch);
                    }
                    let all = batch.concat();
                    let written = limit.min(all.len());
                    out.extend_from_slice(&all[..written]);
                    (Ok(written), batch)
                };
                match unwritten.write(&mut slices, write).await {
                    Ok(()) => break,
                    Err(_) => failures += 1,
                }
            }
        });
        assert!(slices.is_empty());
        (out, failures)
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
        let mut unwritten = Unwritten::new(&pieces);
        let error =
            start(unwritten.write(&mut Vec::new(), async |batch: Vec<Bytes>, _| (Ok(0), batch)));
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::WriteZero);
    }

    #[test]
    fn an_interrupted_write_is_made_again() {
        let pieces = [Bytes::from_static(b"xy")];
        let mut results = [Ok(1), Err(io::ErrorKind::Interrupted.into()), Ok(1)].into_iter();
        let mut unwritten = Unwritten::new(&pieces);
        start(unwritten.write(&mut Vec::new(), async |batch, _| {
            (results.next().unwrap(), batch)
        }))
        .unwrap();
        assert_eq!(unwritten.done(), 2);
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
