//! What streams carry, made before the clock starts: a pool of bytes from
//! which every write takes a slice, so that generating costs nothing while
//! something is measured.

use crate::header::push_varint;

/// About so many bytes until it comes again: more than any codec looks back.
const PERIOD: usize = 4 * 1024 * 1024;

/// Lengths of text lines, their ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// From half of it to one and a half of it, evenly.
    Mean(usize),
    /// Each the same.
    Fixed(usize),
}

/// What kind of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Lines that look like those of logs.
    Text(Lines),
    /// Bytes that no codec can make smaller.
    Binary,
    /// Records of a size, with their lengths before them.
    Datagrams(usize),
}

impl Kind {
    /// The type in the header.
    pub fn stream_type(self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Binary => "binary",
            Self::Datagrams(_) => "datagram",
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Payload {
    /// `period` bytes, and their front once more, so that no slice wraps.
    bytes: Vec<u8>,
    period: usize,
    unit: usize,
}

impl Payload {
    /// For slices of at most `slice_max` bytes.
    pub fn new(kind: Kind, slice_max: usize) -> Self {
        let mut rng = Random::new(0x9e37_79b9_7f4a_7c15);
        let mut bytes = Vec::with_capacity(PERIOD + slice_max + 4096);
        let unit = match kind {
            Kind::Text(lines) => {
                while bytes.len() < PERIOD {
                    let len = match lines {
                        Lines::Fixed(len) => len,
                        Lines::Mean(mean) => rng.between(mean.div_ceil(2), mean + mean / 2),
                    };
                    push_line(&mut bytes, &mut rng, len.max(1));
                }
                match lines {
                    Lines::Fixed(len) => len.max(1),
                    Lines::Mean(_) => 1,
                }
            }
            Kind::Binary => {
                while bytes.len() < PERIOD {
                    bytes.extend_from_slice(&rng.next().to_le_bytes());
                }
                1
            }
            Kind::Datagrams(size) => {
                let mut unit = 1;
                while bytes.len() < PERIOD {
                    let begin = bytes.len();
                    push_varint(&mut bytes, size as u64);
                    bytes.extend((0..size).map(|_| rng.next() as u8));
                    unit = bytes.len() - begin;
                }
                unit
            }
        };
        let period = bytes.len();
        for at in 0..slice_max {
            bytes.push(bytes[at]);
        }
        Self {
            bytes,
            period,
            unit,
        }
    }

    /// A stream has a multiple of so many bytes: of whole datagrams, or of
    /// lines, where all have one length.
    pub fn unit(&self) -> usize {
        self.unit
    }

    /// Where stream number `index` begins to take slices: each elsewhere.
    pub fn start(&self, index: usize) -> usize {
        let units = self.period / self.unit;
        (index * 7919 % units) * self.unit
    }

    /// `len` bytes from `at`, and where the next slice begins.
    pub fn slice(&self, at: usize, len: usize) -> (&[u8], usize) {
        (&self.bytes[at..at + len], (at + len) % self.period)
    }
}

/// SplitMix64: the same numbers every time.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 bits.
    #[expect(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// `least..=largest`.
    pub fn between(&mut self, least: usize, largest: usize) -> usize {
        least + (self.next() % (largest - least + 1) as u64) as usize
    }
}

/// What programs say, again and again. `#` is a number, `%` a path.
const MESSAGES: &[&str] = &[
    "compiling % with clang++ -O2 -g -std=c++20",
    "linking % (# objects)",
    "test % ... ok in # ms",
    "cache hit for %, # bytes",
    "cache miss for %, compiling",
    "request GET /api/v1/% took # ms, status 200",
    "request POST /api/v1/% took # ms, status 503, attempt # of 5",
    "worker # took % from the queue, # are left",
    "uploading artifact %: # of # KiB",
    "connection to backend-#.internal:8443 was reset, next attempt in # ms",
    "warning: unused variable in %, line #",
    "[#/#] CXX obj/%",
    "flushed # entries of stream % to storage",
    "device emulator-#: waiting for boot to complete",
    "note: % expected # but got #",
    "thread # started for shard # of %",
];

const PATHS: &[&str] = &[
    "base/logging.cc",
    "base/strings/string_util.cc",
    "net/http/http_server_config.cc",
    "net/quic/quic_stream_factory.cc",
    "third_party/protobuf/src/message.cc",
    "components/sync/engine/model_type_worker.cc",
    "content/browser/renderer_host/render_process_host_impl.cc",
    "storage/leveldb/table_builder_test.cc",
];

/// A line of exactly `len` bytes, its end included: a time, a level, an
/// id, and messages. Zlib makes a fourth to a fifth of it, as of many a log.
fn push_line(out: &mut Vec<u8>, rng: &mut Random, len: usize) {
    let end = out.len() + len - 1;
    let second = out.len() / 65536;
    let level = ["INFO ", "INFO ", "INFO ", "DEBUG", "WARN "][rng.between(0, 4)];
    let head = if len >= 60 {
        format!(
            "[2026-01-15T10:{:02}:{:02}.{:06}Z] {level} {:06x} ",
            second / 60 % 60,
            second % 60,
            rng.between(0, 999_999),
            rng.between(0, 0xff_ffff),
        )
    } else {
        format!("{level} ")
    };
    out.extend_from_slice(head.as_bytes());
    while out.len() < end {
        for part in MESSAGES[rng.between(0, MESSAGES.len() - 1)].split_inclusive(['#', '%']) {
            let text = part.trim_end_matches(['#', '%']);
            out.extend_from_slice(text.as_bytes());
            match &part[text.len()..] {
                "#" => out.extend_from_slice(rng.between(0, 2000).to_string().as_bytes()),
                "%" => {
                    out.extend_from_slice(PATHS[rng.between(0, PATHS.len() - 1)].as_bytes());
                }
                _ => {}
            }
        }
        out.extend_from_slice(b"; ");
    }
    out.truncate(end);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(lines: Lines) -> Vec<usize> {
        let payload = Payload::new(Kind::Text(lines), 1);
        let text = &payload.bytes[..payload.period];
        text.split_inclusive(|&it| it == b'\n')
            .map(<[u8]>::len)
            .collect()
    }

    #[test]
    fn lines_have_their_lengths() {
        for mean in [20, 100, 2000] {
            let lens = lines_of(Lines::Mean(mean));
            let found = lens.iter().sum::<usize>() / lens.len();
            assert!(found.abs_diff(mean) <= mean / 20, "{found} for {mean}");
        }
        assert!(lines_of(Lines::Fixed(128)).iter().all(|&len| len == 128));
        assert!(lines_of(Lines::Fixed(1)).iter().all(|&len| len == 1));
    }

    #[test]
    fn slices_go_round_and_units_are_kept() {
        let payload = Payload::new(Kind::Datagrams(200), 5000);
        assert_eq!(payload.unit(), 202);
        for index in [0, 1, 99] {
            let mut at = payload.start(index);
            for _ in 0..3 * payload.period / 4040 {
                let (slice, next) = payload.slice(at, 4040);
                assert!(slice.chunks(202).all(|it| it[..2] == [0xc8, 1]));
                at = next;
            }
        }
    }
}
