//! The butler in a virtual world: the machine, the driver and the outputs that
//! ship, on a kernel in which everything may fail. Clients write anything and
//! die anywhere, sockets fill up, descriptors run out, outputs stall, break and
//! refuse, and SIGTERM comes at any time. All of it follows from a seed; an
//! oracle knows what every byte of every stream must be.
//!
//! `BUTLER_SIM_SEEDS` says how many seeds are run, `BUTLER_SIM_FROM` from
//! which on; `scripts/simulate` sets them. A failure prints its seed, and the
//! smallest plan that still fails with all that happens in it.

#![allow(clippy::unwrap_used)]

mod broken;
mod chance;
mod client;
#[path = "../common/mod.rs"]
mod common;
mod content;
mod disk;
mod expected;
mod followed;
mod kernel;
mod lives;
mod looker;
mod oracle;
mod plan;
mod random;
mod shrink;
mod signals;
mod start;
mod store;
mod tap;
mod trace;
mod window;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use broken::Broken;
use plan::Plan;
use shrink::{run, shrink};

/// Seeds of a usual run.
const SEEDS: u64 = 2000;

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().expect("a number"))
}

/// Runs something for every seed, on all cores; it returns a plan that fails.
/// Panics with the first seed of which there is one, and its smallest plan.
fn each_seed(seeds: std::ops::Range<u64>, check: impl Fn(u64) -> Option<Plan> + Sync) {
    let next = AtomicU64::new(seeds.start);
    let failed = Mutex::new(None::<(u64, Plan)>);
    let work = || {
        while failed.lock().unwrap().is_none() {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            if let Some(plan) = check(seed) {
                failed.lock().unwrap().get_or_insert((seed, plan));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
        work();
    });
    if let Some((seed, plan)) = failed.into_inner().unwrap() {
        let failure = shrink(plan, None);
        panic!("seed {seed}:\n{failure}\nseed {seed} again: BUTLER_SIM_FROM={seed}");
    }
}

#[test]
fn nothing_is_lost_repeated_or_swapped() {
    let from = number("BUTLER_SIM_FROM").unwrap_or(0);
    let seeds = number("BUTLER_SIM_SEEDS").unwrap_or(SEEDS);
    each_seed(from..from + seeds, |seed| {
        let plan = Plan::new(seed);
        run(&plan, None).is_err().then_some(plan)
    });
}

/// One run counts the steps, then the signal comes at each of them; and the
/// second one some steps after it.
#[test]
fn sigterm_at_every_step() {
    let from = number("BUTLER_SIM_FROM").unwrap_or(10_000);
    each_seed(from..from + 10, |seed| {
        let mut plan = Plan::new(seed);
        plan.clients.truncate(3);
        for client in &mut plan.clients {
            client.bytes = client.bytes.min(1500);
        }
        plan.sigterm = None;
        (plan.sigterm_again, plan.fails) = (None, None);
        let Ok(steps) = run(&plan, None) else {
            return Some(plan);
        };
        for step in 1..=steps.min(300) {
            for again in [None, Some(0), Some(step % 40)] {
                plan.sigterm = Some(step);
                plan.sigterm_again = again;
                if run(&plan, None).is_err() {
                    return Some(plan);
                }
            }
        }
        None
    });
}

/// Runs something for every seed, on all cores, and panics with one that fails.
fn each(seeds: std::ops::Range<u64>, run: impl Fn(u64) -> Result<(), String> + Sync) {
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let mine = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        each_of(mine.take_while(|seed| *seed < seeds.end), &run);
    };
    std::thread::scope(|scope| {
        for _ in 1..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
        work();
    });
}

fn each_of(seeds: impl Iterator<Item = u64>, run: impl Fn(u64) -> Result<(), String>) {
    for seed in seeds {
        let ran = catch_unwind(AssertUnwindSafe(|| run(seed)));
        let what = match ran {
            Ok(Ok(())) => continue,
            Ok(Err(what)) => what,
            Err(_) => "it panics".into(),
        };
        panic!("seed {seed}: {what}\nseed {seed} again: BUTLER_SIM_FROM={seed}");
    }
}

/// A spool on a disk on which everything may fail: what was said to be safe is
/// there, once or again as it was.
#[test]
fn what_is_spooled_is_there() {
    let from = number("BUTLER_SIM_FROM").unwrap_or(0);
    let seeds = number("BUTLER_SIM_SEEDS").unwrap_or(SEEDS);
    each(from..from + seeds, |seed| store::run(seed, None));
}

/// The same of whole butlers, killed at any step.
#[test]
fn what_butlers_have_spooled_is_there() {
    let from = number("BUTLER_SIM_FROM").unwrap_or(0);
    let seeds = number("BUTLER_SIM_SEEDS").unwrap_or(SEEDS);
    each(from..from + seeds, lives::run);
}

/// A store that does one thing wrong, or a disk that hides it.
#[test]
fn a_wrong_spool_is_caught() {
    for wrong in store::Wrong::ALL {
        let caught = (0..SEEDS).find_map(|seed| {
            let what = store::run(seed, Some(wrong)).err()?;
            Some(format!("seed {seed}: {what}"))
        });
        println!("{wrong:?}: {caught:?}");
        assert!(caught.is_some(), "{wrong:?} is not caught");
    }
}

/// Whatever a kernel, an output or a loop does wrong, the oracle sees it.
#[test]
fn what_is_broken_is_caught() {
    for broken in Broken::ALL {
        let caught = (0..SEEDS).find_map(|seed| {
            let what = run(&Plan::new(seed), Some(broken)).err()?;
            Some(format!("seed {seed}: {what}"))
        });
        println!("{broken:?}: {caught:?}");
        assert!(caught.is_some(), "{broken:?} is not caught");
    }
}

/// What is told of a failure says where it is, and the smallest plan is small.
#[test]
fn a_failure_is_located_and_shrunk() {
    let broken = Some(Broken::LosesRead);
    let seed = (0..SEEDS).find(|seed| run(&Plan::new(*seed), broken).is_err());
    let failure = shrink(Plan::new(seed.unwrap()), broken);
    assert!(failure.what.contains("at byte 0 expected"), "{failure}");
    assert_eq!(failure.plan.clients.len(), 1, "{failure}");
    assert!(failure.trace.len() < 30, "{failure}");
}
