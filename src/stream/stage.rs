//! Where a stream's machine puts its entries: the bundle being filled, with
//! what an entry needs besides its content.

use std::sync::Arc;

use prost_types::Timestamp;

use crate::bundler::{Bundler, Slot};
use crate::delivery::message::StreamInfo;
use crate::ledger::{Account, DropReason};
use crate::stream::{StreamKey, WatchEvents};
use crate::time::{self, Moment};
use crate::wire::datagrams::{self, DatagramsPut};
use crate::wire::entry::{self, Content, EntryHead};
use crate::wire::lines::{self, LinesPut};

/// How far a stream has come.
#[derive(Debug)]
pub(crate) struct Progress {
    /// The descriptor's timestamp.
    pub base: Timestamp,
    /// The stream's next index: entries so far.
    pub next_index: u64,
    /// Time offset of the last entry; it never goes back.
    pub last_offset: (u64, u32),
    /// Its place in the bundle being filled.
    pub slot: Slot,
}

/// Everything that is needed to put out entries of one stream.
pub(crate) struct Stage<'a> {
    pub bundler: &'a mut Bundler,
    pub info: &'a Arc<StreamInfo>,
    /// Where its bytes went.
    pub account: &'a mut Account,
    pub progress: &'a mut Progress,
    /// Where entries of a watched stream are noted too.
    pub watch: Option<(&'a mut WatchEvents, StreamKey)>,
    /// The account of all streams.
    pub total: &'a mut Account,
    pub now: &'a Moment,
}

impl Stage<'_> {
    /// Payload bytes that fit in the bundle being filled.
    pub fn room(&self) -> usize {
        self.bundler.room(self.info, self.progress.slot)
    }

    /// Payload bytes that fit in a bundle that holds nothing else.
    pub fn room_alone(&self) -> usize {
        self.bundler.room_alone(self.info)
    }

    /// Is the bundle being filled still empty?
    pub fn is_fresh(&self) -> bool {
        self.bundler.is_fresh()
    }

    /// Cuts the bundle being filled.
    pub fn next_bundle(&mut self) {
        self.bundler.seal();
    }

    /// Puts out an entry whose first byte was read at `read`, and which
    /// stands for `client_bytes` bytes of the client.
    pub fn put(&mut self, read: &Moment, sequence: u64, content: &Content<'_>, client_bytes: u64) {
        let head = self.next_head(read, sequence);
        let len = entry::logs_len(&head, content);
        let slot = &mut self.progress.slot;
        let out = self
            .bundler
            .stage(self.info, slot, len, client_bytes, read, self.now);
        entry::put_logs(out, &head, content);
        if let Some((events, key)) = &mut self.watch {
            events.entry(*key, out);
        }
        self.bundler.seal_if_full();
    }

    /// Puts out an entry of whole lines that were just read: as many of those
    /// in `data` as fit in the room, where the first one must.
    pub fn put_lines(&mut self, sequence: u64, data: &[u8], room: usize) -> LinesPut {
        let now = self.now;
        let head = self.next_head(now, sequence);
        let front_max = entry::front_len_max(&head, room);
        let slot = &mut self.progress.slot;
        let out = self
            .bundler
            .space(self.info, slot, front_max + room, now, now);
        let (front, space) = out.split_at_mut(front_max);
        let put = lines::put_lines(space, data);
        assert!(put.lines > 0, "the first line fits");
        let start = front_max - entry::put_front(front, &head, put.len);
        let range = start..front_max + put.len;
        let out = self.bundler.staged(*slot, range, 1, put.bytes as u64, now);
        if let Some((events, key)) = &mut self.watch {
            events.entry(*key, out);
        }
        self.bundler.seal_if_full();
        put
    }

    /// Puts out the whole datagrams at the front of `data`, which was just
    /// read, each as an entry: as many as fit easily. None of a watched stream,
    /// whose entries are looked at one by one.
    pub fn put_datagrams(&mut self, sequence: u64, data: &[u8]) -> DatagramsPut {
        let room = self.room();
        if self.watch.is_some() || !datagrams::one_fits(room, data) {
            return DatagramsPut::default();
        }
        let now = self.now;
        let head = self.next_head(now, sequence);
        let slot = &mut self.progress.slot;
        let out = self.bundler.space(self.info, slot, room, now, now);
        let put = datagrams::put_datagrams(out, &head, data);
        assert!(put.datagrams > 0, "one fits");
        self.progress.next_index = head.stream_index + put.datagrams;
        let (range, count) = (0..put.len, put.datagrams as u32);
        let bytes = put.bytes as u64;
        self.bundler.staged(*slot, range, count, bytes, now);
        self.bundler.seal_if_full();
        put
    }

    /// The head of the stream's next entry.
    fn next_head(&mut self, read: &Moment, sequence: u64) -> EntryHead {
        let offset = time::offset(&self.progress.base, &read.wall).max(self.progress.last_offset);
        self.progress.last_offset = offset;
        let stream_index = self.progress.next_index;
        self.progress.next_index += 1;
        EntryHead {
            offset_seconds: offset.0,
            offset_nanos: offset.1,
            prefix_index: self.bundler.next_prefix_index(),
            stream_index,
            sequence,
        }
    }

    /// Bytes of the client will never be part of an entry.
    pub fn drop(&mut self, reason: DropReason, bytes: u64) {
        self.account.drop(reason, bytes);
        self.total.drop(reason, bytes);
    }
}

/// Of two slices that stand for one value: the first `len` bytes, and the
/// rest.
pub(super) fn split(value: [&[u8]; 2], len: usize) -> ([&[u8]; 2], [&[u8]; 2]) {
    let [a, b] = value;
    if len <= a.len() {
        let (front, back) = a.split_at(len);
        ([front, b""], [back, b])
    } else {
        let (front, back) = b.split_at(len - a.len());
        ([a, front], [back, b""])
    }
}

pub(super) fn both_len(value: [&[u8]; 2]) -> usize {
    value[0].len() + value[1].len()
}
