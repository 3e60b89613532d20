//! What is not CPU time: latency, memory, wake-ups, startup, size.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Base, Bound, Load, MIB, Measure, Output, Row, Run, Setup, Stage, Summary, System};
use crate::Result;
use crate::bench::program::confine;

impl Measure<'_> {
    /// The sink tells the age of lines when they reach it, whoever sent
    /// them; butler, by itself, how long it had them. The bounds are on the
    /// latter: the former has in it that two more programs must be woken.
    pub(super) fn latency(&mut self, name: &str, load: &Load) -> Result<Vec<Row>> {
        self.interleaved(name, self.systems, |system| Setup {
            options: &["--output-no-buffer"],
            sink: &["--latency"],
            ..super::setup(system, Output::Unix, load)
        })?;
        let lines = load.bytes / 100;
        for ((scenario, system), runs) in &self.runs {
            for run in runs.iter().filter(|_| scenario == name) {
                let stamps = run.sink["stamps"].as_u64().unwrap_or(0);
                if stamps < lines {
                    return Err(format!("{system}: {stamps} of {lines} lines were seen").into());
                }
            }
        }
        let sink =
            |name: &'static str| move |run: &Run| run.sink[name].as_f64().unwrap_or(f64::NAN);
        let mut rows = self.rows(name, "write to sink, p50 us", None, sink("p50_us"));
        rows.extend(self.rows(name, "write to sink, p99 us", None, sink("p99_us")));
        for (what, field, limit) in [
            ("read to sent, p50 us", "p50", 100.0),
            ("read to sent, p99 us", "p99", 500.0),
        ] {
            let own = |run: &Run| {
                run.stats["read_to_sent_us"][field]
                    .as_f64()
                    .unwrap_or(f64::NAN)
            };
            if let Some(figure) = self.summary(name, "butler", own) {
                rows.push(Row {
                    scenario: name.to_owned(),
                    system: "butler".to_owned(),
                    what,
                    figure,
                    base: None,
                    bound: Some(Bound::at_most(limit)),
                });
            }
        }
        Ok(rows)
    }

    pub(super) fn idle_memory(&mut self, name: &str, streams: usize) -> Result<Vec<Row>> {
        let needed = streams as u64 + 200;
        let limit = crate::raise_descriptor_limit()?;
        if limit < needed {
            return Err(format!("{needed} descriptors are needed, {limit} allowed").into());
        }
        self.idle(name, streams, "RSS MiB", 32.0, |stage| {
            Ok(stage.system.memory("VmRSS")? as f64 / MIB)
        })
    }

    pub(super) fn wakeups(&mut self, name: &str, streams: usize, seconds: f64) -> Result<Vec<Row>> {
        self.idle(name, streams, "wake-ups/s", 0.0, |stage| {
            let before = stage.system.sleeps()?;
            let start = Instant::now();
            std::thread::sleep(Duration::from_secs_f64(seconds));
            let sleeps = stage.system.sleeps()?.saturating_sub(before);
            Ok(sleeps as f64 / start.elapsed().as_secs_f64())
        })
    }

    /// A figure while streams are open and silent.
    fn idle(
        &mut self,
        name: &str,
        streams: usize,
        what: &'static str,
        limit: f64,
        figure: impl Fn(&Stage) -> Result<f64>,
    ) -> Result<Vec<Row>> {
        let silent = Load {
            streams,
            bytes: 0,
            // Until it is ended.
            options: vec!["--hold", "1000"],
            seconds: 0.0,
        };
        let butlers = self.butlers();
        let mut figures = vec![Vec::new(); butlers.len()];
        for repetition in 0..self.repetitions {
            for (system, figures) in butlers.iter().zip(&mut figures) {
                let setup = super::setup(system, Output::Unix, &silent);
                let found = Stage::set(self.env, &setup).and_then(|stage| {
                    // Whatever is still to be done at the beginning is done.
                    std::thread::sleep(Duration::from_millis(300));
                    let found = figure(&stage)?;
                    stage.end()?;
                    Ok(found)
                });
                let found = match (found, system) {
                    (Ok(found), _) => found,
                    (Err(error), System::Peer { .. }) => {
                        self.fail(name, &*error);
                        continue;
                    }
                    (Err(error), _) => return Err(error),
                };
                figures.push(found);
                self.log.push(json!({
                    "scenario": name,
                    "system": system.name(),
                    "repetition": repetition,
                    what: found,
                }));
            }
        }
        let rows = butlers
            .iter()
            .zip(&figures)
            .filter_map(|(system, figures)| {
                Some(Row {
                    scenario: name.to_owned(),
                    system: system.name().to_owned(),
                    what,
                    figure: Summary::of(figures)?,
                    base: None,
                    bound: (*system == System::Butler).then_some(Bound::at_most(limit)),
                })
            });
        Ok(rows.collect())
    }

    /// Run in turn, many times: a single one is over too soon to be told from
    /// its neighbours' noise.
    pub(super) fn startup(&mut self, name: &str, times: usize) -> Result<Vec<Row>> {
        if !self.has(&System::Butler) {
            return Ok(Vec::new());
        }
        let mut alone_ms = Vec::new();
        let mut under_butler_ms = Vec::new();
        for _ in 0..times {
            let dir = self.env.run_dir()?;
            alone_ms.push(self.timed(Command::new("true").current_dir(&dir))?);
            under_butler_ms.push(
                self.timed(
                    Command::new(&self.env.butler)
                        .args(["run", "true"])
                        .current_dir(&dir),
                )?,
            );
        }
        self.log.push(json!({
            "scenario": name,
            "true_ms": alone_ms,
            "butler_run_true_ms": under_butler_ms,
        }));
        let over: Vec<_> = alone_ms
            .iter()
            .zip(&under_butler_ms)
            .map(|(alone, under)| under - alone)
            .collect();
        let row = |what, figures: &[f64], bound| {
            Some(Row {
                scenario: name.to_owned(),
                system: "butler".to_owned(),
                what,
                figure: Summary::of(figures)?,
                base: None,
                bound,
            })
        };
        let mut rows = Vec::new();
        rows.extend(row(
            "run true, ms over true",
            &over,
            Some(Bound::at_most(4.0)),
        ));
        rows.extend(row("run true, ms", &under_butler_ms, None).map(|row| Row {
            base: Summary::of(&alone_ms).map(|figure| Base {
                name: "true".into(),
                figure,
            }),
            ..row
        }));
        Ok(rows)
    }

    /// Milliseconds from start to end.
    fn timed(&self, command: &mut Command) -> Result<f64> {
        confine(command, self.env.cores.0);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let start = Instant::now();
        let status = command.status()?;
        let elapsed = start.elapsed().as_secs_f64() * 1000.0;
        if !status.success() {
            return Err(format!("{}: {status}", command.get_program().display()).into());
        }
        Ok(elapsed)
    }

    pub(super) fn binary_size(&mut self, name: &str) -> Result<Vec<Row>> {
        if !self.has(&System::Butler) {
            return Ok(Vec::new());
        }
        let size = std::fs::metadata(&self.env.butler)?.len();
        Ok(vec![Row {
            scenario: name.to_owned(),
            system: "butler".to_owned(),
            what: "size MiB",
            figure: Summary::single(size as f64 / MIB),
            base: None,
            bound: Some(Bound::at_most(6.0)),
        }])
    }
}
