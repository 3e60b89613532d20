//! How far a file was read, and whether it is still the same.
//!
//! A file that grows while it is followed may be truncated and written anew
//! (`copytruncate`, a job that runs again), to any length: its size then tells
//! nothing. So some of what was read is remembered, and looked for after every
//! read, before anybody sees what that gave.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// How much of the beginning, and of what was read last. A file output begins
/// with the time and the prefix of a bundle, which no other one has.
const KEPT: usize = 256;

/// What was read of a file.
#[derive(Debug, Default)]
pub(super) struct Trace {
    head: Vec<u8>,
    tail: Vec<u8>,
    read: u64,
}

impl Trace {
    /// What it takes of the heap.
    pub const COST: usize = 2 * KEPT;

    /// Bytes that were read.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// Reads what comes next, at most as much as the buffer takes. `None`: the
    /// file has not any more what was read before.
    pub fn read_on(&mut self, file: &File, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let read = read_at(file, buffer, self.read)?;
        if !self.is_of(file)? {
            return Ok(None);
        }
        self.took(&buffer[..read]);
        Ok(Some(read))
    }

    /// Has the file still what was read?
    pub fn is_of(&self, file: &File) -> io::Result<bool> {
        let has = |kept: &[u8], at: u64| -> io::Result<bool> {
            let mut found = [0; KEPT];
            let found = &mut found[..kept.len()];
            let mut filled = 0;
            while filled < found.len() {
                match read_at(file, &mut found[filled..], at + filled as u64)? {
                    0 => return Ok(false),
                    read => filled += read,
                }
            }
            Ok(found == kept)
        };
        Ok(has(&self.tail, self.read - self.tail.len() as u64)? && has(&self.head, 0)?)
    }

    fn took(&mut self, data: &[u8]) {
        let missing = KEPT - self.head.len();
        self.head
            .extend_from_slice(&data[..data.len().min(missing)]);
        let last = &data[data.len().saturating_sub(KEPT)..];
        let kept = self.tail.len().min(KEPT - last.len());
        self.tail.drain(..self.tail.len() - kept);
        self.tail.extend_from_slice(last);
        self.read += data.len() as u64;
    }
}

fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_what_is_not_the_same() {
        let file = tempfile::tempfile().unwrap();
        let text: Vec<u8> = (0..2000u32).map(|at| (at % 251) as u8).collect();
        file.write_all_at(&text, 0).unwrap();
        for step in [1, 100, 300, 1999] {
            let mut trace = Trace::default();
            let mut buffer = vec![0; step];
            let mut read = Vec::new();
            while read.len() + step <= text.len() {
                let len = trace.read_on(&file, &mut buffer).unwrap().unwrap();
                assert_eq!(len, step);
                read.extend_from_slice(&buffer);
                assert!(trace.head.len() <= KEPT && trace.tail.len() <= KEPT);
            }
            assert_eq!(read, text[..read.len()]);
            assert_eq!(trace.read(), read.len() as u64);
            for at in [0, KEPT - 1, read.len() - KEPT, read.len() - 1] {
                file.write_all_at(b"\xff", at as u64).unwrap();
                assert!(!trace.is_of(&file).unwrap(), "{step} {at}");
                assert_eq!(trace.read_on(&file, &mut buffer).unwrap(), None);
                file.write_all_at(&text[at..=at], at as u64).unwrap();
                assert!(trace.is_of(&file).unwrap());
            }
            file.set_len(read.len() as u64 - 1).unwrap();
            assert!(!trace.is_of(&file).unwrap());
            file.write_all_at(&text, 0).unwrap();
        }
        assert!(Trace::default().is_of(&file).unwrap());
    }
}
