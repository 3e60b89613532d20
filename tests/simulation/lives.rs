//! Butlers with a spool, one after the other: some come to their end, some are
//! killed at any step, and the power fails. What those said that they have kept or
//! delivered is in the end at the far end or on the disk, as it was.

use std::collections::HashMap;
use std::rc::Rc;

use butler::output::spool::{SpoolSettings, Store, When};
use butler::proto::logpb::ButlerLogBundle;
use butler::wire::message::MessageView;
use butler::{Gather, Identity, Run, Secret};
use prost::Message;

use crate::disk::Disk;
use crate::kernel::Kernel;
use crate::oracle;
use crate::plan::{Destination, Fault, Plan};
use crate::random::Random;
use crate::start::Spool;
use crate::world::World;

/// A crash comes at that step at the latest, if one comes.
const CRASH_MAX: usize = 400;
const DESTINATIONS: [Destination; 4] = [
    Destination::Unix,
    Destination::Tcp,
    Destination::UnixAcknowledged,
    Destination::TcpAcknowledged,
];

/// What became of one butler.
struct Life {
    prefix: String,
    /// What its output was given.
    given: Vec<ButlerLogBundle>,
    /// It came to its end, and lost nothing: all of that is there.
    is_there: bool,
    /// And would be if the power failed.
    is_durable: bool,
}

/// How one life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// It comes to its end by itself.
    None,
    Killed(usize),
    PowerFails(usize),
}

struct Lives {
    spool: Spool,
    lives: Vec<Life>,
    /// What came, in its order.
    received: Vec<ButlerLogBundle>,
    failed_syncs: u64,
    /// What can't be read is passed over, and sent by the next butler.
    has_errors: bool,
}

/// Runs one seed.
pub fn run(seed: u64) -> Result<(), String> {
    let mut random = Random::new(seed);
    let count = random.size(1, 4);
    let crashes: Vec<_> = (0..count)
        .map(|_| match random.below(3) {
            0 => Crash::None,
            1 => Crash::Killed(random.size(1, CRASH_MAX)),
            _ => Crash::PowerFails(random.size(1, CRASH_MAX)),
        })
        .collect();
    run_with(&mut random, &crashes).map(|_| ())
}

/// Returns how many steps the first one took.
pub fn run_with(random: &mut Random, crashes: &[Crash]) -> Result<usize, String> {
    let dir = tempfile::tempdir().unwrap();
    let mut lives = Lives::new(random, dir.path());
    let mut steps = 0;
    for (number, crash) in crashes.iter().enumerate() {
        let taken = lives.live(&plan(random), number, *crash);
        let taken = taken.map_err(|what| format!("life {number}, {crash:?}: {what}"))?;
        if number == 0 {
            steps = taken;
        }
        // Between two lives the power may fail, too.
        if random.one_in(3) {
            lives.fail_power();
        }
    }
    lives.look_at_the_rest()?;
    lives.check()?;
    Ok(steps)
}

fn plan(random: &mut Random) -> Plan {
    let mut plan = Plan::new(random.bits());
    plan.destination = random.pick(&DESTINATIONS);
    plan.descriptors = plan.descriptors.max(40);
    // The far end refuses nothing, and the kernel works.
    plan.faults.retain(|fault| *fault != Fault::Losses);
    plan.fails = None;
    plan
}

impl Lives {
    fn new(random: &mut Random, path: &std::path::Path) -> Self {
        let path = path.canonicalize().unwrap();
        let mut settings = SpoolSettings::new(&path);
        settings.when = random.pick(&[When::Always, When::Overflow]);
        settings.max_bytes = random.pick(&[100_000, 1 << 30]);
        Self {
            spool: Spool {
                disk: Disk::new(&path, Random::new(random.bits())),
                settings,
            },
            lives: Vec::new(),
            received: Vec::new(),
            failed_syncs: 0,
            has_errors: false,
        }
    }

    fn live(&mut self, plan: &Plan, number: usize, crash: Crash) -> Result<usize, String> {
        let prefix = format!("life/{number}");
        let mut world = World::with_spool(plan, None, false, Some((&self.spool, &prefix)));
        let last = match crash {
            Crash::None => usize::MAX,
            Crash::Killed(step) | Crash::PowerFails(step) => step,
        };
        world.run_until(last)?;
        let account = world.driver.machine().core().account();
        let is_lost = butler::ledger::DropReason::ALL
            .iter()
            .any(|reason| reason.is_loss() && account.dropped(*reason) > 0);
        let ended = world.life().is_over();
        if ended {
            oracle::check_given(&world)?;
        }
        let kernel = world.kernel.borrow();
        for connection in &kernel.peer.received {
            self.receive(&connection.bytes)?;
        }
        self.failed_syncs += kernel.failed_syncs;
        self.has_errors |= plan.faults.contains(&Fault::FileErrors);
        // Then it may have been given up before it had synced all.
        let is_durable = !plan.faults.contains(&Fault::FileErrors);
        drop(kernel);
        if ended && is_durable {
            for life in &mut self.lives {
                life.is_durable |= life.is_there;
            }
        }
        self.lives.push(Life {
            given: world.given.borrow().clone(),
            is_there: ended && !is_lost,
            is_durable: ended && is_durable && !is_lost,
            prefix,
        });
        let steps = world.steps();
        drop(world);
        match crash {
            Crash::PowerFails(_) => self.fail_power(),
            Crash::None | Crash::Killed(_) => self.spool.disk.borrow_mut().kill(),
        }
        Ok(steps)
    }

    /// Whole messages; at the end one that is torn.
    fn receive(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        let wrong = |error| format!("{error}");
        while let Some(view) = MessageView::parse(bytes).map_err(wrong)? {
            self.received.push(view.bundle().map_err(wrong)?);
            bytes = &bytes[view.len..];
        }
        Ok(())
    }

    fn fail_power(&mut self) {
        self.spool.disk.borrow_mut().fail_power();
        for life in &mut self.lives {
            life.is_there &= life.is_durable;
        }
    }

    /// What is on the disk still.
    fn look_at_the_rest(&mut self) -> Result<(), String> {
        let plan = Plan {
            descriptors: 10,
            ..Plan::new(0)
        };
        let (mut io, state) = Kernel::new(&plan, None, false);
        state.borrow_mut().disk = Some(Rc::clone(&self.spool.disk));
        let identity = Identity {
            project: "p".into(),
            prefix: "rest".into(),
            secret: Secret::default(),
        };
        let run = Run::new(identity, None);
        let mut store = Store::open(&mut io, &self.spool.settings, run).unwrap();
        let mut gather = Gather::default();
        while let Some(read) = store.next_earlier(&mut io, 0, crate::store::ticket()) {
            gather.stored_message(&read.stored);
            self.receive(&gather.concat())?;
        }
        assert!(!store.has_earlier(), "all can be read");
        Ok(())
    }

    /// Nothing came that was not given, each stream in its order; and all came of
    /// those who said so.
    fn check(&self) -> Result<(), String> {
        // Where each came for the first time.
        let mut came = HashMap::new();
        for (at, bundle) in self.received.iter().enumerate() {
            came.entry(bundle.encode_to_vec()).or_insert(at);
        }
        let mut strange = came.clone();
        for life in &self.lives {
            let given = life.given.iter().map(Message::encode_to_vec);
            let places = given.map(|given| {
                strange.remove(&given);
                came.get(&given).copied()
            });
            self.check_life(life, &places.collect::<Vec<_>>())?;
        }
        match strange.values().next() {
            Some(at) => Err(format!("nobody was given {:?}", self.received[*at])),
            None => Ok(()),
        }
    }

    fn check_life(&self, life: &Life, came: &[Option<usize>]) -> Result<(), String> {
        let missing = came.iter().filter(|at| at.is_none()).count();
        // What a failed sync has taken is told, and not looked for here.
        if life.is_there && missing > 0 && self.failed_syncs == 0 {
            return Err(format!(
                "{}: {missing} of {} messages never came",
                life.prefix,
                came.len()
            ));
        }
        // Each stream's messages come in their order for the first time.
        for (at, before) in came.iter().enumerate() {
            let shares = |other: usize| {
                let names = |bundle: &ButlerLogBundle| -> Vec<String> {
                    let descs = bundle.entries.iter().flat_map(|entry| &entry.desc);
                    descs.map(|desc| desc.name.clone()).collect()
                };
                let ours = names(&life.given[at]);
                names(&life.given[other]).iter().any(|it| ours.contains(it))
            };
            for (behind, place) in came.iter().enumerate().skip(at + 1) {
                if place < before && place.is_some() && !self.has_errors && shares(behind) {
                    return Err(format!(
                        "{}: message {behind} came before {at}",
                        life.prefix
                    ));
                }
            }
        }
        Ok(())
    }
}
