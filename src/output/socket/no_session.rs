//! In place of TLS, where it is left out: there is never a session.

use std::io::{self, IoSlice};

use crate::edge::io::{Io, Wait};
use crate::output::Tls;

#[derive(Debug, Clone)]
pub(super) enum Client {}

#[derive(Debug)]
pub(super) enum Session {}

impl Client {
    pub fn new(_: &Tls, _: &str) -> io::Result<Self> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "TLS is not in this butler: it was built without the feature tls",
        ))
    }

    pub fn session(&self) -> io::Result<Session> {
        match *self {}
    }
}

impl Session {
    pub fn shake_hands<I: Io>(&mut self, _: &mut I, _: &I::Fd) -> io::Result<Option<Wait>> {
        match *self {}
    }

    pub fn may_be_refused(&self) -> bool {
        match *self {}
    }

    pub fn hear<I: Io>(&mut self, _: &mut I, _: &I::Fd) -> io::Result<bool> {
        match *self {}
    }

    pub fn send<I: Io>(&mut self, _: &mut I, _: &I::Fd, _: &[IoSlice<'_>]) -> io::Result<usize> {
        match *self {}
    }

    pub fn flush<I: Io>(&mut self, _: &mut I, _: &I::Fd) -> io::Result<()> {
        match *self {}
    }

    pub fn receive<I: Io>(&mut self, _: &mut I, _: &I::Fd, _: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }

    pub fn finish<I: Io>(&mut self, _: &mut I, _: &I::Fd) -> io::Result<()> {
        match *self {}
    }
}
