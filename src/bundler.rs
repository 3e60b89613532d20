//! What goes into the next bundle and when it leaves, as a message.
//!
//! Entries are staged in the order in which they were read, all streams in
//! one segment, so the oldest data always leaves first and a stream that
//! writes a lot delays nobody. A bundle is cut when it is full, or when its
//! oldest byte has waited for the maximum age. Its cost depends on the
//! streams in it, not on those that are open.

use std::collections::VecDeque;
use std::mem;
use std::ops::Range;
use std::sync::Arc;

use bytes::BytesMut;
use prost_types::Timestamp;

use crate::delivery::message::{
    self, BundleLimits, ENTRY_OVERHEAD_MAX, Identity, Message, MessageStream, NO_PART, Part,
    StreamInfo, Ticket,
};
use crate::secret::Secret;
use crate::segments::SegmentPool;
use crate::time::Moment;

/// What a stream remembers of the bundle being filled.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Slot {
    /// Which bundle; another one than the bundler's means: not in it.
    bundle: u64,
    index: u32,
    /// Messages that the stream is in, and whose outcome is not known.
    pub messages: u32,
}

/// Messages that are kept for the next ones, and bytes of memory in their
/// lists: they do not count as buffered.
const SPARE_MAX: usize = 16;
const SPARE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// A bundle with less room than this part of its target counts as full.
const NEARLY_FULL: usize = 32;
/// A bundle is not cut early if more than this part of it is descriptors.
const DESCRIPTORS_SHARE: usize = 32;
/// Whatever a descriptor takes of a bundle, an entry gets this much.
const PAYLOAD_MIN: usize = 1024;

#[derive(Debug)]
pub(crate) struct Bundler {
    limits: BundleLimits,
    /// Bytes that bundles and free segments together may take.
    memory_max: usize,
    identity: Secret,
    /// Counts bundles, from 1.
    number: u64,
    open: Option<Open>,
    sealed: VecDeque<Arc<Message>>,
    next_prefix_index: u64,
    /// Free segments, the last used at the end.
    pool: SegmentPool,
    /// Messages that are over, empty but for the room in their lists.
    spare: Vec<Arc<Message>>,
    /// Bytes of memory in them.
    spare_bytes: usize,
    /// Bytes of memory of all messages, here or with the output.
    cut: usize,
    /// Bytes of memory of streams that have ended and are in bundles still.
    ended: usize,
}

/// The bundle being filled.
#[derive(Debug)]
struct Open {
    /// All of it is initialized; `used` says how far it is filled.
    segment: BytesMut,
    used: usize,
    /// At most what it will take on the wire.
    size: usize,
    /// What it will be.
    message: Option<Arc<Message>>,
    parts: Vec<Part>,
    streams: Vec<MessageStream>,
    begun: Timestamp,
    oldest_ns: u64,
    entries: u64,
}

impl Open {
    /// Bytes of memory. Where entries are small, what is noted of them takes
    /// as much as they do.
    fn memory(&self) -> usize {
        self.segment.len() + lists_memory(&self.parts, &self.streams)
    }
}

fn lists_memory(parts: &Vec<Part>, streams: &Vec<MessageStream>) -> usize {
    parts.capacity() * size_of::<Part>() + streams.capacity() * size_of::<MessageStream>()
}

impl Bundler {
    pub fn new(limits: BundleLimits, memory_max: usize, identity: &Identity) -> Self {
        assert!(limits.target <= limits.max && limits.max <= u32::MAX as usize);
        Self {
            limits,
            memory_max,
            identity: message::encode_identity(identity),
            number: 1,
            open: None,
            sealed: VecDeque::new(),
            next_prefix_index: 0,
            pool: SegmentPool::new(limits.target),
            spare: Vec::new(),
            spare_bytes: 0,
            cut: 0,
            ended: 0,
        }
    }

    /// Bytes of memory that staged and cut bundles take, with the streams that
    /// are there for them alone.
    pub fn held(&self) -> usize {
        self.cut + self.ended + self.open.as_ref().map_or(0, Open::memory)
    }

    /// Messages that wait to be taken.
    pub fn waiting(&self) -> usize {
        self.sealed.len()
    }

    /// Nothing is staged or cut.
    pub fn is_empty(&self) -> bool {
        self.open.is_none() && self.sealed.is_empty()
    }

    /// A bundle is cut and waits.
    pub fn has_sealed(&self) -> bool {
        !self.sealed.is_empty()
    }

    /// When the oldest byte of the bundle being filled was read.
    pub fn oldest_ns(&self) -> Option<u64> {
        self.open.as_ref().map(|open| open.oldest_ns)
    }

    pub fn next_prefix_index(&self) -> u64 {
        self.next_prefix_index
    }

    /// Is there no entry in the bundle being filled?
    pub fn is_fresh(&self) -> bool {
        self.open.is_none()
    }

    /// Bytes of payload that the stream's next entry may have in the bundle
    /// being filled; zero when it is full.
    pub fn room(&self, info: &StreamInfo, slot: Slot) -> usize {
        let target = self.limits.target;
        let Some(open) = &self.open else {
            return self.room_fresh(target, info);
        };
        let entry = match slot.bundle == self.number {
            true => 0,
            false => entry_overhead(info),
        };
        // Entries leave gaps in the segment, which do not go on the wire.
        payload(target, open.size + entry).min(payload(open.segment.len(), open.used))
    }

    /// The same, for an entry that would have a fresh bundle to itself.
    pub fn room_alone(&self, info: &StreamInfo) -> usize {
        self.room_fresh(self.limits.max, info)
    }

    fn room_fresh(&self, limit: usize, info: &StreamInfo) -> usize {
        let size = message::bundle_overhead_max(&self.identity);
        payload(limit, size + entry_overhead(info)).max(PAYLOAD_MIN)
    }

    /// Stages an entry of `len` bytes, which [`room`](Self::room) or
    /// [`room_alone`](Self::room_alone) allowed; the caller fills the slice.
    /// It stands for `client_bytes` bytes of the client.
    #[expect(
        clippy::too_many_arguments,
        reason = "an entry, of whom and when; a struct of these would be taken apart at once"
    )]
    pub fn stage(
        &mut self,
        info: &Arc<StreamInfo>,
        slot: &mut Slot,
        len: usize,
        client_bytes: u64,
        read: &Moment,
        now: &Moment,
    ) -> &mut [u8] {
        self.space(info, slot, len, read, now);
        self.staged(*slot, 0..len, 1, client_bytes, read)
    }

    /// Space of `len` bytes for an entry of the stream; [`staged`](Self::staged)
    /// then says what of it was used.
    #[expect(
        clippy::too_many_arguments,
        reason = "an entry, of whom and when; a struct of these would be taken apart at once"
    )]
    pub fn space(
        &mut self,
        info: &Arc<StreamInfo>,
        slot: &mut Slot,
        len: usize,
        read: &Moment,
        now: &Moment,
    ) -> &mut [u8] {
        self.touch(info, slot, len, read, now);
        let open = self.open.as_mut().expect("touch has opened it");
        &mut open.segment[open.used..open.used + len]
    }

    /// So many entries are in that range of the [`space`](Self::space), and
    /// stand for `client_bytes` bytes of the client.
    #[expect(
        clippy::too_many_arguments,
        reason = "an entry, of whom and when; a struct of these would be taken apart at once"
    )]
    pub fn staged(
        &mut self,
        slot: Slot,
        range: Range<usize>,
        entries: u32,
        client_bytes: u64,
        read: &Moment,
    ) -> &mut [u8] {
        assert_eq!(slot.bundle, self.number, "space was asked for");
        self.next_prefix_index += u64::from(entries);
        let open = self.open.as_mut().expect("it has the space");
        let start = open.used + range.start;
        let len = range.len();
        open.used += range.end;
        open.size += len;
        open.entries += u64::from(entries);

        let at = open.parts.len() as u32;
        let stream = &mut open.streams[slot.index as usize];
        stream.len += len;
        stream.client_bytes += client_bytes;
        stream.entries += entries;
        let last = open.parts.get_mut(stream.last as usize);
        match last {
            Some(part)
                if (part.start + part.len) as usize == start && part.read_ns == read.mono_ns =>
            {
                part.len += len as u32;
                part.entries += entries;
            }
            _ => {
                match last {
                    Some(part) => part.next = at,
                    None => stream.first = at,
                }
                stream.last = at;
                open.parts.push(Part {
                    start: start as u32,
                    len: len as u32,
                    next: NO_PART,
                    entries,
                    read_ns: read.mono_ns,
                });
            }
        }
        &mut open.segment[start..start + len]
    }

    /// Marks the stream as ended with that last index.
    pub fn terminate(&mut self, info: &Arc<StreamInfo>, slot: &mut Slot, index: u64, now: &Moment) {
        let full = self.open.as_ref().is_some_and(|open| {
            slot.bundle != self.number && open.size + entry_overhead(info) > self.limits.target
        });
        if full {
            self.seal();
        }
        self.touch(info, slot, 0, now, now);
        let open = self.open.as_mut().expect("touch has opened it");
        open.streams[slot.index as usize].terminal = Some(index);
    }

    /// Sees to it that the stream is in the bundle being filled, and that its
    /// segment has `len` bytes.
    #[expect(
        clippy::too_many_arguments,
        reason = "an entry, of whom and when; a struct of these would be taken apart at once"
    )]
    fn touch(
        &mut self,
        info: &Arc<StreamInfo>,
        slot: &mut Slot,
        len: usize,
        read: &Moment,
        now: &Moment,
    ) {
        let open = match &mut self.open {
            Some(open) => open,
            closed => {
                let room = self.memory_max.saturating_sub(self.cut);
                let segment = self.pool.take(len, room);
                let mut message = self.spare.pop();
                let (parts, streams) = message
                    .as_mut()
                    .and_then(Arc::get_mut)
                    .map(|it| (mem::take(&mut it.parts), mem::take(&mut it.streams)))
                    .unwrap_or_default();
                self.spare_bytes -= lists_memory(&parts, &streams);
                closed.insert(Open {
                    segment,
                    used: 0,
                    size: message::bundle_overhead_max(&self.identity),
                    message,
                    parts,
                    streams,
                    begun: now.wall,
                    oldest_ns: read.mono_ns,
                    entries: 0,
                })
            }
        };
        open.oldest_ns = open.oldest_ns.min(read.mono_ns);
        if slot.bundle != self.number {
            *slot = Slot {
                bundle: self.number,
                index: open.streams.len() as u32,
                messages: slot.messages + 1,
            };
            open.size += entry_overhead(info);
            open.streams.push(MessageStream {
                info: Arc::clone(info),
                terminal: None,
                client_bytes: 0,
                entries: 0,
                first: NO_PART,
                last: NO_PART,
                len: 0,
            });
        }
    }

    /// Cuts the bundle being filled if next to nothing fits in it any more.
    pub fn seal_if_full(&mut self) {
        let full = self
            .open
            .as_ref()
            .is_some_and(|open| open.size + self.limits.target / NEARLY_FULL > self.limits.target);
        if full {
            self.seal();
        }
    }

    /// Cuts the bundle being filled if it has enough for an output that waits.
    pub fn seal_if_enough(&mut self) {
        let enough = self.open.as_ref().is_some_and(|open| {
            let descriptors = open.size.saturating_sub(open.used);
            open.size >= self.limits.early && descriptors * DESCRIPTORS_SHARE <= open.size
        });
        if enough {
            self.seal();
        }
    }

    /// Cuts the bundle being filled.
    pub fn seal(&mut self) {
        let Some(open) = self.open.take() else {
            return;
        };
        let memory = open.memory();
        self.cut += memory;
        let cut = Message {
            ticket: Ticket(self.number),
            memory,
            segment: open.segment.freeze(),
            parts: open.parts,
            streams: open.streams,
            begun: open.begun,
            identity: self.identity.clone(),
            entries: open.entries,
        };
        self.number += 1;
        debug_assert!(cut.len() <= open.size);
        let message = match open.message {
            Some(mut message) => {
                *Arc::get_mut(&mut message).expect("nobody else has it") = cut;
                message
            }
            None => Arc::new(cut),
        };
        self.sealed.push_back(message);
    }

    /// The next message.
    pub fn pop(&mut self) -> Option<Arc<Message>> {
        self.sealed.pop_front()
    }

    /// What the message holds has become something else that takes `memory`
    /// bytes. Its segment is free, unless somebody else has the message too.
    pub fn release(&mut self, message: &mut Arc<Message>, memory: usize) {
        let Some(message) = Arc::get_mut(message) else {
            return;
        };
        self.cut = self.cut - message.memory + memory;
        message.memory = memory;
        let segment = mem::take(&mut message.segment);
        let room = self.memory_max.saturating_sub(self.held());
        self.pool.put(segment, room);
    }

    /// Free segments may take so many bytes: others need the rest.
    pub fn leave_room(&mut self, free_max: usize) {
        self.pool.shrink(free_max);
    }

    /// What the messages that are here have of each stream.
    pub fn streams(&self) -> impl Iterator<Item = &MessageStream> {
        let sealed = self.sealed.iter().flat_map(|message| message.streams());
        let open = self.open.iter().flat_map(|open| &open.streams);
        sealed.chain(open)
    }

    /// Panics unless the memory that is counted is that of its messages, and of
    /// those that are in flight.
    pub fn invariants<'a>(&'a self, in_flight: impl Iterator<Item = &'a Arc<Message>>) {
        let cut = self.sealed.iter().chain(in_flight);
        let cut: usize = cut.map(|message| message.memory).sum();
        assert_eq!(self.cut, cut, "memory of messages");
        let spare = self.spare.iter();
        let spare: usize = spare.map(|it| lists_memory(&it.parts, &it.streams)).sum();
        assert_eq!(self.spare_bytes, spare, "memory that is kept for messages");
        if self.is_empty() && self.cut == 0 {
            assert_eq!(self.ended, 0, "streams are kept for messages");
        }
    }

    /// Bytes of free segments.
    #[cfg(test)]
    pub fn free_bytes(&self) -> usize {
        self.pool.bytes()
    }

    /// What is known of a stream that has ended takes so many bytes, and is
    /// kept for messages alone.
    pub fn keep(&mut self, bytes: usize) {
        self.ended += bytes;
    }

    /// The stream is in no message any more.
    pub fn forget(&mut self, bytes: usize) {
        self.ended -= bytes;
    }

    /// Takes back the memory of a message that is over. If somebody else has
    /// it still, that is theirs.
    pub fn recycle(&mut self, mut message: Arc<Message>) {
        self.cut -= message.memory;
        let Some(over) = Arc::get_mut(&mut message) else {
            return;
        };
        over.parts.clear();
        over.streams.clear();
        let segment = mem::take(&mut over.segment);
        let lists = lists_memory(&over.parts, &over.streams);
        if self.spare.len() < SPARE_MAX && self.spare_bytes + lists <= SPARE_BYTES_MAX {
            self.spare_bytes += lists;
            self.spare.push(message);
        }
        // While a slow output holds much, as much is soon needed again.
        let room = self.memory_max.saturating_sub(self.held());
        self.pool.put(segment, room);
        if self.is_empty() && self.cut == 0 {
            self.pool.rest();
        }
    }
}

fn entry_overhead(info: &StreamInfo) -> usize {
    ENTRY_OVERHEAD_MAX + info.descriptor_field.len()
}

fn payload(limit: usize, taken: usize) -> usize {
    limit.saturating_sub(taken + crate::wire::entry::OVERHEAD_MAX)
}

#[cfg(test)]
mod tests;
