//! A connection that is made, encrypted or not.

use std::io;

use bytes::Bytes;

use super::session::Session;
use crate::edge::io::Io;
use crate::edge::writer::io_slices;

/// How much of what a peer sends is thrown away at once, in pieces: there is no
/// keeping up with one that never stops.
const DRAINS_AT_ONCE: usize = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Channel<D> {
    pub fd: D,
    pub session: Option<Session>,
}

impl<D> Channel<D> {
    /// Takes what it can of the slices.
    pub fn send<I: Io<Fd = D>>(&mut self, io: &mut I, slices: &[Bytes]) -> io::Result<usize> {
        let slices = io_slices(slices);
        match &mut self.session {
            None => io.send(&self.fd, &slices),
            Some(session) => session.send(io, &self.fd, &slices),
        }
    }

    /// The kernel takes all that was sent.
    pub fn flush<I: Io<Fd = D>>(&mut self, io: &mut I) -> io::Result<()> {
        match &mut self.session {
            None => Ok(()),
            Some(session) => session.flush(io, &self.fd),
        }
    }

    /// Reads what the peer has sent; 0 at its end.
    pub fn receive<I: Io<Fd = D>>(&mut self, io: &mut I, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.session {
            None => io.receive(&self.fd, into),
            Some(session) => session.receive(io, &self.fd, into),
        }
    }

    /// Is the peer still there, as far as is known? What it has sent is thrown away.
    pub fn check<I: Io<Fd = D>>(&mut self, io: &mut I) -> io::Result<()> {
        match &mut self.session {
            None => io.check(&self.fd),
            Some(_) => match self.drain(io)? {
                true => Err(io::Error::new(
                    io::ErrorKind::ConnectionReset,
                    "the peer has closed the connection",
                )),
                false => Ok(()),
            },
        }
    }

    /// Nothing more is sent.
    pub fn finish_sending<I: Io<Fd = D>>(&mut self, io: &mut I) -> io::Result<()> {
        if let Some(session) = &mut self.session {
            session.finish(io, &self.fd)?;
        }
        io.finish_sending(&self.fd)
    }

    /// Throws away what the peer has sent. True: it has closed its half.
    pub fn drain<I: Io<Fd = D>>(&mut self, io: &mut I) -> io::Result<bool> {
        let Some(session) = &mut self.session else {
            return io.drain(&self.fd);
        };
        let mut sunk = [0; 4096];
        for _ in 0..DRAINS_AT_ONCE {
            match session.receive(io, &self.fd, &mut sunk) {
                Ok(0) => return Ok(true),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}
