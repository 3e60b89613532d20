//! What clients write in tests, of every kind, and what must come out.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use super::Stream;
use super::process::{datagram, open};

/// A stream as its client sends it, and what it must be put together to.
pub struct Sent {
    pub name: &'static str,
    pub stream_type: &'static str,
    /// What is written after the header.
    pub written: Vec<u8>,
    /// Datagrams only: the last may be unfinished.
    pub datagrams: Vec<Vec<u8>>,
    pub datagram_open: bool,
}

impl Sent {
    pub fn text(name: &'static str, bytes: &[u8]) -> Self {
        Self::of("text", name, bytes)
    }

    pub fn binary(name: &'static str, bytes: &[u8]) -> Self {
        Self::of("binary", name, bytes)
    }

    fn of(stream_type: &'static str, name: &'static str, bytes: &[u8]) -> Self {
        Self {
            name,
            stream_type,
            written: bytes.to_vec(),
            datagrams: Vec::new(),
            datagram_open: false,
        }
    }

    pub fn datagrams(name: &'static str, datagrams: &[&[u8]]) -> Self {
        let written: Vec<_> = datagrams.iter().flat_map(|data| datagram(data)).collect();
        Self {
            datagrams: datagrams.iter().map(|data| data.to_vec()).collect(),
            ..Self::of("datagram", name, &written)
        }
    }

    /// The last datagram lacks its last `missing` bytes.
    pub fn unfinished(name: &'static str, datagrams: &[&[u8]], missing: usize) -> Self {
        let mut sent = Self::datagrams(name, datagrams);
        sent.written.truncate(sent.written.len() - missing);
        let last = sent.datagrams.last_mut().unwrap();
        last.truncate(last.len() - missing);
        sent.datagram_open = true;
        sent
    }

    /// The content without any framing.
    pub fn content(&self) -> Vec<u8> {
        match self.stream_type {
            "datagram" => self.datagrams.concat(),
            _ => self.written.clone(),
        }
    }

    pub fn send(&self, socket: &Path) {
        let mut stream = open(socket, self.name, self.stream_type);
        stream.write_all(&self.written).unwrap();
    }

    /// Panics unless exactly this came.
    pub fn check(&self, got: &Stream) {
        let name = self.name;
        assert_eq!(got.desc.name, name);
        assert_eq!(
            got.terminal,
            Some(got.entries - 1),
            "{name}: {} of {} bytes",
            got.bytes.len(),
            self.content().len()
        );
        // Not assert_eq: nobody can read megabytes of difference.
        assert!(got.bytes == self.content(), "{name}: other bytes");
        match self.stream_type {
            "text" => assert!(
                got.lines == super::lines(&self.written),
                "{name}: other lines"
            ),
            "binary" => {}
            _ => {
                assert!(got.datagrams == self.datagrams, "{name}: other datagrams");
                assert_eq!(got.datagram_open, self.datagram_open, "{name}");
            }
        }
    }
}

/// Streams of every kind that there is. The one without data is not in them.
pub fn every_kind() -> Vec<Sent> {
    let large = noise(200 * 1024);
    let long_line = [b"x".repeat(300_000), b"\nafter\n".to_vec()].concat();
    vec![
        Sent::text("text/lf", b"one\ntwo\n\nfour\n"),
        Sent::text("text/crlf", b"one\r\ntwo\r\n\r\nlone \r inside\r\n"),
        Sent::text("text/partial", b"whole\nwithout an end"),
        Sent::text("text/cr_at_end", b"whole\nwith a \r"),
        Sent::text(
            "text/not_utf8",
            b"\xff\xfe\n\xe2\x98\n\x80\xed\xa0\x80\nends in \xc3",
        ),
        Sent::text("text/long_line", &long_line),
        Sent::binary("binary/small", b"\0\n\r\n\xff"),
        Sent::binary("binary/large", &noise(600_000)),
        Sent::datagrams("datagram/empty", &[b""]),
        Sent::datagrams("datagram/small", &[b"a", b"", b"bcd\n"]),
        Sent::datagrams("datagram/large", &[&large, b"after", &large]),
        Sent::unfinished("datagram/unfinished", &[b"whole", b"0123456789"], 5),
        Sent::unfinished("datagram/unfinished_large", &[&large], 1),
    ]
}

/// Sends all of them, and one stream without data.
pub fn send_all(socket: &Path, all: &[Sent]) {
    for sent in all {
        sent.send(socket);
    }
    drop(open(socket, "nothing", "text"));
}

/// Panics unless exactly what was sent came.
pub fn check_all(streams: &BTreeMap<String, Stream>, all: &[Sent]) {
    for sent in all {
        let got = streams.get(sent.name);
        sent.check(got.unwrap_or_else(|| panic!("{} is not there", sent.name)));
    }
    assert_eq!(streams.len(), all.len(), "{:?}", streams.keys());
}

/// Bytes that no compression makes smaller, always the same.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
