//! The directory output: every stream has a file with the bytes that its
//! client sent.
//!
//! Where that is stands in [`layout`](crate::layout). A stream of an earlier run goes when one
//! of its name is registered, before there is anything of the new one: see
//! [`earlier`].
//!
//! # What must hold
//!
//! Nothing is written outside the directory, whatever links are in it: see
//! [`beneath`]. Files are always new ones, so a link that was put in place of
//! one leads nowhere.
//!
//! No byte is lost or doubled by an error that passes: the sink goes on behind
//! the last one that was written. What all streams need (room, descriptors) is
//! waited for as long as it takes; what is wrong with one stream's path is
//! that stream's [`trouble`], and nobody else's.
//!
//! What is said to be delivered is there. The links of a file that is written
//! are counted now and then and when it is closed, those of the root for each
//! bundle; what is gone is told as lost, and what follows begins anew. A
//! stream that has ended is only remembered to be lost with the root.
//! Directories that are moved away, like files, are written on where they are;
//! a file that somebody truncates goes on at its new end.
//!
//! What is kept of a stream does not depend on its name, nor on how many
//! others there were.
//!
//! # Why not through the ring
//!
//! Writes are plain `write`s, on our one thread. To page cache that costs
//! least (kernel 6.18, 2 cores, CPU of the process with its ring workers):
//!
//! | a bundle of | `write` ext4, tmpfs | ring, 64 at a time: ext4, tmpfs |
//! |---|---|---|
//! | 16 streams of 64 KiB | 0.18, 0.31 s/GB | 0.30, 0.49 s/GB |
//! | 500 streams of 500 B | 0.9, 0.7 µs a write | 3.0 to 5.3, 2.1 µs a write |
//!
//! because on most file systems a ring hands buffered writes to a worker
//! thread. The price: while the kernel throttles a writer, we don't read.

mod beneath;
mod contents;
mod disk;
mod earlier;
mod mark;
mod meta;
mod open_files;
mod streams;
#[cfg(test)]
mod tests;
mod trouble;

use std::io;
use std::path::Path;

use rustix::io::Errno;

use super::backoff::Backoff;
use super::health::Health;
use crate::delivery::message::{Message, MessageStream};
use crate::delivery::outcome::Outcome;
use crate::ledger::DropReason;
use crate::limits::STREAM_BUFFER_MAX;
use crate::wire::descriptor::StreamType;
use crate::wire::name::StreamName;
use crate::wire::walk::Malformed;
use beneath::Root;
use contents::{Done, Piece};
use disk::Disk;
use earlier::Earlier;
use open_files::OpenFiles;
use streams::Streams;

/// Gives every stream a file; see the module.
#[derive(Debug)]
pub(crate) struct DirectorySink {
    /// What was there when this run began.
    earlier: Option<Earlier>,
    streams: Streams,
    /// What a bundle has of one stream.
    bytes: Vec<u8>,
    health: Health,
    backoff: Backoff,
    /// Streams and datagrams since others had their turn.
    busy: usize,
}

/// How far a bundle's part of a stream is written.
#[derive(Debug, Clone, Copy)]
struct Progress {
    /// Which of the bundle's streams.
    stream: usize,
    /// Pieces that are done.
    pieces: usize,
    /// What is done of the next one.
    done: Done,
}

/// Why a stream's part is not written.
#[derive(Debug)]
enum Failure {
    /// It may be later.
    Error(Errno),
    /// It never will.
    Malformed(Malformed),
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Error(errno)
    }
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// Files that are made or written before the rest of the butler has its turn.
const BUSY_MAX: usize = 64;

impl DirectorySink {
    /// Makes the directory if it is not there.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::with_open_files(path, OpenFiles::bound_of_process())
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    }

    fn with_open_files(path: &Path, bound: usize) -> io::Result<Self> {
        let health = Health::new(format!("directory {}", path.display()));
        let root = Root::open(path)?;
        Ok(Self {
            earlier: Earlier::look(&root)?,
            streams: Streams::new(Disk::new(root, bound), health.clone()),
            bytes: Vec::new(),
            health,
            backoff: Backoff::new(),
            busy: 0,
        })
    }

    /// Is there anything that a new stream may have to take the place of?
    pub fn wants_registrations(&self) -> bool {
        self.earlier.is_some()
    }

    /// A stream of that name has begun, of which nothing was delivered yet.
    pub async fn registered(&mut self, name: &StreamName) {
        if let Some(earlier) = &self.earlier
            && let Err(errno) = earlier.make_way(name)
        {
            log::warn!(
                "stream {name}: what an earlier run has left of it can't be removed: {errno}"
            );
        }
        breathe(&mut self.busy).await;
    }

    /// Delivers a bundle, and notes in `outcome` how far it is. It waits only
    /// for what all streams need, as room on the disk.
    pub async fn deliver(&mut self, bundle: &Message, outcome: &mut Outcome) {
        self.streams.look(outcome);
        let mut left: Vec<_> = (0..bundle.streams().len())
            .map(|stream| Progress {
                stream,
                pieces: 0,
                done: Done::default(),
            })
            .collect();
        loop {
            let mut failed = None;
            let mut kept = 0;
            for at in 0..left.len() {
                let mut progress = left[at];
                let part = &bundle.streams()[progress.stream];
                match self.write(bundle, part, &mut progress, outcome).await {
                    Ok(()) => {}
                    Err(Failure::Error(errno)) => {
                        left[kept] = progress;
                        kept += 1;
                        failed = Some((errno, &part.info.name));
                    }
                    Err(Failure::Malformed(malformed)) => {
                        log::error!("stream {}: {malformed} in a bundle", part.info.name);
                        outcome.part(progress.stream).dropped = Some(DropReason::Refused);
                    }
                }
            }
            left.truncate(kept);
            let Some((errno, name)) = failed else {
                break;
            };
            self.health.failed(&format_args!("stream {name}: {errno}"));
            tokio::time::sleep(self.backoff.wait()).await;
            self.streams.look(outcome);
        }
        self.health.worked();
        self.backoff.reset();
        self.streams.tell(outcome);
        outcome.end(Ok(0));
    }

    /// Writes what is left of a stream's part of the bundle.
    async fn write(
        &mut self,
        bundle: &Message,
        part: &MessageStream,
        progress: &mut Progress,
        outcome: &mut Outcome,
    ) -> Result<(), Failure> {
        match part.info.stream_type {
            StreamType::Text | StreamType::Binary => {
                contents::gather(bundle, part, &mut self.bytes)?;
                let piece = Piece {
                    data: &self.bytes,
                    client: part.client_bytes,
                    ends: false,
                };
                // It may have nothing but its end.
                if !piece.data.is_empty() {
                    let note = outcome.part(progress.stream);
                    self.streams
                        .put(&part.info, &piece, &mut progress.done, note)?;
                }
                self.bytes.shrink_to(STREAM_BUFFER_MAX);
                breathe(&mut self.busy).await;
            }
            StreamType::Datagram => {
                for piece in contents::datagrams(bundle, part).skip(progress.pieces) {
                    let note = outcome.part(progress.stream);
                    self.streams
                        .put(&part.info, &piece?, &mut progress.done, note)?;
                    progress.pieces += 1;
                    progress.done = Done::default();
                    breathe(&mut self.busy).await;
                }
            }
        }
        if part.terminal.is_some() {
            self.streams.end(&part.info);
        }
        Ok(())
    }

    /// While no bundle comes: returns when something has become of what is
    /// held of earlier ones.
    pub async fn go_on(&mut self, outcome: &mut Outcome) {
        while let Some(due) = self.streams.next_due() {
            tokio::time::sleep_until(due.into()).await;
            if self.streams.look(outcome) {
                return;
            }
        }
        std::future::pending().await
    }

    /// No bundle follows: waits until nothing is held any more.
    pub async fn finish(&mut self, outcome: &mut Outcome) {
        while let Some(due) = self.streams.next_due() {
            tokio::time::sleep_until(due.into()).await;
            self.streams.look(outcome);
        }
    }

    /// Nothing is tried any more. What is held is lost, and so is what
    /// somebody has removed until now.
    pub fn give_up(&mut self, outcome: &mut Outcome) {
        self.streams.give_up(outcome);
    }

    pub fn health(&self) -> &Health {
        &self.health
    }
}

/// Gives others their turn now and then.
async fn breathe(busy: &mut usize) {
    *busy += 1;
    if *busy >= BUSY_MAX {
        *busy = 0;
        tokio::task::yield_now().await;
    }
}
