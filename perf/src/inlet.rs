//! Accepts any number of connections and reads them all on one thread: what
//! the sink and the floor have in common. Level-triggered epoll, one read for
//! each time a connection is ready.

use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

use crate::Result;
use crate::signals;

/// What becomes of what is read.
pub trait Consumer {
    /// Connection `id` is there. The number of one that is closed is used
    /// again.
    fn opened(&mut self, id: usize) -> Result<()> {
        let _ = id;
        Ok(())
    }

    /// It sent `data`. `false`: that was all, the inlet may end.
    fn data(&mut self, id: usize, data: &[u8]) -> Result<bool>;

    /// It has closed.
    fn closed(&mut self, id: usize) {
        let _ = id;
    }
}

const LISTENER: u64 = u64::MAX;
const END: u64 = u64::MAX - 1;
const EVENTS: usize = 1024;

/// Reads `buffer_size` bytes at a time, until SIGTERM came and all
/// connections are closed, or the consumer has enough.
pub fn run(listener: &OwnedFd, buffer_size: usize, consumer: &mut impl Consumer) -> Result<()> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let end = signals::termination()?;
    epoll::add(
        &epoll,
        listener,
        EventData::new_u64(LISTENER),
        EventFlags::IN,
    )?;
    epoll::add(&epoll, &end, EventData::new_u64(END), EventFlags::IN)?;

    let mut connections = Connections::default();
    let mut buffer = vec![0; buffer_size];
    let mut events = Vec::with_capacity(EVENTS);
    let mut ending = false;
    loop {
        if ending {
            accept_all(listener, &epoll, &mut connections, consumer)?;
            if connections.open == 0 {
                return Ok(());
            }
        }
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            match event.data.u64() {
                LISTENER => accept_all(listener, &epoll, &mut connections, consumer)?,
                END => {
                    ending = true;
                    epoll::delete(&epoll, &end)?;
                }
                id => {
                    let id = id as usize;
                    let Some(connection) = connections.get(id) else {
                        continue;
                    };
                    match rustix::io::read(connection, &mut buffer[..]) {
                        Ok(0) | Err(Errno::CONNRESET) => {
                            connections.close(id);
                            consumer.closed(id);
                        }
                        Ok(len) => {
                            if !consumer.data(id, &buffer[..len])? {
                                return Ok(());
                            }
                        }
                        Err(Errno::AGAIN | Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
    }
}

fn accept_all(
    listener: &OwnedFd,
    epoll: &OwnedFd,
    connections: &mut Connections,
    consumer: &mut impl Consumer,
) -> Result<()> {
    loop {
        match accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            Ok(connection) => {
                let id = connections.next();
                epoll::add(
                    epoll,
                    &connection,
                    EventData::new_u64(id as u64),
                    EventFlags::IN,
                )?;
                connections.put(id, connection);
                consumer.opened(id)?;
            }
            Err(Errno::AGAIN) => return Ok(()),
            Err(Errno::INTR | Errno::CONNABORTED) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Open connections by small numbers.
#[derive(Debug, Default)]
struct Connections {
    all: Vec<Option<OwnedFd>>,
    free: Vec<usize>,
    open: usize,
}

impl Connections {
    fn next(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.all.push(None);
            self.all.len() - 1
        })
    }

    fn put(&mut self, id: usize, connection: OwnedFd) {
        self.all[id] = Some(connection);
        self.open += 1;
    }

    fn get(&self, id: usize) -> Option<&OwnedFd> {
        self.all.get(id)?.as_ref()
    }

    fn close(&mut self, id: usize) {
        self.all[id] = None;
        self.free.push(id);
        self.open -= 1;
    }
}

/// Writes all of `data` to a blocking descriptor.
pub fn write_all(fd: &OwnedFd, mut data: &[u8]) -> rustix::io::Result<()> {
    while !data.is_empty() {
        match rustix::io::write(fd, data) {
            Ok(len) => data = &data[len..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
