//! The log on stderr: one line a message.

use std::io::Write;

use log::{LevelFilter, Log, Metadata, Record};

struct Stderr;

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
            let message = escape(&record.args().to_string());
            // There is nowhere to tell that stderr does not work.
            let _ = writeln!(std::io::stderr(), "butler: {level}: {message}");
        }
    }

    fn flush(&self) {}
}

/// Makes control characters visible, so that no message can drive a terminal
/// or pass for another.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Logs on stderr from now on.
pub(super) fn init(level: LevelFilter) {
    // An embedding program may have set a logger of its own: it stays.
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(level);
    }
}
