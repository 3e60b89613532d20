//! Signals, with when each came and whether the kernel sent it.
//!
//! A handler notes them in a pipe, and whoever has the [`Arrivals`] reads them
//! there, in their order. No signal is blocked, so a child needs no mask of its
//! own; and the time is that of the arrival, however busy the thread was.
//!
//! A signal that we were started with ignored gets no handler: it stays without
//! effect on us, and on whatever we execute.

use std::collections::VecDeque;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;
use std::{mem, ptr};

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, getpid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::edge::{clock, wake};

/// One that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub signal: Signal,
    /// Not a process but the kernel sent it, for a terminal as a rule.
    pub by_kernel: bool,
    /// On the monotonic clock.
    pub at_ns: u64,
}

impl Arrival {
    const LEN: usize = 16;

    fn to_bytes(signal: i32, code: i32, at_ns: u64) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..4].copy_from_slice(&signal.to_ne_bytes());
        bytes[4..8].copy_from_slice(&code.to_ne_bytes());
        bytes[8..].copy_from_slice(&at_ns.to_ne_bytes());
        bytes
    }

    fn from_bytes(bytes: [u8; Self::LEN]) -> Option<Self> {
        let ([signal, code], [_, at_ns]) = {
            let (words, _) = bytes.as_chunks::<4>();
            let (longs, _) = bytes.as_chunks::<8>();
            (
                [words[0], words[1]].map(i32::from_ne_bytes),
                [longs[0], longs[1]].map(u64::from_ne_bytes),
            )
        };
        Some(Self {
            signal: Signal::from_named_raw(signal)?,
            by_kernel: code == libc::SI_KERNEL,
            at_ns,
        })
    }
}

/// Where the handler writes.
static NOTES: OnceLock<Notes> = OnceLock::new();

struct Notes {
    reader: PipeReader,
    writer: PipeWriter,
    /// The process that reads them.
    owner: Pid,
}

impl Notes {
    fn new() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        // Neither must wait; what a full pipe does not take is lost, as are
        // signals that come while the same one waits to be handled.
        fcntl_setfl(&reader, OFlags::NONBLOCK)?;
        fcntl_setfl(&writer, OFlags::NONBLOCK)?;
        Ok(Self {
            reader,
            writer,
            owner: getpid(),
        })
    }
}

/// The handler of all signals that are caught.
extern "C" fn note(signal: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    let Some(notes) = NOTES.get() else {
        return;
    };
    if getpid() != notes.owner {
        // A child that has not executed its program yet: the signal is for
        // that one, which would have no handler.
        // SAFETY: both are async-signal-safe, and set no handler of ours.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
        return;
    }
    // SAFETY: with SA_SIGINFO the kernel passes one that is valid.
    let code = unsafe { (*info).si_code };
    // SAFETY: errno is this thread's own. Whoever was interrupted must find it
    // as it was.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let found = unsafe { *errno };
    let bytes = Arrival::to_bytes(signal, code, clock::mono_ns());
    // Less than PIPE_BUF: it is written whole or not at all.
    let _ = rustix::io::write(&notes.writer, &bytes);
    // SAFETY: as above.
    unsafe { *errno = found };
}

/// What is done at a signal now.
fn action(signal: Signal) -> io::Result<libc::sigaction> {
    // SAFETY: all-zero is a valid value: no handler, no flags, an empty mask.
    let mut found: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: it only writes to `found`.
    match unsafe { libc::sigaction(signal.as_raw(), ptr::null(), &raw mut found) } {
        0 => Ok(found),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Has the signal no effect?
pub(super) fn is_ignored(signal: Signal) -> bool {
    action(signal).is_ok_and(|action| action.sa_sigaction == libc::SIG_IGN)
}

/// Lets `handler` handle the signal; a system call that it interrupts goes on.
fn set_handler(signal: Signal, handler: libc::sighandler_t, flags: i32) -> io::Result<()> {
    let mut action = action(signal)?;
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    // SAFETY: the handler is `note`, which is async-signal-safe: it allocates
    // nothing, locks nothing and leaves errno alone; or it is none.
    match unsafe { libc::sigaction(signal.as_raw(), &raw const action, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lets the signal have its default effect again.
pub(super) fn set_default(signal: Signal) -> io::Result<()> {
    set_handler(signal, libc::SIG_DFL, 0)
}

/// Signals that don't have their default effect any more. It needs no runtime:
/// none should end us while that is still made.
#[derive(Debug)]
pub(crate) struct Caught {
    notes: OwnedFd,
}

impl Caught {
    /// Catches them from now on, but for those that are ignored.
    pub fn new(signals: &[Signal]) -> io::Result<Self> {
        if NOTES.get().is_none() {
            // Who was first does not matter.
            let _ = NOTES.set(Notes::new()?);
        }
        let notes = NOTES.get().expect("it was set above");
        let handler = note as *const () as libc::sighandler_t;
        for signal in signals {
            if !is_ignored(*signal) {
                // That a child was stopped is no news.
                let flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_NOCLDSTOP;
                set_handler(*signal, handler, flags)?;
            }
        }
        Ok(Self {
            notes: notes.reader.as_fd().try_clone_to_owned()?,
        })
    }

    /// Reads those that have come and will come, on the runtime.
    pub fn arrivals(self) -> io::Result<Arrivals> {
        match wake::watch(self.notes, Interest::READABLE) {
            Ok(notes) => Ok(Arrivals {
                notes,
                came: VecDeque::new(),
            }),
            Err((_, error)) => Err(error),
        }
    }
}

/// See the module.
///
/// Of one signal that has come several times meanwhile there is only the first,
/// as the kernel has it with those that wait; and all notes are read before one
/// is handed out. So a flood of signals neither fills the pipe nor keeps us from
/// our work.
#[derive(Debug)]
pub(crate) struct Arrivals {
    notes: AsyncFd<OwnedFd>,
    /// Read, and not handed out yet.
    came: VecDeque<Arrival>,
}

impl Arrivals {
    /// The next one. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Arrival {
        loop {
            if let Some(arrival) = self.came.pop_front() {
                return arrival;
            }
            // It fails when the runtime ends, and nobody waits then.
            let Ok(mut ready) = self.notes.readable().await else {
                return std::future::pending().await;
            };
            read_all(self.notes.get_ref(), &mut self.came);
            ready.clear_ready();
        }
    }

    /// One that has come already.
    pub fn take(&mut self) -> Option<Arrival> {
        read_all(self.notes.get_ref(), &mut self.came);
        self.came.pop_front()
    }
}

fn read_all(notes: &OwnedFd, came: &mut VecDeque<Arrival>) {
    while let Some(arrival) = read(notes) {
        let is_same =
            |it: &Arrival| (it.signal, it.by_kernel) == (arrival.signal, arrival.by_kernel);
        if !came.iter().any(is_same) {
            came.push_back(arrival);
        }
    }
}

fn read(notes: &OwnedFd) -> Option<Arrival> {
    let mut bytes = [0; Arrival::LEN];
    loop {
        match rustix::io::read(notes, &mut bytes) {
            Ok(Arrival::LEN) => match Arrival::from_bytes(bytes) {
                Some(arrival) => return Some(arrival),
                None => continue,
            },
            Err(Errno::INTR) => continue,
            // Both ends are ours for ever: nothing is there, that is all.
            Ok(_) | Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::runtime::IoMode;
    use rustix::process::kill_process;

    #[test]
    fn as_they_came() {
        // No other test of this process has anything to do with these two.
        let [caught, ignored] = [Signal::WINCH, Signal::URG];
        // SAFETY: it sets no handler.
        unsafe { libc::signal(ignored.as_raw(), libc::SIG_IGN) };
        let before = clock::mono_ns();
        let signals = Caught::new(&[caught, ignored]).unwrap();
        for signal in [ignored, caught, caught] {
            kill_process(getpid(), signal).unwrap();
            // Another thread may be the one that handles it.
            while signal == caught && signals_noted(&signals.notes) == 0 {}
        }
        crate::start_with(IoMode::Epoll, async {
            let mut arrivals = signals.arrivals().unwrap();
            let arrival = arrivals.next().await;
            assert_eq!(arrival.signal, caught);
            assert!(!arrival.by_kernel);
            assert!((before..=clock::mono_ns()).contains(&arrival.at_ns));
            assert_eq!(arrivals.take(), None, "it came twice in the meantime");
        })
        .unwrap();
        assert!(is_ignored(ignored) && !is_ignored(caught));
    }

    fn signals_noted(notes: &OwnedFd) -> u64 {
        rustix::io::ioctl_fionread(notes).unwrap()
    }

    #[test]
    fn what_is_noted_is_read() {
        for code in [libc::SI_KERNEL, libc::SI_USER, libc::SI_QUEUE] {
            let bytes = Arrival::to_bytes(libc::SIGTERM, code, u64::MAX - 7);
            let arrival = Arrival {
                signal: Signal::TERM,
                by_kernel: code == libc::SI_KERNEL,
                at_ns: u64::MAX - 7,
            };
            assert_eq!(Arrival::from_bytes(bytes), Some(arrival));
        }
        assert_eq!(Arrival::from_bytes([0; Arrival::LEN]), None);
    }
}
