use std::fs::File;
use std::io::{IoSliceMut, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::io::ReadWriteFlags;

use super::*;
use crate::edge::testing::terminal;

/// What came: data, the end, or an error.
type Got = Result<Vec<u8>, Errno>;

/// A set and its descriptors, whose numbers are their places.
struct World {
    epoll: Epoll,
    fds: Vec<OwnedFd>,
}

impl World {
    fn new() -> Self {
        Self {
            epoll: Epoll::new().unwrap(),
            fds: Vec::new(),
        }
    }

    fn add(&mut self, fd: impl Into<OwnedFd>) -> u64 {
        self.fds.push(fd.into());
        self.fds.len() as u64 - 1
    }

    fn read(&mut self, number: u64, by: ReadBy, ready: bool) {
        let fd = self.fds[number as usize].as_fd();
        self.epoll.read(ClientKey::from_u64(number), fd, by, ready);
    }

    fn accept(&mut self, number: u64) {
        let fd = self.fds[number as usize].as_fd();
        self.epoll.accept(ListenerKey::from_u64(number), fd);
    }

    /// After a look at the set.
    fn next(&mut self) -> Option<Completion<OwnedFd, Filled>> {
        self.epoll.enter().unwrap();
        self.next_now()
    }

    fn next_now(&mut self) -> Option<Completion<OwnedFd, Filled>> {
        let fds = &self.fds;
        self.epoll.next(|token| match token {
            Token::Client(key) => fds.get(key.to_u64() as usize),
            Token::Listener(key) => fds.get(key.to_u64() as usize),
            Token::Output(_) => None,
        })
    }

    /// The next completion is that of a read: its number, what came, `more`.
    fn next_read(&mut self) -> Option<(u64, Got, bool)> {
        match self.next()? {
            Completion::Read {
                client,
                result,
                more,
            } => {
                let number = client.to_u64();
                let got = match result {
                    Ok(None) => Ok(Vec::new()),
                    Ok(Some(filled)) => {
                        let bytes = self.epoll.bytes(&filled).to_vec();
                        assert_eq!(bytes.len(), filled.len());
                        self.epoll.recycle(filled);
                        Ok(bytes)
                    }
                    Err(error) => Err(Errno::from_io_error(&error).unwrap()),
                };
                Some((number, got, more))
            }
            other => panic!("{other:?}"),
        }
    }

    fn is_readable(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, poll};
        let mut fds = [PollFd::from_borrowed_fd(
            self.epoll.wait_fd(),
            PollFlags::IN,
        )];
        poll(&mut fds, Some(&Timespec::default())).unwrap() == 1
    }
}

#[test]
fn a_socket_to_its_end() {
    for ready in [false, true] {
        let mut world = World::new();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let number = world.add(ours);
        world.read(number, ReadBy::Recv, ready);
        assert_eq!(world.next_read(), None);
        assert!(!world.epoll.has_work());

        theirs.write_all(b"one").unwrap();
        assert!(world.is_readable());
        assert!(world.epoll.has_work());
        assert_eq!(
            world.next_read(),
            Some((number, Ok(b"one".to_vec()), false))
        );
        // Nobody asked for more.
        theirs.write_all(b"two").unwrap();
        assert_eq!(world.next_read(), None);
        // It is not waited for any more either.
        assert!(!world.is_readable());
        assert!(!world.epoll.has_work());
        world.read(number, ReadBy::Recv, ready);
        assert_eq!(
            world.next_read(),
            Some((number, Ok(b"two".to_vec()), false))
        );

        drop(theirs);
        world.read(number, ReadBy::Recv, ready);
        assert_eq!(world.next_read(), Some((number, Ok(vec![]), false)));
    }
}

#[test]
fn more_than_a_buffer() {
    let mut world = World::new();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let writer = std::thread::spawn(move || theirs.write_all(&vec![7; 3 * READ_BUFFER_SIZE]));
    let number = world.add(ours);
    let mut len = 0;
    while len < 3 * READ_BUFFER_SIZE {
        world.read(number, ReadBy::Recv, false);
        if let Some((_, got, more)) = world.next_read() {
            let bytes = got.unwrap();
            // The set tells.
            assert!(!more);
            assert!(bytes.iter().all(|byte| *byte == 7));
            len += bytes.len();
        }
    }
    writer.join().unwrap().unwrap();
}

/// A pipe may be set to block, and is read only when that can't be.
#[test]
fn a_pipe() {
    let mut world = World::new();
    let (ours, mut theirs) = io::pipe().unwrap();
    let number = world.add(ours);
    world.read(number, ReadBy::Read, true);
    assert_eq!(world.next_read(), None);
    theirs.write_all(b"data").unwrap();
    assert_eq!(
        world.next_read(),
        Some((number, Ok(b"data".to_vec()), false))
    );
    world.read(number, ReadBy::Read, false);
    drop(theirs);
    assert_eq!(world.next_read(), Some((number, Ok(vec![]), false)));
}

/// Somebody else reads the pipe between the event and our read.
#[test]
fn a_pipe_with_two_readers() {
    let mut world = World::new();
    let (ours, mut theirs) = io::pipe().unwrap();
    let mut other = ours.try_clone().unwrap();
    let number = world.add(ours);
    world.read(number, ReadBy::Read, false);
    theirs.write_all(b"x").unwrap();
    world.epoll.enter().unwrap();
    // Kernels that can't read a pipe without waiting are left alone.
    let mut nothing = [IoSliceMut::new(&mut [])];
    let flags = ReadWriteFlags::NOWAIT;
    if rustix::io::preadv2(&other, &mut nothing, u64::MAX, flags) == Err(Errno::OPNOTSUPP) {
        eprintln!("skipped: no RWF_NOWAIT for pipes");
        return;
    }
    other.read_exact(&mut [0]).unwrap();
    assert_eq!(world.next_read(), None);
    theirs.write_all(b"y").unwrap();
    assert_eq!(world.next_read(), Some((number, Ok(b"y".to_vec()), false)));
}

#[test]
fn a_regular_file_is_always_ready() {
    let mut world = World::new();
    let mut file = tempfile::tempfile().unwrap();
    let len = READ_BUFFER_SIZE + 10;
    file.write_all(&vec![b'x'; len]).unwrap();
    io::Seek::rewind(&mut file).unwrap();
    let number = world.add(file);
    for (want, more) in [(READ_BUFFER_SIZE, true), (10, true), (0, true)] {
        world.read(number, ReadBy::Read, more);
        assert!(world.epoll.has_work());
        let (_, got, said) = world.next_read().unwrap();
        assert_eq!((got.unwrap().len(), said), (want, more));
    }
}

#[test]
fn a_terminal() {
    let Some((ours, theirs)) = terminal() else {
        return;
    };
    let mut world = World::new();
    let number = world.add(theirs);
    world.read(number, ReadBy::Read, false);
    assert_eq!(world.next_read(), None);
    rustix::io::write(&ours, b"typed\n").unwrap();
    // It comes through a worker of the kernel.
    while !world.is_readable() {
        std::thread::yield_now();
    }
    assert_eq!(
        world.next_read(),
        Some((number, Ok(b"typed\n".to_vec()), false))
    );
}

#[test]
fn what_can_not_be_read() {
    let mut world = World::new();
    let directory = world.add(File::open("/").unwrap());
    world.read(directory, ReadBy::Read, false);
    let (number, got, _) = world.next_read().unwrap();
    assert_eq!((number, got), (directory, Err(Errno::ISDIR)));

    let (ours, theirs) = UnixStream::pair().unwrap();
    // What it leaves unread breaks the connection.
    (&ours).write_all(b"unread").unwrap();
    drop(theirs);
    let number = world.add(ours);
    world.read(number, ReadBy::Recv, false);
    assert_eq!(
        world.next_read(),
        Some((number, Err(Errno::CONNRESET), false))
    );
}

#[test]
fn a_cancelled_read_reads_nothing() {
    let mut world = World::new();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let number = world.add(ours.try_clone().unwrap());
    for queued in [false, true] {
        world.read(number, ReadBy::Recv, queued);
        world
            .epoll
            .cancel(Token::Client(ClientKey::from_u64(number)));
        // Once, whatever is asked.
        world
            .epoll
            .cancel(Token::Client(ClientKey::from_u64(number)));
        theirs.write_all(b"x").unwrap();
        assert_eq!(
            world.next_read(),
            Some((number, Err(Errno::CANCELED), false))
        );
        assert_eq!(world.next_read(), None);
    }
    // The set lets go of a descriptor that others have open.
    let fd = world.fds[number as usize].as_fd();
    world
        .epoll
        .forget(Token::Client(ClientKey::from_u64(number)), fd);
    world.fds.clear();
    assert!(!world.is_readable());
    let mut rest = [0; 2];
    (&ours).read_exact(&mut rest).unwrap();
    assert_eq!(&rest, b"xx");
}

#[test]
fn one_at_a_time_has_the_buffer() {
    let mut world = World::new();
    let mut clients = Vec::new();
    for _ in 0..2 {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"x").unwrap();
        clients.push(theirs);
        let number = world.add(ours);
        world.read(number, ReadBy::Recv, true);
    }
    let Some(Completion::Read {
        result: Ok(Some(filled)),
        ..
    }) = world.next()
    else {
        panic!("there is data");
    };
    assert_eq!(world.next_read(), None);
    assert!(!world.epoll.has_work());
    world.epoll.recycle(filled);
    assert!(world.epoll.has_work());
    assert_eq!(world.next_read(), Some((1, Ok(b"x".to_vec()), false)));
}

/// However many have data that there is no room for.
#[test]
fn others_are_seen_while_nobody_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let mut world = World::new();
    let mut clients = Vec::new();
    for _ in 0..2 * EVENTS {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"x").unwrap();
        clients.push(theirs);
        let number = world.add(ours);
        world.read(number, ReadBy::Recv, false);
    }
    let listener = world.add(UnixListener::bind(&path).unwrap());
    world.accept(listener);
    let Some(Completion::Read {
        result: Ok(Some(filled)),
        ..
    }) = world.next()
    else {
        panic!("there is data");
    };
    clients.push(UnixStream::connect(&path).unwrap());
    let mut accepted = 0;
    while world.epoll.has_work() {
        match world.next() {
            None => {}
            Some(Completion::Accepted { result: Ok(_), .. }) => accepted += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(accepted, 1);
    assert!(!world.is_readable());

    world.epoll.recycle(filled);
    let rest = std::iter::from_fn(|| world.next_read());
    let rest: Vec<_> = rest.map(|(_, got, _)| got.unwrap()).collect();
    assert_eq!(rest, vec![b"x"; 2 * EVENTS - 1]);
}

/// The others wait for the next round, and keep their turns.
#[test]
fn a_round_ends() {
    let mut world = World::new();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&vec![b'x'; 2 * ROUND]).unwrap();
    io::Seek::rewind(&mut file).unwrap();
    let first = world.add(file);
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"x").unwrap();
    let second = world.add(ours);
    world.epoll.enter().unwrap();
    for _ in 0..READ_BUFFERS {
        world.read(first, ReadBy::Read, true);
        match world.next_now() {
            Some(Completion::Read {
                result: Ok(Some(filled)),
                ..
            }) => world.epoll.recycle(filled),
            other => panic!("{other:?}"),
        }
    }
    world.read(second, ReadBy::Recv, true);
    world.read(first, ReadBy::Read, true);
    assert!(world.next_now().is_none());
    assert!(world.epoll.has_work());
    assert_eq!(world.next_read(), Some((second, Ok(b"x".to_vec()), false)));
}

#[test]
fn accepts_until_told_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let mut world = World::new();
    let listener = UnixListener::bind(&path).unwrap();
    let number = world.add(listener);
    world.accept(number);
    assert!(world.next().is_none());
    // More than one event brings, some of them gone again.
    let count = 2 * ACCEPTS as usize + 10;
    let mut clients: Vec<_> = (0..count)
        .map(|_| UnixStream::connect(&path).unwrap())
        .collect();
    clients.truncate(count / 2);
    for _ in 0..count {
        match world.next() {
            Some(Completion::Accepted {
                result: Ok(_),
                armed: true,
                ..
            }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(world.next().is_none());

    world
        .epoll
        .cancel(Token::Listener(ListenerKey::from_u64(number)));
    let late = UnixStream::connect(&path).unwrap();
    match world.next() {
        Some(Completion::Accepted {
            result: Err(error),
            armed: false,
            ..
        }) => assert_eq!(Errno::from_io_error(&error), Some(Errno::CANCELED)),
        other => panic!("{other:?}"),
    }
    assert!(world.next().is_none());
    assert!(!world.is_readable());
    world.accept(number);
    assert!(world.next().is_some());
    drop(late);
}

#[test]
fn a_signal_is_seen_each_time() {
    let mut world = World::new();
    for _ in 0..3 {
        assert!(!world.is_readable());
        world.epoll.signal().unwrap();
        assert!(world.is_readable());
        assert!(!world.epoll.has_work());
    }
}

/// What descriptors come with is not read, nor what is before it in the same
/// look; without any it is read like all else.
#[test]
fn who_may_pass_descriptors_is_looked_at() {
    let mut world = World::new();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let number = world.add(ours);
    for ready in [true, false] {
        theirs.write_all(b"bytes").unwrap();
        world.read(number, ReadBy::Look, ready);
        let (_, got, _) = world.next_read().unwrap();
        assert_eq!(got.unwrap(), b"bytes");
    }
    world.read(number, ReadBy::Look, true);
    assert!(world.next().is_none(), "nothing is there");
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = rustix::net::SendAncillaryBuffer::new(&mut space);
    let passed = [theirs.as_fd()];
    assert!(rights.push(rustix::net::SendAncillaryMessage::ScmRights(&passed)));
    let bytes = [io::IoSlice::new(b"with a descriptor")];
    let flags = rustix::net::SendFlags::empty();
    rustix::net::sendmsg(&theirs, &bytes, &mut rights, flags).unwrap();
    match world.next() {
        Some(Completion::Read { result, .. }) => {
            assert!(result.unwrap_err().to_string().contains("descriptors"));
        }
        other => panic!("{other:?}"),
    }
}
