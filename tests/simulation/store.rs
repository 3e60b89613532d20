//! The spool's store on a disk that fails: butlers come, append, send and die, or
//! the power fails, and the next ones find what is left. In the end all is there
//! that was said to be, as it was.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use butler::core::{Core, CoreConfig};
use butler::edge::io::{Completion, Io};
use butler::edge::transport::Completed;
use butler::output::spool::{
    AppendError, Done, Loss, Read, RecordId, SpoolSettings, Store, SyncPolicy,
};
use butler::spool::{Found, Header, Sums, Walk, Window, encode_head};
use butler::time::Moment;
use butler::wire::descriptor::{StreamProperties, StreamType, Tags};
use butler::{BundleLimits, Gather, Identity, Message, Run};

use crate::disk::Disk;
use crate::kernel::{Fd, Kernel, State};
use crate::plan::{Fault, Plan};
use crate::random::Random;

/// Where a header has ended: what rots there is told by nobody.
const HEADER: usize = 200;
const STEPS_MAX: usize = 100_000;

/// A store, or a disk, that does one thing wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// It says that something is synced before it is.
    LosesSyncs,
    /// It never syncs the directory.
    LosesNames,
    /// It removes what was not delivered.
    CutsEarly,
    /// It does not look at checksums.
    IgnoresSums,
}

impl Wrong {
    pub const ALL: [Self; 4] = [
        Self::LosesSyncs,
        Self::LosesNames,
        Self::CutsEarly,
        Self::IgnoresSums,
    ];
}

/// Which butler has appended it, and where.
type Key = (usize, RecordId);

/// A message that was appended.
struct Appended {
    wire: Vec<u8>,
    /// The kernel has it, or the disk.
    is_there: bool,
    /// The disk has it, it was said.
    is_promised: bool,
    is_delivered: bool,
}

struct World {
    random: Random,
    disk: Rc<RefCell<Disk>>,
    settings: SpoolSettings,
    wrong: Option<Wrong>,
    /// Something on the disk changes by itself.
    rots: bool,
    appended: BTreeMap<Key, Appended>,
    losses: Vec<Loss>,
    failed_syncs: u64,
    /// What happened, for who looks into a failure.
    notes: Vec<String>,
}

/// One butler.
struct Life<'a> {
    world: &'a mut World,
    number: usize,
    io: Kernel,
    state: Rc<RefCell<State>>,
    store: Store<Fd>,
    messages: Vec<Arc<Message>>,
    in_flight: Vec<Key>,
    given: BTreeSet<Key>,
    now_ns: u64,
    gather: Gather,
}

/// Runs one seed; an error says what is wrong.
pub fn run(seed: u64, wrong: Option<Wrong>) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random::new(seed);
    let path = dir.path().canonicalize().unwrap();
    let mut world = World::new(&mut random, &path, wrong);
    let ran = world.run(&mut random);
    ran.map_err(|what| format!("{}\n{what}", world.notes.join("\n")))
}

impl World {
    fn new(random: &mut Random, path: &Path, wrong: Option<Wrong>) -> Self {
        let disk = Disk::new(path, Random::new(random.bits()));
        disk.borrow_mut().loses_syncs = wrong == Some(Wrong::LosesSyncs);
        disk.borrow_mut().loses_names = wrong == Some(Wrong::LosesNames);
        let mut settings = SpoolSettings::new(path);
        settings.max_bytes = random.pick(&[8_000, 40_000, 1 << 20]);
        settings.sync = match random.below(4) {
            0 => SyncPolicy::Always,
            _ => SyncPolicy::Every(std::time::Duration::from_millis(random.below(200) + 1)),
        };
        Self {
            disk,
            settings,
            wrong,
            rots: random.one_in(4) && wrong.is_none(),
            appended: BTreeMap::new(),
            losses: Vec::new(),
            failed_syncs: 0,
            notes: Vec::new(),
            random: Random::new(random.bits()),
        }
    }

    /// One butler after the other.
    fn run(&mut self, random: &mut Random) -> Result<(), String> {
        let lives = random.size(1, 4);
        for number in 0..lives {
            let steps = random.size(1, 80);
            let mut life = Life::begin(self, number, true);
            for _ in 0..steps {
                life.step()?;
            }
            life.end()?;
            if self.wrong == Some(Wrong::IgnoresSums) {
                self.disk.borrow_mut().forge(change_a_body);
            }
            if self.rots && self.random.one_in(3) {
                self.disk.borrow_mut().rot(HEADER);
            }
        }
        Life::begin(self, lives, false).deliver_all()?;
        self.check()
    }

    fn is_told(&self, (life, id): &Key) -> bool {
        self.losses.iter().any(|loss| {
            let behind = id.index.checked_sub(loss.first.index);
            loss.first.segment == id.segment
                && loss.run.identity.prefix == identity(*life).prefix
                && behind.is_some_and(|it| loss.records.is_none_or(|records| it < records))
        })
    }

    fn check(&self) -> Result<(), String> {
        for (key, message) in &self.appended {
            let is_gone = message.is_there && !message.is_delivered;
            // Of what rots, and what a failed sync took, must be told.
            let may_go = self.rots || self.failed_syncs > 0;
            if is_gone && !(may_go && self.is_told(key)) {
                return Err(format!("{key:?} was promised, and never came"));
            }
        }
        let names = self.disk.borrow().root_names();
        if !names.iter().all(|name| name == "lock" || name == "corrupt") {
            return Err(format!("in the end there is {names:?}"));
        }
        let damaged = self.rots || self.failed_syncs > 0;
        let mut appended = self.appended.iter();
        // Of a segment that was removed, and came back when the power failed, what
        // was never synced is told to be lost, though it was delivered.
        let is_wrong = |(key, message): &(&Key, &Appended)| {
            message.is_there && !message.is_delivered && self.is_told(key)
        };
        match appended.find(is_wrong) {
            Some((key, _)) if !damaged => Err(format!("{key:?} is told to be lost")),
            _ => Ok(()),
        }
    }
}

impl<'a> Life<'a> {
    fn begin(world: &'a mut World, number: usize, faulty: bool) -> Self {
        let mut plan = Plan::new(world.random.bits());
        plan.descriptors = 100;
        plan.faults.clear();
        for fault in [Fault::FileErrors, Fault::ShortWrites] {
            if faulty && world.random.one_in(3) {
                plan.faults.push(fault);
            }
        }
        let (mut io, state) = Kernel::new(&plan, None, false);
        state.borrow_mut().disk = Some(Rc::clone(&world.disk));
        world.disk.borrow_mut().capacity = match faulty && world.random.one_in(4) {
            true => world.random.size(100, 30_000),
            false => usize::MAX,
        };
        let run = Run::new(identity(number), None);
        let store = Store::open(&mut io, &world.settings, run).unwrap();
        state.borrow_mut().now_ns = 1_000_000_000;
        Self {
            messages: messages(&mut world.random, number),
            world,
            number,
            io,
            state,
            store,
            in_flight: Vec::new(),
            given: BTreeSet::new(),
            now_ns: 1_000_000_000,
            gather: Gather::default(),
        }
    }

    fn step(&mut self) -> Result<(), String> {
        match self.world.random.below(10) {
            0..3 => self.append(),
            3 | 4 => drop(self.next(true)?),
            5 => drop(self.next(false)?),
            6 => self.deliver(),
            7 => self.world.disk.borrow_mut().write_back(),
            8 if self.world.random.one_in(4) => self.store.finish(&mut self.io, self.now_ns),
            _ => self.turn(),
        }
        self.look();
        Ok(())
    }

    fn note(&mut self, what: String) {
        let now = self.now_ns / 1_000_000;
        let line = format!("life {} {now:6} ms  {what}", self.number);
        if self.world.notes.last() != Some(&line) {
            self.world.notes.push(line);
        }
    }

    fn append(&mut self) {
        let Some(message) = self.messages.pop() else {
            return;
        };
        let under_way = !self.store.has_own() && self.world.random.one_in(2);
        match self
            .store
            .append(&mut self.io, self.now_ns, &message, under_way)
        {
            Ok(id) => {
                self.gather.message(&message);
                let appended = Appended {
                    wire: self.gather.concat(),
                    is_there: true,
                    is_promised: false,
                    is_delivered: false,
                };
                let key = (self.number, id);
                self.note(format!("appends {id:?}"));
                assert!(self.world.appended.insert(key, appended).is_none());
                if under_way {
                    self.in_flight.push(key);
                }
            }
            Err(AppendError::Full | AppendError::Io(_)) => self.messages.push(message),
            Err(error) => panic!("{error}"),
        }
    }

    /// Reads something back, and sends it.
    fn next(&mut self, own: bool) -> Result<bool, String> {
        let ticket = ticket();
        let read = match own {
            true => self.store.next_own(&mut self.io, self.now_ns, ticket),
            false => self.store.next_earlier(&mut self.io, self.now_ns, ticket),
        };
        let Some(Read { record, stored, .. }) = read else {
            return Ok(false);
        };
        let prefix = &stored.run().identity.prefix;
        let number: usize = prefix.strip_prefix("life/").unwrap().parse().unwrap();
        let key = (number, record);
        if !self.given.insert(key) {
            return Err(format!("{key:?} is given twice"));
        }
        if own != (number == self.number) {
            return Err(format!("{key:?} is another's"));
        }
        let behind = self.given.range(key..).nth(1);
        if behind.is_some_and(|it| it.0 == number) {
            return Err(format!("{behind:?} was given before {key:?}"));
        }
        self.gather.stored_message(&stored);
        match self.world.appended.get(&key) {
            // Its butler died before it heard that it is written.
            None => return Ok(true),
            Some(appended) if appended.wire != self.gather.concat() => {
                return Err(format!("{key:?} is not what was written"));
            }
            Some(_) => self.in_flight.push(key),
        }
        Ok(true)
    }

    fn deliver(&mut self) {
        if self.in_flight.is_empty() {
            return;
        }
        let at = self.world.random.size(0, self.in_flight.len() - 1);
        let key = self.in_flight.remove(at);
        if self.world.wrong != Some(Wrong::CutsEarly) {
            let appended = self.world.appended.get_mut(&key);
            appended.expect("it was sent").is_delivered = true;
        }
        self.note(format!("delivers {key:?}"));
        self.store.done(key.1, Done::Delivered);
    }

    /// Time passes, and the kernel works.
    fn turn(&mut self) {
        let until = self.now_ns + self.world.random.below(150_000_000);
        self.now_ns = match self.store.due_ns() {
            Some(due) if self.world.random.one_in(2) => due.clamp(self.now_ns, until),
            _ => until,
        };
        self.state.borrow_mut().now_ns = self.now_ns;
        self.store.poll(&mut self.io, self.now_ns);
        self.io.enter().unwrap();
        while let Some(completion) = self.io.next(|_| None) {
            let Completion::Synced { number, result } = completion else {
                panic!("{completion:?}");
            };
            let what = Completed::Synced(result);
            self.store
                .completed(&mut self.io, self.now_ns, number, what);
        }
    }

    /// Takes notice of what the store tells.
    fn look(&mut self) {
        let losses = self.store.take_losses();
        if !losses.is_empty() {
            self.note(format!("loses {losses:?}"));
        }
        self.world.losses.extend(losses);
        if self.store.is_synced() {
            self.note("all is synced".into());
            for message in self.world.appended.values_mut() {
                message.is_promised |= message.is_there;
            }
        }
    }

    fn end(mut self) -> Result<(), String> {
        let failed_syncs = self.state.borrow().failed_syncs;
        let names = self.world.disk.borrow().root_names();
        self.note(format!(
            "{failed_syncs} syncs have failed; there is {names:?}"
        ));
        self.world.failed_syncs += failed_syncs;
        match self.world.random.below(3) {
            0 => {
                drop(self.store);
                self.world.disk.borrow_mut().fail_power();
                let names = self.world.disk.borrow().root_names();
                self.world
                    .notes
                    .push(format!("the power fails; there is {names:?}"));
                for message in self.world.appended.values_mut() {
                    message.is_there &= message.is_promised;
                }
            }
            1 => {
                // What the kernel has outlives the butler, but what a sync did not
                // bring to the disk it may have forgotten, and nobody has heard.
                for message in self.world.appended.values_mut() {
                    message.is_there &= message.is_promised || failed_syncs == 0;
                }
                drop(self.store);
                self.world.disk.borrow_mut().kill();
                self.world.notes.push("it is killed".into());
            }
            _ => {
                self.state.borrow_mut().chance = crate::chance::Chance::new(
                    &Plan {
                        faults: Vec::new(),
                        ..Plan::new(0)
                    },
                    None,
                );
                self.world.disk.borrow_mut().capacity = usize::MAX;
                self.store.finish(&mut self.io, self.now_ns);
                let mut steps = 0;
                while !self.store.is_synced() {
                    self.turn();
                    steps += 1;
                    if steps > STEPS_MAX {
                        return Err("it is never synced".into());
                    }
                }
                self.look();
                self.store.close(&mut self.io);
            }
        }
        Ok(())
    }

    /// The last butler: nothing is wrong any more.
    fn deliver_all(mut self) -> Result<(), String> {
        while self.store.has_earlier() {
            while self.next(false)? {}
            while !self.in_flight.is_empty() {
                self.deliver();
            }
            self.turn();
        }
        // Those whose butler did not hear of them.
        for key in std::mem::take(&mut self.given) {
            self.store.done(key.1, Done::Delivered);
        }
        self.turn();
        self.look();
        self.store.close(&mut self.io);
        Ok(())
    }
}

fn identity(number: usize) -> Identity {
    Identity {
        project: "p".into(),
        prefix: format!("life/{number}"),
        secret: butler::Secret::new(vec![b'S'; 36]),
    }
}

/// What a stream of that butler has to say.
fn messages(random: &mut Random, number: usize) -> Vec<Arc<Message>> {
    let target = random.pick(&[300, 2000, 6000]);
    let mut core = Core::new(CoreConfig {
        bundle_limits: BundleLimits {
            target,
            max: 1 << 20,
            early: target,
        },
        text_in_lines: true,
        identity: identity(number),
        global_tags: Tags::default(),
        age_max_ns: 1,
        buffered_max: u64::MAX,
        stream_size_max: u64::MAX,
    });
    let now = moment();
    let name = format!("stream/{number}").parse().unwrap();
    let stream = core
        .open(&now, &StreamProperties::new(name, StreamType::Text))
        .unwrap();
    let mut messages = Vec::new();
    for piece in 0..random.size(1, 30) {
        let line = format!("{piece} of {number}\n");
        core.data(&now, stream, line.repeat(random.size(1, 100)).as_bytes())
            .unwrap();
        core.flush();
        messages.extend(std::iter::from_fn(|| core.poll_message(&now)));
    }
    messages.reverse();
    messages
}

fn moment() -> Moment {
    Moment {
        mono_ns: 1,
        wall: prost_types::Timestamp {
            seconds: 1_700_000_000,
            nanos: 0,
        },
    }
}

/// Any ticket: nobody looks at it.
pub fn ticket() -> butler::Ticket {
    thread_local! {
        static MESSAGE: Arc<Message> = messages(&mut Random::new(0), 0).remove(0);
    }
    MESSAGE.with(|message| message.ticket())
}

/// Another byte in a record's body, with the sums that belong to it: as if nobody
/// looked at those.
fn change_a_body(segment: &mut Vec<u8>) {
    let Ok(Ok((header, bytes))) = Header::read(Cursor::new(&*segment)) else {
        return;
    };
    let mut walk = Walk::new(header.marker, bytes.len() as u64);
    let (mut window, end) = (Window::default(), segment.len() as u64);
    let found = walk.next(&mut Cursor::new(&*segment), end, &mut window);
    if let Ok(Some(Found::Record(record))) = found {
        let body = record.body_at as usize..record.end() as usize;
        segment[body.start + body.len() / 2] ^= 1;
        let sums = Sums::of([&segment[body]]);
        let mut head = Vec::new();
        encode_head(
            &mut head,
            header.marker,
            record.index,
            &record.manifest,
            sums,
        );
        segment[record.at as usize..record.body_at as usize].copy_from_slice(&head);
    }
}
