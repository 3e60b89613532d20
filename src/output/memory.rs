//! The output that keeps bundles in memory, for tests of what uses a butler.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::health::Health;
use super::kind::{Kind, Settings};
use super::spec::SpecError;
use crate::delivery::message::Message;
use crate::delivery::outcome::Outcome;
use crate::edge::io::Io;
use crate::edge::transport::{Now, Transport};
use crate::proto::logpb::butler_log_bundle::Entry;
use crate::proto::logpb::{ButlerLogBundle, log_entry};

/// What a butler has sent. Clones share it: give one to the butler and look
/// into the other, from any thread.
///
/// ```
/// use butler::Config;
/// use butler::output::MemoryOutput;
///
/// let memory = MemoryOutput::default();
/// let config = Config::new(memory.clone());
/// // … a butler with that, in which a stream "build/log" writes …
/// assert_eq!(memory.stream_bytes("build/log"), b"");
/// assert!(!memory.is_terminal("build/log"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemoryOutput {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    bundles: Mutex<Vec<ButlerLogBundle>>,
    stalled: AtomicBool,
    resumed: Arc<Notify>,
}

impl Shared {
    /// What was pushed is whole, whoever panicked meanwhile.
    fn bundles(&self) -> MutexGuard<'_, Vec<ButlerLogBundle>> {
        self.bundles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Two are equal if they are clones of each other.
impl PartialEq for MemoryOutput {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl Eq for MemoryOutput {}

impl MemoryOutput {
    /// The bundles so far, in the order in which they came.
    pub fn bundles(&self) -> Vec<ButlerLogBundle> {
        self.shared.bundles().clone()
    }

    /// The names of the streams so far, sorted.
    pub fn streams(&self) -> Vec<String> {
        let mut names = BTreeSet::new();
        for bundle in self.shared.bundles().iter() {
            names.extend(bundle.entries.iter().filter_map(name).map(str::to_owned));
        }
        names.into_iter().collect()
    }

    /// What the stream's client wrote, so far: lines with their delimiters,
    /// bytes, or datagrams back to back. Empty if there is no such stream.
    pub fn stream_bytes(&self, stream: &str) -> Vec<u8> {
        let mut out = Vec::new();
        self.for_each_entry(stream, |entry| {
            for content in entry.logs.iter().filter_map(|log| log.content.as_ref()) {
                put_content(&mut out, content);
            }
        });
        out
    }

    /// Has the stream ended?
    pub fn is_terminal(&self, stream: &str) -> bool {
        let mut terminal = false;
        self.for_each_entry(stream, |entry| terminal |= entry.terminal);
        terminal
    }

    /// While it is stalled no bundle is taken, as if the destination was slow
    /// or away: what waits for it waits, and once enough data is buffered the
    /// streams' writers block.
    pub fn stall(&self, stalled: bool) {
        self.shared.stalled.store(stalled, Ordering::SeqCst);
        self.shared.resumed.notify_one();
    }

    fn for_each_entry(&self, stream: &str, mut look: impl FnMut(&Entry)) {
        for bundle in self.shared.bundles().iter() {
            let of_stream = |entry: &&Entry| name(entry) == Some(stream);
            bundle.entries.iter().filter(of_stream).for_each(&mut look);
        }
    }
}

fn name(entry: &Entry) -> Option<&str> {
    entry.desc.as_ref().map(|desc| &*desc.name)
}

fn put_content(out: &mut Vec<u8>, content: &log_entry::Content) {
    match content {
        log_entry::Content::Text(text) => {
            for line in &text.lines {
                out.extend_from_slice(&line.value);
                out.extend_from_slice(line.delimiter.as_bytes());
            }
        }
        log_entry::Content::Binary(binary) => out.extend_from_slice(&binary.data),
        log_entry::Content::Datagram(datagram) => out.extend_from_slice(&datagram.data),
    }
}

impl Settings for MemoryOutput {
    /// It can't be named: there is somebody who looks into it.
    const KIND: &'static Kind = &Kind::new("memory", |given| {
        Err(SpecError::Unknown(given.kind.name.into()))
    });

    fn open<I: Io + 'static>(&self, _: &mut I) -> io::Result<Box<dyn Transport<I>>> {
        Ok(Box::new(Memory::new(self.clone())))
    }
}

/// Takes messages into a [`MemoryOutput`].
#[derive(Debug)]
pub(crate) struct Memory {
    output: MemoryOutput,
    /// The one that waits while the output is stalled.
    waits: Option<Arc<Message>>,
    health: Health,
}

impl Memory {
    pub fn new(output: MemoryOutput) -> Self {
        Self {
            output,
            waits: None,
            health: Health::new("output memory"),
        }
    }
}

impl<I: Io> Transport<I> for Memory {
    fn start(&mut self, now: &mut Now<'_, I>, message: Arc<Message>) {
        self.waits = Some(message);
        self.poll(now);
    }

    /// Counts the bytes of the bundle, which has no frame here.
    fn poll(&mut self, now: &mut Now<'_, I>) {
        let shared = &self.output.shared;
        if shared.stalled.load(Ordering::SeqCst) {
            return;
        }
        if let Some(message) = self.waits.take() {
            shared.bundles().push(message.decode());
            let outcome = Outcome::delivered(message.ticket(), message.len() as u64);
            now.outcomes.settle(outcome);
        }
    }

    fn alarm(&self) -> Option<Arc<Notify>> {
        Some(Arc::clone(&self.output.shared.resumed))
    }

    fn finish(&mut self, _: &mut Now<'_, I>) {}

    fn is_finished(&self) -> bool {
        self.waits.is_none()
    }

    fn give_up(&mut self, _: &mut Now<'_, I>) {
        self.waits = None;
    }

    fn errors(&self) -> u64 {
        self.health.errors()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::testing::{Bench, bundles};
    use crate::wire::descriptor::StreamType;

    #[test]
    fn gives_back_what_clients_wrote() {
        let memory = MemoryOutput::default();
        let streams: [(_, _, &[u8]); 3] = [
            ("z/text", StreamType::Text, b"one\r\ntwo\nthree"),
            ("bin", StreamType::Binary, &[0; 20_000]),
            ("dgram", StreamType::Datagram, b"\x02ab\x00\x01c"),
        ];
        let mut bench = Bench::new(|_| Memory::new(memory.clone()));
        for message in bundles(5000, &streams) {
            bench.deliver(&message).unwrap();
        }
        assert_eq!(memory.streams(), ["bin", "dgram", "z/text"]);
        assert_eq!(memory.stream_bytes("z/text"), b"one\r\ntwo\nthree");
        assert_eq!(memory.stream_bytes("bin"), [0; 20_000]);
        assert_eq!(memory.stream_bytes("dgram"), b"abc");
        assert_eq!(memory.stream_bytes("none"), b"");
        assert!(memory.is_terminal("bin") && !memory.is_terminal("none"));
        assert!(memory.bundles().len() > 1);
    }

    #[test]
    fn waits_while_it_is_stalled() {
        let memory = MemoryOutput::default();
        let message = crate::output::testing::text_bundle(b"x\n");
        let mut bench = Bench::new(|_| Memory::new(memory.clone()));
        memory.stall(true);
        bench.start(&message);
        assert!(!bench.has_settled());
        memory.stall(false);
        bench.poll();
        assert!(bench.has_settled());
        assert_eq!(memory.stream_bytes("s/text"), b"x\n");
    }

    #[test]
    fn equal_to_its_clones_only() {
        let memory = MemoryOutput::default();
        assert_eq!(memory, memory.clone());
        assert_ne!(memory, MemoryOutput::default());
    }
}
