//! The output that keeps bundles in memory, for tests of what uses a butler.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Sink;
use super::health::Health;
use crate::delivery::message::Message;
use crate::ledger::DropReason;
use crate::proto::logpb::butler_log_bundle::Entry;
use crate::proto::logpb::{ButlerLogBundle, log_entry};

/// What a butler has sent. Clones share it: give one to the butler and look
/// into the other, from any thread.
///
/// ```
/// use butler::output::{MemoryOutput, Output};
///
/// let memory = MemoryOutput::default();
/// let output = Output::Memory(memory.clone());
/// // … a butler with that output, in which a stream "build/log" writes …
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
    resumed: Notify,
}

impl Shared {
    /// What was pushed is whole, whoever panicked meanwhile.
    fn bundles(&self) -> MutexGuard<'_, Vec<ButlerLogBundle>> {
        self.bundles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn until_resumed(&self) {
        loop {
            let mut resumed = std::pin::pin!(self.resumed.notified());
            // From here on no resumption is missed.
            resumed.as_mut().enable();
            if !self.stalled.load(Ordering::SeqCst) {
                return;
            }
            resumed.await;
        }
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
        self.shared.resumed.notify_waiters();
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

/// Takes bundles into a [`MemoryOutput`].
#[derive(Debug)]
pub(crate) struct MemorySink {
    output: MemoryOutput,
    health: Health,
}

impl MemorySink {
    pub fn new(output: MemoryOutput) -> Self {
        Self {
            output,
            health: Health::new("output memory"),
        }
    }
}

impl Sink for MemorySink {
    /// Returns the bytes of the bundle, which has no frame here.
    async fn deliver(&mut self, bundle: &Message) -> Result<u64, DropReason> {
        let shared = &self.output.shared;
        shared.until_resumed().await;
        shared.bundles().push(bundle.decode());
        Ok(bundle.len() as u64)
    }

    async fn finish(&mut self) {}

    fn health(&self) -> &Health {
        &self.health
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::testing::{bundles, start};
    use crate::wire::descriptor::StreamType;

    #[test]
    fn gives_back_what_clients_wrote() {
        let memory = MemoryOutput::default();
        let streams: [(_, _, &[u8]); 3] = [
            ("z/text", StreamType::Text, b"one\r\ntwo\nthree"),
            ("bin", StreamType::Binary, &[0; 20_000]),
            ("dgram", StreamType::Datagram, b"\x02ab\x00\x01c"),
        ];
        start(async {
            let mut sink = MemorySink::new(memory.clone());
            for bundle in bundles(5000, &streams) {
                sink.deliver(&bundle).await.unwrap();
            }
        });
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
        let other = memory.clone();
        let bundle = crate::output::testing::text_bundle(b"x\n");
        start(async move {
            other.stall(true);
            let task = tokio::task::spawn_local(async move {
                let mut sink = MemorySink::new(other);
                sink.deliver(&bundle).await
            });
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            assert!(!task.is_finished());
            memory.stall(false);
            assert!(task.await.unwrap().is_ok());
            assert_eq!(memory.stream_bytes("s/text"), b"x\n");
        });
    }

    #[test]
    fn equal_to_its_clones_only() {
        let memory = MemoryOutput::default();
        assert_eq!(memory, memory.clone());
        assert_ne!(memory, MemoryOutput::default());
    }
}
