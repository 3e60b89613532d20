//! The machine on its own: clients are their numbers, and nothing waits.

use std::time::Duration;

use super::*;
use crate::core::{Peer, Users};
use crate::delivery::message::{BundleLimits, Identity};
use crate::delivery::outcome::{Outcome, Outcomes};
use crate::limits::{
    BUFFERED_MAX, BUFFERED_MIN, BUNDLE_MAX, BUNDLE_TARGET, HEADERS_BUFFERED_MAX, READ_BUFFER_SIZE,
    STREAM_SIZE_MAX,
};
use crate::time::Moment;
use crate::wire::descriptor::Tags;

const MS: u64 = 1_000_000;

/// What a client and a listener are here.
type Number = u32;

struct World {
    machine: Machine<Number, Number>,
    now: Moment,
    /// What was commanded, as text.
    done: Vec<String>,
    /// The last client that is waited for.
    awaited: Option<ClientKey>,
}

fn config(buffered_max: u64) -> MachineConfig {
    MachineConfig {
        core: CoreConfig {
            bundle_limits: BundleLimits {
                early: BUNDLE_TARGET,
                target: BUNDLE_TARGET,
                max: BUNDLE_MAX,
            },
            text_in_lines: true,
            identity: Identity::default(),
            global_tags: Tags::default(),
            age_max_ns: 0,
            buffered_max,
            stream_size_max: STREAM_SIZE_MAX,
        },
        flush_timeout: Duration::from_secs(10),
        deadline: None,
    }
}

impl World {
    fn new() -> Self {
        Self::with(BUFFERED_MAX)
    }

    fn with(buffered_max: u64) -> Self {
        Self {
            machine: Machine::new(config(buffered_max)),
            now: Moment {
                mono_ns: 0,
                wall: Timestamp::default(),
            },
            done: Vec::new(),
            awaited: None,
        }
    }

    /// The commands since this was asked last.
    fn commands(&mut self) -> Vec<String> {
        while let Some(command) = self.machine.poll_command() {
            self.done.push(match command {
                Command::Read { client, ready } => format!("read {client:?} {ready}"),
                Command::Await(client) => {
                    self.awaited = Some(client);
                    format!("await {client:?}")
                }
                Command::Cancel(client) => format!("cancel {client:?}"),
                Command::End(client) => format!("end {client:?}"),
                Command::Close { edge, unread, .. } => format!("close {edge} {unread}"),
                Command::Accept { insist, .. } => format!("accept {insist}"),
                Command::CloseListener { edge, .. } => format!("close listener {edge}"),
                other => format!("{other:?}").to_lowercase(),
            });
        }
        self.machine.invariants();
        std::mem::take(&mut self.done)
    }

    fn listener(&mut self) -> ListenerKey {
        self.machine.listen(&self.now, Users::only(7), 1000);
        assert_eq!(self.commands(), ["accept true"]);
        ListenerKey::from_u64(0)
    }

    /// Somebody connects.
    fn visit(&mut self, listener: ListenerKey, number: Number, uid: u32) {
        let visitor = Visitor {
            peer: Ok(Peer { pid: None, uid }),
            refused: None,
            last: false,
        };
        self.machine
            .accepted(&self.now, listener, (number, visitor), true);
    }

    /// A client that is let in.
    fn client(&mut self, listener: ListenerKey, number: Number) -> ClientKey {
        self.visit(listener, number, 7);
        assert_eq!(self.commands().len(), 1);
        self.awaited.expect("it is waited for")
    }

    /// A client that has said that it is a text stream.
    fn stream(&mut self, listener: ListenerKey, number: Number) -> ClientKey {
        let client = self.client(listener, number);
        self.machine.readable(&self.now, client);
        assert_eq!(self.commands(), [format!("read {client:?} true")]);
        let json = format!(r#"{{"name":"s/{number}"}}"#);
        let mut header = b"BTLR1\x1e".to_vec();
        header.push(json.len() as u8);
        header.extend(json.bytes());
        header.extend(b"first\n");
        let taken = self.machine.data(&self.now, client, &header, false);
        let Taken::Header { used, .. } = taken else {
            panic!("{taken:?}");
        };
        let rest = self.machine.data(&self.now, client, &header[used..], false);
        assert_eq!(rest, Taken::All);
        assert_eq!(self.commands(), [format!("read {client:?} false")]);
        client
    }

    fn round(&mut self, ms: u64) -> Vec<String> {
        self.now.mono_ns = ms * MS;
        self.machine.begin_round(&self.now);
        self.machine.end_round(&self.now);
        self.commands()
    }

    fn deliver_all(&mut self) {
        while let Some(message) = self.machine.poll_message(&self.now) {
            let mut outcomes = Outcomes::default();
            outcomes.settle(Outcome::delivered(message.ticket(), 1));
            drop(message);
            self.machine.take(&self.now, &mut outcomes);
        }
    }
}

#[test]
fn a_life_from_beginning_to_end() {
    let mut world = World::new();
    let listener = world.listener();
    let client = world.stream(listener, 0);
    // Somebody who may not.
    world.visit(listener, 1, 8);
    assert_eq!(world.commands(), ["close 1 true"]);
    assert_eq!(world.machine.peers_refused(), 1);

    world.machine.wait_for_the_end(&world.now);
    assert_eq!(world.round(1), [""; 0], "a client is still there");
    world.machine.ended(&world.now, client, Stopped::AtEnd);
    assert_eq!(world.commands(), ["close 0 false"]);
    assert_eq!(world.round(2), ["unlink(0.0)", "cancelaccept(0.0)"]);
    // One came before that.
    let late = world.client(listener, 2);
    world.machine.ended(&world.now, late, Stopped::AtEnd);
    world
        .machine
        .not_accepted(&world.now, listener, &NotAccepted::Cancelled, false);
    world.machine.nobody_waits(&world.now, listener);
    let closed = world.commands();
    assert_eq!(closed.last().unwrap(), "close listener 1000");
    world.round(3);
    assert!(world.machine.life().is_flushing());
    world.deliver_all();
    assert!(world.machine.core().is_settled());
    assert_eq!(world.machine.core().account().delivered(), 6);
}

/// Of a pipe it can only be seen what is in it once nothing is being read.
#[test]
fn an_end_after_what_is_there_is_measured() {
    let mut world = World::new();
    let listener = world.listener();
    let client = world.stream(listener, 0);
    world.machine.shut_down(&world.now, Duration::ZERO);
    assert!(world.commands().contains(&format!("end {client:?}")));
    world.machine.ends(&world.now, client, Some(2));
    assert_eq!(world.commands(), [format!("cancel {client:?}")]);
    // The read has brought something meanwhile.
    world.machine.data(&world.now, client, b"more\n", false);
    assert_eq!(world.commands(), [format!("end {client:?}")]);
    world.machine.ends(&world.now, client, Some(2));
    assert_eq!(world.commands(), [format!("read {client:?} false")]);
    world.machine.data(&world.now, client, b"x\n", false);
    assert_eq!(world.commands(), ["close 0 true"]);
    assert_eq!(world.machine.core().account().accepted(), 13);
}

#[test]
fn who_looks_on_holds_back_until_the_end() {
    let mut world = World::new();
    let listener = world.listener();
    let client = world.stream(listener, 0);
    world.machine.hold_back(client, true);
    world.machine.data(&world.now, client, b"second\n", true);
    assert_eq!(world.round(1), [""; 0]);
    world.machine.hold_back(client, false);
    assert_eq!(world.round(2), [format!("read {client:?} false")]);
    world.machine.hold_back(client, true);
    world.machine.data(&world.now, client, b"third\n", true);
    assert_eq!(world.round(3), [""; 0]);
    world.machine.shut_down(&world.now, Duration::ZERO);
    world.machine.ends(&world.now, client, None);
    let read = format!("read {client:?} false");
    assert!(world.round(4).contains(&read));
}

/// Nothing is read beyond what may be buffered; what was read already is taken
/// when there is room, and so is a header.
#[test]
fn memory_that_is_full_holds_up_all() {
    let mut world = World::with(BUFFERED_MIN);
    let listener = world.listener();
    let client = world.stream(listener, 0);
    let other = world.client(listener, 1);
    world
        .machine
        .data(&world.now, client, &vec![b'x'; 5_000_000], true);
    world.commands();
    assert!(!world.machine.takes_data(&world.now, client));
    world.machine.readable(&world.now, other);
    assert_eq!(world.round(1), [""; 0]);
    world.deliver_all();
    // The pace is that of the output.
    let read = [
        format!("read {other:?} true"),
        format!("read {client:?} false"),
    ];
    let mut resumed = world.round(50);
    resumed.sort_unstable();
    let mut read = read.to_vec();
    read.sort_unstable();
    assert_eq!(resumed, read);
}

/// What can't be read to its end in the moment after an abort is left, and the
/// kernel gives its descriptors back before they are closed.
#[test]
fn an_abort_leaves_what_it_must() {
    let mut world = World::new();
    let listener = world.listener();
    let client = world.stream(listener, 0);
    world.machine.abort(&world.now);
    assert!(world.commands().contains(&format!("end {client:?}")));
    world.machine.ends(&world.now, client, None);
    assert_eq!(world.round(99), [""; 0]);
    let left = world.round(100);
    assert!(left.contains(&format!("cancel {client:?}")), "{left:?}");
    assert!(left.contains(&"close listener 1000".to_owned()), "{left:?}");
    assert!(world.machine.life().is_flushing());
    assert_eq!(world.machine.life().last_offer_ns(0), Some(100 * MS));
    world.machine.data(&world.now, client, b"late\n", false);
    assert_eq!(world.commands(), ["close 0 true"]);
    assert_eq!(world.machine.core().account().accepted(), 6, "not any more");
}

#[test]
fn descriptors_that_run_out_come_back() {
    let mut world = World::new();
    let listener = world.listener();
    let client = world.stream(listener, 0);
    let error = std::io::Error::from_raw_os_error(24);
    let why = NotAccepted::Exhausted(error);
    world
        .machine
        .not_accepted(&world.now, listener, &why, false);
    assert_eq!(world.commands(), ["dropspare"]);
    assert_eq!(world.round(99), [""; 0]);
    assert_eq!(world.round(100), ["accept false"]);
    world
        .machine
        .no_spare(&world.now, listener, &std::io::Error::from_raw_os_error(24));
    world.commands();
    world.machine.ended(&world.now, client, Stopped::AtEnd);
    // At once, as one is free.
    assert_eq!(world.round(101), ["close 0 false", "accept true"]);
}

#[test]
fn a_header_has_its_time() {
    let mut world = World::new();
    let listener = world.listener();
    let client = world.client(listener, 0);
    world.machine.readable(&world.now, client);
    world.machine.data(&world.now, client, b"BTLR1\x1e", false);
    world.commands();
    assert_eq!(world.round(29_000), [""; 0]);
    assert_eq!(world.round(29_999), [""; 0]);
    assert_eq!(world.round(30_000), [format!("cancel {client:?}")]);
    world.machine.ended(&world.now, client, Stopped::Cancelled);
    assert_eq!(world.commands(), ["close 0 true"]);
    assert_eq!(world.machine.core().stats().streams_refused, 1);
}

/// Small writes are let gather, but whose header is there has company enough.
#[test]
fn no_pause_while_headers_wait_for_their_turns() {
    let mut world = World::new();
    let mut config = config(BUFFERED_MAX);
    config.core.age_max_ns = MS;
    world.machine = Machine::new(config);
    let listener = world.listener();
    world.stream(listener, 0);
    world.machine.end_round(&world.now);
    assert!(world.machine.pause_us() > 0, "its write was small");

    let many = 1 + HEADERS_BUFFERED_MAX / READ_BUFFER_SIZE;
    for number in 1..=many {
        let client = world.client(listener, number as Number);
        world.machine.readable(&world.now, client);
        world.commands();
    }
    world.round(1);
    assert_eq!(world.machine.pause_us(), 0, "they do not all have room");
}
