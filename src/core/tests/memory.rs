//! What is held, what is lost, and what is with the output.

use super::*;
use crate::delivery::outcome::{Fate, Later, Outcome, Outcomes};
use crate::limits::IDLE_BUFFERS_MAX;

/// Past the bound nothing is read, and what holds the memory leaves: whole
/// bundles first, then unfinished lines, the oldest first.
#[test]
fn when_memory_is_short() {
    let mut config = config();
    config.bundle_limits.max = 1_000_000;
    let mut core = Core::new(config);
    let (old, young) = (text(&mut core, "old"), text(&mut core, "young"));
    assert!(core.may_read());
    assert!(!core.has_message(&at(1)));
    let line = vec![b'x'; 900_000];
    core.data(&at(1), old, &line).unwrap();
    assert!(core.may_read());
    assert!(core.buffered() >= 900_000);
    core.data(&at(2), young, &line).unwrap();
    core.data(&at(3), young, &vec![b'y'; 90_000]).unwrap();
    while core.may_read() {
        core.data(&at(3), old, &vec![b'z'; 10_000]).unwrap();
    }
    assert!(core.buffered() >= BUFFERED_MAX);
    assert_eq!(core.stats().peak_buffered, core.buffered());
    assert!(core.has_message(&at(3)));
    let bundle = core.poll_message(&at(3)).unwrap();
    assert!(text_in(&bundle).starts_with("xxxx"));
    assert_eq!(bundle.streams()[0].info.name.as_str(), "old");
    core.delivered(&at(3), bundle.ticket(), 1);
    assert!(core.may_read());
    core.config.buffered_max = core.buffered() + 1;
    assert!(core.may_read());
    core.config.buffered_max = core.buffered();
    assert!(!core.may_read(), "the bound is kept, not passed");
}

/// What is known of a stream that has ended counts for as long as a bundle
/// needs it: its descriptor may be much longer than its data.
#[test]
fn streams_that_have_ended_count() {
    let mut core = core();
    let long = 100_000;
    let mut bundles = Vec::new();
    for number in 0..5 {
        let before = core.buffered();
        let mut properties =
            StreamProperties::new(format!("s/{number}").parse().unwrap(), StreamType::Text);
        properties.content_type = "x".repeat(long).into();
        let key = core.open(&at(0), &properties).unwrap();
        core.data(&at(0), key, b"line\n").unwrap();
        assert!(core.buffered() < before + long as u64, "it is open");
        // In two bundles, but here once.
        bundles.extend(core.poll_message(&at(AGE_NS)));
        core.end(&at(AGE_NS), key);
        bundles.extend(core.poll_message(&at(2 * AGE_NS)));
        let more = core.buffered() - before;
        assert!(more >= long as u64 && more < 2 * long as u64, "{more}");
    }
    assert_eq!(bundles.len(), 10);
    // Without any entry there is nothing to keep it for.
    let key = text(&mut core, "empty");
    let before = core.buffered();
    core.end(&at(AGE_NS), key);
    assert_eq!(core.buffered(), before);
    for bundle in bundles {
        core.delivered(&at(2 * AGE_NS), bundle.ticket(), 1);
    }
    assert_eq!(core.buffered(), 0);
}

/// Segments that an output has given back, all but the last, are not kept
/// beside the lines that come then.
#[test]
fn free_segments_make_room_for_lines() {
    let mut config = config();
    config.bundle_limits.target = 1_000_000;
    config.bundle_limits.max = 1_000_000;
    config.buffered_max = 40_000_000;
    let mut core = Core::new(config);
    let key = text(&mut core, "lines");
    let lines = [&[b'x'; 99][..], b"\n"].concat().repeat(1000);
    while core.may_read() {
        core.data(&at(1), key, &lines).unwrap();
    }
    let mut bundles: Vec<_> = std::iter::from_fn(|| core.poll_message(&at(1))).collect();
    let last = bundles.pop().unwrap();
    for bundle in bundles {
        let ticket = bundle.ticket();
        drop(bundle);
        core.delivered(&at(1), ticket, 1);
    }
    assert!(core.bundler.free_bytes() > 30_000_000);
    for number in 0.. {
        let key = text(&mut core, &format!("unfinished/{number}"));
        core.data(&at(2), key, &[b'x'; 900_000]).unwrap();
        let memory = core.buffered() + core.bundler.free_bytes() as u64;
        assert!(memory <= 41_000_000 + 4 * 1024 * 1024, "{memory}");
        if !core.may_read() {
            break;
        }
    }
    core.lost(&at(3), last.ticket(), DropReason::Undelivered);
}

/// Buffers of streams that hold nothing are kept for a while; those of
/// streams that have ended are not.
#[test]
fn idle_buffers() {
    let mut core = core();
    let keys: Vec<_> = (0..100)
        .map(|at| text(&mut core, &format!("s/{at}")))
        .collect();
    for key in &keys {
        core.data(&at(1), *key, &[b'x'; 90_000]).unwrap();
        core.data(&at(1), *key, b"\n").unwrap();
        assert!(core.idle <= IDLE_BUFFERS_MAX, "{}", core.idle);
        assert_eq!(core.carried, 0);
        while let Some(bundle) = core.poll_message(&at(1)) {
            core.delivered(&at(1), bundle.ticket(), 1);
        }
    }
    assert!(core.idle >= IDLE_BUFFERS_MAX / 2, "{}", core.idle);
    let kept = |core: &Core| -> usize {
        let streams = core.streams.iter();
        streams.map(|(_, stream)| stream.carry.memory()).sum()
    };
    assert_eq!(core.idle, kept(&core));

    // Up to the last byte.
    let Some((key, capacity)) = core.streams.iter().find_map(|(key, stream)| {
        let capacity = stream.carry.memory();
        (capacity > 0).then_some((key, capacity))
    }) else {
        panic!("nothing is kept")
    };
    let others = core.idle - capacity;
    for (more, kept) in [(0, capacity), (1, 0)] {
        core.idle = IDLE_BUFFERS_MAX + more;
        core.data(&at(1), key, b"short\n").unwrap();
        assert_eq!(core.streams.get(key).unwrap().carry.memory(), kept);
        core.idle = others + kept;
    }
    for key in keys {
        core.end(&at(2), key);
    }
    assert_eq!(core.idle, 0);
}

/// What is beyond a stream's size is dropped and told in it: where it was cut,
/// and at the end.
#[test]
fn a_stream_that_is_too_large() {
    for more in [&b"all of it"[..], b""] {
        let mut config = config();
        config.stream_size_max = 9;
        let mut core = Core::new(config);
        let key = text(&mut core, "s");
        let dropped = |core: &Core| {
            let account = core.account_of("s").unwrap();
            account.dropped(DropReason::OverLimit)
        };
        core.data(&at(1), key, b"12345\n").unwrap();
        core.data(&at(1), key, b"7\n").unwrap();
        assert_eq!(dropped(&core), 0);
        core.data(&at(1), key, b"9beyond").unwrap();
        assert_eq!(dropped(&core), 6);
        core.data(&at(1), key, more).unwrap();
        core.end(&at(1), key);
        let omitted = 6 + more.len() as u64;
        assert_eq!(dropped(&core), omitted);
        assert_eq!(core.account().dropped(DropReason::OverLimit), omitted);
        core.flush();
        let bundle = core.poll_message(&at(1)).unwrap();
        let text = text_in(&bundle);
        assert!(text.starts_with("12345\n7\n9\n[butler]"), "{text}");
        assert_eq!(text.matches("[butler]").count(), 2, "{text}");
        assert!(text.contains("maximum of 9 bytes"), "{text}");
        let at_the_end = format!("{omitted} bytes were omitted");
        assert!(text.contains(&at_the_end), "{text}");
        core.delivered(&at(1), bundle.ticket(), 1);
        assert_eq!(core.account().delivered(), 9);
        assert!(core.is_settled());
    }
}

/// What breaks the framing where the size limit is, breaks it; that is all.
#[test]
fn a_datagram_that_is_wrong_and_too_much() {
    let mut config = config();
    config.stream_size_max = 11;
    let mut core = Core::new(config);
    let key = open(&mut core, "s", StreamType::Datagram);
    core.data(&at(1), key, &[&[0xff; 11][..], b"beyond"].concat())
        .unwrap_err();
    core.end(&at(1), key);
    let account = core.account_of("s").unwrap();
    assert_eq!(account.dropped(DropReason::Framing), 11);
    assert_eq!(account.dropped(DropReason::OverLimit), 6);
    assert!(core.is_settled(), "there is no entry");
}

/// What an output makes of a bundle counts instead of its entries.
#[test]
fn what_is_encoded() {
    let mut core = core();
    let key = text(&mut core, "s");
    core.data(&at(1), key, b"line\n").unwrap();
    core.flush();
    let ticket = core.poll_message(&at(1)).unwrap().ticket();
    core.encoded(ticket, 1_500_000);
    assert_eq!(core.buffered(), 1_500_000);
    assert_eq!(core.stats().peak_buffered, 1_500_000);
    core.delivered(&at(1), ticket, 1);
    assert_eq!(core.buffered(), 0);
}

/// An output may tell of messages in any order, and of each once; what it has
/// when it is given up is lost.
#[test]
fn messages_in_flight() {
    let mut core = core();
    core.set_capacity(Capacity::of(2, usize::MAX));
    let key = text(&mut core, "s");
    core.flush();
    let write = |core: &mut Core| {
        core.data(&at(1), key, b"line\n").unwrap();
        core.poll_message(&at(1)).map(|it| it.ticket())
    };
    let tickets = [write(&mut core).unwrap(), write(&mut core).unwrap()];
    assert_eq!(write(&mut core), None, "two are in flight");
    core.lost(&at(1), tickets[1], DropReason::Refused);
    let third = core.poll_message(&at(1)).unwrap();
    core.end(&at(1), key);
    core.delivered(&at(1), tickets[0], 1);
    let fourth = core.poll_message(&at(1)).unwrap();
    assert_eq!(fourth.streams()[0].terminal, Some(2));
    assert_eq!(core.in_flight(), 2);
    drop((third, fourth));
    core.give_up(&at(1));
    assert!(core.is_settled());
    assert_eq!(core.buffered(), 0);
    let account = core.account_of("s").unwrap();
    assert_eq!(account, *core.account());
    assert_eq!((account.delivered(), account.pending()), (5, 0));
    assert_eq!(account.dropped(DropReason::Refused), 5);
    assert_eq!(account.dropped(DropReason::Undelivered), 5);
}

/// What is stored takes no memory, and is accounted for once more when it is
/// fetched from there, also when its stream has long ended.
#[test]
fn messages_that_are_stored() {
    let mut core = core();
    core.set_capacity(Capacity {
        overflows: true,
        ..Capacity::ONE
    });
    let key = text(&mut core, "s");
    core.flush();
    let store = |core: &mut Core| {
        core.data(&at(1), key, b"line\n").unwrap();
        let ticket = core.poll_message(&at(1)).unwrap().ticket();
        core.settle(&at(1), &Outcome::stored(ticket));
    };
    store(&mut core);
    store(&mut core);
    core.end(&at(1), key);
    let last = core.poll_message(&at(1)).unwrap().ticket();
    core.settle(&at(1), &Outcome::stored(last));
    assert!(core.is_settled() && core.buffered() == 0);
    assert_eq!(core.account().stored(), 10);
    let fetch = |core: &mut Core, bytes, with_end, lost| {
        let mut outcomes = Outcomes::default();
        outcomes.later(Later {
            stream: "s".parse().unwrap(),
            bytes,
            with_end,
            fate: Fate::Fetched(lost),
        });
        assert!(!core.take(&at(2), &mut outcomes), "no message was settled");
    };
    fetch(&mut core, 5, false, None);
    fetch(&mut core, 3, false, Some(DropReason::Unreadable));
    fetch(&mut core, 0, true, Some(DropReason::Refused));
    let account = core.account_of("s").unwrap();
    assert_eq!((account, account.stored()), (*core.account(), 2));
    assert_eq!((account.delivered(), account.pending()), (5, 0));
    assert_eq!(account.dropped(DropReason::Unreadable), 3);
    assert_eq!(core.losses().len(), 1);
    assert_eq!(core.ends_lost()["s"], DropReason::Refused);
    assert_eq!((core.stats().bundles, core.stats().bundles_stored), (0, 3));
}

/// An output that keeps elsewhere what memory has no room for gets more than it
/// takes at once, when memory fills up.
#[test]
fn an_output_overflows() {
    let mut config = config();
    config.buffered_max = 4 * config.bundle_limits.max as u64;
    let mut core = Core::new(config);
    core.set_capacity(Capacity::ONE);
    let key = text(&mut core, "s");
    let line = [&[b'x'; 99][..], b"\n"].concat();
    let mut in_flight = 0;
    while !core.is_filling_up() {
        core.data(&at(1), key, &line).unwrap();
        in_flight += usize::from(core.poll_message(&at(1)).is_some());
    }
    assert_eq!(in_flight, 1);
    assert!(core.may_read() && !core.offers_message(&at(1)));
    core.set_capacity(Capacity {
        overflows: true,
        ..Capacity::ONE
    });
    while core.is_filling_up() {
        let ticket = core.poll_message(&at(1)).unwrap().ticket();
        core.settle(&at(1), &Outcome::stored(ticket));
    }
    assert!(!core.offers_message(&at(1)) && core.in_flight() == 1);
}

#[test]
#[should_panic(expected = "the message of this ticket is in flight")]
fn an_outcome_that_is_told_twice() {
    let mut core = core();
    let key = text(&mut core, "s");
    core.data(&at(1), key, b"line\n").unwrap();
    core.flush();
    let ticket = core.poll_message(&at(1)).unwrap().ticket();
    core.delivered(&at(1), ticket, 1);
    core.delivered(&at(1), ticket, 1);
}
