//! Who the output is connected to: connections that are made late or never, that
//! stall, break, and take less than they are given.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use butler::edge::io::{Endpoint, Wait};
use butler::wire::message::MessageView;
use rustix::io::Errno;

use super::answers::Answers;
use super::{Fd, State, What};
use crate::broken::Broken;
use crate::plan::Fault;

/// What was received over one connection.
#[derive(Debug, Default)]
pub struct Received {
    pub bytes: Vec<u8>,
    /// It broke, perhaps inside a message.
    pub cut: bool,
    /// What was said of it, if that is done.
    pub answers: Answers,
}

/// One of them, as both ends see it.
#[derive(Debug)]
pub struct Connection {
    /// What is received over it.
    received: usize,
    is_tcp: bool,
    stands: Cell<Stands>,
}

#[derive(Debug, Clone, Copy)]
enum Stands {
    /// It is made then, or refused.
    Made(u64, bool),
    Open,
    /// The peer closes its half then.
    Closing(u64),
    Broken,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Peer {
    pub received: Vec<Received>,
    /// It says which messages are safe.
    acknowledges: bool,
    /// Which of these were refused.
    pub refused: Vec<usize>,
    /// It takes nothing before.
    stalled_until_ns: u64,
    /// It takes nothing any more.
    pub hung: bool,
    /// Of what is sent next it hears nothing, as a broken output has gone on where
    /// the last connection was cut.
    swallows: usize,
}

impl Peer {
    /// One that says which messages are safe, or not.
    pub fn new(acknowledges: bool) -> Self {
        Self {
            acknowledges,
            ..Self::default()
        }
    }

    pub(super) fn is_ready(&self, connection: &Connection, wait: Wait, now_ns: u64) -> bool {
        let written = match connection.stands.get() {
            Stands::Made(at, _) => at,
            Stands::Broken => 0,
            _ if self.hung => u64::MAX,
            _ => self.stalled_until_ns,
        };
        let read = match connection.stands.get() {
            Stands::Made(at, _) | Stands::Closing(at) => at,
            Stands::Broken => 0,
            Stands::Open => self.received[connection.received].answers.due_ns(),
        };
        let due = match wait {
            Wait::Writable => written,
            Wait::Readable => read,
            Wait::Either => written.min(read),
        };
        due <= now_ns
    }

    /// When something of it changes.
    pub(super) fn due_ns(&self, connection: &Connection, now_ns: u64) -> Option<u64> {
        let answered = self.received[connection.received].answers.due_ns();
        let due = match connection.stands.get() {
            Stands::Made(at, _) | Stands::Closing(at) => [at, u64::MAX],
            Stands::Open if !self.hung => [self.stalled_until_ns, answered],
            Stands::Open => [answered, u64::MAX],
            Stands::Broken => [u64::MAX; 2],
        };
        due.into_iter().filter(|due| *due > now_ns).min()
    }

    /// Bytes of a message that is not complete.
    fn torn(&self) -> usize {
        let mut rest = self.received.last().map_or(&[][..], |it| &it.bytes);
        while let Ok(Some(view)) = MessageView::parse(rest) {
            rest = &rest[view.len..];
        }
        rest.len()
    }
}

impl State {
    pub(super) fn connect_output(&mut self, to: &Endpoint) -> io::Result<Fd> {
        self.calls += 1;
        let is_tcp = matches!(to, Endpoint::Tcp(_));
        if self.chance.happens(Fault::Refusals, 2) {
            self.trace
                .note(|| "output refuses to be connected to".into());
            let why = [Errno::CONNREFUSED, Errno::NOENT, Errno::AGAIN];
            return Err(self.chance.random.pick(&why).into());
        }
        let stands = match is_tcp {
            false => Stands::Open,
            true => {
                let refused = self.chance.happens(Fault::Refusals, 3);
                let never = self.chance.happens(Fault::Stalls, 4);
                let at = if never {
                    u64::MAX
                } else {
                    self.now_ns + self.chance.nanos(50)
                };
                Stands::Made(at, refused)
            }
        };
        let connection = Rc::new(Connection {
            received: self.peer.received.len(),
            is_tcp,
            stands: Cell::new(stands),
        });
        let Some(fd) = self.fd(What::Connection(connection)) else {
            self.trace.note(|| "no descriptor for the output".into());
            let is_want = self.keeps_spare && self.now_ns >= self.exhausted_until_ns;
            let wanted_ns = self.wanted_ns.get_or_insert(self.now_ns);
            self.starved = is_want && *wanted_ns < self.now_ns;
            return Err(Errno::MFILE.into());
        };
        self.trace.note(|| "output connects".into());
        self.wanted_ns = None;
        self.peer.received.push(Received::default());
        Ok(fd)
    }

    pub(super) fn connected(&self, connection: &Connection) -> io::Result<()> {
        match connection.stands.get() {
            Stands::Made(at, _) if at > self.now_ns => Err(Errno::AGAIN.into()),
            Stands::Made(_, true) => Err(Errno::CONNREFUSED.into()),
            Stands::Made(_, false) => {
                connection.stands.set(Stands::Open);
                Ok(())
            }
            Stands::Open | Stands::Closing(_) => Ok(()),
            Stands::Broken => Err(Errno::PIPE.into()),
        }
    }

    pub(super) fn send(&mut self, connection: &Connection, mut data: Vec<u8>) -> io::Result<usize> {
        self.calls += 1;
        if let Stands::Broken = connection.stands.get() {
            return Err(Errno::PIPE.into());
        }
        self.peer.hung |= self.chance.happens(Fault::Hangs, 40);
        if self.chance.happens(Fault::Stalls, 6) && self.peer.stalled_until_ns <= self.now_ns {
            self.peer.stalled_until_ns = self.now_ns + self.chance.nanos(9_000);
            let until = self.peer.stalled_until_ns;
            self.trace.note(|| format!("output stalls until {until}"));
        }
        if self.peer.hung || self.peer.stalled_until_ns > self.now_ns {
            return Err(Errno::AGAIN.into());
        }
        let all = data.len();
        if self.chance.happens(Fault::Cuts, 5) {
            data.truncate(self.chance.random.size(0, all - 1));
            self.take(connection, &data);
            self.cut(connection);
            return match data.len() {
                0 => Err(Errno::CONNRESET.into()),
                taken => Ok(taken),
            };
        }
        if self.chance.is_allowed(Fault::ShortWrites) {
            data.truncate(self.chance.random.size(1, all));
        }
        let taken = data.len();
        self.trace.note(|| format!("sent {taken} of {all}"));
        if data.len() > 100 && self.chance.breaks(Broken::SpoilsMessage) {
            // In the middle are its entries.
            let at = data.len() / 2;
            data[at] ^= 1;
        }
        self.take(connection, &data);
        Ok(taken)
    }

    fn take(&mut self, connection: &Connection, data: &[u8]) {
        let peer = &mut self.peer;
        let swallowed = peer.swallows.min(data.len());
        peer.swallows -= swallowed;
        let received = &mut peer.received[connection.received];
        received.bytes.extend_from_slice(&data[swallowed..]);
        if peer.acknowledges {
            let Received { bytes, answers, .. } = received;
            answers.take(bytes, self.now_ns, peer.hung, &mut self.chance);
        }
    }

    fn cut(&mut self, connection: &Connection) {
        self.trace.note(|| "output cuts the connection".into());
        if self.peer.torn() > 0 && self.chance.breaks(Broken::ResumesMessage) {
            self.peer.swallows = self.peer.torn();
        }
        let received = &mut self.peer.received[connection.received];
        received.cut = true;
        if self.peer.acknowledges {
            let forgets = received.answers.heard > 0 && self.chance.breaks(Broken::ForgetsSafe);
            let kept = received
                .answers
                .kept(&received.bytes, forgets, &mut self.chance);
            received.bytes.truncate(kept);
        }
        connection.stands.set(Stands::Broken);
    }

    /// Between two messages the peer may have gone.
    pub(super) fn check(&mut self, connection: &Connection) -> io::Result<()> {
        if self.chance.happens(Fault::Cuts, 8) {
            self.cut(connection);
        }
        match connection.stands.get() {
            Stands::Broken => Err(Errno::PIPE.into()),
            _ => Ok(()),
        }
    }

    pub(super) fn receive(
        &mut self,
        connection: &Connection,
        into: &mut [u8],
    ) -> io::Result<usize> {
        self.calls += 1;
        if let Stands::Broken = connection.stands.get() {
            return match self.chance.random.one_in(2) {
                true => Ok(0),
                false => Err(Errno::CONNRESET.into()),
            };
        }
        let answers = &mut self.peer.received[connection.received].answers;
        let heard = answers.hear(into, self.now_ns, &mut self.chance);
        if let Ok(len) = heard {
            self.trace.note(|| format!("output hears {len} bytes"));
        }
        heard
    }

    pub(super) fn finish_sending(&mut self, connection: &Connection) -> io::Result<()> {
        if let Stands::Broken = connection.stands.get() {
            return Err(Errno::NOTCONN.into());
        }
        if connection.is_tcp {
            let never = self.peer.hung || self.chance.happens(Fault::Stalls, 2);
            let at = if never {
                u64::MAX
            } else {
                self.now_ns + self.chance.nanos(50)
            };
            connection.stands.set(Stands::Closing(at));
        }
        Ok(())
    }

    pub(super) fn drain(&self, connection: &Connection) -> io::Result<bool> {
        match connection.stands.get() {
            Stands::Closing(at) => Ok(at <= self.now_ns),
            Stands::Broken => Err(Errno::CONNRESET.into()),
            _ => Ok(false),
        }
    }
}
