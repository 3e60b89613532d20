//! The log on stderr: one line a message.
//!
//! Clients cause messages too, and a pipe that nobody empties must not hold up
//! their streams: what stderr does not take at once is kept, and offered again
//! and again. What is beyond [`LOG_KEPT_MAX`] is left out, and counted.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use log::{LevelFilter, Log, Metadata, Record};
use rustix::io::Errno;
use tokio::sync::Notify;

use crate::edge::writer::{reopen_terminal, write_without_waiting};
use crate::escape::Escaped;
use crate::limits::{LOG_KEPT_MAX, LOG_LAST_WAIT};

/// How often what is kept is offered again.
const OFFER_INTERVAL: Duration = Duration::from_millis(50);
/// Takes a terminal back to the beginning of a line that is empty.
const CLEAR: &str = "\r\x1b[K";

static STDERR: Stderr = Stderr {
    terminal: OnceLock::new(),
    kept: Mutex::new(Kept::new()),
    is_kept: Notify::const_new(),
};

struct Stderr {
    /// Its own, if it is one.
    terminal: OnceLock<Option<File>>,
    kept: Mutex<Kept>,
    /// There is something to offer again.
    is_kept: Notify,
}

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("butler")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let level = match record.level() {
                log::Level::Warn => "warning",
                log::Level::Error => "error",
                log::Level::Info => "info",
                log::Level::Debug => "debug",
                log::Level::Trace => "trace",
            };
            // A message about a client may quote what it sent.
            let message = record.args().to_string();
            let message = Escaped(message.as_bytes());
            self.put(&format!("butler: {level}: {message}\n"));
        }
    }

    fn flush(&self) {}
}

/// Shows, below all messages, how far something is; empty: nothing. Only for a
/// terminal.
pub(super) fn show(line: String) {
    let mut kept = STDERR.kept();
    if kept.line.is_empty() && line.is_empty() {
        return;
    }
    // One that is not taken now is not worth waiting for.
    if kept.bytes.is_empty() {
        kept.add(&format!("{CLEAR}{line}"));
    }
    kept.line = line;
    kept.offer(to_stderr);
}

/// Says something that is no message of the log.
pub(super) fn tell(sentence: &str) {
    STDERR.put(&format!("butler: {}\n", Escaped(sentence.as_bytes())));
}

impl Stderr {
    fn put(&self, line: &str) {
        let mut kept = self.kept();
        // First, so that there is room.
        kept.offer(to_stderr);
        match &*kept.line {
            "" => kept.add(line),
            below => {
                let line = format!("{CLEAR}{line}{below}");
                kept.add(&line);
            }
        }
        if !kept.offer(to_stderr) {
            self.is_kept.notify_one();
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn to_stderr(bytes: &[u8]) -> rustix::io::Result<usize> {
    match STDERR.terminal.get() {
        Some(Some(terminal)) => rustix::io::write(terminal, bytes),
        _ => write_without_waiting(io::stderr(), bytes),
    }
}

/// What is still to be written.
struct Kept {
    bytes: Vec<u8>,
    /// Messages since there was no room.
    left_out: u64,
    /// What is shown below them.
    line: String,
}

impl Kept {
    const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            left_out: 0,
            line: String::new(),
        }
    }

    fn add(&mut self, line: &str) {
        // In the order in which they came: who comes after one that was left
        // out is left out too.
        if self.left_out > 0 || self.bytes.len() + line.len() > LOG_KEPT_MAX {
            self.left_out += 1;
        } else {
            self.bytes.extend_from_slice(line.as_bytes());
        }
    }

    /// Writes what `write` takes. True if nothing is left.
    fn offer(&mut self, mut write: impl FnMut(&[u8]) -> rustix::io::Result<usize>) -> bool {
        loop {
            while !self.bytes.is_empty() {
                match write(&self.bytes) {
                    Ok(written) if written > 0 => drop(self.bytes.drain(..written)),
                    Err(Errno::INTR) => {}
                    Ok(_) | Err(Errno::AGAIN) => return false,
                    // There is nowhere to tell that stderr does not work.
                    Err(_) => self.bytes.clear(),
                }
            }
            match std::mem::take(&mut self.left_out) {
                0 => return true,
                count => self.bytes.extend_from_slice(
                    format!("butler: warning: {count} messages are left out: nobody took them\n")
                        .as_bytes(),
                ),
            }
        }
    }
}

/// Logs on stderr from now on.
pub(super) fn init(level: LevelFilter) {
    // An embedding program may have set a logger of its own: it stays.
    if log::set_logger(&STDERR).is_ok() {
        // Before there is a sandbox.
        STDERR
            .terminal
            .get_or_init(|| reopen_terminal(io::stderr()));
        log::set_max_level(level);
    }
}

/// Offers what is kept, for as long as there is a runtime.
pub(super) async fn offer_again() -> Infallible {
    loop {
        STDERR.is_kept.notified().await;
        while !STDERR.kept().offer(to_stderr) {
            tokio::time::sleep(OFFER_INTERVAL).await;
        }
    }
}

/// Offers what is kept for the last time: waits for its reader, but not long.
pub(super) fn finish() {
    let begun = Instant::now();
    while !STDERR.kept().offer(to_stderr) && begun.elapsed() < LOG_LAST_WAIT {
        thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes in all.
    fn room(mut left: usize, out: &mut String) -> impl FnMut(&[u8]) -> rustix::io::Result<usize> {
        move |bytes| {
            let taken = bytes.len().min(left);
            left -= taken;
            out.push_str(std::str::from_utf8(&bytes[..taken]).unwrap());
            match taken {
                0 => Err(Errno::AGAIN),
                _ => Ok(taken),
            }
        }
    }

    #[test]
    fn what_is_not_taken_is_kept() {
        let (mut kept, mut out) = (Kept::new(), String::new());
        kept.add("first\n");
        kept.add("second\n");
        assert!(!kept.offer(room(8, &mut out)));
        kept.add("third\n");
        assert!(kept.offer(room(100, &mut out)));
        assert_eq!(out, "first\nsecond\nthird\n");
    }

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let (mut kept, mut out) = (Kept::new(), String::new());
        let line = "x".repeat(LOG_KEPT_MAX - 10) + "\n";
        kept.add(&line);
        kept.add("this is too long\n");
        kept.add("short\n");
        assert!(kept.bytes.len() <= LOG_KEPT_MAX);
        assert!(!kept.offer(room(100, &mut out)));
        kept.add("as short\n");
        assert!(kept.offer(room(usize::MAX, &mut out)));
        let says = "butler: warning: 3 messages are left out: nobody took them\n";
        assert!(out == line + says, "{out:.200}");
        kept.add("after that\n");
        assert!(kept.offer(room(usize::MAX, &mut out)));
        assert!(out.ends_with("them\nafter that\n"));
    }

    #[test]
    fn a_reader_that_has_gone_is_nobody() {
        let mut kept = Kept::new();
        kept.add("a line\n");
        let mut interrupted = false;
        assert!(
            kept.offer(|_| match std::mem::replace(&mut interrupted, true) {
                false => Err(Errno::INTR),
                true => Err(Errno::PIPE),
            })
        );
        assert!(kept.bytes.is_empty());
    }
}
