//! The library, as a program that embeds a butler uses it.

#![allow(clippy::unwrap_used)]

mod common;

use std::cell::RefCell;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use butler::output::{Compress, MemoryOutput, Output};
use butler::proto::logpb::{LogEntry, log_entry};
use butler::wire::descriptor::{StreamProperties, StreamType};
use butler::wire::name::Namespace;
use butler::{AddStreamReason, Butler, Config, Error, Report, StreamServer, UnfitSource};
use common::process::{open, start};
use common::reassemble;

fn config(memory: &MemoryOutput) -> Config {
    Config::new(Output::Memory(memory.clone()))
}

fn text(name: &str) -> StreamProperties {
    StreamProperties::new(name.parse().unwrap(), StreamType::Text)
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

#[test]
fn any_descriptor_is_a_stream() {
    let memory = MemoryOutput::default();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let long: Vec<u8> = (0..300_000u32)
        .flat_map(|at| format!("{at}\n").into_bytes())
        .collect();
    std::fs::write(&path, &long).unwrap();
    start(async {
        let butler = Butler::new(config(&memory)).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        butler.add_stream(file.into(), &text("a/file")).unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        butler.add_stream(ours.into(), &text("a/socket")).unwrap();
        let mut writer = pipe(&butler, &text("a/pipe"));
        theirs.write_all(b"socket").unwrap();
        writer.write_all(b"pipe").unwrap();
        drop((theirs, writer));
        let report = end(&butler).await;
        assert_eq!(report.snapshot.streams, 3);
        assert_eq!(report.snapshot.bytes_in, long.len() as u64 + 10);
        let names: Vec<_> = butler.streams().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["a/file", "a/pipe", "a/socket"]);
    })
    .unwrap();
    let streams = reassemble(&memory.bundles());
    assert_eq!(streams["a/file"].bytes, long);
    assert_eq!(streams["a/socket"].bytes, b"socket");
    assert_eq!(streams["a/pipe"].bytes, b"pipe");
}

#[test]
fn a_refused_descriptor_comes_back_open() {
    let memory = MemoryOutput::default();
    start(async {
        let butler = Butler::new(config(&memory)).unwrap();
        let mut first = pipe(&butler, &text("x"));
        let (ours, theirs) = UnixStream::pair().unwrap();
        let error = butler.add_stream(ours.into(), &text("x")).unwrap_err();
        assert!(error.to_string().contains("name x was used"), "{error}");
        let mut back = UnixStream::from(error.fd);
        back.write_all(b"still open").unwrap();
        drop((back, theirs));
        first.write_all(b"undisturbed\n").unwrap();
        drop(first);
        let report = end(&butler).await;
        assert_eq!(report.snapshot.streams_refused, 1);
    })
    .unwrap();
    assert_eq!(memory.stream_bytes("x"), b"undisturbed\n");
}

/// A read would cut them, and nobody would be told.
#[test]
fn messages_are_no_stream() {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    start(async {
        let butler = Butler::new(Config::new(Output::Null)).unwrap();
        for kind in [SocketType::DGRAM, SocketType::SEQPACKET] {
            let (ours, _theirs) =
                socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
            let error = butler.add_stream(ours, &text("x")).unwrap_err();
            let expected = AddStreamReason::Unfit(UnfitSource::Messages);
            assert_eq!(error.reason, expected, "{error}");
        }
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let error = butler.add_stream(socket.into(), &text("x")).unwrap_err();
        assert_eq!(error.to_string(), "it can't be a stream");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(cause, "it is a socket of messages, not of bytes");
        // The name is as free as it was.
        drop(pipe(&butler, &text("x")));
        assert!(end(&butler).await.is_complete());
    })
    .unwrap();
}

#[test]
fn no_stream_ends_the_run_before_it_is_activated() {
    let memory = MemoryOutput::default();
    start(async {
        let butler = Butler::new(config(&memory)).unwrap();
        drop(pipe(&butler, &text("a")));
        let waited = tokio::time::timeout(Duration::from_millis(100), butler.wait()).await;
        assert!(waited.is_err(), "not activated");
        let mut late = pipe(&butler, &text("b"));
        late.write_all(b"late").unwrap();
        drop(late);
        end(&butler).await;
    })
    .unwrap();
    assert_eq!(memory.streams(), ["b"]);
}

#[test]
fn a_namespace_drains() {
    let memory = MemoryOutput::default();
    start(async {
        let butler = Butler::new(config(&memory)).unwrap();
        let inside = pipe(&butler, &text("a/b/c"));
        let beside = pipe(&butler, &text("a/bc"));
        let namespace = Namespace::new("a/b").unwrap();
        let open = butler
            .drain_namespace(&namespace, Duration::from_millis(20))
            .await;
        assert_eq!(open, ["a/b/c".parse().unwrap()]);
        let (ours, _theirs) = UnixStream::pair().unwrap();
        assert!(butler.add_stream(ours.into(), &text("a/b/d")).is_err());
        drop(pipe(&butler, &text("a/d")));
        drop(inside);
        let open = butler
            .drain_namespace(&namespace, Duration::from_secs(60))
            .await;
        assert_eq!(open, []);
        let everything = Namespace::new("").unwrap();
        let open = butler.drain_namespace(&everything, Duration::ZERO).await;
        assert_eq!(open, ["a/bc".parse().unwrap()]);
        drop(beside);
        end(&butler).await;
    })
    .unwrap();
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

#[test]
fn wrapped_callbacks_see_what_is_whole() {
    let memory = MemoryOutput::default();
    start(async {
        // Without buffering every piece is an entry of its own.
        let mut config = config(&memory);
        config.buffer_logs = false;
        let butler = Butler::new(config).unwrap();
        let seen = watch(&butler, true, &["t", "d"]);
        let mut t = pipe(&butler, &text("t"));
        let datagrams = StreamProperties::new("d".parse().unwrap(), StreamType::Datagram);
        let mut d = pipe(&butler, &datagrams);
        for (to_t, to_d) in [
            (&b"on"[..], &b"\x04"[..]),
            (b"e\ntw", b"ab"),
            (b"o\nend", b"cd\x03x"),
        ] {
            t.write_all(to_t).unwrap();
            d.write_all(to_d).unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        drop((t, d));
        end(&butler).await;
        assert!(memory.bundles().len() > 2);

        let seen = seen.borrow();
        let mut index = 0;
        let mut lines = Vec::new();
        for (_, entry) in seen.iter().filter(|(name, _)| name == "t") {
            let Some(entry) = entry else {
                lines.push(("end of stream".to_string(), String::new()));
                continue;
            };
            assert_eq!((entry.stream_index, entry.prefix_index), (index, 0));
            index += 1;
            let Some(log_entry::Content::Text(text)) = &entry.content else {
                panic!()
            };
            lines.extend(text.lines.iter().map(|line| {
                let value = String::from_utf8(line.value.to_vec()).unwrap();
                (value, line.delimiter.clone())
            }));
        }
        let want = [
            ("one", "\n"),
            ("two", "\n"),
            ("end", ""),
            ("end of stream", ""),
        ];
        assert_eq!(lines, want.map(|(a, b)| (a.to_string(), b.to_string())));

        let datagrams: Vec<_> = seen.iter().filter(|(name, _)| name == "d").collect();
        assert_eq!(datagrams.len(), 2, "the unfinished one is not seen");
        let Some(log_entry::Content::Datagram(whole)) = &datagrams[0].1.as_ref().unwrap().content
        else {
            panic!()
        };
        assert_eq!((&whole.data[..], &whole.partial), (&b"abcd"[..], &None));
        assert_eq!(datagrams[1].1, None);
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

#[test]
fn servers_end_with_the_butler() {
    let memory = MemoryOutput::default();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    start(async {
        let butler = Butler::new(config(&memory)).unwrap();
        butler.add_stream_server(StreamServer::bind(&path).unwrap());
        let client = {
            let path = path.clone();
            std::thread::spawn(move || {
                let mut stream = open(&path, "x", "text");
                stream.write_all(b"through a server\n").unwrap();
            })
        };
        client.join().unwrap();
        end(&butler).await;
    })
    .unwrap();
    assert_eq!(memory.stream_bytes("x"), b"through a server\n");
    assert!(!path.exists());
}

#[test]
fn what_is_not_delivered_is_reported() {
    let memory = MemoryOutput::default();
    memory.stall(true);
    start(async {
        let mut config = config(&memory);
        config.flush_timeout = Duration::from_millis(50);
        let butler = Butler::new(config).unwrap();
        for (name, bytes) in [("a", 7), ("b", 9)] {
            pipe(&butler, &text(name))
                .write_all(&vec![b'x'; bytes])
                .unwrap();
        }
        butler.activate();
        let report = butler.wait().await.unwrap();
        assert!(!report.is_complete());
        let losses: Vec<_> = report
            .losses
            .iter()
            .map(|loss| (loss.stream.as_str(), loss.bytes))
            .collect();
        assert_eq!(losses, [("a", 7), ("b", 9)]);
        assert_eq!(report.snapshot.bytes_dropped, 16);
        assert_eq!(report.snapshot.bytes_pending, 0);
    })
    .unwrap();
}

/// Memory is full of what the output does not take, so that a stream is never
/// read to its end: the shutdown does not wait for it.
#[test]
fn a_stuck_output_does_not_hold_up_the_shutdown() {
    let memory = MemoryOutput::default();
    memory.stall(true);
    start(async {
        let mut config = config(&memory);
        config.flush_timeout = Duration::from_millis(50);
        config.max_buffered = 4 << 20;
        let full = config.max_buffered;
        let butler = Butler::new(config).unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        butler.add_stream(ours.into(), &text("endless")).unwrap();
        let writer = std::thread::spawn(move || while theirs.write_all(b"a line\n").is_ok() {});
        let buffered = || butler.statistics()["peak_buffered"].as_u64().unwrap();
        while buffered() < full {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        butler.shutdown(Duration::from_millis(10));
        let ended = tokio::time::timeout(Duration::from_secs(60), butler.wait());
        let report = ended.await.expect("it ends").unwrap();
        assert!(!report.is_complete());
        assert_eq!(report.snapshot.bytes_pending, 0);
        drop(butler);
        tokio::task::yield_now().await;
        writer
    })
    .unwrap()
    .join()
    .unwrap();
}

#[test]
fn a_wrong_configuration_is_refused() {
    let mut config = config(&MemoryOutput::default());
    config.max_buffered = 1;
    let error = start(async { Butler::new(config).map(|_| ()) })
        .unwrap()
        .unwrap_err();
    assert!(matches!(error, Error::Config(_)), "{error}");
}

#[test]
fn nothing_is_left_open() {
    let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let run = || {
        let memory = MemoryOutput::default();
        start(async {
            let butler = Butler::new(config(&memory)).unwrap();
            let fds: Vec<OwnedFd> = (0..10)
                .map(|at| pipe(&butler, &text(&format!("s{at}"))).into())
                .collect();
            drop(fds);
            end(&butler).await;
        })
        .unwrap();
    };
    run();
    let before = count();
    for _ in 0..5 {
        run();
    }
    // Other tests of this process may open some meanwhile.
    assert!(count() < before + 30, "{} then {}", before, count());
}

#[test]
fn errors_of_an_output_show_while_it_fails() {
    let dir = tempfile::tempdir().unwrap();
    start(async {
        let nobody = Output::Unix {
            path: dir.path().join("nobody"),
            compress: Compress::None,
        };
        let mut config = Config::new(nobody);
        config.buffer_logs = false;
        config.flush_timeout = Duration::from_millis(50);
        let butler = Butler::new(config).unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        butler.add_stream(ours.into(), &text("lines")).unwrap();
        theirs.write_all(b"a line\n").unwrap();
        while butler.statistics()["output_errors"] == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        butler.shutdown(Duration::ZERO);
        let report = butler.wait().await.unwrap();
        assert!(!report.is_complete());
    })
    .unwrap();
}

/// What has been written is read, and what the output takes is delivered,
/// however young it is.
#[test]
fn an_abort_delivers_what_is_taken_without_waiting() {
    for stalled in [false, true] {
        let memory = MemoryOutput::default();
        let report = start(async {
            let mut config = config(&memory);
            config.max_buffer_age = Duration::from_secs(600);
            let butler = Butler::new(config).unwrap();
            memory.stall(stalled);
            let mut writer = pipe(&butler, &text("last/words"));
            // Nothing of it may have been read when the abort comes, and the
            // stream stays open.
            writer.write_all(b"a line\nand half of one").unwrap();
            butler.abort();
            butler.wait().await.unwrap()
        })
        .unwrap();
        let lost = if stalled { 22 } else { 0 };
        assert_eq!(report.snapshot.bytes_in, 22);
        assert_eq!(report.snapshot.bytes_dropped, lost);
        assert_eq!(report.is_complete(), !stalled);
        if !stalled {
            assert_eq!(
                memory.stream_bytes("last/words"),
                b"a line\nand half of one"
            );
            assert!(memory.is_terminal("last/words"));
        }
    }
}

/// Without an end in sight: whoever writes goes on.
#[test]
fn nothing_is_buffered_any_more() {
    let memory = MemoryOutput::default();
    start(async {
        let mut config = config(&memory);
        config.max_buffer_age = Duration::from_secs(600);
        let butler = Butler::new(config).unwrap();
        let mut writer = pipe(&butler, &text("words"));
        writer.write_all(b"before\nbe").unwrap();
        while butler.statistics()["bytes_in"] != 9 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(memory.bundles().is_empty(), "it is younger than 10 minutes");
        butler.stop_buffering();
        while memory.stream_bytes("words") != b"before\nbe" {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        writer.write_all(b"hind\n").unwrap();
        while memory.stream_bytes("words") != b"before\nbehind\n" {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .unwrap();
}
