use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::*;
use crate::core::Core;
use crate::delivery::message::{BundleLimits, Identity, Ticket};
use crate::delivery::outcome::Outcomes;
use crate::delivery::stored::Stored;
use crate::edge::io::Completion;
use crate::edge::system::System;
use crate::limits::{SPOOL_MAX_MIN, SPOOL_PATIENCE};
use crate::output::spool::{SpoolSettings, SyncPolicy};
use crate::output::testing::{kernel, opened};
use crate::proto::logpb::ButlerLogBundle;
use crate::time::Moment;
use crate::wire::descriptor::{StreamProperties, StreamType, Tags};

const BUFFERED_MAX: u64 = 64 << 20;

/// What a carrier has got, and what it is to do with it.
#[derive(Debug, Default)]
struct Script {
    /// The lines that came, whichever way, in order.
    got: Vec<String>,
    /// How many of them came from disk.
    stored: usize,
    held: VecDeque<Ticket>,
    /// How many of what it has, or gets, it settles.
    takes: usize,
    refuses: bool,
}

/// Takes two messages at once.
struct Scripted(Rc<RefCell<Script>>);

impl Scripted {
    fn took(&self, now: &mut Now<'_, System>, bundle: &ButlerLogBundle, ticket: Ticket) {
        let mut script = self.0.borrow_mut();
        assert_eq!(bundle.project, "p");
        script.got.extend(lines_of(bundle));
        script.held.push_back(ticket);
        assert!(script.held.len() <= 2, "no more than it takes");
        drop(script);
        self.settle(now);
    }

    fn settle(&self, now: &mut Now<'_, System>) {
        let mut script = self.0.borrow_mut();
        while script.takes > 0
            && let Some(ticket) = script.held.pop_front()
        {
            script.takes -= 1;
            now.outcomes.settle(match script.refuses {
                true => Outcome::lost(ticket, DropReason::Refused),
                false => Outcome::delivered(ticket, 100),
            });
        }
    }
}

fn lines_of(bundle: &ButlerLogBundle) -> Vec<String> {
    use crate::proto::logpb::log_entry::Content;
    let logs = bundle.entries.iter().flat_map(|entry| &entry.logs);
    let lines = logs.flat_map(|log| match &log.content {
        Some(Content::Text(text)) => text.lines.iter(),
        other => panic!("{other:?}"),
    });
    lines
        .map(|line| String::from_utf8(line.value.to_vec()).unwrap())
        .collect()
}

impl Transport<System> for Scripted {
    fn start(&mut self, now: &mut Now<'_, System>, message: Arc<Message>) {
        let (bundle, ticket) = (message.decode(), message.ticket());
        drop(message);
        self.took(now, &bundle, ticket);
    }

    fn poll(&mut self, now: &mut Now<'_, System>) {
        self.settle(now);
    }

    fn finish(&mut self, _: &mut Now<'_, System>) {}

    fn is_finished(&self) -> bool {
        self.0.borrow().held.is_empty()
    }

    fn give_up(&mut self, _: &mut Now<'_, System>) {
        self.0.borrow_mut().held.clear();
    }

    fn capacity(&self) -> Capacity {
        Capacity::of(2, usize::MAX)
    }

    fn errors(&self) -> u64 {
        0
    }
}

impl Carrier<System> for Scripted {
    fn carry(&mut self, now: &mut Now<'_, System>, stored: Stored) {
        self.0.borrow_mut().stored += 1;
        let mut encoder = crate::delivery::encode::Encoder::new(Default::default());
        encoder.encode_stored(&stored);
        let bytes = encoder.pieces().concat();
        let view = crate::wire::message::MessageView::parse(&bytes);
        let bundle = view.unwrap().unwrap().bundle().unwrap();
        self.took(now, &bundle, stored.ticket());
    }
}

/// A core, whose messages go to an output with a spool.
struct World {
    io: System,
    core: Core,
    spooled: Spooled<System>,
    script: Rc<RefCell<Script>>,
    outcomes: Outcomes,
    key: crate::keys::StreamKey,
    now: Moment,
}

fn settings(dir: &Path) -> SpoolSettings {
    SpoolSettings {
        max_bytes: SPOOL_MAX_MIN,
        sync: SyncPolicy::Never,
        ..SpoolSettings::new(dir.join("spool"))
    }
}

impl World {
    fn new(settings: &SpoolSettings, prefix: &str) -> Self {
        let identity = Identity {
            project: "p".into(),
            prefix: prefix.into(),
            secret: crate::secret::Secret::new("s"),
        };
        let mut core = Core::new(crate::core::CoreConfig {
            bundle_limits: BundleLimits {
                target: 1 << 20,
                early: 1 << 20,
                max: 4 << 20,
            },
            text_in_lines: true,
            identity: identity.clone(),
            global_tags: Tags::default(),
            age_max_ns: 0,
            buffered_max: BUFFERED_MAX,
            stream_size_max: u64::MAX,
        });
        let mut io = kernel();
        let run = Arc::new(Run::new(identity, None));
        let store = opened(|| Store::open(&mut io, settings, Arc::clone(&run)));
        let script = Rc::<RefCell<Script>>::default();
        let spooled = Spooled::new(Box::new(Scripted(Rc::clone(&script))), store, BUFFERED_MAX);
        core.set_capacity(spooled.capacity());
        let now = Moment {
            mono_ns: 1,
            wall: prost_types::Timestamp::default(),
        };
        let properties = StreamProperties::new("s".parse().unwrap(), StreamType::Text);
        let key = core.open(&now, &properties).unwrap();
        Self {
            io,
            core,
            spooled,
            script,
            outcomes: Outcomes::default(),
            key,
            now,
        }
    }

    fn call(&mut self, call: impl FnOnce(&mut Spooled<System>, &mut Now<'_, System>)) {
        let mut now = Now {
            io: &mut self.io,
            ns: self.now.mono_ns,
            outcomes: &mut self.outcomes,
        };
        call(&mut self.spooled, &mut now);
        self.core.take(&self.now, &mut self.outcomes);
    }

    /// A line comes, and all that may go to the output does.
    fn line(&mut self, line: &str) {
        let data = format!("{line}\n");
        self.core
            .data(&self.now, self.key, data.as_bytes())
            .unwrap();
        self.turn();
    }

    fn turn(&mut self) {
        self.call(|spooled, now| spooled.poll(now));
        while let Some(message) = self.core.poll_message(&self.now) {
            self.call(|spooled, now| spooled.start(now, message));
        }
        self.io.enter().unwrap();
        while let Some(completion) = self.io.next(|_| None) {
            let Completion::Synced { number, result } = completion else {
                panic!("{completion:?}");
            };
            let what = Completed::Synced(result);
            self.call(|spooled, now| spooled.completed(now, number, what));
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now.mono_ns += time.as_nanos() as u64;
        self.turn();
    }

    fn takes(&mut self, messages: usize) {
        self.script.borrow_mut().takes = messages;
        for _ in 0..10 {
            self.turn();
        }
    }

    fn got(&self) -> Vec<String> {
        self.script.borrow().got.clone()
    }

    fn stored(&self) -> usize {
        self.script.borrow().stored
    }

    fn account(&self) -> (u64, u64, u64) {
        let account = self.core.account();
        (account.delivered(), account.stored(), account.pending())
    }

    fn end(&mut self) {
        self.core.end(&self.now, self.key);
        self.core.flush();
        self.turn();
        self.call(|spooled, now| spooled.finish(now));
        for _ in 0..100 {
            self.turn();
        }
    }
}

/// The lines with these numbers.
fn lines(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(|it| format!("line {it}")).collect()
}

#[test]
fn what_is_taken_in_time_is_never_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(&settings(dir.path()), "a");
    world.script.borrow_mut().takes = usize::MAX;
    for line in lines(0..20) {
        world.line(&line);
    }
    assert_eq!((world.got(), world.stored()), (lines(0..20), 0));
    assert_eq!(world.spooled.store.used(), 0);
    assert_eq!(world.account(), (150, 0, 0));
    world.end();
    assert!(world.spooled.is_finished() && world.core.is_settled());
    assert_eq!(world.spooled.left().unwrap().messages, 0);
}

/// Two are with the carrier, one waits in memory, and others in the core. After a
/// while all go to the disk, which leaves memory free; and they leave in order.
#[test]
fn what_is_not_taken_goes_to_the_disk_and_comes_back_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(&settings(dir.path()), "a");
    world.takes(1);
    for line in lines(0..6) {
        world.line(&line);
    }
    assert_eq!(world.got(), lines(0..3));
    assert_eq!((world.account().1, world.core.in_flight()), (0, 3));
    assert_eq!(
        world.spooled.due_ns(),
        Some(1 + SPOOL_PATIENCE.as_nanos() as u64)
    );
    world.wait(SPOOL_PATIENCE);
    world.turn();
    // The last one is one of what is on disk now: it must not overtake.
    world.line("line 6");
    assert_eq!(world.account(), (7, 42, 0));
    assert_eq!((world.core.in_flight(), world.core.buffered()), (0, 0));

    world.takes(4);
    assert_eq!(world.got(), lines(0..7));
    // Two lines had become one message.
    assert_eq!((world.stored(), world.account()), (3, (42, 7, 0)));
    // When the disk has nothing more to send, it goes from memory again.
    world.script.borrow_mut().takes = 3;
    world.line("line 7");
    assert_eq!((world.got(), world.stored()), (lines(0..8), 3));
    assert_eq!(world.account(), (56, 0, 0));
    world.script.borrow_mut().takes = 1;
    world.end();
    assert!(world.spooled.is_finished() && world.core.is_settled());
}

#[test]
fn when_always_the_disk_has_each_first() {
    let dir = tempfile::tempdir().unwrap();
    let settings = SpoolSettings {
        when: When::Always,
        ..settings(dir.path())
    };
    let mut world = World::new(&settings, "a");
    for line in lines(0..4) {
        world.line(&line);
    }
    let used = world.spooled.store.used();
    assert!(used > 0);
    // What the carrier has is in memory still; what it has not is not.
    assert_eq!((world.got(), world.account()), (lines(0..2), (0, 14, 14)));
    world.takes(3);
    assert_eq!((world.got(), world.stored()), (lines(0..4), 2));
    assert_eq!(world.account(), (21, 7, 0));
    world.script.borrow_mut().takes = usize::MAX;
    world.end();
    assert!(world.spooled.is_finished());
    assert_eq!(world.account(), (28, 0, 0));
    assert_eq!(world.spooled.store.used(), 0);
}

/// What is left at an end is on disk, and whoever comes next sends it, in turn with
/// its own.
#[test]
fn the_next_butler_sends_what_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path());
    let mut world = World::new(&settings, "first");
    for line in lines(0..3) {
        world.line(&line);
    }
    world.call(|spooled, now| assert!(spooled.retreat(now)));
    for line in lines(3..6) {
        world.line(&line);
    }
    world.end();
    assert!(world.spooled.is_finished() && world.core.is_settled());
    assert_eq!(world.account(), (0, 42, 0));
    let left = world.spooled.left().unwrap();
    assert_eq!((left.streams, left.bytes), (1, 42));
    assert!(left.to_string().starts_with("1 stream, 42 bytes wait in "));
    drop(world);

    let mut world = World::new(&settings, "second");
    world.turn();
    assert_eq!(world.got(), lines(0..2));
    for line in lines(10..12) {
        world.line(&line);
    }
    world.takes(4);
    let expected = [0, 1, 2, 10, 3, 11].into_iter();
    assert_eq!(world.got(), lines(expected));
    // The end does not wait for what others have left.
    world.script.borrow_mut().takes = 2;
    world.end();
    assert!(!world.spooled.is_finished());
    world.takes(2);
    world.takes(1);
    assert!(world.spooled.is_finished());
    assert_eq!(world.account(), (16, 0, 0));
    let left = world.spooled.left().unwrap();
    assert!(left.bytes < 42 && left.messages > 0, "{left:?}");
}

#[test]
fn what_is_refused_is_lost_also_from_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(&settings(dir.path()), "a");
    for line in lines(0..3) {
        world.line(&line);
    }
    world.wait(SPOOL_PATIENCE);
    assert_eq!(world.account(), (0, 21, 0));
    world.script.borrow_mut().refuses = true;
    world.takes(3);
    assert_eq!(world.account(), (0, 0, 0));
    assert_eq!(world.core.account().dropped(DropReason::Refused), 21);
    world.script.borrow_mut().takes = 1;
    world.end();
    assert_eq!(world.core.ends_lost()["s"], DropReason::Refused);
    assert!(world.spooled.is_finished());
}

/// Without room on disk writers wait, or the newest are lost, as was said.
#[test]
fn a_full_spool() {
    for full in [Full::Wait, Full::DropNewest] {
        let dir = tempfile::tempdir().unwrap();
        let settings = SpoolSettings {
            full,
            ..settings(dir.path())
        };
        let mut world = World::new(&settings, "a");
        let line = "x".repeat(999_999);
        let mut written = 0;
        while world.core.may_read() && written < 120 {
            world.line(&line);
            world.wait(SPOOL_PATIENCE);
            written += 1;
        }
        let (delivered, stored, pending) = world.account();
        assert_eq!(delivered, 0);
        assert!(stored > 28 << 20 && stored <= SPOOL_MAX_MIN, "{stored}");
        let lost = world.core.account().dropped(DropReason::SpoolFull);
        match full {
            Full::Wait => assert!(lost == 0 && pending > 60 << 20, "{pending}"),
            Full::DropNewest => assert!(lost > 20 << 20 && written == 120, "{lost}"),
        }
        // As soon as a segment is sent there is room again, and all goes on.
        world.script.borrow_mut().takes = usize::MAX;
        for _ in 0..300 {
            world.wait(Duration::from_millis(1));
        }
        world.end();
        assert!(world.spooled.is_finished(), "{full:?}");
        let account = world.core.account();
        assert_eq!(account.delivered() + lost, account.accepted());
    }
}
