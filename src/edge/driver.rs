//! The connections of a butler: from the header to the last read.
//!
//! The edge owns the descriptors and the [`Io`]. It decides nothing about
//! content: a [`Step`] says what came, and the engine tells the core.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::net::Shutdown;

use super::headers::Headers;
use super::listener::StreamServer;
use super::reception::{Admitted, Now, Reception};
use super::rights::{self, Elsewhere, Rights};
use super::runtime;
use super::source;
pub(crate) use super::system::Filled;
pub(crate) use super::system::ReadBy;
use super::system::{Completion, Io, Token};
use super::tee::Tee;
use crate::arena::Arena;
use crate::core::{ClientKey, OfClient};
use crate::limits::ROUND_MAX;
use crate::stream::StreamKey;
use crate::wire::descriptor::StreamProperties;
use crate::wire::header::{HeaderError, HeaderReader};

/// Clients of unfinished headers that are looked at, at a time, to find one who
/// stalls.
const STALLED_LOOKS: usize = 16;
/// Reads of connections that have data, at a time.
const READY_BATCH: usize = 4;

/// What the stream of a connection is.
#[derive(Debug)]
pub(crate) enum Phase {
    /// The client has not said yet.
    Header(HeaderReader),
    /// The core's stream of that key.
    Stream(StreamKey),
    /// Its stream has ended without its client, or it was turned away: nothing
    /// is taken of it any more.
    Abandoned,
}

/// How a connection ends that its client does not end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// Nobody has told it to. A socket that was told to is shut down instead,
    /// and comes to its end.
    ByClient,
    /// When so many bytes have been read.
    After(u64),
    /// At once: what its read still brings was never accepted.
    Now,
}

/// How a connection's reads stand. There is at most one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reads {
    /// None is under way; somebody is about to ask for one.
    Idle,
    /// The kernel has one.
    Armed,
    /// One is wanted when there is room again.
    Waiting,
}

#[derive(Debug)]
pub(crate) struct Connection {
    fd: OwnedFd,
    by: ReadBy,
    pub phase: Phase,
    reads: Reads,
    /// All has been read, up to its end.
    at_end: bool,
    pub tee: Option<Tee>,
    ends: Ends,
}

/// What is left of a connection that is over.
#[derive(Debug)]
pub(crate) struct Over {
    pub phase: Phase,
    pub tee: Option<Tee>,
}

impl Connection {
    /// We have ended it, not the client.
    pub fn given_up(&self) -> bool {
        self.ends == Ends::Now
    }

    /// Nothing more is to be read of it.
    fn must_end(&self) -> bool {
        matches!(self.ends, Ends::After(0) | Ends::Now)
    }
}

/// What a header came to: the stream's properties and the bytes used.
type HeaderResult = Result<Option<(StreamProperties, usize)>, HeaderError>;

/// What has come.
pub(crate) enum Step {
    /// Data on a connection; give the buffer back with
    /// [`Edge::recycle`].
    Data(ClientKey, Filled, NextRead),
    /// A connection has ended, or its read failed.
    End(ClientKey, Option<io::Error>),
}

/// What is known of a connection's next read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextRead {
    /// More is there already.
    Ready,
    /// Nothing is known.
    Unknown,
}

/// See the module.
pub(crate) struct Edge {
    io: Io,
    connections: Arena<Connection, OfClient>,
    reception: Reception,
    /// Read, but there is no room for it now.
    parked: VecDeque<(ClientKey, Filled, NextRead)>,
    /// Connections whose next read waits for room.
    waiting: VecDeque<ClientKey>,
    /// Connections that have data, in the order of their turns.
    ready: VecDeque<ClientKey>,
    /// What may still be handled in this round.
    round_left: usize,
    /// Connections that can't be read.
    failed: VecDeque<(ClientKey, io::Error)>,
    /// Connections without a complete header.
    headers: Headers,
    /// Connections end after what is there, also those that come yet.
    ending: bool,
    elsewhere: Elsewhere,
}

impl fmt::Debug for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edge")
            .field("connections", &self.connections.len())
            .field("listeners", &self.listeners())
            .finish_non_exhaustive()
    }
}

impl Edge {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            io: runtime::io()?,
            connections: Arena::default(),
            reception: Reception::default(),
            parked: VecDeque::new(),
            waiting: VecDeque::new(),
            ready: VecDeque::new(),
            round_left: ROUND_MAX,
            failed: VecDeque::new(),
            elsewhere: Elsewhere::default(),
            headers: Headers::default(),
            ending: false,
        })
    }

    /// A descriptor that becomes readable when there is something to do.
    pub fn wait_fd(&self) -> io::Result<OwnedFd> {
        self.io.wait_fd().try_clone_to_owned()
    }

    /// Makes that descriptor readable.
    pub fn signal(&self) -> io::Result<()> {
        self.io.signal()
    }

    /// Is there something to do at once?
    pub fn has_work(&mut self, may_read: bool) -> bool {
        may_read && !self.ready.is_empty() || !self.failed.is_empty() || self.io.has_work()
    }

    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    pub fn listeners(&self) -> usize {
        self.reception.listeners()
    }

    /// Connections of users who may not open streams.
    pub fn peers_refused(&self) -> u64 {
        self.reception.refused()
    }

    pub fn connection(&mut self, key: ClientKey) -> Option<&mut Connection> {
        self.connections.get_mut(key)
    }

    pub fn bytes(&self, filled: &Filled) -> &[u8] {
        self.io.bytes(filled)
    }

    pub fn recycle(&mut self, filled: Filled) {
        self.io.recycle(filled);
    }

    /// Takes a stream server.
    pub fn add_server(&mut self, now_ns: u64, server: StreamServer) -> io::Result<()> {
        let (reception, mut now) = self.reception(now_ns);
        reception.add(&mut now, server)
    }

    fn reception(&mut self, now_ns: u64) -> (&mut Reception, Now<'_>) {
        let now = Now {
            io: &mut self.io,
            ns: now_ns,
            connections: self.connections.len(),
            elsewhere: &mut self.elsewhere,
        };
        (&mut self.reception, now)
    }

    /// Takes a descriptor as a stream of its own, to be read as
    /// [`source::of`] says.
    pub fn add_stream(
        &mut self,
        fd: OwnedFd,
        by: ReadBy,
        stream: StreamKey,
        tee: Option<Tee>,
    ) -> ClientKey {
        self.insert(fd, by, Phase::Stream(stream), tee)
    }

    fn insert(&mut self, fd: OwnedFd, by: ReadBy, phase: Phase, tee: Option<Tee>) -> ClientKey {
        self.connections.insert(Connection {
            fd,
            by,
            phase,
            reads: Reads::Idle,
            at_end: false,
            tee,
            ends: Ends::ByClient,
        })
    }

    /// Submits and lets the kernel work.
    pub fn enter(&mut self, may_read: bool) -> io::Result<()> {
        self.round_left = ROUND_MAX;
        if may_read {
            self.read_ready()?;
        }
        self.io.enter()
    }

    /// What has come next in this round. While `may_read` is false data stays
    /// where it is; there are only so many buffers, so that is bounded.
    pub fn step(&mut self, now_ns: u64, may_read: bool) -> io::Result<Option<Step>> {
        if may_read && let Some((key, filled, next)) = self.parked.pop_front() {
            return Ok(Some(Step::Data(key, filled, next)));
        }
        loop {
            if let Some((key, error)) = self.failed.pop_front() {
                return Ok(Some(Step::End(key, Some(error))));
            }
            if self.round_left == 0 {
                return Ok(None);
            }
            self.round_left -= 1;
            let Some(completion) = self.next_completion() else {
                return Ok(None);
            };
            match completion {
                Completion::Accept {
                    number,
                    result,
                    armed,
                } => {
                    let mut admitted = Vec::new();
                    let (reception, mut now) = self.reception(now_ns);
                    reception.accepted(&mut now, number, result, armed, &mut admitted)?;
                    self.begin(now_ns, admitted)?;
                }
                Completion::Read {
                    number,
                    result,
                    more,
                } => {
                    let key = ClientKey::from_u64(number);
                    let next = if more {
                        NextRead::Ready
                    } else {
                        NextRead::Unknown
                    };
                    let connection = self.connections.get_mut(key);
                    let connection = connection.expect("it is open while it is read");
                    connection.reads = Reads::Idle;
                    match result {
                        // The cancellation came too late.
                        Ok(Some(filled)) if connection.given_up() => {
                            self.io.recycle(filled);
                            return Ok(Some(Step::End(key, None)));
                        }
                        Ok(Some(filled)) if may_read => {
                            return Ok(Some(Step::Data(key, filled, next)));
                        }
                        Ok(Some(filled)) => self.parked.push_back((key, filled, next)),
                        Ok(None) => {
                            connection.at_end = true;
                            return Ok(Some(Step::End(key, None)));
                        }
                        Err(error) => match Errno::from_io_error(&error) {
                            // There is data, but all buffers were full.
                            Some(Errno::NOBUFS) => self.queue_ready(key),
                            Some(Errno::INTR | Errno::AGAIN) => self.arm(key, next)?,
                            // We cancelled it, because it had to end.
                            Some(Errno::CANCELED) => return Ok(Some(Step::End(key, None))),
                            _ => return Ok(Some(Step::End(key, Some(error)))),
                        },
                    }
                }
            }
        }
    }

    fn next_completion(&mut self) -> Option<Completion> {
        self.io.next(|token| match token {
            Token::Read(number) => {
                let connection = self.connections.get(ClientKey::from_u64(number))?;
                Some(connection.fd.as_fd())
            }
            Token::Accept(number) => Some(self.reception.get(number)?.as_fd()),
            Token::Cancel => None,
        })
    }

    /// Asks for the connection's next read, at once or when there is room.
    /// True if it must end instead.
    pub fn read_on(&mut self, key: ClientKey, next: NextRead, may_read: bool) -> io::Result<bool> {
        let Some(connection) = self.connections.get_mut(key) else {
            return Ok(false);
        };
        if connection.must_end() {
            return Ok(true);
        }
        // What ends is read to its end, whoever looks at it.
        let tee_full =
            connection.ends == Ends::ByClient && connection.tee.as_ref().is_some_and(Tee::is_full);
        if !may_read || tee_full {
            connection.reads = Reads::Waiting;
            self.waiting.push_back(key);
        } else if next == NextRead::Ready {
            self.queue_ready(key);
        } else {
            self.arm(key, next)?;
        }
        Ok(false)
    }

    /// The connection gets its turn among those that have data.
    fn queue_ready(&mut self, key: ClientKey) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.reads = Reads::Waiting;
            self.ready.push_back(key);
        }
    }

    /// Reads from a few of the connections that have data: no more than stay
    /// in the cache until they are handled.
    fn read_ready(&mut self) -> io::Result<()> {
        for key in self.ready.drain(..self.ready.len().min(READY_BATCH)) {
            if let Some(connection) = self.connections.get_mut(key) {
                let fd = connection.fd.as_fd();
                self.io.read(key.to_u64(), fd, connection.by, true)?;
                connection.reads = Reads::Armed;
            }
        }
        Ok(())
    }

    /// The connection has had `len` bytes read.
    pub fn count_read(&mut self, key: ClientKey, len: usize) {
        if let Some(connection) = self.connections.get_mut(key)
            && let Ends::After(left) = &mut connection.ends
        {
            *left = left.saturating_sub(len as u64);
        }
    }

    fn arm(&mut self, key: ClientKey, next: NextRead) -> io::Result<()> {
        if let Some(connection) = self.connections.get_mut(key) {
            let ready = next == NextRead::Ready;
            self.io
                .read(key.to_u64(), connection.fd.as_fd(), connection.by, ready)?;
            connection.reads = Reads::Armed;
        }
        Ok(())
    }

    /// Asks again for the reads that had to wait, but for those of streams
    /// that are held up. Returns connections that must end instead.
    pub fn resume(
        &mut self,
        may_read: bool,
        held_up: impl Fn(StreamKey) -> bool,
    ) -> io::Result<Vec<ClientKey>> {
        let mut ends = Vec::new();
        if may_read {
            for key in std::mem::take(&mut self.waiting) {
                let phase = self.connections.get(key).map(|it| &it.phase);
                let waits = matches!(phase, Some(Phase::Stream(stream)) if held_up(*stream));
                if self.read_on(key, NextRead::Unknown, !waits)? {
                    ends.push(key);
                }
            }
        }
        Ok(ends)
    }

    /// Is a connection known to have data?
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Does a read wait for room?
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.parked.is_empty() || !self.ready.is_empty()
    }

    /// The connection is over: its descriptor is closed.
    pub fn remove(&mut self, key: ClientKey) -> Option<Over> {
        let connection = self.connections.remove(key)?;
        assert!(
            connection.reads != Reads::Armed,
            "the kernel has its descriptor"
        );
        let fd = connection.fd.as_fd();
        self.io.forget(Token::Read(key.to_u64()), fd);
        self.headers.over(key);
        self.reception.descriptor_is_free();
        let Connection {
            fd,
            by,
            at_end,
            phase,
            tee,
            ..
        } = connection;
        if by == ReadBy::Look && !at_end {
            self.elsewhere.close(fd);
        }
        Some(Over { phase, tee })
    }

    /// Feeds what was read to the connection's header.
    pub fn header(&mut self, key: ClientKey, filled: &Filled) -> HeaderResult {
        let Some(Phase::Header(reader)) = self.connections.get_mut(key).map(|it| &mut it.phase)
        else {
            return Ok(None);
        };
        let result = reader.push(self.io.bytes(filled));
        self.headers.came(key, filled.len(), reader.buffered());
        result
    }

    /// The header was complete; the connection is that stream now.
    pub fn opened(&mut self, key: ClientKey, stream: StreamKey) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.phase = Phase::Stream(stream);
            self.headers.over(key);
        }
    }

    /// Where the connection's data is copied to.
    pub fn tee(&self, key: ClientKey) -> Option<&Tee> {
        self.connections.get(key)?.tee.as_ref()
    }

    /// A connection to turn away because all unfinished headers together hold
    /// too much.
    pub fn header_to_refuse(&mut self) -> Option<ClientKey> {
        for _ in 0..STALLED_LOOKS {
            let key = self.headers.to_refuse()?;
            let waits = |it: &Connection| rustix::io::ioctl_fionread(&it.fd).unwrap_or(0) > 0;
            if !self.connections.get(key).is_some_and(waits) {
                return Some(key);
            }
            self.headers.goes_on(key);
        }
        self.headers.to_refuse()
    }

    /// Gives up a connection whose header was refused. What there is of it is
    /// let go now, whenever its read comes back. True if it can end at once.
    pub fn turn_away(&mut self, key: ClientKey) -> io::Result<bool> {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.phase = Phase::Abandoned;
        }
        self.headers.over(key);
        self.give_up(key)
    }

    /// When [`tick`](Self::tick) has something to do.
    pub fn next_tick_ns(&self) -> Option<u64> {
        self.reception
            .next_retry_ns()
            .into_iter()
            .chain(self.headers.next_ns())
            .min()
    }

    /// Time has passed. Returns connections that took too long over their
    /// header.
    pub fn tick(&mut self, now_ns: u64, may_read: bool) -> io::Result<Vec<ClientKey>> {
        let mut admitted = Vec::new();
        let (reception, mut now) = self.reception(now_ns);
        reception.tend(&mut now, &mut admitted)?;
        self.begin(now_ns, admitted)?;
        Ok(self.headers.late(now_ns, may_read))
    }

    /// Gives a connection up: it ends as soon as its read, if there is one,
    /// comes back. True if it can end at once.
    pub fn give_up(&mut self, key: ClientKey) -> io::Result<bool> {
        let Some(connection) = self.connections.get_mut(key) else {
            return Ok(false);
        };
        connection.ends = Ends::Now;
        if connection.reads == Reads::Armed {
            self.io.cancel_read(key.to_u64())?;
            return Ok(false);
        }
        Ok(true)
    }

    /// Gives all connections up: what was read of them and not handed on is
    /// let go, and was never accepted. Returns their streams, which are to end.
    pub fn abandon(&mut self) -> io::Result<Vec<StreamKey>> {
        for (_, filled, _) in self.parked.drain(..) {
            self.io.recycle(filled);
        }
        let mut streams = Vec::new();
        for key in self.connections.keys() {
            if let Some(connection) = self.connections.get_mut(key) {
                let phase = std::mem::replace(&mut connection.phase, Phase::Abandoned);
                if let Phase::Stream(stream) = phase {
                    streams.push(stream);
                }
                self.headers.over(key);
                if let Some(tee) = &connection.tee {
                    tee.close();
                }
            }
            if self.give_up(key)? {
                self.remove(key);
            }
        }
        Ok(streams)
    }

    /// Ends the connections without a complete header after what was written
    /// to them so far. Returns those that can end at once.
    pub fn end_headers(&mut self) -> io::Result<Vec<ClientKey>> {
        let keys: Vec<_> = self.headers.keys().collect();
        let mut ends = Vec::new();
        for key in keys {
            if self.end_after_what_is_there(key)? {
                ends.push(key);
            }
        }
        Ok(ends)
    }

    /// Ends all connections after what was written to them so far, and from
    /// now on all that are accepted. Returns those that can end at once.
    pub fn end_all(&mut self) -> io::Result<Vec<ClientKey>> {
        self.ending = true;
        let mut ends = Vec::new();
        for key in self.connections.keys() {
            if self.end_after_what_is_there(key)? {
                ends.push(key);
            }
        }
        Ok(ends)
    }

    /// The streams that somebody still has open for writing.
    pub fn still_written(&self) -> Vec<StreamKey> {
        let mut streams = Vec::new();
        let mut ends = Vec::new();
        for key in self.connections.keys() {
            if let Some(connection) = self.connections.get(key)
                && let Phase::Stream(stream) = connection.phase
            {
                streams.push(stream);
                ends.push(PollFd::new(&connection.fd, PollFlags::RDHUP));
            }
        }
        if let Err(error) = poll(&mut ends, Some(&Timespec::default())) {
            log::debug!("it is not known which streams are still open: {error}");
            return Vec::new();
        }
        let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        let open = |end: &PollFd<'_>| !end.revents().intersects(gone);
        let mut open = ends.iter().map(open);
        streams.retain(|_| open.next() == Some(true));
        streams
    }

    /// Ends one connection after what was written to it so far.
    fn end_after_what_is_there(&mut self, key: ClientKey) -> io::Result<bool> {
        let Some(connection) = self.connections.get_mut(key) else {
            return Ok(false);
        };
        if connection.by != ReadBy::Read
            && rustix::net::shutdown(&connection.fd, Shutdown::Read).is_ok()
        {
            // What was written before is read, then the end comes.
            return Ok(false);
        }
        let is_file = rustix::fs::fstat(&connection.fd)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
        let there = if is_file {
            0
        } else {
            rustix::io::ioctl_fionread(&connection.fd).unwrap_or(0)
        };
        if there > 0 {
            connection.ends = Ends::After(there);
            return Ok(false);
        }
        let parked = self.parked.iter().any(|(parked, ..)| *parked == key);
        if parked {
            connection.ends = Ends::After(0);
            return Ok(false);
        }
        self.give_up(key)
    }

    /// Takes those who wait to be accepted, and nobody after them.
    pub fn stop_accepting(&mut self, now_ns: u64) -> io::Result<()> {
        let mut admitted = Vec::new();
        let (reception, mut now) = self.reception(now_ns);
        reception.stop(&mut now, &mut admitted)?;
        self.begin(now_ns, admitted)
    }

    /// Begins with the headers of those who were let in.
    fn begin(&mut self, now_ns: u64, admitted: Vec<Admitted>) -> io::Result<()> {
        for Admitted { fd, rights } in admitted {
            let header = Phase::Header(HeaderReader::default());
            let key = self.insert(fd, source::by(rights), header, None);
            self.headers.begin(key, now_ns);
            if rights == Rights::Passed {
                self.failed.push_back((key, rights::passed()));
                continue;
            }
            // Clients write their header at once.
            self.arm(key, NextRead::Ready)?;
            if self.ending {
                // A socket comes to its end by itself.
                self.end_after_what_is_there(key)?;
            }
        }
        Ok(())
    }
}
