//! The real kernel: operations go through a `Ring` of io_uring, or through
//! `Epoll` and plain calls. Both are asked the same and answer the same, so that
//! nothing else knows which one it is.

mod outputs;

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;
use rustix::net::{Shutdown, SocketFlags, accept_with};
use rustix::process::{Resource, getrlimit};

use super::credentials;
use super::epoll::{self, Epoll};
use super::files::Files;
use super::io::{Completion, Ending, Io, ReadBy, Sync, Token, Wait};
use super::listener::StreamServer;
use super::rights::{self, Elsewhere, Rights};
use super::ring::Ring;
use super::{buffers, source};
use crate::core::{ClientKey, ListenerKey, Visitor};

/// What was read, in a buffer that must be given back. It can't be copied, so
/// that happens once.
#[derive(Debug)]
pub enum Filled {
    /// By the ring.
    Ring(buffers::Filled),
    /// By a plain call.
    Epoll(epoll::Filled),
}

/// How operations are done.
pub(super) enum Kernel {
    Ring(Box<Ring>),
    Epoll(Epoll),
}

/// What an operation has come to that a thread did.
enum Answer {
    Resolved(u32, io::Result<Vec<SocketAddr>>),
    Synced(u32, io::Result<()>),
}

/// See the module.
pub struct System {
    kernel: Kernel,
    elsewhere: Elsewhere,
    /// Where threads tell what came of an operation.
    answers: (Sender<Answer>, Receiver<Answer>),
    /// The next one of these, if it was looked for.
    answer: Option<Answer>,
}

impl System {
    pub(super) fn new(kernel: Kernel) -> Self {
        Self {
            kernel,
            elsewhere: Elsewhere::default(),
            answers: channel(),
            answer: None,
        }
    }

    /// A descriptor that becomes readable when there is something to do.
    pub(crate) fn wait_fd(&self) -> BorrowedFd<'_> {
        match &self.kernel {
            Kernel::Ring(ring) => ring.eventfd(),
            Kernel::Epoll(epoll) => epoll.wait_fd(),
        }
    }

    /// Makes that descriptor readable.
    pub(crate) fn signal(&self) -> io::Result<()> {
        match &self.kernel {
            Kernel::Ring(ring) => ring.signal(),
            Kernel::Epoll(epoll) => epoll.signal(),
        }
    }

    fn eventfd(&self) -> BorrowedFd<'_> {
        match &self.kernel {
            Kernel::Ring(ring) => ring.eventfd(),
            Kernel::Epoll(epoll) => epoll.eventfd(),
        }
    }
}

impl Files for System {
    type Fd = OwnedFd;
}

impl Io for System {
    type Server = StreamServer;
    type Filled = Filled;

    fn read(&mut self, client: ClientKey, fd: &OwnedFd, by: ReadBy, ready: bool) -> io::Result<()> {
        match &mut self.kernel {
            Kernel::Ring(ring) => ring.read(client, fd.as_fd(), by, ready),
            Kernel::Epoll(epoll) => {
                epoll.read(client, fd.as_fd(), by, ready);
                Ok(())
            }
        }
    }

    fn readable(&mut self, client: ClientKey, fd: &OwnedFd, by: ReadBy) -> io::Result<()> {
        match &mut self.kernel {
            Kernel::Ring(ring) => ring.wait(Token::Client(client), fd.as_fd(), Wait::Readable),
            Kernel::Epoll(epoll) => {
                epoll.readable(client, fd.as_fd(), by);
                Ok(())
            }
        }
    }

    fn accept(&mut self, listener: ListenerKey, server: &StreamServer) -> io::Result<()> {
        match &mut self.kernel {
            Kernel::Ring(ring) => ring.accept(listener, server.fd.as_fd()),
            Kernel::Epoll(epoll) => {
                epoll.accept(listener, server.fd.as_fd());
                Ok(())
            }
        }
    }

    fn wait(&mut self, number: u32, fd: &OwnedFd, wait: Wait) -> io::Result<()> {
        match &mut self.kernel {
            Kernel::Ring(ring) => ring.wait(Token::Output(number), fd.as_fd(), wait),
            Kernel::Epoll(epoll) => epoll.wait(number, fd.as_fd(), wait),
        }
    }

    fn resolve(&mut self, number: u32, host: &str, port: u16) -> io::Result<()> {
        let eventfd = self.eventfd().try_clone_to_owned()?;
        outputs::resolve(self.answers.0.clone(), eventfd, number, host, port)
    }

    fn sync(&mut self, number: u32, fd: &OwnedFd, what: Sync) -> io::Result<()> {
        if let Kernel::Ring(ring) = &mut self.kernel {
            return ring.sync(number, fd.as_fd(), what);
        }
        let eventfd = self.eventfd().try_clone_to_owned()?;
        outputs::sync(self.answers.0.clone(), eventfd, number, fd, what)
    }

    fn cancel(&mut self, token: Token) -> io::Result<()> {
        match &mut self.kernel {
            Kernel::Ring(ring) => ring.cancel(token),
            Kernel::Epoll(epoll) => {
                epoll.cancel(token);
                Ok(())
            }
        }
    }

    fn forget(&mut self, token: Token, fd: &OwnedFd) {
        match &mut self.kernel {
            Kernel::Ring(_) => {}
            Kernel::Epoll(epoll) => epoll.forget(token, fd.as_fd()),
        }
    }

    fn enter(&mut self) -> io::Result<()> {
        match &mut self.kernel {
            Kernel::Ring(ring) => ring.enter(),
            Kernel::Epoll(epoll) => epoll.enter(),
        }
    }

    fn has_work(&mut self) -> bool {
        let has_work = match &mut self.kernel {
            Kernel::Ring(ring) => ring.has_work(),
            Kernel::Epoll(epoll) => epoll.has_work(),
        };
        // That has taken notice of the signal by which answers come: what is not
        // seen now is signalled later.
        self.answer = self
            .answer
            .take()
            .or_else(|| self.answers.1.try_recv().ok());
        has_work || self.answer.is_some()
    }

    fn next<'a>(
        &mut self,
        find: impl Fn(Token) -> Option<&'a OwnedFd>,
    ) -> Option<Completion<OwnedFd, Filled>> {
        let completion = match &mut self.kernel {
            Kernel::Ring(ring) => ring.next().map(|it| it.map(Filled::Ring)),
            Kernel::Epoll(epoll) => epoll.next(find).map(|it| it.map(Filled::Epoll)),
        };
        completion.or_else(|| {
            let answer = self.answer.take();
            let answer = answer.or_else(|| self.answers.1.try_recv().ok())?;
            Some(match answer {
                Answer::Resolved(number, result) => Completion::Resolved { number, result },
                Answer::Synced(number, result) => Completion::Synced { number, result },
            })
        })
    }

    fn bytes<'a>(&'a self, filled: &'a Filled) -> &'a [u8] {
        match (&self.kernel, filled) {
            (Kernel::Ring(ring), Filled::Ring(filled)) => ring.bytes(filled),
            (Kernel::Epoll(epoll), Filled::Epoll(filled)) => epoll.bytes(filled),
            _ => unreachable!("it was read here"),
        }
    }

    fn recycle(&mut self, filled: Filled) {
        match (&mut self.kernel, filled) {
            (Kernel::Ring(ring), Filled::Ring(filled)) => ring.recycle(filled),
            (Kernel::Epoll(epoll), Filled::Epoll(filled)) => epoll.recycle(filled),
            _ => unreachable!("it was read here"),
        }
    }

    fn visitor(&mut self, fd: &OwnedFd) -> (Visitor, ReadBy) {
        // Also of those who are not let in: their sockets are closed too.
        let rights = rights::refuse(fd);
        source::out_of_band_in_line(fd);
        let visitor = Visitor {
            peer: credentials::of_peer(fd),
            refused: (rights == Rights::Passed).then(rights::passed),
            // The kernel gives the lowest number that is free: this was the last.
            last: is_last(fd),
        };
        (visitor, source::by(rights))
    }

    fn accept_waiting(&mut self, server: &StreamServer) -> io::Result<Option<OwnedFd>> {
        let mut waits = [PollFd::new(&server.fd, PollFlags::IN)];
        match poll(&mut waits, Some(&Timespec::default()))? {
            0 => Ok(None),
            _ => match accept_with(&server.fd, SocketFlags::CLOEXEC) {
                Ok(fd) => Ok(Some(fd)),
                Err(error) => Err(error.into()),
            },
        }
    }

    fn listening(server: &StreamServer) -> &OwnedFd {
        &server.fd
    }

    fn unlink(&mut self, server: &StreamServer) {
        server.unlink();
    }

    fn spare(&mut self) -> io::Result<OwnedFd> {
        self.wait_fd().try_clone_to_owned()
    }

    fn end(&mut self, fd: &OwnedFd, by: ReadBy) -> Ending {
        if by != ReadBy::Read && rustix::net::shutdown(fd, Shutdown::Read).is_ok() {
            // What was written before is read, then the end comes.
            return Ending::Comes;
        }
        let is_file = rustix::fs::fstat(fd)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
        Ending::After(match is_file {
            true => 0,
            false => rustix::io::ioctl_fionread(fd).unwrap_or(0),
        })
    }

    fn are_written(&mut self, fds: &[&OwnedFd]) -> io::Result<Vec<bool>> {
        let mut ends: Vec<_> = fds
            .iter()
            .map(|fd| PollFd::new(*fd, PollFlags::RDHUP))
            .collect();
        poll(&mut ends, Some(&Timespec::default()))?;
        let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        Ok(ends
            .iter()
            .map(|end| !end.revents().intersects(gone))
            .collect())
    }

    fn close(&mut self, fd: OwnedFd, unread: bool) {
        if unread {
            self.elsewhere.close(fd);
        }
    }

    fn close_server(&mut self, server: StreamServer) {
        let fd = server.fd.as_fd();
        // Who was not accepted any more may have passed descriptors.
        if rights::refuse(fd) == Rights::Possible
            && let Ok(last) = fd.try_clone_to_owned()
        {
            drop(server);
            self.elsewhere.let_go(last);
        }
    }

    fn connect(&mut self, to: &super::io::Endpoint) -> io::Result<OwnedFd> {
        outputs::connect(to)
    }

    fn connected(&mut self, fd: &OwnedFd) -> io::Result<()> {
        outputs::connected(fd)
    }

    fn send(&mut self, fd: &OwnedFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        outputs::send(fd, slices)
    }

    fn receive(&mut self, fd: &OwnedFd, into: &mut [u8]) -> io::Result<usize> {
        outputs::receive(fd, into)
    }

    fn check(&mut self, fd: &OwnedFd) -> io::Result<()> {
        outputs::check(fd)
    }

    fn finish_sending(&mut self, fd: &OwnedFd) -> io::Result<()> {
        Ok(rustix::net::shutdown(fd, Shutdown::Write)?)
    }

    fn drain(&mut self, fd: &OwnedFd) -> io::Result<bool> {
        outputs::drain(fd)
    }
}

fn is_last(fd: &OwnedFd) -> bool {
    use std::os::fd::AsRawFd;
    let limit = getrlimit(Resource::Nofile).current;
    limit.is_some_and(|limit| fd.as_raw_fd() as u64 + 1 >= limit)
}

impl<D, F> Completion<D, F> {
    fn map<G>(self, wrap: impl FnOnce(F) -> G) -> Completion<D, G> {
        match self {
            Self::Read {
                client,
                result,
                more,
            } => Completion::Read {
                client,
                result: result.map(|filled| filled.map(wrap)),
                more,
            },
            Self::Readable { client, result } => Completion::Readable { client, result },
            Self::Accepted {
                listener,
                result,
                armed,
            } => Completion::Accepted {
                listener,
                result,
                armed,
            },
            Self::Ready { number, result } => Completion::Ready { number, result },
            Self::Resolved { number, result } => Completion::Resolved { number, result },
            Self::Synced { number, result } => Completion::Synced { number, result },
        }
    }
}
