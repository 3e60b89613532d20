//! Watching from another thread.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use butler::output::MemoryOutput;
use butler::proto::logpb::{LogEntry, LogStreamDescriptor, log_entry};
use butler::wire::name::Namespace;
use butler::{Handle, Selector, Watch, WatchEvent, Watcher};

use crate::{builder, end, started, text, until, until_read};

/// All that is seen, by stream, with the ends and what they missed.
#[derive(Debug, Default)]
struct Seen {
    entries: BTreeMap<String, Vec<LogEntry>>,
    ends: Vec<(String, u64)>,
}

/// Takes it all. Nothing of a stream may come after its end.
fn all(watcher: Watcher) -> Seen {
    let mut seen = Seen::default();
    for event in watcher {
        match event {
            WatchEvent::Entry { stream, entry } => {
                let ended = seen.ends.iter().any(|(name, _)| name == stream.as_str());
                assert!(!ended, "{stream} has ended");
                let entries = seen.entries.entry(stream.to_string());
                entries.or_default().push(entry);
            }
            WatchEvent::End { stream, missed, .. } => seen.ends.push((stream.to_string(), missed)),
            other => panic!("{other:?}"),
        }
    }
    seen.ends.sort();
    seen
}

/// The bytes of text, or of datagrams back to back.
fn bytes(entries: &[LogEntry]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        match entry.content.as_ref().unwrap() {
            log_entry::Content::Text(text) => {
                for line in &text.lines {
                    out.extend_from_slice(&line.value);
                    out.extend_from_slice(line.delimiter.as_bytes());
                }
            }
            log_entry::Content::Binary(binary) => out.extend_from_slice(&binary.data),
            log_entry::Content::Datagram(datagram) => out.extend_from_slice(&datagram.data),
        }
    }
    out
}

/// What went to the output, exactly.
fn sent(memory: &MemoryOutput, name: &str) -> Vec<LogEntry> {
    let bundles = memory.bundles();
    let entries = bundles.iter().flat_map(|bundle| &bundle.entries);
    let of_stream = entries.filter(|entry| entry.desc.as_ref().unwrap().name == name);
    of_stream.flat_map(|entry| entry.logs.clone()).collect()
}

#[test]
fn chunks_are_what_is_sent() {
    let memory = MemoryOutput::default();
    let handle = started(&memory);
    // As many as like to.
    let everything = handle.watch(Selector::All, Watch::Chunks);
    let one = handle.watch(
        "a/t".parse::<butler::wire::name::StreamName>().unwrap(),
        Watch::Chunks,
    );
    let below = handle.watch(Namespace::new("a").unwrap(), Watch::Chunks);
    let tagged = Selector::Where(Box::new(|descriptor| descriptor.tags.contains_key("seen")));
    let tagged = handle.watch(tagged, Watch::Chunks);
    let mut t = handle.stream("a/t").tag("seen", "").open().unwrap();
    let mut d = handle.stream("d").datagram().open().unwrap();
    drop(handle.stream("empty").open().unwrap());
    t.write_all(b"a\nb\npart").unwrap();
    d.send(b"datagram").unwrap();
    drop((t, d));
    end(&handle);
    let seen = all(everything);
    let ends = ["a/t", "d", "empty"].map(|name| (name.to_owned(), 0));
    assert_eq!(seen.ends, ends);
    assert_eq!(seen.entries["a/t"], sent(&memory, "a/t"));
    assert_eq!(seen.entries["d"], sent(&memory, "d"));
    assert!(seen.entries["a/t"].len() > 1);
    for watcher in [one, below, tagged] {
        let seen = all(watcher);
        assert_eq!(seen.ends, ends[..1]);
        assert_eq!(seen.entries["a/t"], sent(&memory, "a/t"));
    }
}

#[test]
fn lines_and_datagrams_come_whole() {
    let memory = MemoryOutput::default();
    // Without buffering every piece is an entry of its own.
    let handle = builder(&memory).buffer_logs(false).start().unwrap();
    let watcher = handle.watch(Selector::All, Watch::Whole);
    let mut written = 0;
    let mut write = |to: &mut dyn Write, data: &[u8]| {
        to.write_all(data).unwrap();
        written += data.len() as u64;
        until_read(&handle, written);
    };
    let (reader, mut d) = std::io::pipe().unwrap();
    let mut properties = text("d");
    properties.stream_type = butler::wire::descriptor::StreamType::Datagram;
    handle.attach(reader, &properties).unwrap();
    let mut t = handle.stream("t").open().unwrap();
    for (to_t, to_d) in [
        (&b"on"[..], &b"\x04"[..]),
        (b"e\ntw", b"ab"),
        (b"o\nend", b"cd\x03x"),
    ] {
        write(&mut t, to_t);
        write(&mut d, to_d);
    }
    drop((t, d));
    end(&handle);
    let seen = all(watcher);
    let of = |name: &str| {
        let entries = seen.entries[name].iter();
        let whole = entries.map(|entry| {
            let entry = std::slice::from_ref(entry);
            let numbers = (entry[0].stream_index, entry[0].sequence);
            (numbers, String::from_utf8(bytes(entry)).unwrap())
        });
        whole.collect::<Vec<_>>()
    };
    let lines = [((0, 0), "one\n"), ((1, 1), "two\n"), ((2, 2), "end")];
    assert_eq!(of("t"), lines.map(|(at, line)| (at, line.to_owned())));
    assert_eq!(
        of("d"),
        [((0, 0), "abcd".to_owned())],
        "the other is not whole"
    );
    assert_eq!(seen.ends.len(), 2);
}

/// However a stream and its butler end, each watcher is told once.
#[test]
fn every_end_is_seen_once() {
    let endings: [fn(Handle); 5] = [
        |handle| drop(handle.shutdown(Duration::ZERO).wait()),
        |handle| drop(handle.abort().wait()),
        |handle| drop(handle),
        |handle| {
            handle.stop_buffering();
            drop(handle.shutdown(Duration::from_millis(1)).wait());
        },
        // Nobody waits for the answer.
        |handle| drop(handle.abort()),
    ];
    for ending in endings {
        for stalled in [false, true] {
            let memory = MemoryOutput::default();
            memory.stall(stalled);
            let short = builder(&memory).flush_timeout(Duration::from_millis(20));
            let handle = short.start().unwrap();
            let watchers =
                [Watch::Whole, Watch::Chunks].map(|as_| handle.watch(Selector::All, as_));
            let mut t = handle.stream("t").open().unwrap();
            let _empty = handle.stream("empty").open().unwrap();
            drop(handle.stream("over").open().unwrap());
            let (reader, mut pipe) = std::io::pipe().unwrap();
            handle.attach(reader, &text("pipe")).unwrap();
            t.write_all(b"a\nunfinished").unwrap();
            pipe.write_all(b"b\nunfinished").unwrap();
            ending(handle);
            for watcher in watchers {
                let seen = all(watcher);
                let names = ["empty", "over", "pipe", "t"];
                assert_eq!(seen.ends, names.map(|name| (name.to_owned(), 0)));
                assert_eq!(bytes(&seen.entries["t"]), b"a\nunfinished");
                assert_eq!(bytes(&seen.entries["pipe"]), b"b\nunfinished");
            }
        }
    }
}

/// A stream of lines that is written until it ends.
fn writes(handle: &Handle, name: &str, lines: u32) -> std::thread::JoinHandle<()> {
    let mut writer = handle.stream(name).open().unwrap();
    let writer = move || {
        for at in (0..lines).step_by(50) {
            let some: String = (at..at + 50).map(|at| format!("{at:0100}\n")).collect();
            if writer.write_all(some.as_bytes()).is_err() {
                break;
            }
        }
    };
    std::thread::spawn(writer)
}

/// Whoever does not take what comes holds up the streams that he watches, and
/// no others; and what waits for him counts as buffered.
#[test]
fn a_slow_watcher_holds_up_what_it_watches() {
    const LINES: u32 = 30_000;
    const MAX: u64 = 4 << 20;
    let memory = MemoryOutput::default();
    let handle = builder(&memory).max_buffered(MAX).start().unwrap();
    let watcher = handle.watch(Namespace::new("slow").unwrap(), Watch::Chunks);
    let quick = handle.watch(Namespace::new("quick").unwrap(), Watch::Whole);
    let quick = std::thread::spawn(move || all(quick));
    let slow = [1, 2].map(|at| writes(&handle, &format!("slow/{at}"), LINES));
    let others = ["other", "quick/1"].map(|name| writes(&handle, name, LINES));
    for other in others {
        other.join().unwrap();
    }
    let expected = u64::from(LINES) * 101;
    until(|| handle.snapshot().unwrap().streams_open == 2);
    let snapshot = handle.snapshot().unwrap();
    assert!(snapshot.bytes_in < 2 * expected + MAX, "{snapshot}");
    assert!(snapshot.peak_buffered < MAX + (1 << 20), "{snapshot}");

    let watched = std::thread::spawn(move || all(watcher));
    for writer in slow {
        writer.join().unwrap();
    }
    end(&handle);
    let seen = watched.join().unwrap();
    assert_eq!(memory.stream_bytes("other").len() as u64, expected);
    for at in ["slow/1", "slow/2"] {
        assert_eq!(seen.entries[at], sent(&memory, at));
        assert_eq!(bytes(&seen.entries[at]).len() as u64, expected);
    }
    assert_eq!(seen.ends.len(), 2);
    assert_eq!(
        bytes(&quick.join().unwrap().entries["quick/1"]).len() as u64,
        expected
    );
}

/// Of lines that are not whole yet there is no more than may be buffered: some
/// come in parts.
#[test]
fn lines_without_an_end_share_what_there_is() {
    const MAX: u64 = 4 << 20;
    let long = builder(&MemoryOutput::default()).max_buffered(MAX);
    let handle = long.buffer_logs(false).start().unwrap();
    let parts = Arc::new(Mutex::new(BTreeMap::<String, Vec<usize>>::new()));
    let noted = parts.clone();
    let callback = move |descriptor: &LogStreamDescriptor| {
        let (noted, name) = (noted.clone(), descriptor.name.clone());
        let note = move |entry: Option<&LogEntry>| {
            if let Some(entry) = entry {
                let mut noted = noted.lock().unwrap();
                let parts = noted.entry(name.clone()).or_default();
                parts.push(bytes(std::slice::from_ref(entry)).len());
            }
        };
        Some(Box::new(note) as butler::ChunkCallback)
    };
    handle
        .add_stream_registration_callback(Box::new(callback), true)
        .unwrap();
    let mut writers: Vec<_> = (0..50)
        .map(|at| handle.stream(&format!("s/{at}")).open().unwrap())
        .collect();
    for written in 1..=4 {
        for writer in &mut writers {
            writer.write_all(&[b'x'; 50_000]).unwrap();
        }
        until_read(&handle, written * 50 * 50_000);
    }
    drop(writers);
    let report = end(&handle);
    let peak = report.snapshot.peak_buffered;
    assert!((1 << 20..MAX + (1 << 20)).contains(&peak), "{peak}");
    let parts = parts.lock().unwrap();
    assert_eq!(parts.len(), 50);
    assert!(parts.values().all(|of| of.iter().sum::<usize>() == 200_000));
    assert!(parts.values().any(|of| of.len() > 1));
    assert!(parts.values().any(|of| of.len() == 1));
}

/// A butler that ends delivers all, whoever watches; and the watcher knows.
#[test]
fn a_butler_that_ends_does_not_wait_for_watchers() {
    let memory = MemoryOutput::default();
    let handle = builder(&memory).max_buffered(4 << 20).start().unwrap();
    // Each may hold little.
    let watchers: [Watcher; 100] =
        std::array::from_fn(|_| handle.watch(Selector::All, Watch::Chunks));
    let mut writer = handle.stream("t").open().unwrap();
    let line = [&[b'x'; 999][..], b"\n"].concat();
    // The socket fills up, as nobody takes what was read before.
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    let mut written = 0;
    let mut waits = 0;
    while waits < 20 {
        match writer.write(&line) {
            Ok(len) => (written, waits) = (written + len, 0),
            Err(_) => {
                waits += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
    let read = handle.snapshot().unwrap().bytes_in as usize;
    assert!(read < written, "{read} of {written}");
    let report = handle.shutdown(Duration::ZERO).wait().unwrap();
    assert!(report.is_complete());
    assert_eq!(memory.stream_bytes("t").len(), written);
    let sent = sent(&memory, "t").len() as u64;
    for watcher in watchers {
        let seen = all(watcher);
        let [(_, missed)] = seen.ends[..] else {
            panic!("{:?}", seen.ends);
        };
        assert!(missed > 0);
        assert_eq!(seen.entries["t"].len() as u64 + missed, sent);
    }
}

/// Whoever looks no more holds nothing up.
#[test]
fn a_watcher_that_is_dropped() {
    let memory = MemoryOutput::default();
    let handle = builder(&memory).max_buffered(4 << 20).start().unwrap();
    let watcher = handle.watch(Selector::All, Watch::Whole);
    let writer = writes(&handle, "t", 30_000);
    let mut seen = 0;
    until(|| {
        let read = handle.snapshot().unwrap().bytes_in;
        std::mem::replace(&mut seen, read) == read && read > 0
    });
    assert!(seen < 3_030_000, "it is held up");
    drop(watcher);
    writer.join().unwrap();
    end(&handle);
    assert_eq!(memory.stream_bytes("t").len(), 3_030_000);
}

/// It is not called again, and nothing else happens.
#[test]
fn a_callback_that_panics() {
    let memory = MemoryOutput::default();
    let handle = builder(&memory).buffer_logs(false).start().unwrap();
    let called = Arc::new(Mutex::new(Vec::new()));
    let noted = called.clone();
    let panics = Box::new(move |_: &_| -> Option<butler::ChunkCallback> {
        noted.lock().unwrap().push("registration");
        let noted = noted.clone();
        Some(Box::new(move |_| {
            noted.lock().unwrap().push("chunk");
            panic!("as it should");
        }))
    });
    handle
        .add_stream_registration_callback(panics, false)
        .unwrap();
    let in_question = Box::new(|_: &_| panic!("as it should"));
    let selects = handle.watch(Selector::Where(in_question), Watch::Chunks);
    let watcher = handle.watch(Selector::All, Watch::Chunks);
    let mut written = 0;
    for name in ["a", "b"] {
        let mut writer = handle.stream(name).open().unwrap();
        for line in [b"one\n", b"two\n"] {
            writer.write_all(line).unwrap();
            written += 4;
            until_read(&handle, written);
        }
    }
    end(&handle);
    let called = called.lock().unwrap();
    assert_eq!(*called, ["registration", "chunk", "registration", "chunk"]);
    assert_eq!(memory.stream_bytes("b"), b"one\ntwo\n");
    assert_eq!(all(watcher).ends.len(), 2);
    assert!(all(selects).ends.is_empty());
}
