//! The runs of a scenario, in turn, and the rows that they make.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Environment;
use super::row::{Base, Bound, Row, Summary};
use super::scenario::{FEW, Kind, Load, MANY, Output, Scenario};
use super::streams::{Run, Setup, Stage};
use super::system::System;
use crate::Result;

mod logdog;
mod others;
mod spool;
mod zlib;

pub use spool::Spool;

const MIB: f64 = (1 << 20) as f64;

/// Runs scenarios.
#[derive(Debug)]
pub struct Measure<'a> {
    env: &'a Environment,
    systems: &'a [System],
    repetitions: usize,
    zlib_level: Option<u32>,
    /// By scenario and system: what others are made of.
    runs: BTreeMap<(String, String), Vec<Run>>,
    /// Every run, for the JSON.
    log: Vec<Value>,
    /// Peers that failed, and how.
    failures: Vec<String>,
}

impl<'a> Measure<'a> {
    /// Of these systems.
    pub fn new(
        env: &'a Environment,
        systems: &'a [System],
        repetitions: usize,
        zlib_level: Option<u32>,
    ) -> Self {
        Self {
            env,
            systems,
            repetitions,
            zlib_level,
            runs: BTreeMap::new(),
            log: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// What went wrong with peers: it does not end the scenario for butler.
    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    /// All runs so far, with everything that is known of them.
    pub fn log(&self) -> &[Value] {
        &self.log
    }

    /// Runs one scenario.
    pub fn scenario(&mut self, scenario: &Scenario) -> Result<Vec<Row>> {
        let name = &scenario.name;
        match &scenario.kind {
            Kind::Cost {
                load,
                output,
                bound,
            } => self.cost(name, load, *output, *bound),
            Kind::Growth => Ok(self.growth(name)),
            Kind::BusyMemory => Ok(self.busy_memory(name)),
            Kind::Zlib(load) => self.zlib(name, load),
            Kind::Logdog(load) => self.logdog(name, load),
            Kind::Spool { load, spool } => self.spool(name, load, *spool),
            Kind::Latency(load) => self.latency(name, load),
            Kind::IdleMemory { streams } => self.idle_memory(name, *streams),
            Kind::Wakeups { streams, seconds } => self.wakeups(name, *streams, *seconds),
            Kind::Startup { times } => self.startup(name, *times),
            Kind::BinarySize => self.binary_size(name),
        }
    }

    fn has(&self, system: &System) -> bool {
        self.systems.contains(system)
    }

    /// The systems apart from the floor.
    fn butlers(&self) -> Vec<System> {
        let butlers = self.systems.iter().filter(|it| **it != System::Relay);
        butlers.cloned().collect()
    }

    /// Runs all systems in turn, again and again.
    fn interleaved(
        &mut self,
        name: &str,
        systems: &[System],
        setup: impl Fn(&System) -> Setup<'_>,
    ) -> Result<()> {
        for repetition in 0..self.repetitions {
            for system in systems {
                let setup = setup(system);
                if !system.takes(setup.options) {
                    continue;
                }
                let run = Stage::set(self.env, &setup).and_then(Stage::run);
                let run = match (run, system) {
                    (Ok(run), _) => run,
                    (Err(error), System::Peer { .. }) => {
                        self.fail(name, &*error);
                        continue;
                    }
                    (Err(error), _) => return Err(error),
                };
                self.keep(name, system.name(), repetition, run);
            }
        }
        Ok(())
    }

    fn fail(&mut self, name: &str, error: &dyn std::error::Error) {
        let failure = format!("{name}: {error}");
        eprintln!("{failure}");
        self.failures.push(failure);
    }

    fn keep(&mut self, name: &str, system: &str, repetition: usize, run: Run) {
        self.log.push(json!({
            "scenario": name,
            "system": system,
            "repetition": repetition,
            "cpu_seconds": run.cpu_seconds,
            "cpu_seconds_per_gb": run.cost(),
            "bytes": run.bytes,
            "bytes_out": run.bytes_out,
            "peak_memory_bytes": run.peak_bytes,
            "load": run.load,
            "sink": run.sink,
            "stats": run.stats,
        }));
        let key = (name.to_owned(), system.to_owned());
        self.runs.entry(key).or_default().push(run);
    }

    /// A figure of all runs of a system in a scenario.
    fn summary(&self, name: &str, system: &str, figure: impl Fn(&Run) -> f64) -> Option<Summary> {
        let runs = self.runs.get(&(name.to_owned(), system.to_owned()))?;
        Summary::of(&runs.iter().map(figure).collect::<Vec<_>>())
    }

    /// Rows of that figure for butler and the peers, to the floor's; the
    /// bound is butler's.
    fn rows(
        &self,
        name: &str,
        what: &'static str,
        bound: Option<Bound>,
        figure: impl Fn(&Run) -> f64,
    ) -> Vec<Row> {
        let base = self.summary(name, "relay", &figure).map(|figure| Base {
            name: "relay".into(),
            figure,
        });
        // Alone, the floor is what was asked for.
        let alone = self.systems == [System::Relay];
        self.systems
            .iter()
            .filter(|system| alone || **system != System::Relay)
            .filter_map(|system| {
                Some(Row {
                    scenario: name.to_owned(),
                    system: system.name().to_owned(),
                    what,
                    figure: self.summary(name, system.name(), &figure)?,
                    base: base.clone().filter(|_| !alone),
                    // Without the floor there is no ratio to be bound.
                    bound: bound.filter(|_| *system == System::Butler && base.is_some()),
                })
            })
            .collect()
    }

    fn cost(&mut self, name: &str, load: &Load, output: Output, bound: Bound) -> Result<Vec<Row>> {
        if output == Output::Directory {
            // ext4 may first have to find inodes beyond those of earlier
            // drivers, which it does not take again for minutes.
            Stage::set(self.env, &setup(&self.systems[0], output, load))?.run()?;
        }
        self.interleaved(name, self.systems, |system| setup(system, output, load))?;
        Ok(self.rows(name, "CPU s/GB", Some(bound), Run::cost))
    }

    fn growth(&self, name: &str) -> Vec<Row> {
        self.of_each(name, "CPU s/GB", Bound::at_most(1.7), |system| {
            let of = |scenario| self.summary(scenario, system.name(), Run::cost);
            let base = Base {
                name: FEW.into(),
                figure: of(FEW)?,
            };
            Some((of(MANY)?, Some(base)))
        })
    }

    fn busy_memory(&self, name: &str) -> Vec<Row> {
        let peak = |run: &Run| run.peak_bytes as f64 / MIB;
        self.of_each(name, "peak RSS MiB", Bound::at_most(24.0), |system| {
            Some((self.summary(MANY, system.name(), peak)?, None))
        })
    }

    /// A row for each system that has such a figure; the bound is butler's.
    fn of_each(
        &self,
        name: &str,
        what: &'static str,
        bound: Bound,
        figures: impl Fn(&System) -> Option<(Summary, Option<Base>)>,
    ) -> Vec<Row> {
        let row = |system: &System| {
            let (figure, base) = figures(system)?;
            Some(Row {
                scenario: name.to_owned(),
                system: system.name().to_owned(),
                what,
                figure,
                base,
                bound: (*system == System::Butler).then_some(bound),
            })
        };
        self.systems.iter().filter_map(row).collect()
    }
}

/// A run without anything special.
fn setup<'a>(system: &'a System, output: Output, load: &Load) -> Setup<'a> {
    Setup {
        system,
        output,
        output_options: String::new(),
        options: &[],
        load: load.args(),
        sink: &[],
        seconds: load.seconds,
    }
}
