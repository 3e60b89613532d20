mod memory;

use super::*;
use crate::delivery::message::Message;
use crate::proto::logpb::log_entry::Content;
use crate::wire::descriptor::StreamType;
use proptest::collection;
use proptest::prelude::*;
use prost_types::Timestamp;

const AGE_NS: u64 = 1_000;
const BUFFERED_MAX: u64 = 2_000_000;

fn at(mono_ns: u64) -> Moment {
    Moment {
        mono_ns,
        wall: Timestamp::default(),
    }
}

fn config() -> CoreConfig {
    CoreConfig {
        bundle_limits: BundleLimits {
            early: 10_000,
            target: 10_000,
            max: 100_000,
        },
        text_in_lines: true,
        identity: Identity::default(),
        global_tags: Tags::default(),
        age_max_ns: AGE_NS,
        buffered_max: BUFFERED_MAX,
        stream_size_max: u64::MAX,
    }
}

fn core() -> Core {
    Core::new(config())
}

fn open(core: &mut Core, name: &str, stream_type: StreamType) -> StreamKey {
    let properties = StreamProperties::new(name.parse().unwrap(), stream_type);
    core.open(&at(0), &properties).unwrap()
}

fn text(core: &mut Core, name: &str) -> StreamKey {
    open(core, name, StreamType::Text)
}

fn names(core: &Core, keys: &[StreamKey]) -> Vec<String> {
    let mut names: Vec<_> = keys
        .iter()
        .map(|key| core.name(*key).unwrap().to_string())
        .collect();
    names.sort();
    names
}

/// The text of all entries of all streams, in order.
fn text_in(bundle: &Message) -> String {
    let entries = bundle.decode().entries;
    let logs = entries.iter().flat_map(|entry| &entry.logs);
    let lines = logs.flat_map(|log| match &log.content {
        Some(Content::Text(text)) => text.lines.clone(),
        _ => Vec::new(),
    });
    lines
        .map(|line| String::from_utf8(line.value.to_vec()).unwrap() + &line.delimiter)
        .collect()
}

#[test]
fn why_a_stream_is_not_opened() {
    let mut core = core();
    let key = text(&mut core, "a/b");
    core.end(&at(0), key);
    let mut refused = |name: &str| {
        let properties = StreamProperties::new(name.parse().unwrap(), StreamType::Text);
        core.open(&at(0), &properties).unwrap_err().to_string()
    };
    assert_eq!(refused("a/b"), "the stream name a/b was used before");
    core.drain(Namespace::new("c").unwrap());
    let mut refused = |name: &str| {
        let properties = StreamProperties::new(name.parse().unwrap(), StreamType::Text);
        core.open(&at(0), &properties).unwrap_err().to_string()
    };
    assert_eq!(
        refused("c/d"),
        "stream c/d: the namespace c/ takes no new streams"
    );
    core.drain(Namespace::new("").unwrap());
    let properties = StreamProperties::new("e".parse().unwrap(), StreamType::Text);
    assert_eq!(
        core.open(&at(0), &properties).unwrap_err().to_string(),
        "stream e: no new streams are taken any more"
    );
    assert_eq!((core.stats().streams, core.stats().streams_refused), (1, 3));
}

#[test]
fn what_is_known_of_streams() {
    let mut core = core();
    let keys = ["a/b", "a/c", "ab"].map(|name| text(&mut core, name));
    assert_eq!(core.open_streams(), 3);
    assert_eq!(names(&core, &keys), ["a/b", "a/c", "ab"]);
    let namespace = Namespace::new("a").unwrap();
    assert_eq!(names(&core, &core.open_in(&namespace)), ["a/b", "a/c"]);
    assert_eq!(core.find("a/c"), Some(keys[1]));
    assert_eq!(core.descriptor(keys[1]).unwrap().name, "a/c");
    assert_eq!(core.info(keys[1]).unwrap().name.as_str(), "a/c");
    core.data(&at(0), keys[1], b"line\n").unwrap();
    let accepted = |core: &Core, name| core.account_of(name).map(|it| it.accepted());
    assert_eq!(accepted(&core, "a/c"), Some(5));

    core.end(&at(0), keys[1]);
    assert_eq!(core.find("a/c"), None);
    assert_eq!(core.find("nowhere"), None);
    assert_eq!(accepted(&core, "a/c"), Some(5));
    assert_eq!(accepted(&core, "nowhere"), None);
    assert!(core.name(keys[1]).is_none() && core.descriptor(keys[1]).is_none());
    assert_eq!(core.open_streams(), 2);
    let all: Vec<_> = core.names().iter().map(ToString::to_string).collect();
    assert_eq!(all, ["a/b", "a/c", "ab"]);
    assert_eq!((core.account().accepted(), core.stats().reads), (5, 1));
}

/// What nobody would account for can't be handed in.
#[test]
#[should_panic(expected = "the stream of this key is open")]
fn data_of_a_stream_that_has_ended() {
    let mut core = core();
    let key = text(&mut core, "s");
    core.end(&at(0), key);
    core.data(&at(0), key, b"more").unwrap();
}

#[test]
#[should_panic(expected = "the stream of this key is open")]
fn a_stream_that_ends_twice() {
    let mut core = core();
    let key = text(&mut core, "s");
    core.end(&at(0), key);
    core.end(&at(0), key);
}

#[test]
fn watched_entries_and_the_end() {
    let mut config = config();
    // Lines for the callback, whatever the output wants.
    config.text_in_lines = false;
    let mut core = Core::new(config);
    let watched = text(&mut core, "watched");
    let other = text(&mut core, "other");
    core.watch(watched);
    for key in [other, watched] {
        core.data(&at(1), key, b"one\ntwo").unwrap();
        core.end(&at(2), key);
    }
    let mut seen = Vec::new();
    while let Some((key, entry)) = core.poll_watched() {
        assert_eq!(key, watched);
        seen.push(entry.map(|logs| match crate::watch::decode(logs).content {
            Some(Content::Text(text)) => text.lines[0].value.to_vec(),
            other => panic!("{other:?}"),
        }));
    }
    assert_eq!(seen, [Some(b"one".to_vec()), Some(b"two".to_vec()), None]);
}

/// What is carried of a watched stream is there twice when it is put out: it
/// counts so from the beginning, and until somebody has looked.
#[test]
fn watched_streams_count_for_those_who_watch() {
    let mut core = core();
    let watched = text(&mut core, "watched");
    core.watch(watched);
    core.data(&at(1), watched, &[b'x'; 100_000]).unwrap();
    let before = core.buffered();
    assert!(before >= 200_000);
    core.tick(&at(1 + AGE_NS));
    let after = core.buffered();
    // A bundle needs a little besides.
    assert!((200_000..before + 10_000).contains(&after), "{after}");
    let (_, logs) = core.poll_watched().unwrap();
    assert!(core.buffered() < 150_000);
    core.watchers_hold(logs.unwrap().len());
    assert!(core.buffered() >= 200_000);
    core.watchers_hold(0);
    assert!(core.buffered() < 150_000);
}

/// An unfinished line leaves when it is old enough: at a tick, or when more
/// of it comes.
#[test]
fn a_line_that_waits() {
    for ticks in [true, false] {
        let mut core = core();
        let key = text(&mut core, "s");
        core.data(&at(10), key, b"pass 1").unwrap();
        assert_eq!(core.next_tick_ns(&at(10)), Some(10 + AGE_NS));
        core.data(&at(9 + AGE_NS), key, b", 2").unwrap();
        core.tick(&at(9 + AGE_NS));
        assert_eq!(core.next_tick_ns(&at(9 + AGE_NS)), Some(10 + AGE_NS));
        assert!(!core.has_message(&at(9 + AGE_NS)));

        let due = at(10 + AGE_NS);
        if ticks {
            core.tick(&due);
        } else {
            core.data(&due, key, b", 3").unwrap();
        }
        assert!(core.has_message(&due), "it is as old as its bundle may be");
        // It waits for the output, not for the clock.
        assert_eq!(core.next_tick_ns(&due), None);
        let bundle = core.poll_message(&due).unwrap();
        let expected = if ticks { "pass 1, 2" } else { "pass 1, 2, 3" };
        assert_eq!(text_in(&bundle), expected);
        assert!(core.poll_message(&due).is_none());
        core.delivered(&due, bundle.ticket(), 1);
    }
}

#[test]
fn a_bundle_leaves_when_it_is_due() {
    let mut core = core();
    let key = text(&mut core, "s");
    core.data(&at(5), key, b"line\n").unwrap();
    assert_eq!(core.next_tick_ns(&at(5)), Some(5 + AGE_NS));
    assert!(core.poll_message(&at(4 + AGE_NS)).is_none());
    assert_eq!(core.messages_waiting(), 0);
    let bundle = core.poll_message(&at(5 + AGE_NS)).unwrap();
    assert_eq!(core.messages_waiting(), 1);
    assert!(!core.is_settled());
    core.delivered(&at(5 + AGE_NS), bundle.ticket(), 77);
    assert_eq!(core.account().delivered(), 5);
    assert_eq!(core.stats().bytes_out, 77);

    // Or at once, when no more is awaited.
    core.data(&at(6 + AGE_NS), key, b"last\n").unwrap();
    assert!(!core.has_message(&at(6 + AGE_NS)));
    core.flush();
    assert!(core.has_message(&at(6 + AGE_NS)));
    let bundle = core.poll_message(&at(6 + AGE_NS)).unwrap();
    core.end(&at(6 + AGE_NS), key);
    let end = core.poll_message(&at(6 + AGE_NS)).unwrap();
    assert_eq!(end.streams()[0].terminal, Some(1));
    assert!(core.open_streams() == 0 && !core.is_settled());
    assert_eq!(core.messages_waiting(), 2);
    core.lost(&at(6 + AGE_NS), bundle.ticket(), DropReason::Undelivered);
    assert!(!core.is_settled());
    core.lost(&at(6 + AGE_NS), end.ticket(), DropReason::Undelivered);
    assert!(core.is_settled());
    assert_eq!(core.stats().bundles_lost, 2);
    core.stats_mut().peers_refused += 1;
    assert_eq!(core.stats().peers_refused, 1);
    let losses: Vec<_> = core
        .losses()
        .iter()
        .map(|(name, account)| (name.to_string(), account.dropped(DropReason::Undelivered)))
        .collect();
    assert_eq!(losses, [("s".to_owned(), 5)]);
    assert_eq!(core.ends_lost().len(), 1);
    assert_eq!(core.account().pending(), 0);
}

#[test]
fn when_all_is_settled() {
    let mut core = core();
    assert!(core.is_settled());
    let key = text(&mut core, "s");
    assert!(!core.is_settled(), "a stream is open");
    core.data(&at(1), key, b"line\n").unwrap();
    core.end(&at(1), key);
    assert!(!core.is_settled(), "it is not sent");
    core.flush();
    let bundle = core.poll_message(&at(1)).unwrap();
    assert!(!core.is_settled(), "it is not delivered");
    core.delivered(&at(1), bundle.ticket(), 1);
    assert!(core.is_settled());
}

/// The stream whose line waits longest is due first, and a character that was
/// cut and goes on is as old as its first byte.
#[test]
fn the_oldest_line_is_due_first() {
    let mut core = core();
    let keys = ["a", "b", "c"].map(|name| text(&mut core, name));
    core.data(&at(1), keys[0], b"snow \xe2\x98").unwrap();
    core.data(&at(2), keys[1], b"b").unwrap();
    assert_eq!(core.next_tick_ns(&at(2)), Some(1 + AGE_NS));
    let now = at(1 + AGE_NS);
    core.tick(&now);
    core.flush();
    let bundle = core.poll_message(&now).unwrap();
    assert_eq!(text_in(&bundle), "snow ");
    core.delivered(&now, bundle.ticket(), 1);
    // The character must wait for its end.
    assert_eq!(core.next_tick_ns(&now), Some(2 + AGE_NS));
    core.data(&now, keys[2], b"c").unwrap();
    assert_eq!(core.next_tick_ns(&now), Some(2 + AGE_NS));
    // The age of what goes on is that of its first byte, and others wait that
    // are younger: it does not get in line behind them.
    core.config.age_max_ns = 2 * AGE_NS;
    core.data(&now, keys[0], b"\x83").unwrap();
    assert_eq!(core.streams.get(keys[0]).unwrap().queued_ns, None);
    let bundle = core.poll_message(&now).unwrap();
    let mut order = vec![text_in(&bundle)];
    core.delivered(&now, bundle.ticket(), 1);
    for due in [2 + 2 * AGE_NS, 1 + 3 * AGE_NS] {
        core.tick(&at(due - 1));
        assert!(core.poll_message(&at(due - 1)).is_none());
        core.tick(&at(due));
        let bundle = core.poll_message(&at(due)).unwrap();
        order.push(text_in(&bundle));
        core.delivered(&at(due), bundle.ticket(), 1);
    }
    assert_eq!(order, ["\u{2603}", "b", "c"]);
}

/// Bytes at the end of `text` that must wait for the next one, whatever their
/// age: `\r`, or a character that is cut.
fn must_wait(text: &[u8]) -> usize {
    if text.ends_with(b"\r") {
        return 1;
    }
    let is_cut = |len: &usize| {
        let tail = &text[text.len() - len..];
        std::str::from_utf8(tail).is_err_and(|it| it.valid_up_to() == 0 && it.error_len().is_none())
    };
    (1..=text.len().min(3)).find(is_cut).unwrap_or(0)
}

proptest! {
    /// Whatever is written when, to streams of all types beside each other: an
    /// output that takes what there is has every byte by its age, but for those
    /// that must wait for their next one.
    #[test]
    fn the_age_holds_for_every_byte(
        writes in collection::vec((0..5usize, 0..AGE_NS, 0..PIECES.len()), 1..60)
    ) {
        const TYPES: [StreamType; 5] = [
            StreamType::Text,
            StreamType::Text,
            StreamType::Text,
            StreamType::Binary,
            StreamType::Datagram,
        ];
        let mut core = core();
        let mut wrote = vec![Vec::<(u64, u8)>::new(); TYPES.len()];
        let keys: Vec<_> = (0..)
            .zip(TYPES)
            .map(|(at, stream_type)| open(&mut core, &at.to_string(), stream_type))
            .collect();
        // What is due on the way from one moment to the next is done then.
        let mut now = 0;
        for (stream, wait, piece) in writes.into_iter().chain([(0, 10 * AGE_NS, 0)]) {
            let until = now + wait;
            loop {
                let moment = at(now);
                core.tick(&moment);
                while let Some(bundle) = core.poll_message(&moment) {
                    core.delivered(&moment, bundle.ticket(), 1);
                }
                for ((at, wrote), stream_type) in wrote.iter().enumerate().zip(TYPES) {
                    let account = core.account_of(&at.to_string()).unwrap();
                    let delivered = account.delivered() as usize;
                    let text: Vec<_> = wrote.iter().map(|it| it.1).collect();
                    let held = match stream_type {
                        StreamType::Text => must_wait(&text),
                        StreamType::Binary => 0,
                        // A size alone has no entry.
                        StreamType::Datagram => usize::from(text.len() % 3 == 1),
                    };
                    let may_wait = wrote.len() - held;
                    let old = wrote.iter().take(may_wait).skip(delivered);
                    let late = old.filter(|(read, _)| read + AGE_NS <= now).count();
                    prop_assert_eq!(late, 0, "bytes of {} at {}", at, now);
                }
                match core.next_tick_ns(&moment) {
                    Some(due) if due <= until => now = due.max(now + 1),
                    _ => break,
                }
            }
            now = until;
            let data = match TYPES[stream] {
                // One byte of a frame of three after the other.
                StreamType::Datagram => &[2, b'a', b'b'][wrote[stream].len() % 3..][..1],
                _ => PIECES[piece],
            };
            core.data(&at(now), keys[stream], data).unwrap();
            if TYPES[stream] == StreamType::Datagram
                && wrote[stream].len() % 3 == 1
                && let Some(size) = wrote[stream].last_mut()
            {
                // It waits with the first byte of its datagram.
                size.0 = now;
            }
            wrote[stream].extend(data.iter().map(|byte| (now, *byte)));
        }
    }
}

/// What leaves a tail behind, or goes on with one.
const PIECES: [&[u8]; 10] = [
    b"a",
    b"\r",
    b"b\r",
    b"\n",
    b"\r\n",
    b"\xe2",
    b"\x98",
    b"\x83",
    b"c\xf0\x9f",
    b"line\n",
];

#[test]
fn age_zero_is_eager() {
    assert!(!core().is_eager());
    let mut config = config();
    config.age_max_ns = 0;
    let mut core = Core::new(config);
    assert!(core.is_eager());
    let key = text(&mut core, "s");
    core.data(&at(5), key, b"unfinished").unwrap();
    let bundle = core.poll_message(&at(5)).unwrap();
    assert_eq!(text_in(&bundle), "unfinished");
    core.delivered(&at(5), bundle.ticket(), 1);
}

/// While the output waits, what is enough for it leaves before a bundle is full.
#[test]
fn a_bundle_is_cut_early_for_an_output_that_waits() {
    let mut config = config();
    config.bundle_limits.early = 4_000;
    let mut core = Core::new(config);
    core.set_capacity(Capacity::ONE);
    let key = text(&mut core, "s");
    let lines = "a line\n".repeat(500);
    core.data(&at(0), key, lines.as_bytes()).unwrap();
    assert!(core.has_cut(), "nobody waits for more");
    let message = core.poll_message(&at(0)).unwrap();
    core.data(&at(0), key, lines.as_bytes()).unwrap();
    core.delivered(&at(0), message.ticket(), 0);
    assert!(!core.has_cut(), "the output was busy");
    core.data(&at(0), key, b"one more\n").unwrap();
    assert!(core.has_cut());
}

/// Descriptors of many streams are worth their bytes only in bundles that are full.
#[test]
fn a_bundle_of_many_streams_is_not_cut_early() {
    let mut config = config();
    config.bundle_limits.early = 4_000;
    let mut core = Core::new(config);
    for number in 0..30 {
        let key = text(&mut core, &format!("s/{number}"));
        core.data(&at(0), key, "a line\n".repeat(15).as_bytes())
            .unwrap();
        let size = core.bundler.held();
        assert!(!core.has_cut(), "cut after {number} streams, {size} bytes");
    }
}
