//! The spool: messages that wait on disk, in the format of [`crate::spool`].
//!
//! [`Store`] is a machine that never waits for anybody but the disk. Whoever has
//! it (the transport that puts a spool before a carrier) calls:
//!
//! * [`append`](Store::append) with a fresh message. When it returns, the kernel has
//!   the record: it outlives the butler, and the machine once it
//!   [is synced](Store::is_synced).
//! * [`next_own`](Store::next_own) and [`next_earlier`](Store::next_earlier) for what is
//!   to be sent next, in order: of this run, and of those before. A record is given
//!   once.
//! * [`done`](Store::done) for a record that nobody needs any more, in any order. A
//!   segment is removed when all of its records are done.
//! * [`runs`](Store::runs) for whose messages there are. Those of a run that is not
//!   registered are not given until it [is](Store::registered), or until it need not
//!   be ([`hold`](Store::hold)).
//! * [`completed`](Store::completed), [`poll`](Store::poll) and
//!   [`due_ns`](Store::due_ns) as of a [transport](crate::edge::transport); its
//!   operations have numbers from [`SPOOL_NUMBERS`] on.
//! * [`finish`](Store::finish) when no message follows, and at the end
//!   [`close`](Store::close). What was not done stays for the next butler.
//!
//! Of what waits nothing is in memory but where it is: for each segment how far it
//! was read, and which of its records are done.

mod acks;
mod appending;
mod left;
mod losing;
mod opening;
mod place;
mod reading;
mod removing;
mod rewriting;
mod segment;
mod settings;
mod syncing;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::BytesMut;

use self::acks::Acks;
use self::appending::Appending;
pub use self::losing::Loss;
use self::place::Place;
use self::segment::Segment;
pub use self::settings::{Full, SpoolSettings, SpoolSpecError, SyncPolicy, When};
use self::syncing::Syncing;
use super::health::Health;
use crate::delivery::message::Message;
use crate::delivery::stored::{Run, Stored};
use crate::proto::spool::SpoolRun;
use crate::proto::spool::spool_fact::{Done as DoneFact, Registered};
use crate::secret::Secret;
use crate::spool::{Fact, Manifest, Part, Window};
pub use crate::spool::{RecordId, Why};

/// The numbers of a spool's operations: from here on.
pub const SPOOL_NUMBERS: u32 = 1 << 31;

/// Why a spool can't be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// The directory, or a file in it.
    #[error("the spool {}", path.display())]
    Directory {
        /// Which one.
        path: PathBuf,
        /// What the kernel says.
        #[source]
        error: io::Error,
    },
    /// Somebody else could put messages there, to be sent in our name.
    #[error("the spool {}: the directory belongs to another user", path.display())]
    NotOurs {
        /// Where it is.
        path: PathBuf,
    },
    /// The directory has something else.
    #[error("{} is no spool: it has no segments, but something else", path.display())]
    NoSpool {
        /// Where it is.
        path: PathBuf,
    },
    /// It has an owner.
    #[error(
        "the spool {} is another butler's{}; give this one a directory of its own",
        path.display(),
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    InUse {
        /// Where it is.
        path: PathBuf,
        /// Its owner, if that is known.
        pid: Option<u32>,
    },
    /// A later butler has written it.
    #[error(
        "the spool {}: a later butler has written {file}, in version {version} of the format, and \
         this one reads up to {max}",
        path.display(),
        max = crate::spool::VERSION
    )]
    Newer {
        /// Where it is.
        path: PathBuf,
        /// In which file.
        file: String,
        /// The version there.
        version: u32,
    },
}

/// Why a message was not appended. Nothing of it counts as written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The spool has as much as it may have. There is room again when a whole
    /// segment is done.
    #[error("the spool is full")]
    Full,
    /// The kernel says no; it may work later.
    #[error("the spool can't be written")]
    Io(#[source] io::Error),
}

/// Why nobody needs a record any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// The far end has it.
    Delivered,
    /// The far end does not want it.
    Refused,
}

/// What was read back, to be sent.
#[derive(Debug)]
pub struct Read {
    /// By which it is told that it is done.
    pub record: RecordId,
    /// What is in it.
    pub manifest: Manifest,
    /// The message.
    pub stored: Stored,
}

/// A run whose messages are in the spool.
#[derive(Debug)]
struct Owner {
    /// As it stands in headers.
    header: SpoolRun,
    run: Arc<Run>,
    /// Its messages are not sent now.
    held: bool,
}

/// The place of this butler's run among all.
const OWN: usize = 0;

/// The segments of this run, or of all others.
#[derive(Debug)]
struct Shelf<D> {
    /// In the order of their numbers.
    segments: VecDeque<Segment<D>>,
    window: Window,
    /// Memory that the next body is read to.
    bodies: BytesMut,
    /// What is in the window is of this one.
    reading: Option<u32>,
    /// How often it could not be read at the same place.
    attempts: u32,
    /// Nothing is read before, as something could not be.
    retry_ns: Option<u64>,
}

/// See the module.
#[derive(Debug)]
pub struct Store<D> {
    settings: SpoolSettings,
    place: Place<D>,
    /// The first is [ours](OWN).
    runs: Vec<Owner>,
    own: Shelf<D>,
    earlier: Shelf<D>,
    acks: Acks<D>,
    /// Of the next segment.
    next_number: u32,
    /// Bytes of all segments.
    used: u64,
    appending: Appending,
    syncing: Syncing<D>,
    losses: Vec<Loss>,
    /// Segments that were there, and of which nothing could be read.
    segments_lost: u64,
    health: Health,
}

impl<D> Shelf<D> {
    fn new(segments: VecDeque<Segment<D>>) -> Self {
        Self {
            segments,
            window: Window::default(),
            bodies: BytesMut::new(),
            reading: None,
            attempts: 0,
            retry_ns: None,
        }
    }

    fn find(&mut self, number: u32) -> Option<&mut Segment<D>> {
        let at = self
            .segments
            .binary_search_by_key(&number, |segment| segment.number);
        self.segments.get_mut(at.ok()?)
    }
}

impl<D: 'static> Store<D> {
    /// Where it is.
    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// What it is like.
    pub fn settings(&self) -> &SpoolSettings {
        &self.settings
    }

    /// Bytes that its segments take.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// How often something did not work, which was tried again or told.
    pub fn errors(&self) -> u64 {
        self.health.errors()
    }

    /// The record need not be kept any longer.
    pub fn done(&mut self, record: RecordId, done: Done) {
        // One that is not there was removed: it was done before.
        let Some(segment) = self.find(record.segment) else {
            return;
        };
        if !segment.done.contains(record.index) {
            segment.done.insert(record.index, record.index);
            let marker = segment.marker;
            self.acks.done(DoneFact {
                segment: record.segment.into(),
                marker,
                first: record.index,
                last: record.index,
                refused: done == Done::Refused,
            });
        }
    }

    /// The runs that have messages here: ours, and those before. Their
    /// [registration](Run::registration) says whether they can be sent.
    pub fn runs(&self) -> impl Iterator<Item = &Arc<Run>> {
        self.runs.iter().map(|owner| &owner.run)
    }

    /// The prefix of that run is registered by now: its messages can be sent. It is
    /// another `Run` from then on, as its bundles carry something else.
    pub fn registered(&mut self, run: &Arc<Run>, secret: Secret, topic: String) {
        if let Some(owner) = self.owner(run) {
            let fact = Registered {
                run: owner.header.id.clone(),
                secret: secret.expose().clone(),
                topic: topic.clone(),
            };
            owner.register(secret, topic);
            self.acks.tell(Fact::Registered(fact));
        }
    }

    /// Messages of that run are not given until further notice, or are again. At
    /// first those are not whose prefix is not registered.
    pub fn hold(&mut self, run: &Arc<Run>, held: bool) {
        if let Some(owner) = self.owner(run) {
            owner.held = held;
        }
    }

    fn owner(&mut self, run: &Arc<Run>) -> Option<&mut Owner> {
        let mut runs = self.runs.iter_mut();
        runs.find(|owner| Arc::ptr_eq(&owner.run, run))
    }
}

/// What a message has of each stream.
pub fn manifest_of(message: &Message) -> Manifest {
    let part = |stream: &crate::delivery::message::MessageStream| Part {
        name: stream.info.name.clone(),
        bytes: stream.client_bytes,
        entries: stream.entries,
        terminal: stream.terminal,
    };
    Manifest {
        streams: message.streams().iter().map(part).collect(),
    }
}
