//! In which order the copies of several streams go to one place.
//!
//! What comes first is shown first, but what one stream writes does not break
//! an unfinished line of another: it is held back until the line is whole. Not
//! for long, and not much of it: a prompt waits for its answer, and meanwhile
//! the other stream must be seen.

use std::collections::VecDeque;
use std::mem;

use crate::limits::{SHOWN_HELD_MAX, SHOWN_HELD_TIME};

/// Which of the streams: the order in which they were added.
pub(super) type Source = usize;

/// What is to be shown, and what is to be done with it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Show this.
    Show(Source, Vec<u8>),
    /// Something is held back until then, if nothing more comes.
    HeldUntil(u64),
    /// There is nothing.
    Nothing,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// In the order in which it came. No two neighbours are of one source.
    waiting: VecDeque<(Source, Vec<u8>)>,
    /// By source.
    counts: Vec<Count>,
    /// Whose unfinished line was shown last.
    unfinished: Option<Source>,
    /// Since when another waits for its end.
    held_since_ns: Option<u64>,
}

/// What waits of one source.
#[derive(Debug, Default, Clone, Copy)]
struct Count {
    bytes: usize,
    parts: usize,
}

/// What there is of the rest of a line.
enum Rest {
    /// All of it, in so many bytes.
    Whole(usize),
    /// Some of it.
    Unfinished,
}

/// Memory that a part takes besides its bytes.
const PART: usize = 64;

impl Lines {
    /// Takes one more source.
    pub fn add(&mut self) -> Source {
        self.counts.push(Count::default());
        self.counts.len() - 1
    }

    pub fn push(&mut self, source: Source, data: &[u8]) {
        self.counts[source].bytes += data.len();
        match self.waiting.back_mut() {
            Some((last, waiting)) if *last == source => waiting.extend_from_slice(data),
            _ => {
                self.counts[source].parts += 1;
                self.waiting.push_back((source, data.to_vec()));
            }
        }
    }

    /// How many bytes of `source` wait.
    pub fn len(&self, source: Source) -> usize {
        self.counts[source].bytes
    }

    /// How much memory they take.
    pub fn held(&self, source: Source) -> usize {
        let Count { bytes, parts } = self.counts[source];
        bytes + parts * PART
    }

    /// Nothing more comes of `source`: nobody waits for the end of its line.
    pub fn close(&mut self, source: Source) {
        if self.unfinished == Some(source) && self.len(source) == 0 {
            self.unfinished = None;
        }
    }

    /// Nothing more of `source` can be shown.
    pub fn drop_source(&mut self, source: Source) {
        while let Some(at) = self.first_of(source) {
            self.take(at, usize::MAX);
        }
        self.close(source);
    }

    /// Takes what is to be shown next.
    pub fn next(&mut self, now_ns: u64) -> Next {
        let Some(&(first, _)) = self.waiting.front() else {
            return Next::Nothing;
        };
        if let Some(unfinished) = self.unfinished.filter(|it| *it != first) {
            let rest = self.first_of(unfinished);
            let since = *self.held_since_ns.get_or_insert(now_ns);
            let until = since + SHOWN_HELD_TIME.as_nanos() as u64;
            let may_hold = now_ns < until && self.len(first) < SHOWN_HELD_MAX;
            match rest.map(|at| (at, self.rest_of_line(at))) {
                // Whoever waits for this has the next turn.
                Some((at, Rest::Whole(len))) => return self.show(at, len),
                Some((at, Rest::Unfinished)) if may_hold => return self.show(at, usize::MAX),
                None if may_hold => return Next::HeldUntil(until),
                _ => {}
            }
        }
        self.held_since_ns = None;
        self.show(0, usize::MAX)
    }

    /// Shows so many bytes of the part at `at`, or all of it.
    fn show(&mut self, at: usize, len: usize) -> Next {
        let (source, data) = self.take(at, len);
        self.unfinished = (data.last() != Some(&b'\n')).then_some(source);
        if self.unfinished.is_none() {
            self.held_since_ns = None;
        }
        Next::Show(source, data)
    }

    fn first_of(&self, source: Source) -> Option<usize> {
        self.waiting.iter().position(|(of, _)| *of == source)
    }

    /// What the part at `at` has of the line that it goes on with.
    fn rest_of_line(&self, at: usize) -> Rest {
        let (_, data) = &self.waiting[at];
        let end = data.iter().position(|byte| *byte == b'\n');
        end.map_or(Rest::Unfinished, |end| Rest::Whole(end + 1))
    }

    /// Takes so many bytes of the part at `at`, or all of it.
    fn take(&mut self, at: usize, len: usize) -> (Source, Vec<u8>) {
        let (source, data) = &mut self.waiting[at];
        let source = *source;
        let rest = data.split_off(len.min(data.len()));
        let taken = mem::replace(data, rest);
        self.counts[source].bytes -= taken.len();
        if data.is_empty() {
            self.counts[source].parts -= 1;
            self.waiting.remove(at);
            self.join_at(at);
        }
        (source, taken)
    }

    /// Makes one part of two that have become neighbours.
    fn join_at(&mut self, at: usize) {
        let neighbours = at > 0 && at < self.waiting.len();
        if neighbours && self.waiting[at - 1].0 == self.waiting[at].0 {
            let Some((source, data)) = self.waiting.remove(at) else {
                return;
            };
            self.counts[source].parts -= 1;
            self.waiting[at - 1].1.extend_from_slice(&data);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELD_NS: u64 = SHOWN_HELD_TIME.as_nanos() as u64;

    fn lines(pushed: &[(Source, &str)]) -> Lines {
        let mut lines = Lines::default();
        assert_eq!([lines.add(), lines.add()], [0, 1]);
        for (source, data) in pushed {
            lines.push(*source, data.as_bytes());
        }
        lines
    }

    fn show(source: Source, data: &str) -> Next {
        Next::Show(source, data.as_bytes().to_vec())
    }

    #[test]
    fn whole_lines_in_the_order_in_which_they_come() {
        let mut lines = lines(&[(0, "a\n"), (1, "b\n"), (0, "c\n"), (0, "d\n")]);
        for expected in [show(0, "a\n"), show(1, "b\n"), show(0, "c\nd\n")] {
            assert_eq!(lines.next(7), expected);
        }
        assert_eq!(lines.next(7), Next::Nothing);
    }

    #[test]
    fn a_line_is_finished_first() {
        let mut lines = lines(&[(0, "out"), (1, "err\n"), (0, "put\nmore\n")]);
        for expected in [
            show(0, "out"),
            show(0, "put\n"),
            show(1, "err\n"),
            show(0, "more\n"),
            Next::Nothing,
        ] {
            assert_eq!(lines.next(7), expected);
        }
    }

    #[test]
    fn its_end_may_come_later_but_not_too_late() {
        let mut lines = lines(&[(0, "out"), (1, "err\n")]);
        assert_eq!(lines.next(7), show(0, "out"));
        assert_eq!(lines.next(10), Next::HeldUntil(10 + HELD_NS));
        lines.push(0, b"pu");
        assert_eq!(lines.next(11), show(0, "pu"));
        assert_eq!(lines.next(12), Next::HeldUntil(10 + HELD_NS));
        assert_eq!(lines.next(10 + HELD_NS), show(1, "err\n"));
        assert_eq!(lines.next(10 + HELD_NS), Next::Nothing);
    }

    #[test]
    fn not_much_is_held() {
        let much = "x".repeat(SHOWN_HELD_MAX) + "\n";
        let mut lines = lines(&[(0, "out"), (1, &much)]);
        assert_eq!(lines.next(7), show(0, "out"));
        assert!(lines.next(7) == show(1, &much));
        assert_eq!([lines.held(0), lines.held(1)], [0, 0]);
        // But a line whose end is there is finished.
        lines.push(0, b"more");
        lines.push(1, much.as_bytes());
        lines.push(0, b"\n");
        assert_eq!(lines.next(7), show(0, "more"));
        assert_eq!(lines.next(7 + HELD_NS), show(0, "\n"));
        assert!(lines.next(7 + HELD_NS) == show(1, &much));
    }

    #[test]
    fn a_line_that_ends_with_its_stream_is_not_waited_for() {
        for gone in [Lines::close as fn(&mut Lines, Source), Lines::drop_source] {
            let mut lines = lines(&[(0, "out"), (1, "err\n")]);
            assert_eq!(lines.next(7), show(0, "out"));
            assert!(matches!(lines.next(7), Next::HeldUntil(_)));
            gone(&mut lines, 0);
            assert_eq!(lines.next(7), show(1, "err\n"));
        }
        // Its last words are shown before that.
        let mut lines = lines(&[(0, "out"), (1, "err\n"), (0, "put")]);
        lines.close(0);
        assert_eq!(lines.next(7), show(0, "out"));
        assert_eq!(lines.next(7), show(0, "put"));
        lines.close(0);
        assert_eq!(lines.next(7), show(1, "err\n"));
    }
}
