//! Runs plans, and makes one that fails as small as it gets.

use std::cell::RefCell;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use crate::broken::Broken;
use crate::plan::{Act, Plan};
use crate::world::World;

/// How often a smaller plan is tried.
const TRIES_MAX: usize = 2000;
/// How many steps these may have, all together.
const STEPS_MAX: usize = 2_000_000;

thread_local! {
    /// What the last panic here said, and where.
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
    static QUIET: RefCell<bool> = const { RefCell::new(false) };
}

/// A run that went wrong.
pub struct Failure {
    pub what: String,
    pub plan: Plan,
    pub trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.what)?;
        writeln!(f, "{:#?}", self.plan)?;
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "{}", self.what)
    }
}

/// How a run went.
struct Ran {
    result: Result<(), String>,
    steps: usize,
    trace: Vec<String>,
}

/// Runs a plan; returns how many steps it took.
pub fn run(plan: &Plan, broken: Option<Broken>) -> Result<usize, String> {
    let ran = run_traced(plan, broken, false);
    ran.result.map(|()| ran.steps)
}

fn run_traced(plan: &Plan, broken: Option<Broken>, traced: bool) -> Ran {
    catch_quietly();
    let mut world = World::new(plan, broken, traced);
    QUIET.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(|| world.run()));
    QUIET.set(false);
    let steps = world.steps();
    let trace = std::mem::take(&mut world.kernel.borrow_mut().trace).lines();
    Ran {
        result: result.unwrap_or_else(|_| Err(PANIC.take())),
        steps,
        trace,
    }
}

/// A panic in a run is one of the ways to fail: it is noted, not printed.
fn catch_quietly() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if QUIET.with_borrow(|quiet| *quiet) {
                PANIC.set(info.to_string());
            } else {
                before(info);
            }
        }));
    });
}

/// Makes a plan that fails smaller, as long as it fails in any way.
pub fn shrink(mut plan: Plan, broken: Option<Broken>) -> Failure {
    let (mut tries, mut steps) = (0, 0);
    loop {
        let smaller = candidates(&plan).into_iter().find(|candidate| {
            tries += 1;
            let may_try = tries <= TRIES_MAX && steps <= STEPS_MAX;
            may_try && {
                let ran = run_traced(candidate, broken, false);
                steps += ran.steps;
                ran.result.is_err()
            }
        });
        match smaller {
            Some(smaller) => plan = smaller,
            None => break,
        }
    }
    let Ran { result, trace, .. } = run_traced(&plan, broken, true);
    Failure {
        what: result.expect_err("it failed before, and is the same every time"),
        plan,
        trace,
    }
}

/// Plans that are a little smaller, the smallest first.
fn candidates(plan: &Plan) -> Vec<Plan> {
    let mut all = Vec::new();
    let mut add = |change: &dyn Fn(&mut Plan)| {
        let mut smaller = plan.clone();
        change(&mut smaller);
        all.push(smaller);
    };
    for at in 0..plan.clients.len() {
        add(&|plan| {
            plan.clients.remove(at);
        });
    }
    for at in 0..plan.faults.len() {
        add(&|plan| {
            plan.faults.remove(at);
        });
    }
    if plan.fails.is_some() {
        add(&|plan| plan.fails = None);
    }
    if plan.sigterm_again.is_some() {
        add(&|plan| plan.sigterm_again = None);
    }
    if plan.sigterm.is_some() {
        add(&|plan| {
            plan.sigterm = None;
            plan.sigterm_again = None;
        });
    }
    for (at, client) in plan.clients.iter().enumerate() {
        if client.bytes > 0 {
            add(&|plan| plan.clients[at].bytes /= 2);
            add(&|plan| plan.clients[at].bytes -= 1);
        }
        if client.padding > 0 {
            add(&|plan| plan.clients[at].padding /= 2);
        }
        if client.dies_ns.is_some() {
            add(&|plan| plan.clients[at].dies_ns = None);
        }
        let acts = client.acts.len();
        if acts > 1 {
            add(&|plan| {
                let bytes = plan.clients[at].bytes;
                plan.clients[at].acts = vec![Act::Write(bytes)];
            });
            add(&|plan| plan.clients[at].acts.truncate(acts / 2));
            for act in 0..acts {
                add(&|plan| {
                    plan.clients[at].acts.remove(act);
                });
            }
        }
    }
    all
}
