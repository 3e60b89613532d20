//! What must come of a stream, by a model that looks at all its bytes at
//! once and knows no cuts, ages or bundles.

use butler::limits::DATAGRAM_MAX;
use butler::wire::descriptor::StreamType;
use butler::wire::varint;

use crate::common::lines;

/// See the module.
#[derive(Debug, Default)]
pub struct Expected {
    /// All content in one; datagrams back to back.
    pub content: Vec<u8>,
    /// Bytes of it that are the client's.
    pub kept: u64,
    /// The payload bytes of each datagram, and those of its size.
    pub datagrams: Vec<(usize, usize)>,
    /// The last datagram is unfinished.
    pub datagram_open: bool,
    /// Bytes that are no datagram, or only a size.
    pub framing: u64,
    pub over_limit: u64,
}

impl Expected {
    /// Of a stream whose client wrote `data`, with that size limit.
    pub fn new(stream_type: StreamType, data: &[u8], limit: u64) -> Self {
        let kept = (data.len() as u64).min(limit) as usize;
        let mut expected = Self {
            over_limit: (data.len() - kept) as u64,
            ..Self::default()
        };
        let total = data.len();
        let data = &data[..kept];
        if stream_type == StreamType::Datagram {
            expected.take_datagrams(data);
        } else {
            expected.kept = kept as u64;
            expected.content.extend_from_slice(data);
        }
        if stream_type == StreamType::Text && expected.over_limit > 0 {
            let start = if data.ends_with(b"\n") { "" } else { "\n" };
            let omitted = expected.over_limit;
            let notices = format!(
                "{start}[butler] the stream has reached its maximum of {limit} bytes; \
                 what follows is omitted\n\
                 [butler] {omitted} bytes were omitted; the stream had {total} bytes"
            );
            expected.content.extend(notices.bytes());
            expected.content.push(b'\n');
        }
        expected
    }

    fn take_datagrams(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let (size, used) = match varint::get(data) {
                Ok(Some((size, used))) if size <= DATAGRAM_MAX => (size as usize, used),
                _ => break,
            };
            let got = size.min(data.len() - used);
            if got == 0 && size > 0 {
                break;
            }
            self.datagrams.push((got, used));
            self.datagram_open = got < size;
            self.kept += got as u64;
            self.content.extend_from_slice(&data[used..used + got]);
            data = &data[used + got..];
        }
        self.framing = data.len() as u64;
    }

    /// The lines of a text stream. A `\r` at the size limit is the client's,
    /// the `\n` that ends its line there is ours.
    pub fn lines(&self) -> Vec<(Vec<u8>, String)> {
        let (theirs, ours) = self.content.split_at(self.kept as usize);
        let mut all = lines(theirs);
        let notices = match (ours.strip_prefix(b"\n"), all.last_mut()) {
            (Some(notices), Some(last)) => {
                last.1 = "\n".into();
                notices
            }
            _ => ours,
        };
        all.extend(lines(notices));
        all
    }

    /// Bytes of the client that an entry stands for: `len` of the content
    /// from `at` on, and the size of the datagram that begins with it.
    pub fn client_bytes(&self, at: usize, len: usize, begins: Option<usize>) -> u64 {
        let kept = self.kept as usize;
        let size = begins.map_or(0, |number| self.datagrams[number].1);
        (((at + len).min(kept) - at.min(kept)) + size) as u64
    }
}
