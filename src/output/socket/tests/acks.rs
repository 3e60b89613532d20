//! With a far end that acknowledges.

use super::*;
use crate::limits::{ACK_TIMEOUT, ACK_WINDOW_MESSAGES};
use crate::read::Receiver;
use crate::wire::ack;

/// An output, who listens for it, and where.
struct Ends {
    bench: Bench<Socket<OwnedFd>>,
    listener: UnixListener,
    _dir: tempfile::TempDir,
}

fn ends(compress: Compress) -> Ends {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    Ends {
        listener: UnixListener::bind(&path).unwrap(),
        bench: Bench::new(|_| Socket::new(Address::Unix(path), compress, true)),
        _dir: dir,
    }
}

/// The far end of one connection.
struct Far {
    connection: UnixStream,
    receiver: Receiver,
    messages: Vec<Vec<u8>>,
}

impl Far {
    fn new(connection: UnixStream) -> Self {
        connection.set_nonblocking(true).unwrap();
        Self {
            connection,
            receiver: Receiver::new(),
            messages: Vec::new(),
        }
    }

    /// Takes what is there. False: the connection has ended.
    fn take(&mut self) -> bool {
        let is_open = match self.receiver.read_from(&mut self.connection) {
            Ok(len) => len > 0,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        while let Some(message) = self.receiver.message().unwrap() {
            self.messages.push(message.bytes().to_vec());
        }
        is_open
    }

    fn say(&mut self, frame: &[u8]) {
        self.connection.write_all(frame).unwrap();
    }
}

impl Ends {
    fn start_all(&mut self, all: &[Arc<Message>]) {
        all.iter().for_each(|message| self.bench.start(message));
    }

    /// The far end takes until it has so many.
    fn until_taken(&mut self, far: &mut Far, count: usize) {
        while far.messages.len() < count {
            assert!(far.take());
            self.bench.poll();
        }
    }

    /// The far end of the next connection, which may have to be waited for.
    fn next(&mut self) -> Far {
        self.listener.set_nonblocking(true).unwrap();
        loop {
            self.bench.poll();
            if let Ok((connection, _)) = self.listener.accept() {
                return Far::new(connection);
            }
        }
    }
}

fn encoded(all: &[Arc<Message>], compress: Compress) -> Vec<Vec<u8>> {
    let mut encoder = crate::delivery::encode::Encoder::new(compress);
    let encode = |message: &Arc<Message>| {
        encoder.encode(message);
        encoder.pieces().concat()
    };
    all.iter().map(encode).collect()
}

#[test]
fn several_are_under_way_and_settled_as_they_are_acknowledged() {
    for compress in BOTH {
        let mut ends = ends(compress);
        let all = some_bundles();
        assert!(all.len() > 10 && all.len() < ACK_WINDOW_MESSAGES);
        ends.start_all(&all);
        let mut far = ends.next();
        ends.until_taken(&mut far, all.len());
        assert_eq!(far.messages, encoded(&all, compress));
        assert!(
            !ends
                .bench
                .poll_for(Duration::from_millis(20), Bench::has_settled)
        );

        // Some, the same again, and the rest.
        let mut settled = 0;
        for count in [0, 3, 3, 4, all.len()] {
            let frame = far.receiver.acknowledge_first(count as u64);
            for byte in frame {
                far.say(&[byte]);
                ends.bench.poll();
            }
            while settled < count {
                let outcome = ends.bench.outcome();
                assert_eq!(outcome.ticket(), all[settled].ticket());
                let len = far.messages[settled].len() as u64;
                assert_eq!(outcome.result(), Ok(len));
                settled += 1;
            }
            assert!(!ends.bench.has_settled());
        }
        ends.bench.finish();
        while far.take() {}
        assert_eq!((ends.bench.errors(), far.receiver.tail()), (0, Ok(0)));
    }
}

#[test]
fn what_is_not_acknowledged_comes_again_with_the_same_bytes() {
    for compress in BOTH {
        let mut ends = ends(compress);
        let all = some_bundles();
        ends.start_all(&all);
        let mut expected = encoded(&all, compress);
        let mut left = all.len();
        for (taken, safe) in [(5, 3), (4, 0), (2, 2)] {
            let mut far = ends.next();
            ends.until_taken(&mut far, taken);
            assert!(expected.starts_with(&far.messages));
            far.say(&far.receiver.acknowledge_first(safe));
            for _ in 0..safe {
                ends.bench.outcome().result().unwrap();
                left -= 1;
            }
            expected.drain(..safe as usize);
        }
        let mut far = ends.next();
        ends.until_taken(&mut far, left);
        assert_eq!(far.messages, expected);
        far.say(&far.receiver.acknowledge());
        for _ in 0..left {
            ends.bench.outcome().result().unwrap();
        }
        ends.bench.finish();
        assert_eq!(ends.bench.errors(), 3);
    }
}

/// Whatever the far end says that it must not: the connection is over, and the
/// message comes again.
#[test]
fn wrong_answers_end_the_connection() {
    let beyond = ack::frame(2, "");
    let back = [ack::frame(1, ""), ack::frame(0, "")].concat();
    let refused = ack::frame(0, "no\nroom");
    for answer in [
        &beyond[..],
        &back,
        &refused,
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x81\x20",
        b"\x02\x08",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"",
    ] {
        let mut ends = ends(Compress::None);
        let bundle = text_bundle(b"x\n");
        ends.bench.start(&bundle);
        let mut far = ends.next();
        ends.until_taken(&mut far, 1);
        far.say(answer);
        drop(far);
        // It may have been acknowledged before.
        if answer == back {
            ends.bench.outcome().result().unwrap();
            assert!(
                ends.bench
                    .poll_for(Duration::from_secs(60), |it| it.errors() == 1)
            );
            continue;
        }
        let mut far = ends.next();
        ends.until_taken(&mut far, 1);
        far.say(&far.receiver.acknowledge());
        ends.bench.outcome().result().unwrap();
        assert_eq!(ends.bench.errors(), 1, "{answer:?}");
    }
}

/// A connection that ends while nothing is under way is no error, and one that
/// says why it ends is.
#[test]
fn a_far_end_that_leaves_while_idle() {
    for (why, errors) in [("", 0), ("going down", 1)] {
        let mut ends = ends(Compress::None);
        let bundle = text_bundle(b"x\n");
        for _ in 0..3 {
            ends.bench.start(&bundle);
            let mut far = ends.next();
            ends.until_taken(&mut far, 1);
            far.say(&far.receiver.acknowledge());
            ends.bench.outcome().result().unwrap();
            if !why.is_empty() {
                far.say(&far.receiver.refuse(1, why));
            }
        }
        assert_eq!(ends.bench.errors(), 2 * errors);
    }
}

/// Nothing is heard for long: the connection is given up. What is said in time
/// counts, also if we did not run meanwhile.
#[test]
fn a_silent_far_end_is_taken_for_dead() {
    let mut ends = ends(Compress::None);
    let bundle = text_bundle(b"x\n");
    let later = |bench: &mut Bench<Socket<OwnedFd>>, time: Duration| {
        bench.call(|output, now| {
            now.ns += time.as_nanos() as u64;
            output.poll(now);
        });
    };
    ends.bench.start(&bundle);
    let mut far = ends.next();
    ends.until_taken(&mut far, 1);
    later(&mut ends.bench, ACK_TIMEOUT / 2);
    assert_eq!(ends.bench.errors(), 0);
    far.say(&far.receiver.acknowledge_first(0));
    later(&mut ends.bench, ACK_TIMEOUT + Duration::from_secs(1));
    assert_eq!(ends.bench.errors(), 0, "it has said something");
    let far_future = 3 * ACK_TIMEOUT;
    later(&mut ends.bench, far_future);
    assert_eq!(ends.bench.errors(), 1);
    assert!(!ends.bench.has_settled());
}
