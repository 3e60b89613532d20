//! Callbacks of a butler on the caller's thread, which they may use.

use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

use butler::output::{MemoryOutput, Output};
use butler::proto::logpb::LogEntry;
use butler::wire::descriptor::{StreamProperties, StreamType};
use butler::wire::name::Namespace;
use butler::{Butler, Config, Report};

use crate::common::process::start;
use crate::text;

fn config(memory: &MemoryOutput) -> Config {
    Config::new(Output::Memory(memory.clone()))
}

/// A stream to write to.
fn pipe(butler: &Butler, properties: &StreamProperties) -> std::io::PipeWriter {
    let (reader, writer) = std::io::pipe().unwrap();
    butler.add_stream(reader.into(), properties).unwrap();
    writer
}

async fn end(butler: &Butler) -> Report {
    butler.activate();
    let report = butler.wait().await.unwrap();
    assert!(report.is_complete());
    report
}

type Seen = Rc<RefCell<Vec<(String, Option<LogEntry>)>>>;

/// Watches the streams that `wanted` names.
fn watch(butler: &Butler, wrap: bool, wanted: &'static [&'static str]) -> Seen {
    let seen = Seen::default();
    let noted = seen.clone();
    butler.add_stream_registration_callback(
        Box::new(move |descriptor| {
            let name = descriptor.name.clone();
            let noted = noted.clone();
            wanted.contains(&&*name).then(|| {
                Box::new(move |entry: Option<&LogEntry>| {
                    noted.borrow_mut().push((name.clone(), entry.cloned()));
                }) as butler::ChunkCallback
            })
        }),
        wrap,
    );
    seen
}

#[test]
fn callbacks_see_what_is_sent() {
    let memory = MemoryOutput::default();
    start(async {
        let butler = Butler::new(config(&memory)).unwrap();
        let first = watch(&butler, false, &["t", "empty"]);
        let second = watch(&butler, false, &["t", "other"]);
        let mut t = pipe(&butler, &text("t"));
        let mut other = pipe(&butler, &text("other"));
        let mut unseen = pipe(&butler, &text("unseen"));
        drop(pipe(&butler, &text("empty")));
        t.write_all(b"a\nb\npart").unwrap();
        other.write_all(b"o\n").unwrap();
        unseen.write_all(b"u\n").unwrap();
        drop((t, other, unseen));
        end(&butler).await;

        // Exactly what went to the output, then the end, once.
        let sent = |name: &str| -> Vec<_> {
            let bundles = memory.bundles();
            let entries = bundles.iter().flat_map(|bundle| &bundle.entries);
            let logs = entries
                .filter(|entry| entry.desc.as_ref().unwrap().name == name)
                .flat_map(|entry| entry.logs.iter().cloned().map(Some))
                .chain([None]);
            logs.map(|log| (name.to_string(), log)).collect()
        };
        let of = |seen: &Seen, name: &str| -> Vec<_> {
            let seen = seen.borrow();
            seen.iter().filter(|(it, _)| it == name).cloned().collect()
        };
        assert_eq!(of(&first, "t"), sent("t"));
        assert!(sent("t").len() > 1);
        assert_eq!(of(&first, "empty"), [("empty".to_string(), None)]);
        assert_eq!(of(&second, "t"), [], "the first that wants it wins");
        assert_eq!(of(&second, "other"), sent("other"));
        assert_eq!(first.borrow().len() + second.borrow().len(), 2 + 3 + 1);
    })
    .unwrap();
}

/// Waits until so many bytes of streams have been read.
async fn until_read(butler: &Butler, bytes: usize) {
    while butler.statistics()["bytes_in"] != bytes {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Entries and lines are numbered as they are seen; the last one too.
#[test]
fn wrapped_text_is_numbered() {
    let cases: [(&str, &[(u64, u64)]); 6] = [
        ("hi\nthere\nho", &[(0, 0), (1, 2)]),
        ("hi\nthere\n|ho", &[(0, 0), (1, 2)]),
        ("h|i\nthe|re\nho\n|h|o", &[(0, 0), (1, 1), (2, 3)]),
        ("one| line", &[(0, 0)]),
        ("\n|\n", &[(0, 0), (1, 1)]),
        ("", &[]),
    ];
    for (pieces, want) in cases {
        let memory = MemoryOutput::default();
        start(async {
            let mut config = config(&memory);
            config.buffer_logs = false;
            let butler = Butler::new(config).unwrap();
            let seen = watch(&butler, true, &["t"]);
            let mut t = pipe(&butler, &text("t"));
            let mut written = 0;
            for piece in pieces.split('|') {
                t.write_all(piece.as_bytes()).unwrap();
                written += piece.len();
                until_read(&butler, written).await;
            }
            drop(t);
            end(&butler).await;
            let seen = seen.borrow();
            let (last, entries) = seen.split_last().unwrap();
            assert_eq!(last.1, None);
            let entries = entries.iter().map(|(_, entry)| entry.as_ref().unwrap());
            let numbers: Vec<_> = entries
                .map(|entry| (entry.stream_index, entry.sequence))
                .collect();
            assert_eq!(numbers, want, "{pieces:?}");
        })
        .unwrap();
    }
}

/// Whatever ends the stream: the end is seen once, after all entries.
#[test]
fn watchers_see_the_end_of_a_stopped_butler() {
    for stop in [Butler::abort as fn(&Butler), |butler| {
        butler.shutdown(Duration::ZERO)
    }] {
        let memory = MemoryOutput::default();
        start(async {
            let butler = Butler::new(config(&memory)).unwrap();
            let seen = watch(&butler, true, &["t", "empty", "d"]);
            let mut t = pipe(&butler, &text("t"));
            let _empty = pipe(&butler, &text("empty"));
            let datagrams = StreamProperties::new("d".parse().unwrap(), StreamType::Datagram);
            let mut d = pipe(&butler, &datagrams);
            t.write_all(b"a\nunfinished").unwrap();
            d.write_all(b"\x05half").unwrap();
            until_read(&butler, 17).await;
            stop(&butler);
            butler.wait().await.unwrap();
            let seen = seen.borrow();
            let of = |name: &str| -> Vec<_> {
                let of = seen.iter().filter(|(it, _)| it == name);
                of.map(|(_, entry)| entry.as_ref().map(|entry| entry.sequence))
                    .collect()
            };
            assert_eq!(of("t"), [Some(0), Some(1), None]);
            assert_eq!(of("empty"), [None]);
            assert_eq!(of("d"), [None], "what is not whole is not seen");
        })
        .unwrap();
    }
}

/// A watcher that ends the butler sees what that brings, and the end.
#[test]
fn a_watcher_ends_the_butler() {
    for stop in [Butler::abort as fn(&Butler), Butler::stop_buffering] {
        let memory = MemoryOutput::default();
        start(async {
            let butler = Butler::new(config(&memory)).unwrap();
            let seen = Rc::new(RefCell::new(Vec::new()));
            let (noted, inner) = (seen.clone(), butler.clone());
            butler.add_stream_registration_callback(
                Box::new(move |_| {
                    let (noted, inner) = (noted.clone(), inner.clone());
                    Some(Box::new(move |entry: Option<&LogEntry>| {
                        noted.borrow_mut().push(entry.map(|entry| entry.sequence));
                        if entry.is_some_and(|entry| entry.sequence == 0) {
                            stop(&inner);
                        }
                    }))
                }),
                true,
            );
            let mut t = pipe(&butler, &text("t"));
            t.write_all(b"one\ntwo").unwrap();
            until_read(&butler, 7).await;
            drop(t);
            end(&butler).await;
            assert_eq!(*seen.borrow(), [Some(0), Some(1), None]);
        })
        .unwrap();
    }
}

/// A stream that a callback opens is one that callbacks are asked about; also
/// if the same callback ends it.
#[test]
fn streams_of_callbacks_are_watched() {
    for ends in [false, true] {
        let memory = MemoryOutput::default();
        start(async {
            let butler = Butler::new(config(&memory)).unwrap();
            let inner = butler.clone();
            butler.add_stream_registration_callback(
                Box::new(move |descriptor| {
                    if descriptor.name == "first" {
                        drop(pipe(&inner, &text("second")));
                        if ends {
                            inner.abort();
                        }
                    }
                    None
                }),
                false,
            );
            let seen = watch(&butler, true, &["first", "second"]);
            let mut first = pipe(&butler, &text("first"));
            if !ends {
                first.write_all(b"line\n").unwrap();
            }
            drop(first);
            end(&butler).await;
            let of = |name: &str| {
                let seen = seen.borrow();
                let of = seen.iter().filter(|(it, _)| it == name);
                of.map(|(_, entry)| entry.is_some()).collect::<Vec<_>>()
            };
            assert_eq!(of("second"), [false], "its end alone");
            if !ends {
                assert_eq!(of("first"), [true, false]);
            }
        })
        .unwrap();
    }
}

/// Who has drained a namespace has seen all of it.
#[test]
fn what_is_drained_was_seen() {
    let memory = MemoryOutput::default();
    start(async {
        let butler = Butler::new(config(&memory)).unwrap();
        let seen = watch(&butler, true, &["a/b"]);
        let mut t = pipe(&butler, &text("a/b"));
        t.write_all(b"one\nunfinished").unwrap();
        drop(t);
        let namespace = Namespace::new("a").unwrap();
        let open = butler
            .drain_namespace(&namespace, Duration::from_secs(60))
            .await;
        assert_eq!(open, []);
        let last = seen.borrow().last().unwrap().1.clone();
        assert_eq!((seen.borrow().len(), last), (3, None));
        end(&butler).await;
    })
    .unwrap();
}

/// A callback may use the butler that calls it.
#[test]
fn a_callback_opens_a_stream() {
    let memory = MemoryOutput::default();
    start(async {
        let butler = Butler::new(config(&memory)).unwrap();
        let inner = butler.clone();
        let asked = Rc::new(RefCell::new(false));
        butler.add_stream_registration_callback(
            Box::new(move |_| {
                if !asked.replace(true) {
                    let mut writer = pipe(&inner, &text("second"));
                    writer.write_all(b"from a callback\n").unwrap();
                }
                None
            }),
            false,
        );
        drop(pipe(&butler, &text("first")));
        end(&butler).await;
    })
    .unwrap();
    assert_eq!(memory.stream_bytes("second"), b"from a callback\n");
}
