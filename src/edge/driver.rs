//! The loop between the kernel and the machine: completions become what the
//! machine is told, and its commands become operations. Nothing is decided here.

mod obeying;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use rustix::io::Errno;
use tokio::sync::Notify;

use super::io::{Completion, Io, ReadBy, Token};
use super::outlet::{self, Outlet};
use super::transport::{Completed, Transport};
use crate::core::{ClientKey, Machine, MachineConfig, NotAccepted, Stopped, Taken, Users};
use crate::delivery::stored::Left;
use crate::keys::StreamKey;
use crate::time::Moment;
use crate::wire::name::StreamName;

/// Descriptors that are kept back from accepting: an output that is not
/// connected yet, or not any more, must be able to.
const SPARE_DESCRIPTORS: usize = 8;

/// Who looks at what a stream carries while it is read.
pub trait Onlooker: fmt::Debug {
    /// Shows what was read.
    fn push(&self, data: &[u8]);
    /// The stream is not read while this is so.
    fn is_full(&self) -> bool;
    /// Nothing more comes.
    fn close(&self);
}

/// What the machine has in hand of a client.
#[derive(Debug)]
pub struct Connection<D> {
    fd: D,
    by: ReadBy,
    onlooker: Option<Rc<dyn Onlooker>>,
}

/// What was read and is not handed on yet.
#[derive(Debug)]
struct Kept<F> {
    client: ClientKey,
    filled: F,
    /// Bytes of it that were.
    used: usize,
    more: bool,
}

/// What others than the machine are to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tell {
    /// That stream was opened: whoever wants to is asked about it, before its
    /// first data is taken.
    Opened(StreamKey),
    /// Entries of watched streams are there, or their ends.
    Watched,
    /// A bundle is cut: the output has a [turn](Driver::turn_output) while that is in
    /// the cache.
    Cut,
}

/// See the module.
pub struct Driver<I: Io> {
    io: I,
    machine: Machine<Connection<I::Fd>, I::Server>,
    /// Read, but there is no room for it now. There are only so many buffers, so
    /// that is bounded.
    parked: VecDeque<Kept<I::Filled>>,
    /// What follows the header of a stream that was just opened.
    opened: Option<Kept<I::Filled>>,
    /// Somebody is to be asked about new streams.
    asks: bool,
    /// Those that somebody looks at, who took no more.
    held_back: Vec<ClientKey>,
    /// Keep the places of [`SPARE_DESCRIPTORS`] while we accept.
    spare: Vec<I::Fd>,
    /// There is room for reads that wait, since the output was last turned.
    has_room: bool,
    /// Where messages go.
    outlet: Outlet<I>,
}

impl<I: Io> fmt::Debug for Driver<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("clients", &self.machine.clients())
            .field("life", self.machine.life())
            .finish_non_exhaustive()
    }
}

impl<I: Io> Driver<I> {
    /// Without any client; messages go to `transport`.
    pub fn new(io: I, config: MachineConfig, transport: Box<dyn Transport<I>>) -> Self {
        let mut machine = Machine::new(config);
        machine.core_mut().set_capacity(transport.capacity());
        Self {
            io,
            machine,
            parked: VecDeque::new(),
            opened: None,
            asks: false,
            held_back: Vec::new(),
            spare: Vec::new(),
            has_room: false,
            outlet: Outlet::new(transport),
        }
    }

    /// What the kernel is asked through.
    pub fn io(&mut self) -> &mut I {
        &mut self.io
    }

    /// What decides.
    pub fn machine(&self) -> &Machine<Connection<I::Fd>, I::Server> {
        &self.machine
    }

    /// What decides, to be told something. What it wants done then is done in the
    /// next round.
    pub fn machine_mut(&mut self) -> &mut Machine<Connection<I::Fd>, I::Server> {
        &mut self.machine
    }

    /// From now on [`Tell::Opened`] comes.
    pub fn ask_about_streams(&mut self) {
        self.asks = true;
    }

    /// Takes a descriptor as a stream that was opened, and shows what is read.
    pub fn attach(
        &mut self,
        now: &Moment,
        stream: StreamKey,
        (fd, by): (I::Fd, ReadBy),
        onlooker: Option<Rc<dyn Onlooker>>,
    ) {
        let connection = Connection { fd, by, onlooker };
        self.machine.attach(now, stream, connection);
    }

    /// Takes the streams of everybody who connects to `server` and may.
    pub fn listen(&mut self, now: &Moment, users: Users, server: I::Server) {
        self.machine.listen(now, users, server);
    }

    /// Begins a round: everything that has come until now is handled in it.
    ///
    /// # Errors
    ///
    /// If the kernel does not work any more, as all of these.
    pub fn begin_round(&mut self, now: &Moment) -> io::Result<()> {
        self.machine.begin_round(now);
        self.look_on();
        self.obey(now)?;
        self.io.enter()
    }

    /// Who looks at a stream may take more by now.
    fn look_on(&mut self) {
        for client in std::mem::take(&mut self.held_back) {
            let connection = self.machine.client(client);
            let onlooker = connection.and_then(|it| it.onlooker.as_ref());
            match onlooker {
                Some(onlooker) if onlooker.is_full() => self.held_back.push(client),
                _ => self.machine.hold_back(client, false),
            }
        }
    }

    /// Goes on with the round until others are to be told something, or (`None`)
    /// to its end.
    pub fn step(&mut self, now: &Moment) -> io::Result<Option<Tell>> {
        loop {
            if let Some(kept) = self.opened.take() {
                self.hand_on(now, kept);
                self.obey(now)?;
            }
            if self.machine.core().has_watched() {
                return Ok(Some(Tell::Watched));
            }
            if self.machine.core().has_cut() {
                return Ok(Some(Tell::Cut));
            }
            if let Some(stream) = self.take_parked(now)? {
                return Ok(Some(Tell::Opened(stream)));
            }
            if !self.machine.takes_one_more() {
                return Ok(None);
            }
            let Some(completion) = self.next_completion() else {
                return Ok(None);
            };
            let opened = self.completed(now, completion);
            self.obey(now)?;
            if let Some(stream) = opened {
                return Ok(Some(Tell::Opened(stream)));
            }
        }
    }

    /// Ends the round.
    pub fn end_round(&mut self, now: &Moment) -> io::Result<()> {
        self.machine.end_round(now);
        self.obey(now)?;
        self.turn_output(now);
        Ok(())
    }

    /// The kernel does not work any more: what was read is accounted for, and what
    /// can still be closed is. From now on there are no rounds, and only the
    /// [output](Self::turn_output) goes on.
    pub fn fail(&mut self, now: &Moment) {
        self.machine.fail(now);
        // Of each one that fails nothing more can be done.
        while self.machine.has_commands() {
            if let Err(error) = self.obey(now) {
                log::debug!("not done at the end: {error}");
            }
        }
    }

    /// The output goes on with what there is. If it failed last, it may be for want
    /// of a descriptor: meanwhile it has those that are kept back.
    pub fn turn_output(&mut self, now: &Moment) {
        let may_read = self.machine.may_read(now);
        let kept = match self.outlet.has_failed {
            true => self.spare.drain(..).count(),
            false => 0,
        };
        self.outlet.turn(&mut self.io, now, &mut self.machine);
        // The round did not ask for those that wait: there was no room for them.
        self.has_room = self.machine.may_read(now) && (!may_read || !self.parked.is_empty());
        while self.spare.len() < kept
            && let Ok(spare) = self.io.spare()
        {
            self.spare.push(spare);
        }
        if self.machine.life().is_over() {
            self.close_onlookers();
        }
    }

    /// Nothing more comes, also of clients whose reads have not come back.
    fn close_onlookers(&self) {
        let onlookers = self.machine.edges().filter_map(|it| it.onlooker.as_ref());
        onlookers.for_each(|onlooker| onlooker.close());
    }

    /// A stream was registered, of which the output may want to hear.
    pub fn registered(&mut self, name: &StreamName) {
        self.outlet.registered(name);
    }

    /// Is given by others who want the output to go on.
    pub fn alarm(&self) -> Option<Arc<Notify>> {
        self.outlet.alarm()
    }

    /// Errors of the output.
    pub fn output_errors(&self) -> u64 {
        self.outlet.errors()
    }

    /// What waits in the spool of the output, if it has one.
    pub fn left(&self) -> Option<Left> {
        self.outlet.left()
    }

    /// Is there something to do at once?
    pub fn has_work(&mut self, now: &Moment) -> bool {
        self.opened.is_some()
            || self.has_room && self.has_waiting()
            || self.machine.has_work(now)
            || self.outlet.has_work(now)
            || self.io.has_work()
    }

    /// Does a read wait for room?
    pub fn has_waiting(&self) -> bool {
        self.machine.has_waiting(!self.parked.is_empty())
    }

    /// After a round at `now`: when the next one is due for reasons of time.
    pub fn next_tick_ns(&self, now: &Moment) -> Option<u64> {
        let machine = self.machine.next_tick_ns(now, !self.parked.is_empty());
        let output = self.outlet.due_ns(&self.machine);
        machine.into_iter().chain(output).min()
    }

    fn next_completion(&mut self) -> Option<Completion<I::Fd, I::Filled>> {
        let machine = &self.machine;
        self.io.next(|token| match token {
            Token::Client(client) => Some(&machine.client(client)?.fd),
            Token::Listener(listener) => Some(I::listening(machine.listener(listener)?)),
            Token::Output(_) => None,
        })
    }

    /// Tells the machine what has come. Returns a stream that others are to be
    /// asked about.
    fn completed(
        &mut self,
        now: &Moment,
        completion: Completion<I::Fd, I::Filled>,
    ) -> Option<StreamKey> {
        match completion {
            Completion::Read {
                client,
                result,
                more,
            } => match result {
                Ok(Some(filled)) => {
                    let kept = Kept {
                        client,
                        filled,
                        used: 0,
                        more,
                    };
                    if self.machine.takes_data(now, client) {
                        return self.hand_on(now, kept);
                    }
                    self.machine.parked(client);
                    self.parked.push_back(kept);
                }
                Ok(None) => self.machine.ended(now, client, Stopped::AtEnd),
                Err(error) => self.machine.ended(now, client, stopped(error)),
            },
            Completion::Readable { client, result } => match result {
                Ok(()) => self.machine.readable(now, client),
                Err(error) => self.machine.ended(now, client, stopped(error)),
            },
            Completion::Accepted {
                listener,
                result,
                armed,
            } => match result {
                Ok(fd) => self.accepted(now, listener, fd, armed),
                Err(error) => {
                    let why = not_accepted(error);
                    self.machine.not_accepted(now, listener, &why, armed);
                }
            },
            Completion::Ready { number, result } => {
                let what = outlet::completed(result);
                self.outlet.completed(&mut self.io, now, number, what);
            }
            Completion::Resolved { number, result } => {
                let what = Completed::Resolved(result);
                self.outlet.completed(&mut self.io, now, number, what);
            }
            Completion::Synced { number, result } => {
                let what = Completed::Synced(result);
                self.outlet.completed(&mut self.io, now, number, what);
            }
        }
        None
    }

    /// Hands on what was read before, if there is room.
    fn take_parked(&mut self, now: &Moment) -> io::Result<Option<StreamKey>> {
        for at in 0..self.parked.len() {
            if self.machine.takes_data(now, self.parked[at].client)
                && let Some(kept) = self.parked.remove(at)
            {
                let opened = self.hand_on(now, kept);
                self.obey(now)?;
                return Ok(opened);
            }
        }
        Ok(None)
    }

    /// Hands on data. Returns a stream that others are to be asked about before
    /// the rest is handed on.
    fn hand_on(&mut self, now: &Moment, mut kept: Kept<I::Filled>) -> Option<StreamKey> {
        let client = kept.client;
        // It may be gone by now.
        while let Some(connection) = self.machine.client(client) {
            let bytes = &self.io.bytes(&kept.filled)[kept.used..];
            if let Some(onlooker) = &connection.onlooker {
                onlooker.push(bytes);
                if onlooker.is_full() {
                    self.held_back.push(client);
                    self.machine.hold_back(client, true);
                }
            }
            match self.machine.data(now, client, bytes, kept.more) {
                Taken::All => break,
                Taken::Header { used, stream } => {
                    kept.used += used;
                    if let Some(name) = self.machine.core().name(stream) {
                        self.outlet.registered(name);
                    }
                    if self.asks {
                        self.opened = Some(kept);
                        return Some(stream);
                    }
                }
            }
        }
        self.io.recycle(kept.filled);
        None
    }
}

fn stopped(error: io::Error) -> Stopped {
    match Errno::from_io_error(&error) {
        Some(Errno::CANCELED) => Stopped::Cancelled,
        Some(Errno::NOBUFS) => Stopped::NoBuffer,
        Some(Errno::INTR | Errno::AGAIN) => Stopped::Again,
        _ => Stopped::Failed(error),
    }
}

fn not_accepted(error: io::Error) -> NotAccepted {
    match Errno::from_io_error(&error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
            NotAccepted::Exhausted(error)
        }
        Some(Errno::INTR | Errno::CONNABORTED | Errno::AGAIN) => NotAccepted::Gone,
        Some(Errno::CANCELED) => NotAccepted::Cancelled,
        _ => NotAccepted::Failed(error),
    }
}
