//! What the driver and the outputs ask of this kernel.

use std::io::{self, IoSlice};

use butler::core::{ClientKey, ListenerKey, Peer, Visitor};
use butler::edge::io::{Completion, Ending, Endpoint, Io, ReadBy, Sync, Token, Wait};
use rustix::io::Errno;

use super::operations::Operation;
use super::{Fd, Filled, Kernel, Server, What};
use crate::broken::Broken;
use crate::plan::{Fault, How};

/// The user that the butler runs as, who may open streams.
pub const OWN_USER: u32 = 1000;
/// Somebody else.
const OTHER_USER: u32 = 1001;

fn client(fd: &Fd) -> usize {
    match fd.what {
        What::Client(client) => client,
        _ => panic!("{fd:?} is no client's"),
    }
}

fn connection(fd: &Fd) -> &super::Connection {
    match &fd.what {
        What::Connection(connection) => connection,
        _ => panic!("{fd:?} is no output's"),
    }
}

impl Io for Kernel {
    type Server = Server;
    type Filled = Filled;

    fn read(&mut self, key: ClientKey, fd: &Fd, _: ReadBy, _: bool) -> io::Result<()> {
        self.0.borrow_mut().ask(Operation::Read(key, client(fd)));
        Ok(())
    }

    fn readable(&mut self, key: ClientKey, fd: &Fd, _: ReadBy) -> io::Result<()> {
        let operation = Operation::Readable(key, client(fd));
        self.0.borrow_mut().ask(operation);
        Ok(())
    }

    fn accept(&mut self, listener: ListenerKey, _: &Server) -> io::Result<()> {
        self.0.borrow_mut().ask(Operation::Accept(listener));
        Ok(())
    }

    fn wait(&mut self, number: u32, fd: &Fd, wait: Wait) -> io::Result<()> {
        let What::Connection(connection) = &fd.what else {
            panic!("{fd:?} is not waited for");
        };
        let operation = Operation::Wait(number, connection.clone(), wait);
        self.0.borrow_mut().ask(operation);
        Ok(())
    }

    fn resolve(&mut self, number: u32, _: &str, _: u16) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        let due_ns = state.now_ns + state.chance.nanos(200);
        state.ask(Operation::Resolve(number, due_ns));
        Ok(())
    }

    fn sync(&mut self, number: u32, fd: &Fd, what: Sync) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        let due_ns = state.now_ns + state.chance.nanos(20);
        let syncing = match &fd.what {
            What::Disk(open) => Some((open.begin_sync(), what)),
            _ => None,
        };
        state.ask(Operation::Sync(number, due_ns, syncing));
        Ok(())
    }

    fn cancel(&mut self, token: Token) -> io::Result<()> {
        self.0.borrow_mut().cancel(token);
        Ok(())
    }

    fn forget(&mut self, token: Token, _: &Fd) {
        assert!(!self.0.borrow().is_under_way(token), "{token:?} is closed");
    }

    fn enter(&mut self) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        if state.failed {
            return Err(Errno::NOMEM.into());
        }
        (state.is_asked, state.is_taken) = (false, false);
        state.work();
        Ok(())
    }

    fn has_work(&mut self) -> bool {
        let state = self.0.borrow();
        state.is_asked || !state.completed.is_empty()
    }

    fn next<'a>(&mut self, _: impl Fn(Token) -> Option<&'a Fd>) -> Option<Completion<Fd, Filled>> {
        let mut state = self.0.borrow_mut();
        if state.single && state.is_taken {
            return None;
        }
        if state.completed.is_empty() && state.eager {
            state.work();
        }
        let completion = state.completed.pop_front()?;
        (state.is_taken, state.calls) = (true, state.calls + 1);
        Some(completion)
    }

    fn bytes<'a>(&'a self, filled: &'a Filled) -> &'a [u8] {
        &filled.0
    }

    fn recycle(&mut self, filled: Filled) {
        drop(filled);
        self.0.borrow_mut().buffers += 1;
    }

    fn visitor(&mut self, fd: &Fd) -> (Visitor, ReadBy) {
        let state = self.0.borrow();
        let how = state.hows[client(fd)];
        let peer = match how {
            How::Unknown => Err(Errno::INVAL.into()),
            How::Stranger => Ok(OTHER_USER),
            _ => Ok(OWN_USER),
        };
        let visitor = Visitor {
            peer: peer.map(|uid| Peer { pid: None, uid }),
            refused: (how == How::PassesDescriptors).then(|| Errno::NOTSUP.into()),
            last: state.places.get() == 0,
        };
        (visitor, ReadBy::Recv)
    }

    fn accept_waiting(&mut self, _: &Server) -> io::Result<Option<Fd>> {
        let mut state = self.0.borrow_mut();
        if state.queue.is_empty() || state.chance.breaks(Broken::ClosesEarly) {
            return Ok(None);
        }
        state.accept_next().map(Some)
    }

    fn listening(server: &Server) -> &Fd {
        &server.listener
    }

    fn unlink(&mut self, _: &Server) {
        self.0.borrow_mut().listening = false;
    }

    fn spare(&mut self) -> io::Result<Fd> {
        let mut state = self.0.borrow_mut();
        if state.chance.broken == Some(Broken::KeepsNoSpare) {
            return Ok(Fd {
                what: What::Spare,
                _place: None,
            });
        }
        state.fd(What::Spare).ok_or_else(|| Errno::MFILE.into())
    }

    fn end(&mut self, fd: &Fd, by: ReadBy) -> Ending {
        let mut state = self.0.borrow_mut();
        let number = client(fd);
        let is_early = state.chance.broken == Some(Broken::EndsEarly);
        let socket = &mut state.sockets[number];
        socket.end();
        if is_early {
            socket.forget();
        }
        match by {
            ReadBy::Read => Ending::After(socket.len() as u64),
            ReadBy::Recv | ReadBy::Look => {
                socket.shut();
                Ending::Comes
            }
        }
    }

    fn are_written(&mut self, fds: &[&Fd]) -> io::Result<Vec<bool>> {
        let mut state = self.0.borrow_mut();
        if state.chance.happens(Fault::Interrupts, 3) {
            return Err(Errno::INTR.into());
        }
        let sockets = fds.iter().map(|fd| &state.sockets[client(fd)]);
        Ok(sockets.map(super::Socket::is_written).collect())
    }

    fn close(&mut self, fd: Fd, _: bool) {
        let mut state = self.0.borrow_mut();
        let number = client(&fd);
        state.trace.note(|| format!("closes {number}"));
        state.sockets[number].release();
    }

    fn close_server(&mut self, _: Server) {
        let mut state = self.0.borrow_mut();
        state.trace.note(|| "closes the listener".into());
        for client in state.queue.clone() {
            state.sockets[client].release();
        }
    }

    fn connect(&mut self, to: &Endpoint) -> io::Result<Fd> {
        self.0.borrow_mut().connect_output(to)
    }

    fn connected(&mut self, fd: &Fd) -> io::Result<()> {
        self.0.borrow().connected(connection(fd))
    }

    fn send(&mut self, fd: &Fd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let data = slices.iter().flat_map(|it| it.to_vec()).collect();
        self.0.borrow_mut().send(connection(fd), data)
    }

    fn receive(&mut self, fd: &Fd, into: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().receive(connection(fd), into)
    }

    fn check(&mut self, fd: &Fd) -> io::Result<()> {
        self.0.borrow_mut().check(connection(fd))
    }

    fn finish_sending(&mut self, fd: &Fd) -> io::Result<()> {
        self.0.borrow_mut().finish_sending(connection(fd))
    }

    fn drain(&mut self, fd: &Fd) -> io::Result<bool> {
        self.0.borrow().drain(connection(fd))
    }
}
