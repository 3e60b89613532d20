//! What only the beginning of a process knows, before `main`: whether SIGPIPE
//! was ignored, which every Rust program ignores from then on, and where the
//! arguments are that others see.

use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use rustix::process::Signal;

use super::signals::is_ignored;

static PIPE_IGNORED: AtomicBool = AtomicBool::new(false);
/// The arguments, one behind the other, and how many bytes they have.
static ARGUMENTS: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
static ARGUMENTS_LEN: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the loader calls the functions in this section one after the other,
// with the C library ready to be used. `look` calls nothing that needs more.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn(libc::c_int, *const *mut u8) = look;

extern "C" fn look(count: libc::c_int, arguments: *const *mut u8) {
    PIPE_IGNORED.store(is_ignored(Signal::PIPE), Ordering::Relaxed);
    // Only this C library passes them here.
    if !cfg!(target_env = "gnu") || count < 1 {
        return;
    }
    // SAFETY: there is at least one.
    let first = unsafe { *arguments };
    let mut end = first;
    for at in 0..count as usize {
        // SAFETY: there are `count` of them.
        let argument = unsafe { *arguments.add(at) };
        if argument != end {
            // Not where the kernel puts them.
            return;
        }
        // SAFETY: it ends with a 0, which is its own too.
        end = unsafe { end.add(libc::strlen(argument.cast()) + 1) };
    }
    ARGUMENTS_LEN.store(end as usize - first as usize, Ordering::Relaxed);
    ARGUMENTS.store(first, Ordering::Relaxed);
}

/// Was SIGPIPE ignored when the process began?
pub(super) fn found_pipe_ignored() -> bool {
    PIPE_IGNORED.load(Ordering::Relaxed)
}

/// Lets others see `name` in place of the arguments, as far as it fits.
///
/// # Safety
///
/// Nothing else may look at the arguments any more.
pub(super) unsafe fn show_as(name: &[u8]) {
    let shown = ARGUMENTS.load(Ordering::Relaxed);
    let len = ARGUMENTS_LEN.load(Ordering::Relaxed);
    if shown.is_null() {
        return;
    }
    // The last byte stays 0: it tells that these are the arguments, and all.
    let name = &name[..name.len().min(len - 1)];
    // SAFETY: they have `len` bytes, which the process may write to, and which
    // nobody else uses.
    unsafe {
        shown.write_bytes(0, len);
        shown.copy_from_nonoverlapping(name.as_ptr(), name.len());
    }
}
