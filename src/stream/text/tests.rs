use super::*;
use crate::proto::logpb::log_entry;
use crate::stream::testing::Bench;
use crate::wire::descriptor::StreamType;
use crate::wire::entry::OVERHEAD_MAX;

const TARGET: usize = 10_000;
const MAX: usize = 20_000;

struct Pushed {
    bench: Bench,
    text: Text,
}

/// A line or a part of one: its number, its bytes and its end.
type Line = (u64, String, String);

impl Pushed {
    fn new() -> Self {
        Self::with_limits(TARGET, MAX)
    }

    fn with_limits(target: usize, max: usize) -> Self {
        Self {
            bench: Bench::new(StreamType::Text, target, max),
            text: Text::default(),
        }
    }

    fn push(&mut self, data: impl AsRef<[u8]>) {
        let text = &mut self.text;
        self.bench
            .run(|stage, carry| text.push(stage, carry, data.as_ref()));
    }

    fn expire(&mut self) {
        let text = &mut self.text;
        self.bench.run(|stage, carry| text.expire(stage, carry));
    }

    fn finish(&mut self, omitted: u64) {
        let text = &mut self.text;
        self.bench
            .run(|stage, carry| text.finish(stage, carry, omitted, 1000));
    }

    fn bundles(&mut self) -> Vec<Vec<Line>> {
        let bundles = self.bench.bundles();
        let lines = bundles.iter().map(|entries| {
            let mut lines = Vec::new();
            for entry in entries {
                let Some(log_entry::Content::Text(text)) = &entry.content else {
                    panic!("{entry:?}")
                };
                for (line, number) in text.lines.iter().zip(entry.sequence..) {
                    let value = String::from_utf8(line.value.to_vec()).unwrap();
                    lines.push((number, value, line.delimiter.clone()));
                }
            }
            lines
        });
        lines.collect()
    }

    fn lines(&mut self) -> Vec<Line> {
        self.bundles().concat()
    }

    /// Puts out a line, so that the next may have `left` bytes in the same
    /// bundle.
    fn leave(&mut self, left: usize) {
        self.push("begin\n");
        let room = self.bench.room();
        // What an entry with a line of that size takes besides.
        let mut probe = Self::new();
        probe.push("begin\n");
        probe.push("x".repeat(room - left - 100) + "\n");
        let overhead = room - (room - left - 100) - probe.bench.room();
        self.push("x".repeat(room - left - overhead) + "\n");
        assert_eq!(self.bench.room(), left);
    }
}

fn line(number: u64, value: impl Into<String>, delimiter: &str) -> Line {
    (number, value.into(), delimiter.into())
}

#[test]
fn lines_and_parts_of_lines() {
    let mut pushed = Pushed::new();
    for data in ["one\ntw", "o\r", "\nthree\r\n", "", "\n", "pass"] {
        pushed.push(data);
    }
    pushed.expire();
    pushed.push(" 2\r");
    for _ in 0..2 {
        // It may be the half of a line's end, which is not cut.
        pushed.expire();
        assert_eq!(pushed.bench.carry.bytes(), b"\r");
    }
    pushed.push("\nlast");
    pushed.finish(0);
    let expected = [
        line(0, "one", "\n"),
        line(1, "two", "\r\n"),
        line(2, "three", "\r\n"),
        line(3, "", "\n"),
        line(4, "pass", ""),
        line(4, " 2", ""),
        line(4, "", "\r\n"),
        line(5, "last", ""),
    ];
    assert_eq!(pushed.lines(), expected);
    let all = "one\ntwo\r\nthree\r\n\npass 2\r\nlast";
    assert_eq!(pushed.bench.client_bytes, all.len() as u64);
}

/// Up to the last byte of a bundle, whether it was read at once or not.
#[test]
fn a_line_goes_where_it_fits() {
    const LEFT: usize = 1000;
    // The longest that fits: the line's own tags and lengths are counted.
    let fits = (0..LEFT)
        .rfind(|len| line_len(*len, Delimiter::CrLf) <= LEFT)
        .unwrap();
    for (len, bundles) in [(fits, 1), (fits + 1, 2)] {
        let mut pushed = Pushed::new();
        pushed.leave(LEFT);
        pushed.push("y".repeat(len) + "\n");
        assert_eq!(pushed.bundles().len(), bundles, "{len}");
    }
    for (len, bundles) in [(LEFT, 1), (LEFT + 1, 2)] {
        let mut pushed = Pushed::new();
        pushed.leave(LEFT);
        pushed.push("y".repeat(len));
        pushed.push("\n");
        let found = pushed.bundles();
        assert_eq!(found.len(), bundles, "{len}");
        assert_eq!(found.last().unwrap().last().unwrap().1.len(), len);
    }
}

/// Each read is an entry: all of them fit in their bundles' segments.
#[test]
fn many_reads_of_a_line() {
    let mut pushed = Pushed::with_limits(100_000, 100_000);
    for at in 0..10_000 {
        pushed.push(format!("{at}\n"));
    }
    let lines = pushed.lines();
    assert_eq!(lines.len(), 10_000);
    for (at, (number, value, _)) in lines.iter().enumerate() {
        assert_eq!((*number, value), (at as u64, &at.to_string()));
    }
}

/// A line that fits in no bundle is cut, between characters.
#[test]
fn a_line_that_is_larger_than_a_bundle() {
    let alone = Pushed::new().bench.run(|stage, _| stage.room_alone());
    assert!(alone > TARGET && alone + OVERHEAD_MAX < MAX);
    let mut pushed = Pushed::new();
    pushed.push("before\n");
    let whole = "y".repeat(alone);
    pushed.push(whole.clone() + "\n");
    assert_eq!(
        pushed.bundles(),
        [[line(0, "before", "\n")], [line(1, whole.clone(), "\n")]]
    );
    for waits in [false, true] {
        let long = whole[1..].to_owned() + "\u{2603}end";
        if waits {
            pushed.push(&long);
            pushed.push("\r\n");
        } else {
            pushed.push(long + "\r\n");
        }
        let number = if waits { 3 } else { 2 };
        assert_eq!(
            pushed.bundles(),
            [
                [line(number, &whole[1..], "")],
                [line(number, "\u{2603}end", "\r\n")]
            ]
        );
    }
    let written = 7 + (alone + 1) + 2 * (alone - 1 + 3 + 3 + 2);
    assert_eq!(pushed.bench.client_bytes, written as u64);
}

/// A line without an end is carried up to a bound.
#[test]
fn a_line_that_does_not_end() {
    let mut pushed = Pushed::with_limits(TARGET, 2 * STREAM_BUFFER_MAX);
    let much = vec![b'x'; STREAM_BUFFER_MAX - 1];
    pushed.push(&much);
    assert_eq!(pushed.bench.carry.len(), much.len());
    pushed.push("x");
    assert!(pushed.bench.carry.is_empty());
    // Also if all of it comes at once.
    pushed.push([&much[..], b"yyy"].concat());
    assert_eq!(pushed.bench.carry.bytes(), b"yy");
    pushed.push("\n");
    let lens: Vec<_> = pushed
        .lines()
        .into_iter()
        .map(|(number, value, delimiter)| (number, value.len(), delimiter.len()))
        .collect();
    let buffer = STREAM_BUFFER_MAX;
    assert_eq!(lens, [(0, buffer, 0), (0, buffer, 0), (0, 2, 1)]);
}

#[test]
fn the_size_limit() {
    let at_the_cut = notice::at_the_cut(100);
    for (before, lines) in [
        ("", vec![]),
        ("one\n", vec![line(0, "one", "\n")]),
        ("one\ntwo", vec![line(0, "one", "\n"), line(1, "two", "\n")]),
    ] {
        let mut pushed = Pushed::new();
        pushed.push(before);
        let text = &mut pushed.text;
        pushed.bench.run(|stage, carry| text.cut(stage, carry, 100));
        pushed.finish(900);
        let number = lines.len() as u64;
        let notices = [
            line(number, &at_the_cut, "\n"),
            line(number + 1, notice::at_the_end(900, 1000), "\n"),
        ];
        assert_eq!(pushed.lines(), [lines, notices.to_vec()].concat());
        assert_eq!(pushed.bench.client_bytes, before.len() as u64);
    }
    // A part of the line is out already: it gets an end too.
    let mut pushed = Pushed::new();
    pushed.push("part");
    pushed.expire();
    let text = &mut pushed.text;
    pushed.bench.run(|stage, carry| text.cut(stage, carry, 100));
    let expected = [
        line(0, "part", ""),
        line(0, "", "\n"),
        line(1, at_the_cut, "\n"),
    ];
    assert_eq!(pushed.lines(), expected);
    assert_eq!(pushed.bench.client_bytes, 4);
}

#[test]
fn parts_do_not_end_in_a_character() {
    assert_eq!(cut_point([b"ab\xe2", b"\x98\x83"], 4), 2);
    assert_eq!(cut_point([b"ab\xe2", b"\x98\x83"], 5), 5);
    assert_eq!(cut_point([b"ab\xf0\x9f", b"\x98\x80"], 5), 2);
    assert_eq!(cut_point([b"\xe2\x98\x83", b""], 2), 2);
}
