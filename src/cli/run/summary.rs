//! The last line of a run whose logs nobody has said where to put.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

/// How the command ended, how long it took, and how its logs are read.
pub(super) fn summary(status: ExitStatus, took: Duration, logs: &Path) -> String {
    let ended = match status.signal() {
        Some(signal) => format!("killed by signal {signal}"),
        None => format!("exit status {}", status.code().unwrap_or_default()),
    };
    let (took, logs) = (duration(took), logs.display());
    format!("{ended} after {took}; the logs: butler cat {logs}")
}

/// As people read it: `0.3s`, `1m05s`, `2h00m`.
fn duration(took: Duration) -> String {
    let seconds = took.as_secs();
    match seconds {
        0..60 => format!("{seconds}.{}s", took.subsec_millis() / 100),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (millis, text) in [
            (0, "0.0s"),
            (59_999, "59.9s"),
            (60_000, "1m00s"),
            (3_599_999, "59m59s"),
            (7_260_000, "2h01m"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn how_it_ended() {
        let line = |raw| {
            let took = Duration::from_millis(1234);
            summary(ExitStatus::from_raw(raw), took, Path::new("butler-logs/x"))
        };
        let end = "after 1.2s; the logs: butler cat butler-logs/x";
        assert_eq!(line(2 << 8), format!("exit status 2 {end}"));
        assert_eq!(line(9), format!("killed by signal 9 {end}"));
    }
}
