//! What the callbacks of the library see: entries of watched streams, as they
//! are or made whole.

use std::collections::VecDeque;

use prost::Message;
use prost_types::Duration;

use crate::proto::logpb::{self, LogEntry, log_entry, text};
use crate::stream::StreamKey;
use crate::wire::descriptor::StreamType;

/// Entries of watched streams, for the callbacks; `None` is a stream's end.
#[derive(Debug, Default)]
pub(crate) struct WatchEvents {
    queue: VecDeque<(StreamKey, Option<LogEntry>)>,
}

impl WatchEvents {
    /// An entry, encoded as a `logs` field, was put out.
    pub fn entry(&mut self, key: StreamKey, logs: &[u8]) {
        let entry = logpb::butler_log_bundle::Entry::decode(logs)
            .ok()
            .and_then(|mut entry| entry.logs.pop())
            .expect("we encode what decodes");
        self.queue.push_back((key, Some(entry)));
    }

    /// The stream has ended.
    pub fn end(&mut self, key: StreamKey) {
        self.queue.push_back((key, None));
    }

    pub fn pop(&mut self) -> Option<(StreamKey, Option<LogEntry>)> {
        self.queue.pop_front()
    }
}

/// A longer line reaches a callback in parts after all, so that its memory is
/// bounded.
pub const WHOLE_LINE_MAX: usize = 16 * 1024 * 1024;

/// Makes the entries of a stream whole: text in whole lines only, datagrams
/// in one piece. Stream indices and sequences count what comes out; time
/// offset and prefix index are 0.
#[derive(Debug)]
pub(crate) enum Wrapper {
    Text(Lines),
    Binary,
    Datagram { next_index: u64, data: Vec<u8> },
}

/// Puts lines together.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    next_index: u64,
    /// Lines that were complete so far.
    completed: u64,
    /// The one that is not yet.
    unfinished: Vec<u8>,
}

impl Wrapper {
    pub fn new(stream_type: StreamType) -> Self {
        match stream_type {
            StreamType::Text => Self::Text(Lines::default()),
            StreamType::Binary => Self::Binary,
            StreamType::Datagram => Self::Datagram {
                next_index: 0,
                data: Vec::new(),
            },
        }
    }

    /// The entry to show once `entry` has come, if it completes one.
    pub fn push(&mut self, entry: LogEntry) -> Option<LogEntry> {
        match (self, entry.content) {
            (Self::Text(lines), Some(log_entry::Content::Text(text))) => lines.push(text.lines),
            (
                Self::Datagram { next_index, data },
                Some(log_entry::Content::Datagram(mut datagram)),
            ) => {
                if let Some(partial) = datagram.partial.take() {
                    data.extend_from_slice(&datagram.data);
                    if !partial.last {
                        return None;
                    }
                    datagram.data = std::mem::take(data).into();
                }
                let content = log_entry::Content::Datagram(datagram);
                let sequence = *next_index;
                Some(whole(next_index, sequence, content))
            }
            (_, content) => Some(LogEntry { content, ..entry }),
        }
    }

    /// What is left when the stream ends: a line that never got its end. A
    /// datagram that did not is not seen.
    pub fn finish(self) -> Option<LogEntry> {
        match self {
            Self::Text(lines) => lines.finish(),
            Self::Binary | Self::Datagram { .. } => None,
        }
    }
}

impl Lines {
    fn push(&mut self, parts: Vec<text::Line>) -> Option<LogEntry> {
        let mut lines = Vec::with_capacity(parts.len());
        for mut part in parts {
            let is_unfinished = part.delimiter.is_empty();
            if is_unfinished || !self.unfinished.is_empty() {
                self.unfinished.extend_from_slice(&part.value);
                if is_unfinished && self.unfinished.len() < WHOLE_LINE_MAX {
                    continue;
                }
                part.value = std::mem::take(&mut self.unfinished).into();
            }
            lines.push(part);
        }
        self.entry(lines)
    }

    fn finish(mut self) -> Option<LogEntry> {
        let value = std::mem::take(&mut self.unfinished);
        let line = (!value.is_empty()).then(|| text::Line {
            value: value.into(),
            delimiter: String::new(),
        });
        self.entry(line.into_iter().collect())
    }

    /// As everywhere, `sequence` is the number of lines that were complete
    /// before: what continues a line has the number of that line.
    fn entry(&mut self, lines: Vec<text::Line>) -> Option<LogEntry> {
        if lines.is_empty() {
            return None;
        }
        let sequence = self.completed;
        let complete = lines.iter().filter(|line| !line.delimiter.is_empty());
        self.completed += complete.count() as u64;
        let content = log_entry::Content::Text(logpb::Text { lines });
        Some(whole(&mut self.next_index, sequence, content))
    }
}

fn whole(next_index: &mut u64, sequence: u64, content: log_entry::Content) -> LogEntry {
    let stream_index = *next_index;
    *next_index += 1;
    LogEntry {
        time_offset: Some(Duration::default()),
        prefix_index: 0,
        stream_index,
        sequence,
        content: Some(content),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_entry(index: u64, sequence: u64, lines: &[(&str, &str)]) -> LogEntry {
        LogEntry {
            time_offset: Some(Duration {
                seconds: 9,
                nanos: 9,
            }),
            prefix_index: 77,
            stream_index: index,
            sequence,
            content: Some(log_entry::Content::Text(logpb::Text {
                lines: lines
                    .iter()
                    .map(|(value, delimiter)| text::Line {
                        value: value.to_string().into(),
                        delimiter: delimiter.to_string(),
                    })
                    .collect(),
            })),
        }
    }

    #[test]
    fn text_comes_in_whole_lines() {
        let mut wrapper = Wrapper::new(StreamType::Text);
        assert_eq!(wrapper.push(text_entry(0, 0, &[("a", "")])), None);
        let mut want = text_entry(0, 0, &[("abc", "\r\n"), ("d", "\n")]);
        want.time_offset = Some(Duration::default());
        want.prefix_index = 0;
        assert_eq!(
            wrapper.push(text_entry(1, 0, &[("bc", "\r\n"), ("d", "\n"), ("e", "")])),
            Some(want)
        );
        let last = wrapper.finish().unwrap();
        assert_eq!((last.stream_index, last.sequence), (1, 2));
        assert!(Wrapper::new(StreamType::Text).finish().is_none());
    }

    /// Both parts of a line that is too long for one have its number.
    #[test]
    fn lines_are_numbered() {
        let mut wrapper = Wrapper::new(StreamType::Text);
        let half = "x".repeat(WHOLE_LINE_MAX / 2);
        let mut seen = Vec::new();
        for entry in [
            text_entry(0, 0, &[("a", "\n"), ("b", "\n"), (&half, "")]),
            text_entry(1, 2, &[(&half, "")]),
            text_entry(2, 2, &[("end", "\n"), ("c", "\n"), ("d", "")]),
            text_entry(3, 4, &[("e", "")]),
        ] {
            seen.extend(wrapper.push(entry));
        }
        seen.extend(wrapper.finish());
        let numbers: Vec<_> = seen
            .iter()
            .map(|entry| (entry.stream_index, entry.sequence))
            .collect();
        assert_eq!(numbers, [(0, 0), (1, 2), (2, 2), (3, 4)]);
    }

    #[test]
    fn datagrams_come_whole() {
        let part = |data: &'static str, index, last| LogEntry {
            sequence: 3,
            content: Some(log_entry::Content::Datagram(logpb::Datagram {
                data: data.into(),
                partial: Some(logpb::datagram::Partial {
                    index,
                    size: 4,
                    last,
                }),
            })),
            ..Default::default()
        };
        let mut wrapper = Wrapper::new(StreamType::Datagram);
        assert_eq!(wrapper.push(part("ab", 0, false)), None);
        let whole = wrapper.push(part("cd", 1, true)).unwrap();
        let Some(log_entry::Content::Datagram(datagram)) = whole.content else {
            panic!()
        };
        assert_eq!((&datagram.data[..], datagram.partial), (&b"abcd"[..], None));
        assert_eq!((whole.sequence, whole.stream_index), (0, 0));
        assert_eq!(wrapper.push(part("x", 0, false)), None);
        assert!(wrapper.finish().is_none());
    }
}
