mod acks;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::net::{SocketAddrUnix, sockopt};

use super::*;
use crate::limits::BUNDLE_MAX;
use crate::output::testing::{Bench, bundles, lines, noise, parse, text_bundle};
use crate::proto::logpb::ButlerLogBundle;
use crate::wire::descriptor::StreamType;

const BOTH: [Compress; 2] = [Compress::None, Compress::ZLIB];

fn some_bundles() -> Vec<Arc<Message>> {
    bundles(20_000, &[("a/text", StreamType::Text, &lines(400_000))])
}

fn decoded(bundles: &[Arc<Message>]) -> Vec<ButlerLogBundle> {
    bundles.iter().map(|it| it.decode()).collect()
}

fn to_unix(path: &Path, compress: Compress) -> Bench<Socket<OwnedFd>> {
    Bench::new(|_| Socket::new(Address::Unix(path.to_owned()), compress, false))
}

fn to_tcp(host: &str, listener: &TcpListener) -> Bench<Socket<OwnedFd>> {
    let address = Address::Tcp {
        host: host.into(),
        port: listener.local_addr().unwrap().port(),
    };
    Bench::new(|_| Socket::new(address, Compress::None, false))
}

fn deliver_all(bench: &mut Bench<Socket<OwnedFd>>, bundles: &[Arc<Message>]) -> u64 {
    let mut bytes = 0;
    for bundle in bundles {
        bytes += bench.deliver(bundle).unwrap();
    }
    bytes
}

/// Reads to the end, or so many bytes.
fn read(connection: impl Read, limit: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    connection.take(limit).read_to_end(&mut bytes).unwrap();
    bytes
}

/// A peer whose connections each take at most so many bytes and then close.
fn unix_peer(path: &Path, limits: Vec<u64>) -> JoinHandle<Vec<Vec<u8>>> {
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        let take = |limit| read(listener.accept().unwrap().0, limit);
        limits.into_iter().map(take).collect()
    })
}

#[test]
fn unix_round_trips() {
    for compress in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let peer = unix_peer(&path, vec![u64::MAX]);
        let all = some_bundles();
        let bytes = {
            let mut bench = to_unix(&path, compress);
            let bytes = deliver_all(&mut bench, &all);
            bench.finish();
            assert_eq!(bench.errors(), 0);
            bytes
        };
        let read = peer.join().unwrap().remove(0);
        assert_eq!(read.len() as u64, bytes);
        assert_eq!(parse(&read), (decoded(&all), read.len()));
    }
}

#[test]
fn tcp_round_trips() {
    for host in ["127.0.0.1", "localhost"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let all = some_bundles();
        let mut bench = to_tcp(host, &listener);
        let peer = thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            // It talks, and is slow: neither does harm.
            connection.write_all(&[1; 10_000]).unwrap();
            thread::sleep(Duration::from_millis(100));
            read(connection, u64::MAX)
        });
        {
            deliver_all(&mut bench, &all);
            bench.finish();
            assert_eq!(bench.errors(), 0);
        }
        // The peer has read all by the time that `finish` returns.
        thread::sleep(Duration::from_millis(20));
        assert!(peer.is_finished());
        let read = peer.join().unwrap();
        assert_eq!(parse(&read), (decoded(&all), read.len()));
    }
}

#[test]
fn a_slow_reader_gets_it_in_small_parts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let (first, large) = (text_bundle(b"x\n"), text_bundle(&lines(500_000)));
    let peer = thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let mut all = Vec::new();
        let mut bytes = [0; 3000];
        loop {
            match connection.read(&mut bytes).unwrap() {
                0 => return all,
                len => all.extend_from_slice(&bytes[..len]),
            }
            thread::sleep(Duration::from_micros(300));
        }
    });
    {
        let mut bench = to_unix(&path, Compress::None);
        bench.deliver(&first).unwrap();
        sockopt::set_socket_send_buffer_size(bench.output.link.open().unwrap(), 4096).unwrap();
        let started = Instant::now();
        assert!(bench.holds_up(&large, Duration::from_millis(10)));
        assert!(started.elapsed() < Duration::from_millis(100));
        bench.outcome().result().unwrap();
        bench.finish();
        drop(bench);
        let read = peer.join().unwrap();
        let expected = vec![first.decode(), large.decode()];
        assert_eq!(parse(&read), (expected, read.len()));
    }
}

#[test]
fn a_cut_message_comes_again_whole() {
    for compress in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let small = text_bundle(b"x\n");
        // More than a socket has room for, compressed too.
        let streams = [("noise", StreamType::Binary, &noise(6_000_000)[..])];
        let large = bundles(BUNDLE_MAX, &streams).remove(0);
        let peer = unix_peer(&path, vec![100_000, 200_000, u64::MAX]);
        {
            let mut bench = to_unix(&path, compress);
            for bundle in [&small, &large, &small] {
                bench.deliver(bundle).unwrap();
            }
            bench.finish();
            assert_eq!(bench.errors(), 2);
        }
        let connections = peer.join().unwrap();
        let (whole, len) = parse(&connections[0]);
        assert!(whole == [small.decode()] && len < connections[0].len());
        assert_eq!(parse(&connections[1]), (vec![], 0));
        let expected = vec![large.decode(), small.decode()];
        assert_eq!(parse(&connections[2]), (expected, connections[2].len()));
        // Each began the message anew.
        assert!(connections[2].starts_with(&connections[1]));
        assert!(connections[2].starts_with(&connections[0][len..]));
    }
}

#[test]
fn a_cut_message_comes_again_whole_over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut bench = to_tcp("127.0.0.1", &listener);
    let large = text_bundle(&lines(6_000_000));
    let peer = thread::spawn(move || {
        [100_000, u64::MAX].map(|limit| read(listener.accept().unwrap().0, limit))
    });
    {
        bench.deliver(&large).unwrap();
        bench.finish();
        assert_eq!(bench.errors(), 1);
    }
    let [first, second] = peer.join().unwrap();
    assert!(second.starts_with(&first));
    assert_eq!(parse(&second), (vec![large.decode()], second.len()));
}

#[test]
fn a_peer_that_left_while_idle_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let unix = UnixListener::bind(&path).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let bundle = text_bundle(b"x\n");
    {
        let mut bench = to_unix(&path, Compress::None);
        let len = bench.deliver(&bundle).unwrap();
        read(unix.accept().unwrap().0, len);
        bench.deliver(&bundle).unwrap();
        let bytes = read(unix.accept().unwrap().0, len);
        assert_eq!(parse(&bytes).0, [bundle.decode()]);
        assert_eq!(bench.errors(), 0);

        let mut bench = to_tcp("127.0.0.1", &tcp);
        bench.deliver(&bundle).unwrap();
        read(tcp.accept().unwrap().0, len);
        thread::sleep(Duration::from_millis(20));
        bench.deliver(&bundle).unwrap();
        let bytes = read(tcp.accept().unwrap().0, len);
        assert_eq!(parse(&bytes).0, [bundle.decode()]);
        assert_eq!(bench.errors(), 0);
    }
}

#[test]
fn a_unix_peer_may_close_its_own_direction() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let bundle = text_bundle(b"x\n");
    {
        let mut bench = to_unix(&path, Compress::None);
        let len = bench.deliver(&bundle).unwrap();
        let (mut connection, _) = listener.accept().unwrap();
        connection.write_all(b"noise").unwrap();
        connection.shutdown(std::net::Shutdown::Write).unwrap();
        bench.deliver(&bundle).unwrap();
        let bytes = read(connection, 2 * len);
        assert_eq!(parse(&bytes).0, [bundle.decode(), bundle.decode()]);
    }
}

#[test]
fn waits_for_a_peer_that_comes_later() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let later = path.clone();
    let peer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(250));
        unix_peer(&later, vec![u64::MAX]).join().unwrap()
    });
    let all = some_bundles();
    {
        let mut bench = to_unix(&path, Compress::None);
        deliver_all(&mut bench, &all);
        bench.finish();
        assert!(bench.errors() >= 2);
    }
    let read = peer.join().unwrap().remove(0);
    assert_eq!(parse(&read), (decoded(&all), read.len()));
}

#[test]
fn a_full_backlog_does_not_stop_the_thread() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::STREAM,
        None,
    )
    .unwrap();
    rustix::net::bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let listener = UnixListener::from(socket);
    let in_the_way = UnixStream::connect(&path).unwrap();
    let bundle = text_bundle(b"x\n");
    let expected = bundle.decode();
    {
        let mut bench = to_unix(&path, Compress::None);
        assert!(bench.holds_up(&bundle, Duration::from_millis(120)));
        drop(in_the_way);
        listener.accept().unwrap();
        let len = bench.outcome().result().unwrap();
        assert!(bench.errors() > 0);
        let bytes = read(listener.accept().unwrap().0, len);
        assert_eq!(parse(&bytes).0, [expected]);
    }
}

#[test]
fn finish_waits_for_the_peer_but_not_for_ever() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let bundle = text_bundle(b"x\n");
    {
        let mut bench = to_tcp("127.0.0.1", &listener);
        bench.deliver(&bundle).unwrap();
        let (connection, _) = listener.accept().unwrap();
        let started = Instant::now();
        let slow = thread::spawn(move || {
            thread::sleep(Duration::from_millis(200));
            drop(connection);
        });
        bench.finish();
        assert!(started.elapsed() >= Duration::from_millis(190));
        slow.join().unwrap();

        bench.deliver(&bundle).unwrap();
        let _open = listener.accept().unwrap();
        let started = Instant::now();
        bench.finish();
        assert!(started.elapsed() >= CLOSE_TIMEOUT);
    }
}

#[test]
fn an_abandoned_write_does_not_hold_up_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let large = text_bundle(&lines(8_000_000));
    {
        let mut bench = to_unix(&path, Compress::None);
        assert!(bench.holds_up(&large, Duration::from_millis(50)));
    }
    drop(listener);
}

#[test]
fn addresses_are_shown_as_they_are_given() {
    let tcp = |host: &str| Address::Tcp {
        host: host.into(),
        port: 1,
    };
    assert_eq!(Address::Unix("/a/b".into()).to_string(), "unix:/a/b");
    assert_eq!(tcp("host").to_string(), "tcp:host:1");
    assert_eq!(tcp("::1").to_string(), "tcp:[::1]:1");
}
