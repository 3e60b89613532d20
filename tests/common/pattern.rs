//! What test writers write: every byte follows from its stream and position,
//! so that a reader can check it without keeping what was written.

use std::fmt::Write as _;

use butler::wire::varint;

/// Bytes before the content repeats itself, which one stream seldom reaches.
const PERIOD: usize = 4 * 1024 * 1024;
/// How far apart in the period two streams begin.
const STRIDE: usize = 7919;

/// One content for all streams; each begins elsewhere in it.
pub struct Content {
    base: Vec<u8>,
    frame: Option<Frame>,
}

/// How a datagram stream is cut.
struct Frame {
    size: usize,
    head: Vec<u8>,
}

impl Content {
    /// Lines as logs have them, all of them different.
    pub fn lines() -> Self {
        Self::text("\n")
    }

    /// The same with no line end anywhere.
    pub fn endless_line() -> Self {
        Self::text("; ")
    }

    /// Lines of a few bytes, as a progress display or a counter writes them.
    pub fn short_lines() -> Self {
        let mut base = String::new();
        for number in 0.. {
            if base.len() >= PERIOD {
                break;
            }
            writeln!(base, "{number:x}").expect("a string takes all");
        }
        Self::from(base.into_bytes())
    }

    fn text(end: &str) -> Self {
        const WORDS: [&str; 5] = ["compiled", "linked", "tested ✓", "fetched", "skipped"];
        let mut base = String::new();
        for number in 0.. {
            if base.len() >= PERIOD {
                break;
            }
            let word = WORDS[number % WORDS.len()];
            let level = if number % 11 == 0 { "WARNING" } else { "INFO" };
            write!(
                base,
                "[{}.{:03}] {level} step {number}: {word} //lib/part-{}:all{end}",
                number / 40,
                number % 1000,
                number * 2_654_435_761 % 1_000_003,
            )
            .expect("a string takes all");
        }
        Self::from(base.into_bytes())
    }

    /// Bytes without any order.
    pub fn noise() -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let words = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        Self::from(words.take(PERIOD / 8).flatten().collect())
    }

    /// The same in datagrams of `size` bytes.
    pub fn datagrams(size: usize) -> Self {
        let mut head = Vec::new();
        varint::push(&mut head, size as u64);
        Self {
            frame: Some(Frame { size, head }),
            ..Self::noise()
        }
    }

    fn from(base: Vec<u8>) -> Self {
        Self { base, frame: None }
    }

    /// What stream number `stream` writes from byte `at` on: as much as lies
    /// together, at least one byte.
    pub fn written(&self, stream: usize, at: u64) -> &[u8] {
        let Some(Frame { size, head }) = &self.frame else {
            return self.payload(stream, at);
        };
        let whole = (head.len() + size) as u64;
        let (frame, within) = (at / whole, (at % whole) as usize);
        let Some(within) = within.checked_sub(head.len()) else {
            return &head[within..];
        };
        let payload = self.payload(stream, frame * *size as u64 + within as u64);
        &payload[..payload.len().min(size - within)]
    }

    /// What a reader gets of it from byte `at` on, without the datagrams'
    /// sizes: as much as lies together, at least one byte.
    pub fn payload(&self, stream: usize, at: u64) -> &[u8] {
        let begin = (stream * STRIDE) as u64 + at;
        &self.base[(begin % self.base.len() as u64) as usize..]
    }

    /// Is `data` what stream `stream` has at byte `at` of its payload?
    pub fn matches(&self, stream: usize, mut at: u64, mut data: &[u8]) -> bool {
        while !data.is_empty() {
            let expected = self.payload(stream, at);
            let len = expected.len().min(data.len());
            if data[..len] != expected[..len] {
                return false;
            }
            at += len as u64;
            data = &data[len..];
        }
        true
    }

    /// Bytes of payload in the first `written` bytes, which may not end in a
    /// datagram's size.
    pub fn payload_len(&self, written: u64) -> u64 {
        match &self.frame {
            None => written,
            Some(Frame { size, head }) => {
                let whole = (head.len() + size) as u64;
                let rest = (written % whole).saturating_sub(head.len() as u64);
                written / whole * *size as u64 + rest
            }
        }
    }
}
