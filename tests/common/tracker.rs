//! Follows all streams bundle by bundle in little memory: checks the rules
//! of the protocol and the content on the way.

use std::collections::BTreeMap;

use butler::proto::logpb::{ButlerLogBundle, Datagram, LogEntry, Text, log_entry};

use super::pattern::Content;

/// A stream, as far as it was seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Bytes of payload.
    pub bytes: u64,
    pub entries: u64,
    pub terminal: bool,
    /// Completed lines.
    pub lines: u64,
    /// Datagrams begun.
    pub datagrams: u64,
    /// Of the datagram that is not complete: parts and bytes so far.
    open: Option<(u32, u64)>,
    /// What it carried, if that is not checked against a [`Content`].
    pub kept: Vec<u8>,
}

/// All streams. Those named `s/NUMBER` must have the content of that number.
#[derive(Default)]
pub struct Tracker {
    content: Option<std::sync::Arc<Content>>,
    pub streams: BTreeMap<String, Seen>,
    next_prefix_index: u64,
    /// Streams that have ended and have no [`Content`] are not kept.
    forgets: bool,
    /// How many of them there were.
    forgotten: usize,
}

/// The name of stream number `number`.
pub fn name(number: usize) -> String {
    format!("s/{number}")
}

impl Tracker {
    pub fn new(content: std::sync::Arc<Content>) -> Self {
        Self {
            content: Some(content),
            ..Self::default()
        }
    }

    /// Keeps nothing of streams that have ended, if their content is not
    /// checked: for runs that see a great many.
    pub fn forgetting(self) -> Self {
        Self {
            forgets: true,
            ..self
        }
    }

    /// Takes the next bundle of one connection; panics at anything wrong.
    pub fn take(&mut self, bundle: &ButlerLogBundle) {
        let mut indices: Vec<u64> = Vec::new();
        for entry in &bundle.entries {
            let name = &entry.desc.as_ref().expect("a descriptor").name;
            if !self.streams.contains_key(name) {
                self.streams.insert(name.clone(), Seen::default());
            }
            let seen = self.streams.get_mut(name).expect("it was inserted");
            let number = name.strip_prefix("s/").and_then(|it| it.parse().ok());
            let content = self.content.as_deref().zip(number);
            assert!(!seen.terminal, "{name}: nothing after the terminal");
            for log in &entry.logs {
                indices.push(log.prefix_index);
                seen.take(name, log, content);
            }
            if entry.terminal {
                assert_eq!(entry.terminal_index + 1, seen.entries, "{name}");
                seen.terminal = true;
                if self.forgets && content.is_none() {
                    self.streams.remove(name);
                    self.forgotten += 1;
                }
            }
        }
        indices.sort_unstable();
        let next = self.next_prefix_index + indices.len() as u64;
        assert!(
            indices.into_iter().eq(self.next_prefix_index..next),
            "prefix indices have no hole and come in order"
        );
        self.next_prefix_index = next;
    }

    /// The stream of that number; one that was never mentioned is empty.
    pub fn stream(&self, number: usize) -> &Seen {
        static NOTHING: Seen = Seen {
            bytes: 0,
            entries: 0,
            terminal: false,
            lines: 0,
            datagrams: 0,
            open: None,
            kept: Vec::new(),
        };
        self.streams.get(&name(number)).unwrap_or(&NOTHING)
    }

    /// How many streams have ended.
    pub fn terminals(&self) -> usize {
        let kept = self.streams.values().filter(|seen| seen.terminal);
        self.forgotten + kept.count()
    }

    /// Bytes of payload of all streams.
    pub fn bytes(&self) -> u64 {
        self.streams.values().map(|seen| seen.bytes).sum()
    }
}

impl Seen {
    fn take(&mut self, name: &str, log: &LogEntry, content: Option<(&Content, usize)>) {
        assert_eq!(log.stream_index, self.entries, "{name}");
        self.entries += 1;
        match log.content.as_ref().expect("an entry has content") {
            log_entry::Content::Text(text) => self.take_text(name, log.sequence, text, content),
            log_entry::Content::Binary(binary) => {
                assert_eq!(log.sequence, self.bytes, "{name}");
                assert!(!binary.data.is_empty(), "{name}");
                self.take_bytes(name, &binary.data, content);
            }
            log_entry::Content::Datagram(datagram) => {
                self.take_datagram(name, log.sequence, datagram, content);
            }
        }
    }

    fn take_text(
        &mut self,
        name: &str,
        sequence: u64,
        text: &Text,
        content: Option<(&Content, usize)>,
    ) {
        assert_eq!(sequence, self.lines, "{name}");
        for (at, line) in text.lines.iter().enumerate() {
            self.take_bytes(name, &line.value, content);
            self.take_bytes(name, line.delimiter.as_bytes(), content);
            if line.delimiter.is_empty() {
                assert_eq!(at + 1, text.lines.len(), "{name}: a part is the last");
            } else {
                self.lines += 1;
            }
        }
    }

    fn take_datagram(
        &mut self,
        name: &str,
        sequence: u64,
        datagram: &Datagram,
        content: Option<(&Content, usize)>,
    ) {
        let (parts, before) = self.open.take().unwrap_or_else(|| {
            self.datagrams += 1;
            (0, 0)
        });
        assert_eq!(sequence + 1, self.datagrams, "{name}");
        let size = before + datagram.data.len() as u64;
        match &datagram.partial {
            None => assert_eq!(parts, 0, "{name}: a whole one has no parts"),
            Some(partial) => {
                assert_eq!(partial.index, parts, "{name}");
                assert_eq!(partial.last, partial.size == size, "{name}");
                self.open = (!partial.last).then_some((parts + 1, size));
            }
        }
        self.take_bytes(name, &datagram.data, content);
    }

    fn take_bytes(&mut self, name: &str, data: &[u8], content: Option<(&Content, usize)>) {
        match content {
            Some((content, number)) => assert!(
                content.matches(number, self.bytes, data),
                "{name}: other bytes than were written, at {} or up to {} after it",
                self.bytes,
                data.len()
            ),
            None => self.kept.extend_from_slice(data),
        }
        self.bytes += data.len() as u64;
    }
}
