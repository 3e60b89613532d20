//! The driver; `scripts/bench` builds what it needs and starts it.

use std::process::ExitCode;
use std::time::Instant;

use butler_perf::bench::measure::Measure;
use butler_perf::bench::options::{Options, USAGE};
use butler_perf::bench::scenario::{self, FEW, Kind, MANY, Scenario};
use butler_perf::bench::{Environment, WorkDir, chart, json, table};
use butler_perf::{Result, report};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

fn main() -> ExitCode {
    report::exit("bench", run())
}

fn run() -> Result<()> {
    let Some(options) = Options::parse()? else {
        println!("{USAGE}");
        return Ok(());
    };
    let scenarios = chosen(&options);
    if scenarios.is_empty() {
        return Err("no scenario has such a name; --list tells them".into());
    }
    if options.list {
        for scenario in &scenarios {
            println!("{:<15}  {}", scenario.name, scenario.about);
        }
        return Ok(());
    }
    let systems = options.systems()?;
    let parent = options.dir.clone().unwrap_or_else(std::env::temp_dir);
    let work_dir = WorkDir::new(&std::path::absolute(parent)?)?;
    let env = environment(&options, &work_dir)?;

    warn_of_neighbours();
    println!("{}", table::head());
    let start = Instant::now();
    let mut rows = Vec::new();
    let mut failures = Vec::new();
    let mut measure = Measure::new(&env, &systems, options.repetitions, options.zlib_level);
    for scenario in &scenarios {
        match measure.scenario(scenario) {
            Ok(found) => {
                for row in &found {
                    println!("{}", table::row(row));
                }
                rows.extend(found);
            }
            // The others are of use without it.
            Err(error) => {
                eprintln!("{}: {error}", scenario.name);
                failures.push(format!("{}: {error}", scenario.name));
            }
        }
    }
    failures.extend_from_slice(measure.failures());
    println!("{:.0} s in all", start.elapsed().as_secs_f64());
    if let Some(path) = &options.json {
        let report = json::report(&rows, measure.log(), &failures);
        std::fs::write(path, format!("{report:#}\n"))?;
    }
    if let Some(path) = &options.svg {
        std::fs::write(path, chart::svg(&rows))?;
    }
    match failures.len() {
        0 => Ok(()),
        count => Err(format!("{count} failures").into()),
    }
}

/// Interleaving cancels what is steady, not what comes and goes; latencies
/// and wall times suffer from both.
fn warn_of_neighbours() {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().and_then(|it| it.parse::<f64>().ok());
    if let Some(load) = load.filter(|load| *load > 0.5) {
        eprintln!("the machine is busy (load average {load}): expect noise, above all in latency");
    }
}

/// The scenarios that were asked for, and those that they are made of.
fn chosen(options: &Options) -> Vec<Scenario> {
    let is_chosen = |scenario: &Scenario| match &options.filter {
        Some(filter) => filter.is_match(&scenario.name),
        None => scenario.quick || !options.quick,
    };
    let all = scenario::all(options.amounts());
    let chosen: Vec<bool> = all.iter().map(is_chosen).collect();
    let any = |wanted: fn(&Kind) -> bool| {
        let mut both = all.iter().zip(&chosen);
        both.any(|(scenario, chosen)| *chosen && wanted(&scenario.kind))
    };
    let needs_few = any(|kind| matches!(kind, Kind::Growth));
    let needs_many = any(|kind| matches!(kind, Kind::Growth | Kind::BusyMemory));
    all.iter()
        .zip(&chosen)
        .filter(|(scenario, chosen)| {
            **chosen || (needs_few && scenario.name == FEW) || (needs_many && scenario.name == MANY)
        })
        .map(|(scenario, _)| scenario.clone())
        .collect()
}

fn environment(options: &Options, work_dir: &WorkDir) -> Result<Environment> {
    let own = std::env::current_exe()?;
    let bin = own.parent().ok_or("a program is in a directory")?;
    let butler = options.butler.clone().unwrap_or_else(|| bin.join("butler"));
    let butler = std::path::absolute(butler)?;
    if options.system.as_deref() != Some("relay") && !butler.exists() {
        return Err(format!("{} is not there: build it first", butler.display()).into());
    }
    Ok(Environment {
        butler,
        bin: bin.to_owned(),
        dir: work_dir.path().to_owned(),
        cores: cores()?,
        attach: options.attach.clone(),
    })
}

/// The first core is for systems under test, the second for everything else,
/// this program included.
fn cores() -> Result<(usize, usize)> {
    let allowed = sched_getaffinity(None)?;
    let mut all = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
    let first = all.next().ok_or("no core is allowed")?;
    let second = all.next().unwrap_or_else(|| {
        eprintln!("there is but one core: load and sink disturb what is measured");
        first
    });
    let mut own = CpuSet::new();
    own.set(second);
    sched_setaffinity(None, &own)?;
    Ok((first, second))
}
