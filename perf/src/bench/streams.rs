//! One run: a sink, the system under test, and a load on it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::Environment;
use super::outlet::{Outlet, dispose, size_of};
use super::program::Program;
use super::scenario::Output;
use super::system::System;
use crate::Result;

/// What a run is made of.
#[derive(Debug)]
pub struct Setup<'a> {
    /// What is measured.
    pub system: &'a System,
    /// Where output goes.
    pub output: Output,
    /// What follows the output's SPEC: `,compress=zlib`.
    pub output_options: String,
    /// More options, in butler's words.
    pub options: &'a [&'a str],
    /// Of `load`, apart from the socket.
    pub load: Vec<String>,
    /// Of `sink`, apart from the address.
    pub sink: &'a [&'a str],
    /// How long the load takes at the least.
    pub seconds: f64,
}

/// What a run took.
#[derive(Debug, Clone)]
pub struct Run {
    /// Of the system, from when all streams were open to its end. With a
    /// directory for the output, opening them counts too: it is when the floor
    /// creates its files.
    pub cpu_seconds: f64,
    /// That the load wrote, headers not counted.
    pub bytes: u64,
    /// That came out.
    pub bytes_out: u64,
    /// The most memory that was resident.
    pub peak_bytes: u64,
    /// What the load said.
    pub load: Value,
    /// What the sink said, if there was one.
    pub sink: Value,
    /// What butler said.
    pub stats: Value,
}

impl Run {
    /// CPU seconds for 10^9 bytes.
    pub fn cost(&self) -> f64 {
        self.cpu_seconds / self.bytes.max(1) as f64 * 1e9
    }
}

/// Nothing here takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// CPU time that has not moved for so long: there is nothing to do.
const QUIET: Duration = Duration::from_millis(20);

/// Everything is started, and all streams are open.
#[derive(Debug)]
pub struct Stage {
    // In the order in which they are to go.
    load: Program,
    attached: Option<Program>,
    /// The system under test.
    pub system: Program,
    sink: Option<Program>,
    /// Where creating files is a part of the work, whenever that is done.
    cpu_before_streams: Option<Duration>,
    must_succeed: bool,
    compressed: bool,
    output_path: Option<PathBuf>,
    stats_path: PathBuf,
    patience: Duration,
}

impl Stage {
    /// Starts sink, system and load, and waits until the system has seen the
    /// header of every stream.
    pub fn set(env: &Environment, setup: &Setup<'_>) -> Result<Self> {
        let dir = env.run_dir()?;
        let (core, other_core) = env.cores;
        let mut outlet = Outlet::open(env, &dir, setup)?;
        let socket = dir.join("streams.sock");
        let stats_path = dir.join("stats.json");
        let mut command =
            setup
                .system
                .command(env, &socket, &outlet.spec, setup.options, &stats_path)?;
        outlet.tell(&mut command);
        let name = setup.system.name();
        let mut system = Program::start(name, &mut command, core, &dir)?;
        system.wait_for(&socket, PATIENCE)?;
        outlet.reached(&mut system)?;
        let attached = match &env.attach {
            Some(line) => Some(attach(line, system.pid(), other_core, &dir)?),
            None => None,
        };

        let cpu_before_streams = match setup.output {
            Output::Directory => Some(system.cpu()?),
            _ => None,
        };

        let mut load = Command::new(env.program("load"));
        load.arg("--socket")
            .arg(&socket)
            .arg("--wait")
            .args(&setup.load);
        let mut load = Program::start("load", &mut load, other_core, &dir)?;
        load.report_beside(&mut system, PATIENCE)?;
        let stage = Self {
            load,
            attached,
            system,
            sink: outlet.sink,
            cpu_before_streams,
            must_succeed: !matches!(setup.system, System::Peer { .. }),
            compressed: setup.output == Output::Logdog || !setup.output_options.is_empty(),
            output_path: outlet.path,
            stats_path,
            patience: PATIENCE + Duration::from_secs_f64(setup.seconds * 2.0),
        };
        stage.settle()?;
        Ok(stage)
    }

    /// Waits until the system has nothing to do any more.
    pub fn settle(&self) -> Result<()> {
        let deadline = Instant::now() + self.patience;
        let mut before = self.system.cpu()?;
        loop {
            std::thread::sleep(QUIET);
            let now = self.system.cpu()?;
            // A system that is never quite at rest is measured as it is.
            if now == before || Instant::now() > deadline {
                return Ok(());
            }
            before = now;
        }
    }

    /// Lets the load write, and ends everything when all has come out.
    pub fn run(self) -> Result<Run> {
        self.run_and(dispose)
    }

    /// The same; `take_output` has the file or directory that was written.
    pub fn run_and(mut self, take_output: impl FnOnce(&Path) -> Result<()>) -> Result<Run> {
        let before = match self.cpu_before_streams {
            Some(cpu) => cpu,
            None => self.system.cpu()?,
        };
        self.load.go()?;
        let load = self.load.report_beside(&mut self.system, self.patience);
        let load = load.map_err(|error| self.system.failure(&format!("under load: {error}")))?;
        self.load.succeeded(PATIENCE)?;
        self.settle()?;
        let peak_bytes = self.system.memory("VmHWM")?;
        // Now it has to say all that it still holds.
        self.system.terminate()?;
        let ended = if self.must_succeed {
            self.system.succeeded(PATIENCE)?
        } else {
            self.system.ended(PATIENCE)?
        };
        let cpu_seconds = ended.cpu.saturating_sub(before).as_secs_f64();
        let sink = self.end_sink()?;
        self.end_attached()?;
        let bytes_out = match &self.output_path {
            Some(path) => {
                let bytes = size_of(path)?;
                take_output(path)?;
                bytes
            }
            None => sink["bytes"].as_u64().unwrap_or(0),
        };
        let bytes = load["bytes"].as_u64().unwrap_or(0);
        if bytes_out < bytes && !self.compressed {
            let what = format!("delivered {bytes_out} of {bytes} bytes");
            return Err(self.system.failure(&what));
        }
        Ok(Run {
            cpu_seconds,
            bytes,
            bytes_out,
            peak_bytes,
            load,
            sink,
            stats: std::fs::read_to_string(&self.stats_path)
                .ok()
                .and_then(|text| serde_json::from_str(&text).ok())
                .unwrap_or_default(),
        })
    }

    /// Ends everything, with nothing written.
    pub fn end(mut self) -> Result<()> {
        self.load.terminate()?;
        self.load.ended(PATIENCE)?;
        self.system.terminate()?;
        if self.must_succeed {
            self.system.succeeded(PATIENCE)?;
        } else {
            self.system.ended(PATIENCE)?;
        }
        self.end_sink()?;
        self.end_attached()
    }

    fn end_sink(&mut self) -> Result<Value> {
        let Some(sink) = &mut self.sink else {
            return Ok(Value::Null);
        };
        sink.terminate()?;
        let report = sink.report(PATIENCE)?;
        sink.succeeded(PATIENCE)?;
        Ok(report)
    }

    /// What is attached ends by itself when the system does; if not, it is
    /// asked to.
    fn end_attached(&mut self) -> Result<()> {
        let Some(attached) = &mut self.attached else {
            return Ok(());
        };
        if attached.ended(Duration::from_secs(5)).is_err() {
            attached.signal(Signal::INT)?;
            attached.ended(PATIENCE)?;
        }
        Ok(())
    }
}

fn attach(line: &str, pid: u32, core: usize, dir: &Path) -> Result<Program> {
    let line = line.replace("{pid}", &pid.to_string());
    let words: Vec<_> = line.split_whitespace().collect();
    let (program, args) = words.split_first().ok_or("there is nothing to attach")?;
    let attached = Program::start("attached", Command::new(program).args(args), core, dir)?;
    // It does not tell when it has begun.
    std::thread::sleep(Duration::from_millis(500));
    Ok(attached)
}
