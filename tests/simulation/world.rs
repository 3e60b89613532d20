//! One run: clients, edge, core and output take turns by chance, and time
//! goes on when nobody has anything to do.

use butler::core::{Core, CoreConfig};
use butler::limits::FLUSH_TIMEOUT;
use butler::time::Moment;
use butler::wire::descriptor::Tags;
use butler::{BundleLimits, Identity};

use crate::broken::Broken;
use crate::chance::Chance;
use crate::client::Client;
use crate::edge::{Around, Edge};
use crate::kernel::Kernel;
use crate::life::Life;
use crate::oracle;
use crate::output::Output;
use crate::plan::{End, Fault, Plan};
use crate::trace::Trace;

/// More than any run needs.
const STEPS_MAX: usize = 200_000;
const WALL_SECONDS: i64 = 1_700_000_000;

pub struct World<'a> {
    pub plan: &'a Plan,
    pub core: Core,
    pub kernel: Kernel,
    pub edge: Edge,
    pub output: Output,
    pub aborted: bool,
    clients: Vec<Client>,
    pub chance: Chance,
    pub trace: Trace,
    pub now: Moment,
    /// What the wall clock has been set by, in seconds.
    wall_skew: i64,
    pub step: usize,
    pub life: Life,
    pub activated: bool,
    pub sigterm_ns: Option<u64>,
    pub headers_ended: bool,
    pub streams_ended: bool,
    /// When the butler was last short of memory or of descriptors.
    pub hindered_ns: u64,
}

impl<'a> World<'a> {
    pub fn new(plan: &'a Plan, broken: Option<Broken>, traced: bool) -> Self {
        let core = Core::new(CoreConfig {
            bundle_limits: BundleLimits {
                target: plan.bundle_target,
                max: plan.bundle_max,
            },
            text_in_lines: plan.text_in_lines,
            identity: Identity {
                project: "p".into(),
                prefix: "a/prefix".into(),
                secret: Default::default(),
            },
            global_tags: Tags::default(),
            age_max_ns: plan.age_ns,
            buffered_max: plan.buffered_max as u64,
            stream_size_max: plan.stream_size_max,
        });
        let clients = plan.clients.iter().enumerate();
        Self {
            plan,
            core,
            kernel: Kernel::new(plan.clients.len(), plan.socket_capacity, plan.descriptors),
            edge: Edge::new(),
            output: Output::default(),
            aborted: false,
            clients: clients.map(|(at, plan)| Client::new(at, plan)).collect(),
            chance: Chance::new(plan, broken),
            trace: Trace::new(traced),
            now: moment(0, 0),
            wall_skew: 0,
            step: 0,
            life: Life::Running,
            activated: false,
            sigterm_ns: None,
            headers_ended: false,
            streams_ended: false,
            hindered_ns: 0,
        }
    }

    /// Steps so far.
    pub fn steps(&self) -> usize {
        self.step
    }

    /// Runs to the end; an error says what is wrong.
    pub fn run(&mut self) -> Result<(), String> {
        while self.life != Life::Over {
            self.step += 1;
            if self.step > STEPS_MAX {
                return Err(format!("no end after {STEPS_MAX} steps"));
            }
            self.trace.at(self.step, self.now.mono_ns);
            self.signals();
            self.live()?;
            if self.life != Life::Over && !self.turn() {
                self.pass_time()?;
            }
            self.check_memory()?;
        }
        oracle::check(self)
    }

    pub fn with_edge(&mut self, run: impl FnOnce(&mut Edge, &mut Around<'_>)) {
        let mut around = Around {
            core: &mut self.core,
            kernel: &mut self.kernel,
            chance: &mut self.chance,
            trace: &mut self.trace,
            now: &self.now,
        };
        run(&mut self.edge, &mut around);
    }

    /// Somebody who can do something does it. False if nobody can.
    fn turn(&mut self) -> bool {
        let now_ns = self.now.mono_ns;
        let ready = |it: &Client| it.can_act(&self.kernel, now_ns);
        let mut who: Vec<_> = (0..self.clients.len())
            .filter(|at| ready(&self.clients[*at]))
            .collect();
        let (edge, output) = (self.clients.len(), self.clients.len() + 1);
        let (core, kernel) = (&self.core, &self.kernel);
        if self.edge.has_work(core, kernel, &self.chance, &self.now) {
            who.push(edge);
        }
        if self.output.has_work(&self.core, &self.now) {
            who.push(output);
        }
        if who.is_empty() {
            return false;
        }
        let who = self.chance.random.pick(&who);
        if who == edge {
            self.with_edge(Edge::round);
        } else if who == output {
            let (core, chance) = (&mut self.core, &mut self.chance);
            if self.output.step(core, chance, &mut self.trace, &self.now) {
                self.edge.output_took_ns = now_ns;
            }
        } else {
            self.clients[who].act(&mut self.kernel, &mut self.trace, now_ns);
        }
        true
    }

    /// Nobody can do anything now: on to when somebody can.
    fn pass_time(&mut self) -> Result<(), String> {
        self.check_age()?;
        let now_ns = self.now.mono_ns;
        let at_rest = self.clients.iter().all(Client::is_at_rest);
        if !self.activated && at_rest {
            let stays = self.plan.clients.iter().any(|it| it.end == End::Stays);
            if stays || self.plan.sigterm.is_some() {
                self.sigterm();
            }
            self.activated = true;
            return Ok(());
        }
        let clients = self.clients.iter().filter_map(|it| it.due(now_ns));
        let due = clients
            .chain(self.edge.due(&self.core, &self.now))
            .chain(self.output.due())
            .chain(self.deadlines().into_iter().flatten())
            .filter(|due| *due > now_ns)
            .min();
        let Some(due) = due else {
            if self.sigterm_ns.is_none() {
                // All clients wait for an output that takes nothing.
                self.sigterm();
                return Ok(());
            }
            return Err("after SIGTERM nothing ever happens any more".into());
        };
        if self.chance.happens(Fault::WallJumps, 5) {
            self.wall_skew = self.chance.random.within(0, 7200) as i64 - 3600;
        }
        self.now = moment(due, self.wall_skew);
        let last = self.sigterm_ns.map(|at| {
            let grace = self.plan.grace_ns;
            at + grace + FLUSH_TIMEOUT.as_nanos() as u64
        });
        if last.is_some_and(|last| due > last) {
            return Err(format!("SIGTERM at {:?} ns, still there at {due}", last));
        }
        Ok(())
    }

    /// While the output waits, all that was read is due within the maximum
    /// age, but for what must wait for its next byte: a `\r`, a part of a
    /// character or of a datagram's size.
    fn check_age(&self) -> Result<(), String> {
        let waits = 10 * self.core.open_streams() as u64;
        let pending = self.core.account().pending();
        let last = self.now.mono_ns + self.plan.age_ns;
        let due = self.core.next_tick_ns(&self.now);
        if self.output.is_idle() && pending > waits && due.is_none_or(|due| due > last) {
            return Err(format!("{pending} bytes wait until {due:?}, not {last}"));
        }
        Ok(())
    }

    /// What is buffered stays within what may be, and what one more read can
    /// add to it: the read itself in a carry that doubles, and the bundle it
    /// goes to. The end of a stream adds its terminal to a bundle.
    fn check_memory(&self) -> Result<(), String> {
        let doubled = 2 * self.plan.read_max + self.longest_carry();
        let bundle = self.plan.bundle_target.max(self.plan.read_max) + NOTED_MAX;
        let max = self.plan.buffered_max + doubled + bundle;
        let buffered = self.core.buffered();
        if buffered > max as u64 {
            return Err(format!(
                "{buffered} bytes are buffered, {} may be, and {max} with what is at hand",
                self.plan.buffered_max
            ));
        }
        Ok(())
    }

    /// What the largest carry can have: it holds no more than may be buffered
    /// or its client wrote.
    fn longest_carry(&self) -> usize {
        let written = self.kernel.sockets.iter().map(|it| it.written).max();
        written.unwrap_or(0).min(self.plan.buffered_max)
    }
}

/// What a bundle notes of its entries and streams: two lists, each with room
/// for twice as much as is in it.
const NOTED_MAX: usize = 16 * 1024;

fn moment(now_ns: u64, wall_skew: i64) -> Moment {
    Moment {
        mono_ns: now_ns,
        wall: prost_types::Timestamp {
            seconds: WALL_SECONDS + wall_skew + (now_ns / 1_000_000_000) as i64,
            nanos: (now_ns % 1_000_000_000) as i32,
        },
    }
}
