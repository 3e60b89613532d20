//! The read buffers: one pool for all streams, from which the kernel picks a
//! buffer only when there is data for it.
//!
//! A buffer belongs either to the kernel (it is in the buffer ring) or to us
//! (there is a [`Filled`] for it). [`Buffers::recycle`] gives it back.

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

use super::mapping::Mapping;
use crate::limits::{READ_BUFFER_SIZE, READ_BUFFERS};

/// The only buffer group.
pub(super) const GROUP: u16 = 0;

/// A buffer that the kernel has filled and handed to us. It can't be copied,
/// so it is given back once.
#[derive(Debug)]
pub struct Filled {
    buffer: u16,
    len: u32,
}

impl Filled {
    pub fn len(&self) -> usize {
        self.len as usize
    }
}

#[derive(Debug)]
pub(super) struct Buffers {
    /// The ring of [`BufRingEntry`], shared with the kernel.
    ring: Mapping,
    /// The buffers, one after the other.
    memory: Mapping,
    /// Entries ever put in the ring, modulo 2^16.
    tail: u16,
}

impl Buffers {
    /// Makes the pool and registers it with `uring`.
    ///
    /// The caller keeps it until `uring` is gone.
    pub fn register(uring: &IoUring) -> io::Result<Self> {
        assert!(READ_BUFFERS.is_power_of_two());
        let mut buffers = Self {
            ring: Mapping::new(usize::from(READ_BUFFERS) * size_of::<BufRingEntry>())?,
            memory: Mapping::new(usize::from(READ_BUFFERS) * READ_BUFFER_SIZE)?,
            tail: 0,
        };
        // SAFETY: the ring's memory is page-aligned, has READ_BUFFERS entries
        // and lives until after `uring`.
        unsafe {
            uring.submitter().register_buf_ring_with_flags(
                buffers.ring.start().as_ptr() as u64,
                READ_BUFFERS,
                GROUP,
                0,
            )
        }?;
        for buffer in 0..READ_BUFFERS {
            buffers.recycle(Filled { buffer, len: 0 });
        }
        Ok(buffers)
    }

    /// Takes over the buffer of a completion, which has `len` bytes in it.
    pub fn filled(&self, buffer: u16, len: u32) -> Filled {
        assert!(buffer < READ_BUFFERS && len as usize <= READ_BUFFER_SIZE);
        Filled { buffer, len }
    }

    /// What was read.
    pub fn bytes(&self, filled: &Filled) -> &[u8] {
        let at = usize::from(filled.buffer) * READ_BUFFER_SIZE;
        debug_assert!(at + filled.len() <= self.memory.len());
        // SAFETY: `filled` was checked against the pool's bounds; while it
        // exists the buffer is not in the ring, so the kernel does not write
        // to it; the mapping was zeroed, so all bytes are initialized; and
        // the slice borrows `self` and `filled`, so it is gone before the
        // buffer is recycled.
        unsafe { std::slice::from_raw_parts(self.memory.start().as_ptr().add(at), filled.len()) }
    }

    /// Gives the buffer back to the kernel.
    pub fn recycle(&mut self, filled: Filled) {
        let entry = usize::from(self.tail & (READ_BUFFERS - 1));
        let at = usize::from(filled.buffer) * READ_BUFFER_SIZE;
        let base: *mut BufRingEntry = self.ring.start().as_ptr().cast();
        // SAFETY: `entry` is below READ_BUFFERS, the length of the ring; the
        // kernel reads an entry only once the tail is past it, and there are
        // as many entries as buffers, so this one is not in use. The entry's
        // fields are plain integers in zeroed memory.
        unsafe {
            let entry = &mut *base.add(entry);
            entry.set_addr(self.memory.start().as_ptr().add(at) as u64);
            entry.set_len(READ_BUFFER_SIZE as u32);
            entry.set_bid(filled.buffer);
        }
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail lies in the first entry of the ring, is aligned to
        // its two bytes, and while the ring is registered is only accessed
        // atomically: by us here, by the kernel with acquire.
        unsafe {
            let tail = BufRingEntry::tail(base).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }
}
