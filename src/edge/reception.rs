//! The listeners: who is let in, and what happens when descriptors run out.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::SocketFlags;
use rustix::process::{Resource, getrlimit};

use super::door::Door;
use super::listener::StreamServer;
use super::rights::{self, Elsewhere, Rights};
use super::source;
use super::system::{Io, Token};
use crate::arena::Arena;
use crate::core::{ListenerKey, OfListener};
use crate::limits::{ACCEPT_RETRY, BACKLOG};

/// They have run out until there were enough for so long: whoever is at the
/// limit for hours hears of it once.
const DESCRIPTORS_BACK_NS: u64 = 1_000_000_000;
/// Of those who wait when a listener closes, so many are taken in a round.
const LAST_AT_A_TIME: usize = 256;
/// Descriptors that are kept back from accepting: an output that is not
/// connected yet, or not any more, must be able to.
const SPARE_DESCRIPTORS: usize = 8;

#[derive(Debug)]
struct Listener {
    server: StreamServer,
    armed: bool,
    /// It takes those that wait already, so many at most, then closes.
    closing: Option<u32>,
    /// Out of descriptors: when to try again.
    retry_ns: Option<u64>,
}

/// Somebody who is let in.
#[derive(Debug)]
pub(super) struct Admitted {
    pub fd: OwnedFd,
    pub rights: Rights,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Reception {
    listeners: Arena<Listener, OfListener>,
    door: Door,
    /// When descriptors were last found to have run out.
    exhausted_ns: Option<u64>,
    /// Keep the places of [`SPARE_DESCRIPTORS`] while we accept.
    spare: Vec<OwnedFd>,
}

/// What it needs to know of the moment.
pub(super) struct Now<'a> {
    pub io: &'a mut Io,
    pub ns: u64,
    /// Connections that are open.
    pub connections: usize,
    pub elsewhere: &'a mut Elsewhere,
}

impl Reception {
    pub fn listeners(&self) -> usize {
        self.listeners.len()
    }

    /// Connections of users who may not open streams.
    pub fn refused(&self) -> u64 {
        self.door.refused()
    }

    pub fn get(&self, number: u64) -> Option<&OwnedFd> {
        Some(&self.listeners.get(ListenerKey::from_u64(number))?.server.fd)
    }

    pub fn add(&mut self, now: &mut Now<'_>, server: StreamServer) -> io::Result<()> {
        let key = self.listeners.insert(Listener {
            server,
            armed: false,
            closing: None,
            retry_ns: None,
        });
        // It does not accept by itself before it closes.
        self.tend_one(now, key, &mut Vec::new())
    }

    /// When [`tend`](Self::tend) has something to do.
    pub fn next_retry_ns(&self) -> Option<u64> {
        let retries = self.listeners.iter();
        retries.filter_map(|(_, listener)| listener.retry_ns).min()
    }

    /// A descriptor is free again.
    pub fn descriptor_is_free(&mut self) {
        for key in self.listeners.keys() {
            if let Some(listener) = self.listeners.get_mut(key)
                && listener.retry_ns.is_some()
            {
                listener.retry_ns = Some(0);
            }
        }
    }

    /// Brings all listeners to where they should be. Who is let in meanwhile
    /// is put into `admitted`.
    pub fn tend(&mut self, now: &mut Now<'_>, admitted: &mut Vec<Admitted>) -> io::Result<()> {
        for key in self.listeners.keys() {
            self.tend_one(now, key, admitted)?;
        }
        Ok(())
    }

    /// Takes those who wait to be accepted, and nobody after them.
    pub fn stop(&mut self, now: &mut Now<'_>, admitted: &mut Vec<Admitted>) -> io::Result<()> {
        for key in self.listeners.keys() {
            if let Some(listener) = self.listeners.get_mut(key)
                && listener.closing.is_none()
            {
                listener.closing = Some(BACKLOG);
                listener.server.unlink();
                if listener.armed {
                    now.io.cancel_accept(key.to_u64())?;
                }
            }
        }
        self.tend(now, admitted)
    }

    /// An accept has come back; `armed`: and goes on.
    pub fn accepted(
        &mut self,
        now: &mut Now<'_>,
        number: u64,
        result: io::Result<OwnedFd>,
        armed: bool,
        admitted: &mut Vec<Admitted>,
    ) -> io::Result<()> {
        let key = ListenerKey::from_u64(number);
        if let Some(listener) = self.listeners.get_mut(key) {
            listener.armed = armed;
        }
        match result {
            Ok(fd) => self.welcome(now, key, fd, admitted)?,
            Err(error) => self.accept_failed(now, key, &error),
        }
        self.tend_one(now, key, admitted)
    }

    fn welcome(
        &mut self,
        now: &mut Now<'_>,
        key: ListenerKey,
        fd: OwnedFd,
        admitted: &mut Vec<Admitted>,
    ) -> io::Result<()> {
        let back = |at| now.ns > at + DESCRIPTORS_BACK_NS;
        if self.exhausted_ns.is_some_and(back) {
            self.exhausted_ns = None;
            log::warn!("connections are accepted again");
        }
        let Some(listener) = self.listeners.get(key) else {
            return Ok(());
        };
        // Also of those who are not let in: their sockets are closed too.
        let rights = rights::refuse(&fd);
        // The kernel gives the lowest number that is free: this was the last.
        let limit = getrlimit(Resource::Nofile).current;
        let last = limit.is_some_and(|limit| fd.as_raw_fd() as u64 + 1 >= limit);
        if !self
            .door
            .admits(now.ns, listener.server.users(), fd.as_fd())
        {
            if rights != Rights::Refused {
                now.elsewhere.close(fd);
            }
            return Ok(());
        }
        source::out_of_band_in_line(&fd);
        admitted.push(Admitted { fd, rights });
        if last {
            if listener.armed {
                now.io.cancel_accept(key.to_u64())?;
            }
            self.exhausted(now, key, &Errno::MFILE.into());
        }
        Ok(())
    }

    fn accept_failed(&mut self, now: &Now<'_>, key: ListenerKey, error: &io::Error) {
        if matches!(
            Errno::from_io_error(error),
            Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
        ) {
            self.exhausted(now, key, error);
        }
    }

    /// No descriptor is left to accept with: tries again later.
    fn exhausted(&mut self, now: &Now<'_>, key: ListenerKey, error: &io::Error) {
        if self.exhausted_ns.replace(now.ns).is_none() {
            log::error!(
                "can't accept connections: {error}; those that are open are served on, \
                 the others wait ({} are open)",
                now.connections
            );
        }
        self.spare.clear();
        if let Some(listener) = self.listeners.get_mut(key) {
            listener.retry_ns = Some(now.ns + ACCEPT_RETRY.as_nanos() as u64);
        }
    }

    /// Keeps descriptors back; an error if there are not as many.
    fn take_spare(&mut self, io: &Io) -> io::Result<()> {
        while self.spare.len() < SPARE_DESCRIPTORS {
            self.spare.push(io.wait_fd().try_clone_to_owned()?);
        }
        Ok(())
    }

    fn tend_one(
        &mut self,
        now: &mut Now<'_>,
        key: ListenerKey,
        admitted: &mut Vec<Admitted>,
    ) -> io::Result<()> {
        let Some(listener) = self.listeners.get_mut(key) else {
            return Ok(());
        };
        let blocked = listener.retry_ns.is_some_and(|at| at > now.ns);
        if listener.armed || blocked {
            return Ok(());
        }
        listener.retry_ns = None;
        if let Err(error) = self.take_spare(now.io) {
            self.spare.clear();
            // With next to none at all it is better to accept than to wait.
            if now.connections > 0 {
                self.exhausted(now, key, &error);
                return Ok(());
            }
        }
        match self.listeners.get_mut(key) {
            Some(listener) if listener.closing.is_none() => {
                now.io.accept(key.to_u64(), listener.server.fd.as_fd())?;
                listener.armed = true;
                Ok(())
            }
            _ => self.take_the_last(now, key, admitted),
        }
    }

    /// Accepts those who wait already, some at a time, and closes the listener
    /// unless descriptors run out meanwhile. Others may connect to it still, if
    /// it is not ours alone: they are left for whoever listens next.
    fn take_the_last(
        &mut self,
        now: &mut Now<'_>,
        key: ListenerKey,
        admitted: &mut Vec<Admitted>,
    ) -> io::Result<()> {
        for _ in 0..LAST_AT_A_TIME {
            let Some(listener) = self.listeners.get_mut(key) else {
                return Ok(());
            };
            if listener.retry_ns.is_some() {
                return Ok(());
            }
            match &mut listener.closing {
                Some(0) | None => {
                    self.remove(now, key);
                    return Ok(());
                }
                Some(left) => *left -= 1,
            }
            let mut waits = [PollFd::new(&listener.server.fd, PollFlags::IN)];
            let polled = poll(&mut waits, Some(&rustix::time::Timespec::default()));
            let result = match polled {
                Ok(0) => Err(Errno::AGAIN),
                Ok(_) => rustix::net::accept_with(&listener.server.fd, SocketFlags::CLOEXEC),
                Err(error) => Err(error),
            };
            match result {
                Ok(fd) => self.welcome(now, key, fd, admitted)?,
                // Signals come at the end, and interrupt also what does not
                // wait.
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(error) => {
                    self.accept_failed(now, key, &error.into());
                    if let Some(listener) = self.listeners.get(key)
                        && listener.retry_ns.is_some()
                    {
                        return Ok(());
                    }
                    self.remove(now, key);
                }
            }
        }
        // The others come in the next round.
        if let Some(listener) = self.listeners.get_mut(key) {
            listener.retry_ns.get_or_insert(now.ns);
        }
        Ok(())
    }

    fn remove(&mut self, now: &mut Now<'_>, key: ListenerKey) {
        if let Some(listener) = self.listeners.remove(key) {
            let fd = listener.server.fd.as_fd();
            now.io.forget(Token::Accept(key.to_u64()), fd);
            // Who was not accepted any more may have passed descriptors.
            if rights::refuse(fd) == Rights::Possible
                && let Ok(last) = fd.try_clone_to_owned()
            {
                drop(listener);
                now.elsewhere.let_go(last);
            }
        }
    }
}
