//! Publishing when things go wrong.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::Output;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::common::content::{Sent, check_all, every_kind, noise, send_all};
use crate::common::process::{open, wait_until};
use crate::common::reassemble;
use crate::fakes::World;
use crate::fakes::publisher::Fate;

/// Attempts that were made of each message.
fn attempts(world: &World) -> BTreeMap<Vec<u8>, usize> {
    let mut attempts = BTreeMap::new();
    for call in world.publisher.calls() {
        *attempts.entry(call.message).or_insert(0) += 1;
    }
    attempts
}

/// Every code that may pass, in turn: each message fails once, and comes
/// again as it was.
#[test]
fn transient_codes_are_tried_again() {
    const CODES: [u32; 7] = [14, 13, 2, 4, 8, 10, 1];
    let world = World::new();
    let mut firsts = 0;
    world.publisher.set(move |call| {
        if call.earlier > 0 {
            return Fate::Accept;
        }
        firsts += 1;
        let code = CODES[firsts % CODES.len()];
        match firsts % 2 {
            0 => Fate::Refuse(code),
            _ => Fate::AcceptAndRefuse(code),
        }
    });
    let serve = world.serve(&["--output-no-buffer"]);
    let mut stream = open(&serve.socket, "s", "text");
    for _ in 0..14 {
        let before = attempts(&world).len();
        stream.write_all(b"line\n").unwrap();
        // So that each is a message of its own.
        wait_until("it is published", || attempts(&world).len() > before);
    }
    drop(stream);
    let ended = serve.terminate();
    ended.expect_success();
    assert!(ended.stderr.contains("works again"), "{ended:?}");
    let attempts = attempts(&world);
    assert!(attempts.len() >= 14, "{}", attempts.len());
    assert!(attempts.values().all(|count| *count == 2));
    assert_eq!(reassemble(&world.bundles())["s"].lines.len(), 14);
}

/// What is refused for good is dropped, and counted to the byte.
#[test]
fn final_codes_lose_what_was_refused() {
    for code in [3, 5, 6, 7, 9, 11, 12, 15] {
        let world = World::new();
        world.publisher.set(move |call| match call.number {
            0 => Fate::Refuse(code),
            _ => Fate::Accept,
        });
        let stats = world.path().join("stats");
        let serve = world.serve(&[
            "--output-no-buffer",
            "--stats-path",
            stats.to_str().unwrap(),
        ]);
        let mut stream = open(&serve.socket, "lossy", "text");
        stream.write_all(b"lost\n").unwrap();
        wait_until("it is refused", || !world.publisher.calls().is_empty());
        stream.write_all(b"delivered\n").unwrap();
        drop(stream);
        let ended = serve.terminate();
        assert_eq!(ended.status.code(), Some(250), "{ended:?}");
        let says = "stream lossy: 5 bytes lost, refused by the output";
        assert!(ended.stderr.contains(says), "{ended:?}");
        assert!(ended.stderr.contains("as the test wants it"), "{ended:?}");
        let stats: serde_json::Value =
            serde_json::from_slice(&std::fs::read(stats).unwrap()).unwrap();
        assert_eq!(stats["bytes_dropped"], 5);
        assert_eq!(stats["bytes_dropped_by_reason"]["refused"], 5);
        assert_eq!(stats["bytes_delivered"], 10);
        assert_eq!(stats["bundles_lost"], 1);
        let attempts = attempts(&world);
        assert!(attempts.values().all(|count| *count == 1));
    }
}

fn run_refused(world: &World, more: &[&str]) -> (Output, serde_json::Value) {
    world.publisher.set(|_| Fate::Refuse(7));
    let result = world.path().join("result");
    let output = world
        .command(more)
        .args([
            "run",
            "--result-path",
            result.to_str().unwrap(),
            "echo",
            "x",
        ])
        .output()
        .unwrap();
    let result = serde_json::from_slice(&std::fs::read(result).unwrap()).unwrap();
    (output, result)
}

/// A job does not turn red for its logs, unless that is asked for.
#[test]
fn a_loss_shows_in_the_result_of_a_command() {
    let world = World::new();
    let (output, result) = run_refused(&world, &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(result["delivered"], false);
    let (output, _) = run_refused(&world, &["--fail-on-loss"]);
    assert_eq!(output.status.code(), Some(250), "{output:?}");
}

/// Connections break before and after a message was taken, are told to go
/// away, and streams are reset.
#[test]
fn broken_connections_lose_nothing() {
    let faults = [
        Fate::Cut { accepted: false },
        Fate::Cut { accepted: true },
        Fate::GoAway,
        Fate::AcceptAndGoAway,
        Fate::Reset,
    ];
    for fault in faults {
        let world = World::new();
        world.publisher.set(move |call| match call.number {
            0 | 5 => fault,
            _ => Fate::Slow(Duration::from_millis(20)),
        });
        let serve = world.serve(&["--output-no-buffer"]);
        let all = every_kind();
        send_all(&serve.socket, &all);
        let ended = serve.terminate();
        ended.expect_success();
        check_all(&reassemble(&world.bundles()), &all);
        let reconnects = fault != Fate::Reset;
        assert_eq!(world.publisher.connections() > 1, reconnects, "{fault:?}");
    }
}

/// Nobody listens for a while.
#[test]
fn an_absent_server_is_waited_for() {
    let world = World::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let output = format!("--output=logdog,pubsub-endpoint=http://{address}");
    let serve = world.serve(&[&output, "--output-no-buffer"]);
    let sent = [Sent::text("s", b"line\n")];
    send_all(&serve.socket, &sent);
    serve.wait_for_stderr("; trying again");
    // Whoever comes is the other Pub/Sub.
    let port = world.publisher.port();
    let listener = std::net::TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
            let pairs = [
                (client.try_clone().unwrap(), server.try_clone().unwrap()),
                (server, client),
            ];
            for (mut from, mut to) in pairs {
                std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            }
        }
    });
    let ended = serve.terminate();
    ended.expect_success();
    assert!(ended.stderr.contains("works again"), "{ended:?}");
    check_all(&reassemble(&world.bundles()), &sent);
}

/// Who does not answer is asked again after 30 s.
#[test]
fn stalls_are_cut_short() {
    let world = World::new();
    world.publisher.set(|call| match call.number {
        0 => Fate::Stall,
        _ => Fate::Accept,
    });
    let serve = world.serve(&["--output-no-buffer"]);
    let sent = [Sent::text("s", b"line\n")];
    send_all(&serve.socket, &sent);
    let ended = serve.terminate();
    ended.expect_success();
    check_all(&reassemble(&world.bundles()), &sent);
    let mut calls = world.publisher.calls();
    let stalled = calls[0].message.clone();
    calls.retain(|call| call.message == stalled);
    assert_eq!(calls.len(), 2);
    let waited = calls[1].at - calls[0].at;
    assert!(waited >= Duration::from_secs(30), "{waited:?}");
    assert!(waited < Duration::from_secs(35), "{waited:?}");
}

/// At least a thousand messages, one fault in twenty, of all sorts.
#[test]
fn a_thousand_publishes_with_faults() {
    let world = World::new();
    let mut seed = 20_u64;
    world.publisher.set(move |_| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        match (seed >> 33) % 20 {
            0 => match (seed >> 40) % 9 {
                0 => Fate::Cut { accepted: false },
                1 => Fate::Cut { accepted: true },
                2 => Fate::GoAway,
                3 => Fate::AcceptAndGoAway,
                4 => Fate::Reset,
                5 => Fate::Refuse(14),
                6 => Fate::AcceptAndRefuse(13),
                7 => Fate::Refuse(8),
                _ => Fate::AcceptAndRefuse(4),
            },
            _ => Fate::Accept,
        }
    });
    let serve = world.serve(&["--output-no-buffer", "--log-level=info"]);
    let mut streams: Vec<_> = (0..5)
        .map(|number| open(&serve.socket, &format!("s/{number}"), "text"))
        .collect();
    let mut rounds = 0;
    let begun = Instant::now();
    while world.publisher.accepted().len() < 1100 {
        assert!(begun.elapsed() < Duration::from_secs(120), "too slow");
        for (number, stream) in streams.iter_mut().enumerate() {
            writeln!(stream, "line {rounds} of {number}").unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
        rounds += 1;
    }
    drop(streams);
    serve.terminate().expect_success();
    let bundles = world.bundles();
    assert!(bundles.len() >= 1000, "{}", bundles.len());
    let streams = reassemble(&bundles);
    assert_eq!(streams.len(), 5);
    for (number, stream) in streams.values().enumerate() {
        let expected: String = (0..rounds)
            .map(|round| format!("line {round} of {number}\n"))
            .collect();
        assert!(stream.bytes == expected.as_bytes(), "{number}: other bytes");
        assert!(stream.terminal.is_some());
    }
}

/// Sixteen are under way, and no more.
#[test]
fn several_publishes_at_once() {
    let world = World::new();
    world.publisher.set(|_| Fate::Slow(Duration::from_secs(2)));
    let serve = world.serve(&["--output-no-buffer"]);
    let mut stream = open(&serve.socket, "s", "text");
    for _ in 0..60 {
        stream.write_all(b"line\n").unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(stream);
    serve.terminate().expect_success();
    assert_eq!(reassemble(&world.bundles())["s"].lines.len(), 60);
    assert_eq!(world.publisher.under_way_max(), 16);
}

/// Large messages that do not compress and are not taken: memory has its
/// bound all the same.
#[test]
fn memory_stays_bounded() {
    let world = World::new();
    world
        .publisher
        .set(|_| Fate::Slow(Duration::from_millis(700)));
    let serve = world.serve(&["--log-level=info"]);
    let socket = serve.socket.clone();
    let client = std::thread::spawn(move || {
        let datagram = noise(10 << 20);
        let sent = [Sent::datagrams("s", &[&datagram[..]; 12])];
        send_all(&socket, &sent);
        sent
    });
    let sent = client.join().unwrap();
    let (_, peak) = serve.resident();
    serve.terminate().expect_success();
    check_all(&reassemble(&world.bundles()), &sent);
    assert!(peak < (64 + 32) << 20, "{} MiB", peak >> 20);
}

/// An entry that is larger than Pub/Sub takes comes in parts.
#[test]
fn large_datagrams_fit() {
    let world = World::new();
    let serve = world.serve(&[]);
    let datagram = noise(10 << 20);
    let sent = [Sent::datagrams("s", &[&datagram, b"small", &datagram])];
    send_all(&serve.socket, &sent);
    serve.terminate().expect_success();
    check_all(&reassemble(&world.bundles()), &sent);
}

/// Nothing is taken: memory stays bounded, writers wait, and at the end what
/// could not be sent is reported.
#[test]
fn a_failing_server_blocks_writers_and_is_reported() {
    let world = World::new();
    world.publisher.set(|_| Fate::Refuse(14));
    let serve = world.serve(&["--max-buffered=8MiB", "--flush-timeout=1s"]);
    let socket = serve.socket.clone();
    let client = std::thread::spawn(move || {
        let mut stream = open(&socket, "s", "binary");
        // It is ended before it is through.
        let _ = stream.write_all(&noise(100_000_000));
    });
    let bytes_in = || serve.statistics()["bytes_in"].as_u64().unwrap();
    wait_until("it waits", || {
        let before = bytes_in();
        std::thread::sleep(Duration::from_millis(300));
        before > 3_000_000 && bytes_in() == before
    });
    assert!(bytes_in() < 16_000_000, "{}", bytes_in());
    let accepted = bytes_in();
    assert!(serve.resident().1 < 60 << 20, "{:?}", serve.resident());
    serve.signal(Signal::TERM);
    serve.signal_again(Signal::TERM);
    let ended = serve.wait();
    client.join().unwrap();
    assert_eq!(ended.status.code(), Some(250), "{ended:?}");
    let says = "bytes lost, not delivered in time";
    assert!(ended.stderr.contains(says), "{ended:?}");
    let lost: u64 = ended
        .stderr
        .lines()
        .find(|line| line.contains(says))
        .and_then(|line| {
            line.split_once("stream s: ")?
                .1
                .split(' ')
                .next()?
                .parse()
                .ok()
        })
        .unwrap();
    assert_eq!(lost, accepted);
}

#[test]
fn the_flush_is_bounded() {
    let world = World::new();
    world.publisher.set(|_| Fate::Refuse(14));
    let begun = Instant::now();
    let output = world
        .command(&["--flush-timeout=2s", "run", "echo", "x"])
        .output()
        .unwrap();
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_secs(2) && took < Duration::from_secs(8),
        "{took:?}"
    );
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("stream stdout: 2 bytes lost, not delivered"),
        "{stderr}"
    );

    // By LUCI's deadline, if that is sooner.
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let deadline = now.as_secs_f64() + 1.0;
    let context = world.luci.context(&format!(
        r#"{{"deadline":{{"soft_deadline":{deadline},"grace_period":2.0}}}}"#
    ));
    let begun = Instant::now();
    let output = world
        .command_with(&context, &["run", "echo", "x"])
        .output()
        .unwrap();
    assert!(begun.elapsed() < Duration::from_secs(8));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("not delivered in time"), "{stderr}");
}

/// Threads of the process: one, beside those of the kernel for io_uring.
fn threads(pid: i32) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let mut names: Vec<_> = tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .map(|name| name.trim().to_owned())
        .collect();
    names.sort_unstable();
    names.dedup_by(|a, b| a == b && a.starts_with("iou-"));
    names
}

#[test]
fn one_thread_does_it_all() {
    let world = World::new();
    world
        .publisher
        .set(|_| Fate::Slow(Duration::from_millis(10)));
    let serve = world.serve(&[]);
    let socket = serve.socket.clone();
    let client = std::thread::spawn(move || {
        let sent = [Sent::binary("s", &noise(30_000_000))];
        send_all(&socket, &sent);
    });
    let mut looked = 0;
    while !client.is_finished() || looked < 20 {
        let threads = threads(serve.pid());
        let own: Vec<_> = threads
            .iter()
            .filter(|name| !name.starts_with("iou-"))
            .collect();
        assert_eq!(own, ["butler"], "{threads:?}");
        looked += 1;
        std::thread::sleep(Duration::from_millis(5));
    }
    client.join().unwrap();
    serve.terminate().expect_success();
}
