//! What a stream's machine needs in tests, and what it puts out.

use std::sync::Arc;

use prost_types::Timestamp;

use super::{Carry, Progress, Stage};
use crate::bundler::{Bundler, Slot};
use crate::delivery::message::{BundleLimits, Identity, StreamInfo};
use crate::keys::StreamKey;
use crate::ledger::Account;
use crate::proto::logpb::{LogEntry, LogStreamDescriptor};
use crate::time::Moment;
use crate::wire::descriptor::StreamType;

/// One stream's stage and carry.
pub(super) struct Bench {
    pub bundler: Bundler,
    pub carry: Carry,
    pub now: Moment,
    /// Of the client, in what [`bundles`](Self::bundles) has given.
    pub client_bytes: u64,
    info: Arc<StreamInfo>,
    account: Account,
    progress: Progress,
    total: Account,
}

impl Bench {
    /// Bundles of `target` bytes, and at most of `max`.
    pub fn new(stream_type: StreamType, target: usize, max: usize) -> Self {
        let limits = BundleLimits {
            early: target,
            target,
            max,
        };
        let descriptor = LogStreamDescriptor::default();
        let name = "s".parse().unwrap();
        Self {
            bundler: Bundler::new(limits, usize::MAX, &Identity::default()),
            carry: Carry::default(),
            now: Moment {
                mono_ns: 1,
                wall: Timestamp::default(),
            },
            client_bytes: 0,
            info: Arc::new(StreamInfo::new(
                StreamKey::from_u64(0),
                name,
                stream_type,
                &descriptor,
            )),
            account: Account::default(),
            progress: Progress {
                base: Timestamp::default(),
                next_index: 0,
                last_offset: (0, 0),
                slot: Slot::default(),
            },
            total: Account::default(),
        }
    }

    /// Has something put on the stage.
    pub fn run<R>(&mut self, run: impl FnOnce(&mut Stage<'_>, &mut Carry) -> R) -> R {
        let mut stage = Stage {
            bundler: &mut self.bundler,
            info: &self.info,
            progress: &mut self.progress,
            watch: None,
            account: &mut self.account,
            total: &mut self.total,
            now: &self.now,
        };
        run(&mut stage, &mut self.carry)
    }

    pub fn room(&mut self) -> usize {
        self.run(|stage, _| stage.room())
    }

    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The entries of every bundle, that which is being filled included.
    pub fn bundles(&mut self) -> Vec<Vec<LogEntry>> {
        self.bundler.seal();
        let mut all = Vec::new();
        while let Some(bundle) = self.bundler.pop() {
            self.client_bytes += bundle.streams()[0].client_bytes;
            let mut entries = bundle.decode().entries;
            assert_eq!(entries.len(), 1, "there is one stream");
            all.push(entries.remove(0).logs);
            self.bundler.recycle(bundle);
        }
        all
    }
}
