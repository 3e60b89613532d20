//! What butler asks of the kernel, all of it: [`Io`].
//!
//! There are three of it. [`System`](super::system::System) is the real one,
//! with io_uring or with epoll and plain calls. The simulator of the tests has a
//! kernel of its own, in which time is virtual and everything may fail.
//!
//! What may have to wait is an *operation*: it is asked for with a token, and
//! its completion brings the token back. There is at most one operation under
//! way for each token. Everything else answers at once and never waits: what
//! would have to is the error `WouldBlock`.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::path::PathBuf;

use super::files::Files;
use crate::core::{ClientKey, ListenerKey, Visitor};

/// What an operation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Token {
    /// Something is read of the client, or it is waited for that it can be.
    Client(ClientKey),
    /// Clients are accepted from the listener.
    Listener(ListenerKey),
    /// The output waits for something. What the number stands for it knows
    /// itself.
    Output(u32),
}

/// An operation has completed.
#[derive(Debug)]
pub enum Completion<D, F> {
    /// A read: data, or `None` at the end. `more`: there is data left.
    Read {
        /// Who was read.
        client: ClientKey,
        /// What came of it.
        result: io::Result<Option<F>>,
        /// There is data left in the socket.
        more: bool,
    },
    /// The client can be read: there is data, its end, or an error.
    Readable {
        /// Who can be read.
        client: ClientKey,
        /// It can't be waited for.
        result: io::Result<()>,
    },
    /// Somebody has connected. `armed`: others may follow without being asked
    /// for.
    Accepted {
        /// Where.
        listener: ListenerKey,
        /// The connection.
        result: io::Result<D>,
        /// The operation is still under way.
        armed: bool,
    },
    /// A descriptor of the output takes more, or has something to read.
    Ready {
        /// Of which operation.
        number: u32,
        /// It can't be waited for.
        result: io::Result<()>,
    },
    /// A host's addresses are known.
    Resolved {
        /// Of which operation.
        number: u32,
        /// At least one address, or why there is none.
        result: io::Result<Vec<SocketAddr>>,
    },
    /// What was written to a file is where it outlives the machine.
    Synced {
        /// Of which operation.
        number: u32,
        /// It may be anywhere. A later sync of the same file may succeed all the
        /// same, without what this one has lost.
        result: io::Result<()>,
    },
}

/// How a descriptor is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadBy {
    /// A stream socket.
    Recv,
    /// A stream socket over which descriptors may be passed: it is looked at
    /// before it is read.
    Look,
    /// Anything else: pipe, terminal, file.
    Read,
}

/// What a descriptor of the output is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// It takes more, or a connection is made or has failed.
    Writable,
    /// There is something to read, or the end.
    Readable,
    /// One of the two.
    Either,
}

/// What of a file is to outlive the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Its bytes, and its length.
    Data,
    /// All there is to know of it; of a directory, what names it has.
    All,
}

/// Where an output connects to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A Unix socket.
    Unix(PathBuf),
    /// A TCP port.
    Tcp(SocketAddr),
}

/// How a client's reads come to an end that the client itself does not bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// What was written so far is read, then the end comes by itself.
    Comes,
    /// The end does not come: so many bytes were written so far.
    After(u64),
}

/// See the module.
pub trait Io: Files {
    /// Where clients connect to.
    type Server;
    /// What was read, in a buffer that must be given back. It can't be copied, so
    /// that happens once.
    type Filled;

    // Operations.

    /// Reads once. `ready`: there is data, as far as is known. The descriptor must
    /// stay open until the completion.
    fn read(&mut self, client: ClientKey, fd: &Self::Fd, by: ReadBy, ready: bool)
    -> io::Result<()>;

    /// Waits until the client can be read.
    fn readable(&mut self, client: ClientKey, fd: &Self::Fd, by: ReadBy) -> io::Result<()>;

    /// Accepts until a completion says that it is no longer armed.
    fn accept(&mut self, listener: ListenerKey, server: &Self::Server) -> io::Result<()>;

    /// Waits for a descriptor of the output.
    fn wait(&mut self, number: u32, fd: &Self::Fd, wait: Wait) -> io::Result<()>;

    /// Looks up a host's addresses.
    fn resolve(&mut self, number: u32, host: &str, port: u16) -> io::Result<()>;

    /// Brings what was written to the file so far where it outlives the machine.
    /// The descriptor must stay open until the completion.
    fn sync(&mut self, number: u32, fd: &Self::Fd, what: Sync) -> io::Result<()>;

    /// Cancels the operation if it has not completed: then it completes with
    /// an error.
    fn cancel(&mut self, token: Token) -> io::Result<()>;

    /// The descriptor of that token, for which nothing is under way, is about
    /// to be closed.
    fn forget(&mut self, token: Token, fd: &Self::Fd);

    /// Lets the kernel work on what was asked for.
    fn enter(&mut self) -> io::Result<()>;

    /// Would [`enter`](Self::enter) or [`next`](Self::next) do anything?
    fn has_work(&mut self) -> bool;

    /// The next completion. `find` knows the descriptors of clients, by
    /// their keys, and of listeners.
    fn next<'a>(
        &mut self,
        find: impl Fn(Token) -> Option<&'a Self::Fd>,
    ) -> Option<Completion<Self::Fd, Self::Filled>>
    where
        Self::Fd: 'a;

    /// What was read.
    fn bytes<'a>(&'a self, filled: &'a Self::Filled) -> &'a [u8];

    /// Gives a buffer back.
    fn recycle(&mut self, filled: Self::Filled);

    // Of clients, at once.

    /// Keeps descriptors away from a new connection, and says who it is and how it
    /// is read.
    fn visitor(&mut self, fd: &Self::Fd) -> (Visitor, ReadBy);

    /// The next one who waits to be accepted already; `None`: nobody does.
    fn accept_waiting(&mut self, server: &Self::Server) -> io::Result<Option<Self::Fd>>;

    /// The listener's own descriptor.
    fn listening(server: &Self::Server) -> &Self::Fd;

    /// Nobody finds the listener any more, who does not wait already.
    fn unlink(&mut self, server: &Self::Server);

    /// A descriptor that is of no use, and keeps the place of one that will be.
    fn spare(&mut self) -> io::Result<Self::Fd>;

    /// Brings the reads of a client to an end after what was written so far.
    fn end(&mut self, fd: &Self::Fd, by: ReadBy) -> Ending;

    /// Of each of them: may somebody still write to it, as far as is known?
    fn are_written(&mut self, fds: &[&Self::Fd]) -> io::Result<Vec<bool>>;

    /// Closes the connection of a client, and does not wait for that. `unread`:
    /// it was not read to its end, and descriptors may come over it.
    fn close(&mut self, fd: Self::Fd, unread: bool);

    /// Closes a listener.
    fn close_server(&mut self, server: Self::Server);

    // Of outputs, at once.

    /// Begins to connect. If it is not done at once, [`wait`](Self::wait) tells
    /// when it is, and [`connected`](Self::connected) how it went.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if too many wait to be accepted there.
    fn connect(&mut self, to: &Endpoint) -> io::Result<Self::Fd>;

    /// How connecting went; `WouldBlock`: it is under way.
    fn connected(&mut self, fd: &Self::Fd) -> io::Result<()>;

    /// Sends what the socket takes without waiting.
    fn send(&mut self, fd: &Self::Fd, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Reads what the peer has sent, without waiting; 0 at its end.
    fn receive(&mut self, fd: &Self::Fd, into: &mut [u8]) -> io::Result<usize>;

    /// Is the peer still there, as far as the kernel knows? What it has sent is
    /// thrown away.
    fn check(&mut self, fd: &Self::Fd) -> io::Result<()>;

    /// Nothing more is sent.
    fn finish_sending(&mut self, fd: &Self::Fd) -> io::Result<()>;

    /// Throws away what the peer has sent. True: it has closed its half.
    fn drain(&mut self, fd: &Self::Fd) -> io::Result<bool>;
}
