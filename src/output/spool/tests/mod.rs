//! The store in a real directory, on the real kernel.

mod damage;

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustix::io::Errno;

use super::*;
use crate::delivery::encode::{Compress, Encoder};
use crate::delivery::gather::Gather;
use crate::delivery::message::{Identity, Ticket};
use crate::delivery::stored::Registration;
use crate::edge::clock;
use crate::edge::io::{Completion, Io};
use crate::edge::system::System;
use crate::edge::transport::Completed;
use crate::limits::SPOOL_MAX_MIN;
use crate::output::testing::{bundles, kernel, lines, opened, text_bundle};
use crate::wire::descriptor::StreamType;

type Own = Store<std::os::fd::OwnedFd>;

fn identity(prefix: &str) -> Identity {
    Identity {
        project: "p".into(),
        prefix: prefix.into(),
        secret: Secret::new(vec![b'S'; 36]),
    }
}

struct Bench {
    io: System,
    dir: tempfile::TempDir,
    settings: SpoolSettings,
    ticket: u64,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = SpoolSettings::new(dir.path().join("above/spool"));
        settings.max_bytes = SPOOL_MAX_MIN;
        Self {
            io: kernel(),
            dir,
            settings,
            ticket: 0,
        }
    }

    fn try_open(&mut self, prefix: &str) -> Result<Own, SpoolError> {
        let run = Run::new(identity(prefix), Some("projects/p/topics/t".into()));
        Store::open(&mut self.io, &self.settings, run)
    }

    fn open(&mut self, prefix: &str) -> Own {
        opened(|| self.try_open(prefix))
    }

    fn path(&self) -> PathBuf {
        self.settings.path.clone()
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.path()).unwrap();
        let mut names: Vec<_> = names
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn segments(&self) -> Vec<PathBuf> {
        let names = self.names().into_iter();
        let names = names.filter(|name| name.ends_with(".segment"));
        names.map(|name| self.path().join(name)).collect()
    }

    fn append(&mut self, store: &mut Own, message: &Arc<Message>) -> RecordId {
        let now_ns = clock::mono_ns();
        store.append(&mut self.io, now_ns, message, false).unwrap()
    }

    fn ticket(&mut self) -> Ticket {
        self.ticket += 1;
        Ticket(1 << 63 | self.ticket)
    }

    fn next_own(&mut self, store: &mut Own) -> Option<Read> {
        let ticket = self.ticket();
        store.next_own(&mut self.io, clock::mono_ns(), ticket)
    }

    fn next_earlier(&mut self, store: &mut Own) -> Option<Read> {
        let ticket = self.ticket();
        store.next_earlier(&mut self.io, clock::mono_ns(), ticket)
    }

    fn all_earlier(&mut self, store: &mut Own) -> Vec<Read> {
        std::iter::from_fn(|| self.next_earlier(store)).collect()
    }

    fn poll(&mut self, store: &mut Own) {
        store.poll(&mut self.io, clock::mono_ns());
        self.io.enter().unwrap();
        while let Some(completion) = self.io.next(|_| None) {
            let Completion::Synced { number, result } = completion else {
                panic!("{completion:?}");
            };
            let what = Completed::Synced(result);
            store.completed(&mut self.io, clock::mono_ns(), number, what);
        }
    }

    fn sync(&mut self, store: &mut Own) {
        store.finish(&mut self.io, clock::mono_ns());
        while !store.is_synced() || store.due_ns().is_some() {
            self.poll(store);
        }
    }
}

fn body(message: &Message) -> Vec<u8> {
    let mut gather = Gather::default();
    gather.body(message);
    gather.concat()
}

/// What the far end gets of it.
fn sent(stored: &Stored) -> Bytes {
    let mut encoder = Encoder::new(Compress::None);
    encoder.encode_stored(stored);
    encoder.pieces().concat().into()
}

fn messages(count: usize) -> Vec<Arc<Message>> {
    let data = lines(count * 1200);
    let mut all = bundles(300, &[("a", StreamType::Text, &data)]);
    assert!(all.len() >= count);
    all.truncate(count);
    all
}

#[test]
fn what_goes_in_comes_out() {
    let mut bench = Bench::new();
    let mut store = bench.open("x/y");
    assert_eq!(
        bench.names(),
        ["lock"],
        "nothing is written before it must be"
    );
    let all = messages(5);
    let ids: Vec<_> = all.iter().map(|it| bench.append(&mut store, it)).collect();
    for (id, message) in ids.iter().zip(&all) {
        let read = bench.next_own(&mut store).unwrap();
        assert_eq!(read.record, *id);
        assert_eq!(read.manifest, manifest_of(message));
        assert_eq!(read.stored.run().identity.prefix, "x/y");
        let text = sent(&read.stored);
        assert!(text.windows(36).any(|it| it == [b'S'; 36]));
        let begins = body(message);
        assert!(text.windows(begins.len()).any(|it| it == begins));
    }
    assert!(!store.has_own() && bench.next_own(&mut store).is_none());
    // In any order.
    for id in ids.iter().rev() {
        store.done(*id, Done::Delivered);
    }
    bench.poll(&mut store);
    assert_eq!(bench.names().len(), 3, "it is still appended to");
    store.close(&mut bench.io);
    assert_eq!(bench.names(), ["lock"]);
}

#[test]
fn nobody_else_may_look_at_it() {
    let mut bench = Bench::new();
    fs::create_dir_all(bench.path()).unwrap();
    fs::set_permissions(bench.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut store = bench.open("x");
    let id = bench.append(&mut store, &messages(2)[0]);
    bench.append(&mut store, &messages(2)[1]);
    bench.next_own(&mut store).unwrap();
    store.done(id, Done::Refused);
    bench.sync(&mut store);
    assert_eq!(fs::metadata(bench.path()).unwrap().mode() & 0o7777, 0o700);
    assert_eq!(bench.names().len(), 3);
    for name in bench.names() {
        let mode = fs::metadata(bench.path().join(&name)).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o600, "{name}");
    }
    let error = bench.try_open("y").unwrap_err();
    let pid = std::process::id();
    assert!(
        matches!(error, SpoolError::InUse { pid: Some(it), .. } if it == pid),
        "{error}"
    );
    drop(store);
    bench.open("y");
}

#[test]
fn the_next_butler_finds_what_is_left() {
    let mut bench = Bench::new();
    let mut store = bench.open("first");
    let all = messages(6);
    let ids: Vec<_> = all.iter().map(|it| bench.append(&mut store, it)).collect();
    let before: Vec<_> = (0..3)
        .map(|_| sent(&bench.next_own(&mut store).unwrap().stored))
        .collect();
    store.done(ids[0], Done::Delivered);
    store.done(ids[2], Done::Refused);
    bench.poll(&mut store);
    // As if it were killed.
    drop(store);
    let mut store = bench.open("second");
    let fresh = bench.append(&mut store, &all[0]);
    assert!(fresh.segment > ids[0].segment);
    let left = store.left(&mut bench.io);
    assert_eq!((left.streams, left.messages), (2, 5));
    let read = bench.all_earlier(&mut store);
    let found: Vec<_> = read.iter().map(|it| it.record).collect();
    assert_eq!(found, [ids[1], ids[3], ids[4], ids[5]]);
    assert_eq!(sent(&read[0].stored), before[1], "byte for byte");
    assert_eq!(read[0].stored.run().identity.prefix, "first");
    assert_eq!(
        read[0].stored.run().topic.as_deref(),
        Some("projects/p/topics/t")
    );
    for id in found {
        store.done(id, Done::Delivered);
    }
    bench.poll(&mut store);
    assert_eq!(bench.segments().len(), 1);
    assert!(store.take_losses().is_empty());
    bench.next_own(&mut store).unwrap();
    store.done(fresh, Done::Delivered);
    store.close(&mut bench.io);
    assert_eq!(bench.names(), ["lock"]);
}

/// Sent from memory, a message is not read back, and is there all the same.
#[test]
fn what_is_under_way_is_not_given() {
    let mut bench = Bench::new();
    let mut store = bench.open("x");
    let all = messages(3);
    let now_ns = clock::mono_ns();
    for message in &all[..2] {
        store.append(&mut bench.io, now_ns, message, true).unwrap();
        assert!(!store.has_own());
    }
    let id = bench.append(&mut store, &all[2]);
    assert_eq!(bench.next_own(&mut store).unwrap().record, id);
    drop(store);
    let mut store = bench.open("y");
    assert_eq!(bench.all_earlier(&mut store).len(), 3);
}

#[test]
fn there_is_room_again_when_segments_are_done() {
    let mut bench = Bench::new();
    let mut store = bench.open("x");
    let large = text_bundle(&lines(3_000_000));
    let mut ids = Vec::new();
    let full = loop {
        let now_ns = clock::mono_ns();
        match store.append(&mut bench.io, now_ns, &large, false) {
            Ok(id) => ids.push(id),
            Err(error) => break error,
        }
    };
    assert!(matches!(full, AppendError::Full), "{full}");
    assert!(store.used() <= SPOOL_MAX_MIN && ids.len() >= 8, "{ids:?}");
    let on_disk: u64 = bench
        .segments()
        .iter()
        .map(|it| fs::metadata(it).unwrap().len())
        .sum();
    assert_eq!(on_disk, store.used());
    // Each is in a segment of its own.
    bench.next_own(&mut store).unwrap();
    store.done(ids[0], Done::Delivered);
    ids.push(bench.append(&mut store, &large));
    // So is the last one, which is appended to.
    while let Some(read) = bench.next_own(&mut store) {
        store.done(read.record, Done::Delivered);
    }
    bench.append(&mut store, &large);
    assert!(bench.segments().len() <= 2, "{:?}", bench.segments());
}

#[test]
fn syncs_say_when_they_are_done() {
    for sync in ["always", "1s", "never"] {
        let mut bench = Bench::new();
        let spec = format!("{},sync={sync}", bench.path().display());
        bench.settings = spec.parse().unwrap();
        let mut store = bench.open("x");
        assert!(store.is_synced() && store.due_ns().is_none());
        let begun = clock::mono_ns();
        bench.append(&mut store, &messages(1)[0]);
        assert_eq!(store.is_synced(), sync == "never");
        let due = store.due_ns();
        match sync {
            "always" => assert!(due.unwrap() <= clock::mono_ns()),
            "never" => assert_eq!(due, None),
            _ => assert!(due.unwrap() >= begun + 1_000_000_000),
        }
        bench.sync(&mut store);
        assert_eq!(store.errors(), 0);
    }
}

/// What was written when a sync fails is not where the kernel says: it is written
/// anew, and the file is not synced again.
#[test]
fn a_sync_that_failed_is_not_tried_again() {
    let mut bench = Bench::new();
    bench.settings.sync = SyncPolicy::Always;
    let mut store = bench.open("x");
    let large = text_bundle(&lines(2_500_000));
    let first = bench.append(&mut store, &large);
    bench.sync(&mut store);
    let inode = |bench: &Bench| fs::metadata(&bench.segments()[0]).unwrap().ino();
    let before = inode(&bench);
    let second = bench.append(&mut store, &messages(1)[0]);
    assert_eq!(first.segment, second.segment);
    store.poll(&mut bench.io, clock::mono_ns());
    let failed = Completed::Synced(Err(Errno::IO.into()));
    store.completed(&mut bench.io, clock::mono_ns(), SPOOL_NUMBERS, failed);
    assert!(!store.is_synced());
    assert_eq!(store.errors(), 1);
    // The kernel's own answer comes to nobody.
    while bench.io.next(|_| None).is_none() {
        bench.io.enter().unwrap();
    }
    // Meanwhile others go elsewhere.
    let third = bench.append(&mut store, &messages(1)[0]);
    assert!(third.segment > second.segment);
    bench.sync(&mut store);
    assert_ne!(inode(&bench), before);
    assert_eq!(bench.names().len(), 3, "{:?}", bench.names());
    drop(store);
    let mut store = bench.open("y");
    let found: Vec<_> = bench
        .all_earlier(&mut store)
        .iter()
        .map(|it| it.record)
        .collect();
    assert_eq!(found, [first, second, third]);
    assert!(store.take_losses().is_empty());
}

#[test]
fn a_prefix_that_is_registered_later() {
    let mut bench = Bench::new();
    let registration = Registration {
        coordinator: "logs.example.com".into(),
        service: "service".into(),
        realm: "realm".into(),
        nonce: Secret::new(vec![3; 32]),
        expiration: Some(Duration::from_millis(90_500)),
    };
    let identity = Identity {
        secret: Secret::default(),
        ..identity("late")
    };
    let run = Run::unregistered(identity, registration.clone());
    let run = Arc::new(run);
    let mut store = opened(|| Store::open(&mut bench.io, &bench.settings, Arc::clone(&run)));
    bench.append(&mut store, &messages(1)[0]);
    assert!(bench.next_own(&mut store).is_none(), "it can't be sent yet");
    drop(store);
    for opened in 0..3 {
        let mut store = bench.open("other");
        let run = Arc::clone(store.runs().nth(1).unwrap());
        assert_eq!(run.identity.prefix, "late");
        if opened == 0 {
            assert_eq!(run.registration.as_ref(), Some(&registration));
            assert!(!store.has_earlier());
            store.registered(
                &run,
                Secret::new(vec![b'T'; 36]),
                "projects/a/topics/b".into(),
            );
            bench.poll(&mut store);
        } else {
            assert_eq!(run.registration, None);
        }
        let read = bench.next_earlier(&mut store).unwrap();
        assert_eq!(read.stored.run().identity.secret.expose(), &vec![b'T'; 36]);
        assert_eq!(
            read.stored.run().topic.as_deref(),
            Some("projects/a/topics/b")
        );
    }
}
