//! How the process's allocator deals with large pieces of memory.

/// Unfinished headers, lines and datagrams grow and are freed as clients like.
/// glibc puts such pieces on its heap once a few have been freed, where they
/// leave holes that nobody gets back. This gives them pages of their own, from
/// [`OWN_PAGES_MIN`](crate::limits::OWN_PAGES_MIN) bytes on.
///
/// It is for the process, so a program that embeds a butler decides itself.
pub(crate) fn keep_no_large_holes() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt only sets a number in the allocator, under its lock.
    unsafe {
        // It fails for a threshold that is out of range only.
        let min = crate::limits::OWN_PAGES_MIN as libc::c_int;
        libc::mallopt(libc::M_MMAP_THRESHOLD, min);
    }
}
