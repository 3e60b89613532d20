//! What a client writes to: a socket, or a pipe that was attached.

use std::collections::VecDeque;

use crate::plan::{Client, Plan};

/// One end writes, the other reads.
#[derive(Debug)]
pub struct Socket {
    bytes: VecDeque<u8>,
    capacity: usize,
    /// The client is gone, or writes no more.
    pub closed: bool,
    /// We read no further than what is there.
    shut: bool,
    /// Our end is closed.
    released: bool,
    /// Bytes that were written when its end was to come.
    ended_at: Option<usize>,
    /// A read has failed: what was not read is gone.
    pub failed: bool,
    /// We have accepted it.
    pub accepted: bool,
    /// Bytes ever written and ever read.
    pub written: usize,
    pub read: usize,
    /// Bytes of the last read.
    pub last_read: usize,
    /// Bytes of its header.
    pub header: usize,
}

/// Nobody reads any more.
#[derive(Debug)]
pub struct Broken;

impl Socket {
    pub fn new(client: &Client, plan: &Plan) -> Self {
        Self {
            bytes: VecDeque::new(),
            capacity: plan.socket_capacity,
            closed: false,
            shut: false,
            released: false,
            ended_at: None,
            failed: false,
            accepted: false,
            written: 0,
            read: 0,
            last_read: 0,
            header: client.header_bytes().len(),
        }
    }

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

    /// What was written is still read, then comes the end.
    pub fn shut(&mut self) {
        self.shut = true;
    }

    /// What is written from now on need not be read.
    pub fn end(&mut self) {
        self.ended_at.get_or_insert(self.written);
    }

    /// Bytes that are to be read.
    pub fn written_in_time(&self) -> usize {
        self.ended_at.map_or(self.written, |end| end.max(self.read))
    }

    /// Our end is closed: nobody can write any more.
    pub fn release(&mut self) {
        self.shut = true;
        self.released = true;
    }

    pub fn is_released(&self) -> bool {
        self.released
    }

    /// Would a read come back at once?
    pub fn is_readable(&self) -> bool {
        !self.bytes.is_empty() || self.closed || self.shut
    }

    /// May somebody still write?
    pub fn is_written(&self) -> bool {
        !self.closed
    }

    /// Bytes there are.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What is there is gone, unread.
    pub fn forget(&mut self) {
        self.bytes.clear();
    }

    pub fn read(&mut self, max: usize) -> Vec<u8> {
        let len = self.bytes.len().min(max);
        self.read += len;
        self.last_read = len;
        self.bytes.drain(..len).collect()
    }
}
