//! Signals that we were started with ignored: a child is to find them so.
//!
//! Most stay as they are, as we catch none that is ignored. These two don't:
//! SIGPIPE is ignored by every Rust program from its start on, and has its
//! default effect on what it executes; SIGCHLD must not be ignored by who waits
//! for a child, as the kernel would tell nobody how it ended.

use rustix::process::Signal;
use tokio::process::Command;

use super::beginning;
use super::signals::{is_ignored, set_default};

/// Of the two, those that are to be ignored by a child.
#[derive(Debug)]
pub(crate) struct Ignored(Vec<Signal>);

impl Ignored {
    /// As they are now. From now on SIGCHLD is not ignored.
    pub fn as_found() -> Self {
        let mut found = Vec::new();
        if beginning::found_pipe_ignored() {
            found.push(Signal::PIPE);
        }
        if is_ignored(Signal::CHILD) {
            found.push(Signal::CHILD);
            if let Err(error) = set_default(Signal::CHILD) {
                log::warn!("how the command ends may not be told: {error}");
            }
        }
        Self(found)
    }

    /// Lets the child of `command` ignore them.
    pub fn hand_on(&self, command: &mut Command) {
        let signals = self.0.clone();
        if signals.is_empty() {
            return;
        }
        let ignore = move || {
            for signal in &signals {
                // SAFETY: it is async-signal-safe, and sets no handler.
                unsafe { libc::signal(signal.as_raw(), libc::SIG_IGN) };
            }
            Ok(())
        };
        // SAFETY: between fork and exec it calls nothing but signal(2), and
        // allocates nothing.
        unsafe { command.pre_exec(ignore) };
    }
}
