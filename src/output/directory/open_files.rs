//! Which of all streams' files are open: no more than a bound, and of those
//! the ones that were written last.

use rustix::process::{Resource, getrlimit};

use crate::limits::{OPEN_FILES_MAX, OPEN_FILES_MIN};

/// A file that was opened, and is perhaps closed by now.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileKey {
    slot: usize,
    /// Tells it from a file that took its place.
    number: u64,
}

#[derive(Debug)]
struct Slot<D> {
    number: u64,
    file: Option<D>,
    /// Since the hand passed.
    used: bool,
}

/// Files in a ring of slots. A hand goes round and closes the first that was
/// not used since it passed last: nearly the one that was used longest ago,
/// for no work at each use.
#[derive(Debug)]
pub(super) struct OpenFiles<D> {
    slots: Vec<Slot<D>>,
    /// Slots without a file.
    free: Vec<usize>,
    bound: usize,
    hand: usize,
    next_number: u64,
}

impl<D> OpenFiles<D> {
    /// At most `bound`, and at least one.
    pub fn new(bound: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            bound: bound.max(1),
            hand: 0,
            next_number: 0,
        }
    }

    /// The file, if it is still open.
    pub fn get(&mut self, handle: FileKey) -> Option<&D> {
        let slot = self.slots.get_mut(handle.slot)?;
        if slot.number != handle.number {
            return None;
        }
        slot.used = true;
        slot.file.as_ref()
    }

    /// Keeps the file open, and closes another one for it if need be.
    pub fn put(&mut self, file: D) -> FileKey {
        let number = self.next_number;
        self.next_number += 1;
        let new = Slot {
            number,
            file: Some(file),
            used: true,
        };
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.slots.len() < self.bound => {
                self.slots.push(new);
                let slot = self.slots.len() - 1;
                return FileKey { slot, number };
            }
            None => self.unused_slot(),
        };
        self.slots[slot] = new;
        FileKey { slot, number }
    }

    /// Takes the file out, if it is still open.
    pub fn take(&mut self, handle: FileKey) -> Option<D> {
        let slot = self.slots.get_mut(handle.slot)?;
        if slot.number != handle.number {
            return None;
        }
        let file = slot.file.take()?;
        self.free.push(handle.slot);
        Some(file)
    }

    /// Closes all.
    pub fn clear(&mut self) {
        self.slots.clear();
        self.free.clear();
        self.hand = 0;
    }

    /// Goes round at most twice: the first time nothing stays "used".
    fn unused_slot(&mut self) -> usize {
        loop {
            let at = self.hand;
            self.hand = (self.hand + 1) % self.slots.len();
            if !std::mem::take(&mut self.slots[at].used) {
                return at;
            }
        }
    }
}

/// How many files may be open: a quarter of what the process may open: the rest is for its clients.
pub(super) fn bound_of_process() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    let quarter = limit.map_or(OPEN_FILES_MAX, |limit| {
        usize::try_from(limit / 4).unwrap_or(OPEN_FILES_MAX)
    });
    quarter.clamp(OPEN_FILES_MIN, OPEN_FILES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> std::os::fd::OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn closes_what_was_not_used() {
        let mut files = OpenFiles::new(3);
        let handles: Vec<_> = (0..4).map(|_| files.put(file())).collect();
        assert!(files.get(handles[0]).is_none());
        assert!(files.get(handles[1]).is_some());
        let newer = files.put(file());
        assert!(files.get(handles[2]).is_none());
        for handle in [handles[1], handles[3], newer] {
            assert!(files.get(handle).is_some());
        }
    }

    #[test]
    fn reuses_what_was_taken() {
        let mut files = OpenFiles::new(2);
        let kept = files.put(file());
        for _ in 0..10 {
            let handle = files.put(file());
            assert!(files.take(handle).is_some());
            assert!(files.take(handle).is_none() && files.get(handle).is_none());
        }
        assert!(files.get(kept).is_some());
        files.clear();
        assert!(files.get(kept).is_none());
        files.put(file());
        assert!(files.get(kept).is_none());
        assert!(bound_of_process() >= OPEN_FILES_MIN);
    }
}
