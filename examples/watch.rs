//! Streams, watched as they are written: whole lines, whoever wrote them.
//!
//! ```sh
//! cargo run --example watch
//! ```

use std::error::Error;
use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use butler::output::NullOutput;
use butler::proto::logpb::log_entry::Content;
use butler::wire::name::Namespace;
use butler::{Butler, Watch, WatchEvent};

fn main() -> Result<(), Box<dyn Error>> {
    run(&mut io::stdout())
}

/// Shows on `out` what two workers log.
pub fn run(out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    let handle = Butler::builder(NullOutput).start()?;
    // First of all: streams are watched that are opened from now on.
    let watcher = handle.watch(Namespace::new("workers")?, Watch::Whole);

    let mut workers = Vec::new();
    for name in ["workers/a", "workers/b"] {
        let mut log = handle.stream(name).open()?;
        workers.push(thread::spawn(move || {
            for step in 1..=3 {
                // Two writes, and yet one line.
                write!(log, "step ")?;
                writeln!(log, "{step}")?;
            }
            io::Result::Ok(())
        }));
    }
    for worker in workers {
        worker.join().expect("it does not panic")?;
    }
    // The watcher sees all that there is and then the end of the butler.
    let ended = handle.shutdown(Duration::from_secs(5));

    for event in watcher {
        match event {
            WatchEvent::Entry { stream, entry } => {
                if let Some(Content::Text(text)) = entry.content {
                    for line in text.lines {
                        writeln!(out, "{stream}: {}", String::from_utf8_lossy(&line.value))?;
                    }
                }
            }
            WatchEvent::End { stream, .. } => writeln!(out, "{stream} has ended")?,
            _ => {}
        }
    }
    ended.wait()?;
    Ok(())
}
