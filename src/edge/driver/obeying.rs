//! What the machine wants done.

use std::io;

use super::{Connection, Driver, SPARE_DESCRIPTORS, not_accepted};
use crate::core::{ClientKey, Command, ListenerKey};
use crate::edge::io::{Ending, Io, ReadBy, Token};
use crate::time::Moment;

impl<I: Io> Driver<I> {
    /// Does what the machine wants done.
    pub(super) fn obey(&mut self, now: &Moment) -> io::Result<()> {
        while let Some(command) = self.machine.poll_command() {
            match command {
                Command::Read { client, ready } => {
                    if let Some(&Connection { ref fd, by, .. }) = self.machine.client(client) {
                        self.io.read(client, fd, by, ready)?;
                    }
                }
                Command::Await(client) => {
                    if let Some(&Connection { ref fd, by, .. }) = self.machine.client(client) {
                        self.io.readable(client, fd, by)?;
                    }
                }
                Command::Cancel(client) => self.io.cancel(Token::Client(client))?,
                Command::End(client) => self.end(now, client),
                Command::LookWhoWrites(clients) => self.look_who_writes(&clients),
                Command::Close {
                    client,
                    edge,
                    unread,
                } => {
                    if let Some(onlooker) = &edge.onlooker {
                        onlooker.close();
                    }
                    self.io.forget(Token::Client(client), &edge.fd);
                    self.io.close(edge.fd, unread && edge.by == ReadBy::Look);
                }
                Command::Unlink(listener) => {
                    if let Some(server) = self.machine.listener(listener) {
                        self.io.unlink(server);
                    }
                }
                Command::CancelAccept(listener) => self.io.cancel(Token::Listener(listener))?,
                Command::Accept { listener, insist } => self.accept(now, listener, insist)?,
                Command::AcceptWaiting { listener, insist } => {
                    self.accept_waiting(now, listener, insist);
                }
                Command::DropSpare => self.spare.clear(),
                Command::CloseListener { listener, edge } => {
                    self.io
                        .forget(Token::Listener(listener), I::listening(&edge));
                    self.io.close_server(edge);
                    self.spare.clear();
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, now: &Moment, client: ClientKey) {
        let Some(&Connection { ref fd, by, .. }) = self.machine.client(client) else {
            return;
        };
        let written = match self.io.end(fd, by) {
            Ending::Comes => None,
            Ending::After(there) => {
                let parked = self.parked.iter().filter(|kept| kept.client == client);
                let read = parked.map(|kept| self.io.bytes(&kept.filled).len() - kept.used);
                Some(there + read.sum::<usize>() as u64)
            }
        };
        self.machine.ends(now, client, written);
    }

    fn look_who_writes(&mut self, clients: &[ClientKey]) {
        let found: Vec<_> = clients
            .iter()
            .filter_map(|client| Some((*client, &self.machine.client(*client)?.fd)))
            .collect();
        let fds: Vec<_> = found.iter().map(|(_, fd)| *fd).collect();
        let written = match self.io.are_written(&fds) {
            Ok(written) => written,
            Err(error) => {
                log::debug!("it is not known which streams are still open: {error}");
                return;
            }
        };
        let open = found.iter().zip(written).filter(|(_, written)| *written);
        let open: Vec<_> = open.map(|((client, _), _)| *client).collect();
        self.machine.are_written(&open);
    }

    fn accept(&mut self, now: &Moment, listener: ListenerKey, insist: bool) -> io::Result<()> {
        if !self.keep_spare(now, listener, insist) {
            return Ok(());
        }
        match self.machine.listener(listener) {
            Some(server) => self.io.accept(listener, server),
            None => Ok(()),
        }
    }

    /// Keeps descriptors back for the output. False if there are too few, and nobody
    /// is to be accepted.
    fn keep_spare(&mut self, now: &Moment, listener: ListenerKey, insist: bool) -> bool {
        while self.spare.len() < SPARE_DESCRIPTORS {
            match self.io.spare() {
                Ok(spare) => self.spare.push(spare),
                Err(_) if insist => {
                    self.spare.clear();
                    break;
                }
                Err(error) => {
                    self.machine.no_spare(now, listener, &error);
                    return false;
                }
            }
        }
        true
    }

    fn accept_waiting(&mut self, now: &Moment, listener: ListenerKey, insist: bool) {
        if !self.keep_spare(now, listener, insist) {
            return;
        }
        let Some(server) = self.machine.listener(listener) else {
            return;
        };
        match self.io.accept_waiting(server) {
            Ok(Some(fd)) => self.accepted(now, listener, fd, false),
            Ok(None) => self.machine.nobody_waits(now, listener),
            Err(error) => {
                let why = not_accepted(error);
                self.machine.not_accepted(now, listener, &why, false);
            }
        }
    }

    pub(super) fn accepted(&mut self, now: &Moment, listener: ListenerKey, fd: I::Fd, armed: bool) {
        let (visitor, by) = self.io.visitor(&fd);
        let connection = Connection {
            fd,
            by,
            onlooker: None,
        };
        let entering = (connection, visitor);
        self.machine.accepted(now, listener, entering, armed);
    }
}
