//! Entries made whole: text in whole lines only, datagrams in one piece.
//!
//! Stream indices and sequences count what comes out; time offset and prefix
//! index are 0. What is not whole yet counts as held, and when there is no
//! room for it, it comes out in parts after all.

use std::sync::Arc;

use prost_types::Duration;

use super::budget::{Budget, Incomplete};
use crate::limits::{DATAGRAM_MAX, WHOLE_LINE_MAX};
use crate::proto::logpb::datagram::Partial;
use crate::proto::logpb::{self, LogEntry, log_entry, text};

/// Makes the entries of one stream whole.
#[derive(Debug)]
pub(crate) struct Whole {
    next_index: u64,
    /// Lines or datagrams that were complete so far.
    completed: u64,
    /// The one that is not yet.
    unfinished: Incomplete,
    /// It is a datagram, of which so many parts came out already.
    parts: Option<u32>,
}

impl Whole {
    pub fn new(budget: &Arc<Budget>) -> Self {
        Self {
            next_index: 0,
            completed: 0,
            unfinished: Incomplete::new(budget),
            parts: None,
        }
    }

    /// The entry to show once `entry` has come, if it completes one.
    pub fn push(&mut self, entry: LogEntry) -> Option<LogEntry> {
        match entry.content {
            Some(log_entry::Content::Text(text)) => self.push_lines(text.lines),
            Some(log_entry::Content::Datagram(datagram)) => self.push_datagram(datagram),
            content => Some(LogEntry { content, ..entry }),
        }
    }

    /// What is left when the stream ends: a line that never got its end. A
    /// datagram that did not is not seen.
    pub fn finish(mut self) -> Option<LogEntry> {
        let value = match self.parts {
            None => self.unfinished.take(),
            Some(_) => Vec::new(),
        };
        let line = (!value.is_empty()).then(|| text::Line {
            value: value.into(),
            delimiter: String::new(),
        });
        self.text(line.into_iter().collect())
    }

    fn push_lines(&mut self, parts: Vec<text::Line>) -> Option<LogEntry> {
        let mut lines = Vec::with_capacity(parts.len());
        for mut part in parts {
            let is_unfinished = part.delimiter.is_empty();
            if is_unfinished || !self.unfinished.is_empty() {
                self.unfinished.push(&part.value, WHOLE_LINE_MAX);
                let may_grow = self.unfinished.len() < WHOLE_LINE_MAX && self.unfinished.has_room();
                if is_unfinished && may_grow {
                    continue;
                }
                part.value = self.unfinished.take().into();
            }
            lines.push(part);
        }
        self.text(lines)
    }

    /// As everywhere, `sequence` is the number of lines that were complete
    /// before: what continues a line has the number of that line.
    fn text(&mut self, lines: Vec<text::Line>) -> Option<LogEntry> {
        if lines.is_empty() {
            return None;
        }
        let complete = lines.iter().filter(|line| !line.delimiter.is_empty());
        let complete = complete.count() as u64;
        let content = log_entry::Content::Text(logpb::Text { lines });
        Some(self.entry(content, complete))
    }

    fn push_datagram(&mut self, mut datagram: logpb::Datagram) -> Option<LogEntry> {
        let Some(partial) = datagram.partial.take() else {
            return Some(self.entry(log_entry::Content::Datagram(datagram), 1));
        };
        let parts = self.parts.unwrap_or_default();
        self.parts = Some(parts);
        self.unfinished.push(&datagram.data, DATAGRAM_MAX as usize);
        if !partial.last && self.unfinished.has_room() {
            return None;
        }
        datagram.data = self.unfinished.take().into();
        if parts > 0 || !partial.last {
            datagram.partial = Some(Partial {
                index: parts,
                ..partial
            });
        }
        self.parts = (!partial.last).then_some(parts + 1);
        let content = log_entry::Content::Datagram(datagram);
        Some(self.entry(content, u64::from(partial.last)))
    }

    /// An entry after which so many more lines or datagrams are complete.
    fn entry(&mut self, content: log_entry::Content, complete: u64) -> LogEntry {
        let entry = LogEntry {
            time_offset: Some(Duration::default()),
            prefix_index: 0,
            stream_index: self.next_index,
            sequence: self.completed,
            content: Some(content),
        };
        self.next_index += 1;
        self.completed += complete;
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::Notify;

    fn whole() -> Whole {
        Whole::new(&Budget::new(u64::MAX, Arc::new(Notify::new())))
    }

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
        let mut watched = whole();
        assert_eq!(watched.push(text_entry(0, 0, &[("a", "")])), None);
        let mut want = text_entry(0, 0, &[("abc", "\r\n"), ("d", "\n")]);
        want.time_offset = Some(Duration::default());
        want.prefix_index = 0;
        assert_eq!(
            watched.push(text_entry(1, 0, &[("bc", "\r\n"), ("d", "\n"), ("e", "")])),
            Some(want)
        );
        let last = watched.finish().unwrap();
        assert_eq!((last.stream_index, last.sequence), (1, 2));
        assert!(whole().finish().is_none());
    }

    /// Both parts of a line that is too long for one have its number.
    #[test]
    fn lines_are_numbered() {
        let mut watched = whole();
        let half = "x".repeat(WHOLE_LINE_MAX / 2);
        let mut seen = Vec::new();
        for entry in [
            text_entry(0, 0, &[("a", "\n"), ("b", "\n"), (&half, "")]),
            text_entry(1, 2, &[(&half, "")]),
            text_entry(2, 2, &[("end", "\n"), ("c", "\n"), ("d", "")]),
            text_entry(3, 4, &[("e", "")]),
        ] {
            seen.extend(watched.push(entry));
        }
        seen.extend(watched.finish());
        let numbers: Vec<_> = seen
            .iter()
            .map(|entry| (entry.stream_index, entry.sequence))
            .collect();
        assert_eq!(numbers, [(0, 0), (1, 2), (2, 2), (3, 4)]);
    }

    fn part(data: &'static [u8], index: u32, last: bool) -> LogEntry {
        let partial = Partial {
            index,
            size: 5,
            last,
        };
        LogEntry {
            sequence: 3,
            content: Some(log_entry::Content::Datagram(logpb::Datagram {
                data: data.into(),
                partial: Some(partial),
            })),
            ..Default::default()
        }
    }

    fn datagram(entry: Option<LogEntry>) -> (u64, u64, Vec<u8>, Option<Partial>) {
        let entry = entry.unwrap();
        let Some(log_entry::Content::Datagram(datagram)) = entry.content else {
            panic!("it is a datagram");
        };
        let data = datagram.data.to_vec();
        (entry.stream_index, entry.sequence, data, datagram.partial)
    }

    #[test]
    fn datagrams_come_whole() {
        let mut watched = whole();
        for index in 0..2 {
            assert_eq!(watched.push(part(b"ab", 0, false)), None);
            let shown = datagram(watched.push(part(b"cde", 1, true)));
            assert_eq!(shown, (index, index, b"abcde".to_vec(), None));
        }
        assert_eq!(watched.push(part(b"x", 0, false)), None);
        assert!(watched.finish().is_none());
    }

    /// Nobody can make room by leaving: what is not whole comes in parts.
    #[test]
    fn parts_come_when_there_is_no_room() {
        let budget = Budget::new(4, Arc::new(Notify::new()));
        budget.hold(1);
        let mut watched = Whole::new(&budget);
        for sequence in 0..2 {
            let mut shown = Vec::new();
            for (index, data) in [b"a", b"b", b"c"].into_iter().enumerate() {
                let last = index == 2;
                let entry = watched.push(part(data, 7, last));
                let (_, number, data, partial) = datagram(entry);
                assert_eq!(number, sequence);
                let partial = partial.unwrap();
                assert_eq!((partial.index, partial.last), (index as u32, last));
                assert_eq!(partial.size, 5);
                shown.extend(data);
            }
            assert_eq!(shown, b"abc");
        }

        let mut watched = Whole::new(&budget);
        let first = watched.push(text_entry(0, 0, &[("a", "")])).unwrap();
        let second = watched.push(text_entry(1, 0, &[("b", "\n"), ("c", "")]));
        assert_eq!((first.stream_index, first.sequence), (0, 0));
        let second = second.unwrap();
        assert_eq!((second.stream_index, second.sequence), (1, 0));
        drop(watched);
        assert_eq!(budget.held(), 1);
    }
}
