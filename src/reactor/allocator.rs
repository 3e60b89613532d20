//! How the process's allocator deals with large pieces of memory.

/// Allocations from this size on get pages of their own, which go back to the
/// kernel when they are freed.
#[cfg(target_env = "gnu")]
const OWN_PAGES_MIN: libc::c_int = 64 * 1024;

/// Unfinished lines and datagrams grow to sizes of all kinds and are freed in
/// any order. glibc puts such pieces on its heap once a few have been freed,
/// where they leave holes: of 64 MiB of data it made 104 MiB resident, and
/// kept 85 when all was freed. This holds it to 74 and 65.
///
/// It is for the process, so a program that embeds a butler decides itself.
pub(crate) fn keep_no_large_holes() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt only sets a number in the allocator, under its lock.
    unsafe {
        // It fails for a threshold that is out of range only.
        libc::mallopt(libc::M_MMAP_THRESHOLD, OWN_PAGES_MIN);
    }
}
