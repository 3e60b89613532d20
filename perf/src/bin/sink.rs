//! Where outputs go: counts what comes and discards it.

use std::process::ExitCode;
use std::time::Duration;

use butler_perf::Result;
use butler_perf::address::Address;
use butler_perf::args::{seconds, size, value};
use butler_perf::clock;
use butler_perf::inlet::{self, Consumer};
use butler_perf::report;
use butler_perf::stamp::Finder;
use serde_json::json;

const USAGE: &str = "sink --listen unix:PATH|tcp:HOST:PORT [OPTIONS]

  --bytes N        end after that many bytes; otherwise SIGTERM ends it, once
                   all connections are closed
  --stall-after N  after that many bytes, read nothing for a while:
  --stall-for S    for so many seconds
  --latency        find the timestamps that `load --stamps` puts in lines, and
                   tell how old they were

Prints {\"listening\": ADDRESS} when it does, and what it counted at the end.";

/// No splice and no MSG_TRUNC: on Unix sockets neither discards without
/// copying.
const READ_SIZE: usize = 1024 * 1024;

fn main() -> ExitCode {
    report::exit("sink", run())
}

fn run() -> Result<()> {
    let mut listen: Option<Address> = None;
    let mut sink = Sink::default();
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            lexopt::Arg::Long("listen") => listen = Some(value(&mut parser)?),
            lexopt::Arg::Long("bytes") => {
                sink.bytes_max = Some(size(&value::<String>(&mut parser)?)?);
            }
            lexopt::Arg::Long("stall-after") => {
                sink.stall_after = Some(size(&value::<String>(&mut parser)?)?);
            }
            lexopt::Arg::Long("stall-for") => {
                sink.stall_for = seconds(&value::<String>(&mut parser)?)?;
            }
            lexopt::Arg::Long("latency") => sink.latency = Some(Latency::default()),
            lexopt::Arg::Long("help") => {
                println!("{USAGE}");
                return Ok(());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let (listener, address) = listen.ok_or(USAGE)?.listen()?;
    report::say(&json!({"listening": address.to_string()}))?;
    inlet::run(&listener, READ_SIZE, &mut sink)?;
    sink.report()
}

#[derive(Default)]
struct Sink {
    bytes: u64,
    reads: u64,
    connections: u64,
    bytes_max: Option<u64>,
    stall_after: Option<u64>,
    stall_for: Duration,
    latency: Option<Latency>,
}

impl Consumer for Sink {
    fn opened(&mut self, id: usize) -> Result<()> {
        self.connections += 1;
        if let Some(latency) = &mut self.latency {
            latency.opened(id);
        }
        Ok(())
    }

    fn data(&mut self, id: usize, data: &[u8]) -> Result<bool> {
        self.bytes += data.len() as u64;
        self.reads += 1;
        if let Some(latency) = &mut self.latency {
            latency.data(id, data);
        }
        if self.stall_after.is_some_and(|after| self.bytes >= after) {
            self.stall_after = None;
            std::thread::sleep(self.stall_for);
        }
        Ok(self.bytes_max.is_none_or(|max| self.bytes < max))
    }
}

impl Sink {
    fn report(self) -> Result<()> {
        let mut report = json!({
            "bytes": self.bytes,
            "reads": self.reads,
            "connections": self.connections,
            "cpu_seconds": clock::own_cpu().as_secs_f64(),
        });
        if let Some(mut latency) = self.latency {
            latency.seen_ns.sort_unstable();
            report["stamps"] = latency.seen_ns.len().into();
            for (name, share) in [("p50_us", 0.5), ("p99_us", 0.99), ("max_us", 1.0)] {
                report[name] = latency.quantile_us(share).into();
            }
        }
        Ok(report::say(&report)?)
    }
}

/// How old lines were when they came.
#[derive(Default)]
struct Latency {
    finders: Vec<Finder>,
    seen_ns: Vec<u64>,
}

impl Latency {
    fn opened(&mut self, id: usize) {
        if self.finders.len() <= id {
            self.finders.resize_with(id + 1, Finder::default);
        }
        self.finders[id] = Finder::default();
    }

    fn data(&mut self, id: usize, data: &[u8]) {
        let now = clock::monotonic_ns();
        let seen = &mut self.seen_ns;
        self.finders[id].push(data, |stamp| seen.push(now.saturating_sub(stamp)));
    }

    /// Of what is sorted.
    fn quantile_us(&self, share: f64) -> Option<f64> {
        let last = self.seen_ns.len().checked_sub(1)?;
        let at = (last as f64 * share).round() as usize;
        Some(self.seen_ns[at] as f64 / 1000.0)
    }
}
