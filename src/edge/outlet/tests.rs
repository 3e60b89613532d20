use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use prost_types::Timestamp;

use super::*;
use crate::core::{CoreConfig, MachineConfig};
use crate::delivery::message::{BundleLimits, Identity, Message, Ticket};
use crate::delivery::outcome::Outcome;
use crate::delivery::window::Capacity;
use crate::edge::system::System;
use crate::keys::StreamKey;
use crate::ledger::DropReason;
use crate::limits::{LAST_OFFER_MAX, LAST_OFFER_STEP, RETREAT_MAX};
use crate::output::testing::kernel;
use crate::wire::descriptor::{StreamProperties, StreamType, Tags};

/// What a transport was told, and what it is to settle when it is polled next.
#[derive(Debug, Default)]
struct Script {
    told: Vec<String>,
    tickets: Vec<Ticket>,
    settles: Vec<Ticket>,
    /// It can keep what is left.
    keeps: bool,
}

/// Takes two messages at once, and settles those that it is told to.
struct Scripted(Rc<RefCell<Script>>);

impl Transport<System> for Scripted {
    fn start(&mut self, _: &mut Now<'_, System>, message: Arc<Message>) {
        let mut script = self.0.borrow_mut();
        script.told.push("start".into());
        script.tickets.push(message.ticket());
    }

    fn poll(&mut self, now: &mut Now<'_, System>) {
        for ticket in self.0.borrow_mut().settles.drain(..) {
            now.outcomes.settle(Outcome::delivered(ticket, 1));
        }
    }

    // It is always in a hurry, and only while it is open may that count.
    fn due_ns(&self) -> Option<u64> {
        Some(0)
    }

    fn finish(&mut self, _: &mut Now<'_, System>) {
        self.0.borrow_mut().told.push("finish".into());
    }

    fn is_finished(&self) -> bool {
        true
    }

    fn retreat(&mut self, now: &mut Now<'_, System>) -> bool {
        let mut script = self.0.borrow_mut();
        if script.keeps {
            script.told.push("retreat".into());
            for ticket in script.tickets.drain(..) {
                now.outcomes.settle(Outcome::stored(ticket));
            }
        }
        script.keeps
    }

    fn give_up(&mut self, _: &mut Now<'_, System>) {
        self.0.borrow_mut().told.push("give up".into());
    }

    fn capacity(&self) -> Capacity {
        Capacity::of(2, usize::MAX)
    }

    fn wants_registrations(&self) -> bool {
        true
    }

    fn registered(&mut self, _: &mut Now<'_, System>, name: &StreamName) {
        self.0.borrow_mut().told.push(format!("registered {name}"));
    }

    fn errors(&self) -> u64 {
        7
    }
}

struct World {
    io: System,
    machine: Machine<(), ()>,
    outlet: Outlet<System>,
    script: Rc<RefCell<Script>>,
    now: Moment,
}

impl World {
    fn new() -> Self {
        let script = Rc::<RefCell<Script>>::default();
        let transport = Scripted(Rc::clone(&script));
        let mut machine = Machine::new(MachineConfig {
            core: CoreConfig {
                bundle_limits: BundleLimits {
                    early: 1000,
                    target: 1000,
                    max: 10_000,
                },
                text_in_lines: true,
                identity: Identity::default(),
                global_tags: Tags::default(),
                age_max_ns: 0,
                buffered_max: 1 << 30,
                stream_size_max: u64::MAX,
            },
            flush_timeout: Duration::from_secs(10),
            deadline: None,
        });
        machine.core_mut().set_capacity(transport.capacity());
        Self {
            io: kernel(),
            machine,
            outlet: Outlet::new(Box::new(transport)),
            script,
            now: Moment {
                mono_ns: 1,
                wall: Timestamp::default(),
            },
        }
    }

    /// A stream with so many messages of a line.
    fn stream(&mut self, name: &str, messages: usize) -> StreamKey {
        let properties = StreamProperties::new(name.parse().unwrap(), StreamType::Text);
        let core = self.machine.core_mut();
        let key = core.open(&self.now, &properties).unwrap();
        self.outlet.registered(&properties.name);
        for _ in 0..messages {
            let line = [&[b'x'; 999][..], b"\n"].concat();
            core.data(&self.now, key, &line).unwrap();
        }
        key
    }

    fn turn(&mut self) -> Vec<String> {
        self.outlet.turn(&mut self.io, &self.now, &mut self.machine);
        std::mem::take(&mut self.script.borrow_mut().told)
    }

    fn wait(&mut self, time: Duration) {
        self.now.mono_ns += time.as_nanos() as u64;
    }

    fn is_over(&self) -> bool {
        self.machine.life().is_over()
    }
}

#[test]
fn messages_go_out_while_there_is_room() {
    let mut world = World::new();
    let key = world.stream("s", 3);
    let mut told = world.turn();
    while world.machine.core().in_flight() < 2 {
        told.extend(world.turn());
    }
    assert_eq!(told, ["registered s", "start", "start"]);
    assert!(world.turn().is_empty(), "two are in flight");
    // The later one is settled first.
    let ticket = world.script.borrow().tickets[1];
    world.script.borrow_mut().settles.push(ticket);
    assert_eq!(world.turn(), ["start"]);
    assert!(world.outlet.has_settled);

    world.machine.core_mut().end(&world.now, key);
    world.machine.shut_down(&world.now, Duration::ZERO);
    for _ in 0..10 {
        world.machine.begin_round(&world.now);
        world.machine.end_round(&world.now);
        let mut script = world.script.borrow_mut();
        script.settles = std::mem::take(&mut script.tickets);
        script.settles.retain(|it| *it != ticket);
        drop(script);
        world.turn();
    }
    assert!(world.is_over() && world.machine.core().is_settled());
    assert_eq!(world.outlet.errors(), 7);
    assert!(
        !world.outlet.has_work(&world.now),
        "nothing is due any more"
    );
    assert_eq!(world.outlet.due_ns(&world.machine), None);
}

/// One that can keep what is left is given that, when its destination is waited
/// for no longer; and is given up when it can't after all.
#[test]
fn a_transport_retreats() {
    for takes_the_rest in [true, false] {
        let mut world = World::new();
        world.script.borrow_mut().keeps = true;
        let key = world.stream("s", 3);
        world.turn();
        world.turn();
        world.machine.core_mut().end(&world.now, key);
        world.machine.abort(&world.now);
        let round = |world: &mut World| {
            world.machine.begin_round(&world.now);
            world.machine.end_round(&world.now);
            world.turn()
        };
        assert!(round(&mut world).is_empty());
        world.wait(LAST_OFFER_MAX);
        assert_eq!(round(&mut world), ["retreat"]);
        assert_eq!(world.machine.core().account().stored(), 2000);
        assert!(world.outlet.has_work(&world.now), "there is more to give");
        assert_eq!(round(&mut world), ["start"]);
        assert!(!world.is_over());
        let last = match takes_the_rest {
            true => "finish",
            false => {
                world.wait(RETREAT_MAX);
                "give up"
            }
        };
        let mut told = Vec::new();
        for _ in 0..5 {
            if takes_the_rest {
                let mut script = world.script.borrow_mut();
                script.settles = std::mem::take(&mut script.tickets);
            }
            told.extend(round(&mut world));
        }
        assert_eq!(told.last().unwrap(), last);
        assert!(world.is_over());
        let account = *world.machine.core().account();
        let lost = account.dropped(DropReason::Undelivered);
        let expected = if takes_the_rest { (1000, 0) } else { (0, 1000) };
        assert_eq!((account.delivered(), lost), expected);
    }
}

/// After an abort the transport is waited for a little while, and not again for
/// what comes later.
#[test]
fn a_transport_that_stands_still_is_given_up() {
    let mut world = World::new();
    let key = world.stream("s", 2);
    world.turn();
    world.turn();
    assert_eq!(world.machine.core().in_flight(), 2);
    world.machine.core_mut().end(&world.now, key);
    world.machine.abort(&world.now);
    world.machine.begin_round(&world.now);
    world.machine.end_round(&world.now);
    assert!(world.turn().is_empty() && !world.is_over());
    let given = world.now.mono_ns;
    let due = given + LAST_OFFER_STEP.as_nanos() as u64;
    assert!(world.machine.life().last_offer_ns(given) == Some(due));
    world.wait(LAST_OFFER_MAX);
    world.machine.begin_round(&world.now);
    world.machine.end_round(&world.now);
    assert_eq!(world.turn(), ["give up"]);
    assert_eq!(world.machine.core().in_flight(), 0);
    let dropped = world
        .machine
        .core()
        .account()
        .dropped(DropReason::Undelivered);
    assert_eq!(dropped, 2000);
    assert!(!world.outlet.has_work(&world.now));
    for _ in 0..3 {
        world.machine.begin_round(&world.now);
        world.machine.end_round(&world.now);
        assert!(world.turn().is_empty());
    }
    assert!(world.is_over());
}
