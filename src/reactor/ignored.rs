//! Signals that we were started with ignored: a child is to find them so.

use std::fs;

use tokio::process::Command;

/// The numbers of those signals.
#[derive(Debug)]
pub(crate) struct Ignored(Vec<i32>);

impl Ignored {
    /// As they are now: before anybody listens for signals.
    pub fn as_found() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self(parse(&status))
    }

    /// Lets the child of `command` ignore them. It would find the default for
    /// those that we listen for.
    pub fn hand_on(&self, command: &mut Command) {
        let numbers = self.0.clone();
        if numbers.is_empty() {
            return;
        }
        let ignore = move || {
            for number in &numbers {
                // SAFETY: it is async-signal-safe, and sets no handler.
                unsafe { libc::signal(*number, libc::SIG_IGN) };
            }
            Ok(())
        };
        // SAFETY: between fork and exec it calls nothing but signal(2), and
        // allocates nothing.
        unsafe { command.pre_exec(ignore) };
    }
}

/// `SigIgn` in /proc/PID/status, without SIGPIPE: Rust programs ignore that
/// from their start on, so how it was found is not known, and a child gets the
/// default.
fn parse(status: &str) -> Vec<i32> {
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    (1..=64)
        .filter(|number| mask >> (number - 1) & 1 == 1 && *number != libc::SIGPIPE)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_mask() {
        let status = "Name:\tx\nSigBlk:\t0000000000000001\nSigIgn:\t8000000000001007\n";
        assert_eq!(parse(status), [1, 2, 3, 64]);
        assert!(parse("").is_empty());
    }
}
