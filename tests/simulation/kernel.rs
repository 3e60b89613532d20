//! The virtual kernel: sockets that hold so much and no more, a queue of
//! those who wait to be accepted, and descriptors that run out.

use std::collections::VecDeque;

/// One end writes, the other reads.
#[derive(Debug, Default)]
pub struct Socket {
    bytes: VecDeque<u8>,
    capacity: usize,
    /// The client is gone, or writes no more.
    closed: bool,
    /// We read no further than what is there.
    shut: bool,
    /// Bytes ever written and ever read.
    pub written: usize,
    pub read: usize,
}

/// Nobody reads any more.
#[derive(Debug)]
pub struct Broken;

impl Socket {
    /// Takes as much as there is room for.
    pub fn write(&mut self, data: &[u8]) -> Result<usize, Broken> {
        if self.shut {
            return Err(Broken);
        }
        let len = data.len().min(self.capacity - self.bytes.len());
        self.bytes.extend(&data[..len]);
        self.written += len;
        Ok(len)
    }

    pub fn has_room(&self) -> bool {
        self.shut || self.bytes.len() < self.capacity
    }

    pub fn close(&mut self) {
        self.closed = true;
    }

    /// What was written is still read, then comes the end.
    pub fn shut(&mut self) {
        self.shut = true;
    }

    /// Would a read come back at once?
    pub fn is_readable(&self) -> bool {
        !self.bytes.is_empty() || self.closed || self.shut
    }

    /// Bytes there are.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn read(&mut self, max: usize) -> Vec<u8> {
        let len = self.bytes.len().min(max);
        self.read += len;
        self.bytes.drain(..len).collect()
    }
}

/// See the module.
#[derive(Debug)]
pub struct Kernel {
    /// One for each client, from the time that it connects.
    pub sockets: Vec<Socket>,
    capacity: usize,
    /// Clients that wait to be accepted.
    queue: VecDeque<usize>,
    listening: bool,
    /// Descriptors that are left.
    descriptors: usize,
    /// Until then there are none at all.
    pub exhausted_until_ns: u64,
}

impl Kernel {
    pub fn new(clients: usize, capacity: usize, descriptors: usize) -> Self {
        Self {
            sockets: (0..clients)
                .map(|_| Socket {
                    capacity,
                    ..Socket::default()
                })
                .collect(),
            capacity,
            queue: VecDeque::new(),
            listening: true,
            descriptors,
            exhausted_until_ns: 0,
        }
    }

    /// A client connects.
    pub fn connect(&mut self, client: usize) -> Result<(), Broken> {
        if !self.listening {
            return Err(Broken);
        }
        debug_assert!(self.capacity > 0);
        self.queue.push_back(client);
        Ok(())
    }

    /// Does somebody wait to be accepted?
    pub fn has_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Accepts the next; `None` when descriptors have run out.
    pub fn accept(&mut self, now_ns: u64) -> Option<usize> {
        if self.descriptors == 0 || now_ns < self.exhausted_until_ns {
            return None;
        }
        let client = self.queue.pop_front()?;
        self.descriptors -= 1;
        Some(client)
    }

    /// A connection's descriptor is closed: its client can't write any more.
    pub fn release(&mut self, client: usize) {
        self.sockets[client].shut();
        self.descriptors += 1;
    }

    pub fn stop_listening(&mut self) {
        self.listening = false;
    }
}
