//! The virtual kernel: sockets that hold so much and no more, pipes, those who
//! wait to be accepted, descriptors that run out, and the output's peer. Time
//! passes when the world says so.
//!
//! The driver has it as its [`Io`](butler::edge::io::Io), the world has its
//! [`State`].

mod answers;
mod files;
mod io;
mod operations;
pub mod peer;
mod socket;

pub use self::io::OWN_USER;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::LazyLock;

use butler::edge::io::Completion;

use self::operations::Operation;
use self::peer::{Connection, Peer};
pub use self::socket::{Broken as SocketBroken, Socket};
use crate::broken::Broken;
use crate::chance::Chance;
use crate::disk::{Disk, Open};
use crate::plan::{Fault, How, Plan, SPARE_FROM};
use crate::trace::Trace;

/// Between one want of descriptors and the next, at least.
const EXHAUSTED_APART_NS: u64 = 5_000_000_000;
const EXHAUSTED_MS_MAX: u64 = 3000;

/// A descriptor of the process. Dropped, its place is free.
#[derive(Debug)]
pub struct Fd {
    what: What,
    _place: Option<Place>,
}

#[derive(Debug)]
enum What {
    /// The socket or pipe of a client.
    Client(usize),
    Listener,
    Spare,
    Connection(Rc<Connection>),
    /// A real file.
    File(OwnedFd),
    /// Something on the disk that is none.
    Disk(Open),
}

impl AsFd for Fd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        /// For those that are none outside of this world.
        static NONE: LazyLock<File> = LazyLock::new(|| File::open("/dev/null").unwrap());
        match &self.what {
            What::File(fd) => fd.as_fd(),
            _ => NONE.as_fd(),
        }
    }
}

impl From<OwnedFd> for Fd {
    fn from(fd: OwnedFd) -> Self {
        Self {
            what: What::File(fd),
            _place: None,
        }
    }
}

/// One of the descriptors that the process may have.
#[derive(Debug)]
struct Place(Rc<Cell<usize>>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// What was read, in one of so many buffers.
#[derive(Debug)]
pub struct Filled(Vec<u8>);

/// Where clients connect to.
#[derive(Debug)]
pub struct Server {
    listener: Fd,
}

/// What the driver has of it.
#[derive(Clone)]
pub struct Kernel(Rc<RefCell<State>>);

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kernel")
    }
}

/// What the world has of it.
pub struct State {
    pub now_ns: u64,
    pub chance: Chance,
    pub trace: Trace,
    /// One for each client, from the time that it connects.
    pub sockets: Vec<Socket>,
    pub peer: Peer,
    /// Until then there are no descriptors at all.
    pub exhausted_until_ns: u64,
    /// There are enough descriptors that some are kept back for the output.
    keeps_spare: bool,
    /// Since when the output finds none nevertheless.
    wanted_ns: Option<u64>,
    /// It did not when it tried again.
    pub starved: bool,
    /// It does not work any more.
    pub failed: bool,
    /// How often it was asked for something, or has told something.
    pub calls: u64,
    hows: Vec<How>,
    /// The disk, if there is one besides the real one.
    pub disk: Option<Rc<RefCell<Disk>>>,
    /// How many syncs have failed.
    pub failed_syncs: u64,
    /// Clients that wait to be accepted.
    pub queue: VecDeque<usize>,
    listening: bool,
    /// Descriptors that are left.
    places: Rc<Cell<usize>>,
    /// Read buffers that are left.
    buffers: usize,
    operations: Vec<Operation>,
    /// Something was asked for since it was entered.
    is_asked: bool,
    completed: VecDeque<Completion<Fd, Filled>>,
    /// It also works while its completions are taken.
    eager: bool,
    /// One completion is taken at a time.
    single: bool,
    is_taken: bool,
}

impl State {
    pub fn new(plan: &Plan, broken: Option<Broken>, traced: bool) -> Self {
        let sockets = plan.clients.iter();
        Self {
            now_ns: 0,
            chance: Chance::new(plan, broken),
            trace: Trace::new(traced),
            sockets: sockets.map(|it| Socket::new(it, plan)).collect(),
            peer: Peer::new(plan.destination.is_acknowledged()),
            exhausted_until_ns: 0,
            keeps_spare: plan.descriptors >= SPARE_FROM,
            wanted_ns: None,
            starved: false,
            failed: false,
            calls: 0,
            hows: plan.clients.iter().map(|it| it.how).collect(),
            disk: None,
            failed_syncs: 0,
            queue: VecDeque::new(),
            listening: true,
            places: Rc::new(Cell::new(plan.descriptors + plan.open_files())),
            buffers: plan.buffers,
            operations: Vec::new(),
            is_asked: false,
            completed: VecDeque::new(),
            eager: plan.eager,
            single: plan.single,
            is_taken: false,
        }
    }

    /// A client connects.
    pub fn connect(&mut self, client: usize) -> Result<(), SocketBroken> {
        if !self.listening {
            return Err(SocketBroken);
        }
        self.queue.push_back(client);
        Ok(())
    }

    fn place(&mut self) -> Option<Place> {
        let until = self.exhausted_until_ns;
        let apart = until == 0 || until + EXHAUSTED_APART_NS < self.now_ns;
        let begun = self.now_ns > 0;
        if begun && apart && self.chance.happens(Fault::NoDescriptors, 6) {
            self.exhausted_until_ns = self.now_ns + self.chance.nanos(EXHAUSTED_MS_MAX);
        }
        let left = self.places.get();
        if left == 0 || self.now_ns < self.exhausted_until_ns {
            return None;
        }
        self.places.set(left - 1);
        Some(Place(Rc::clone(&self.places)))
    }

    fn fd(&mut self, what: What) -> Option<Fd> {
        let _place = Some(self.place()?);
        Some(Fd { what, _place })
    }
}

impl Kernel {
    pub fn new(plan: &Plan, broken: Option<Broken>, traced: bool) -> (Self, Rc<RefCell<State>>) {
        let state = Rc::new(RefCell::new(State::new(plan, broken, traced)));
        (Self(Rc::clone(&state)), state)
    }

    /// The listener, and the end that we have of an attached client's pipe.
    pub fn server() -> Server {
        Server {
            listener: Fd {
                what: What::Listener,
                _place: None,
            },
        }
    }

    pub fn pipe_of(client: usize) -> Fd {
        Fd {
            what: What::Client(client),
            _place: None,
        }
    }
}
