//! From a bundle to the message that is written, compressed or not.

use std::slice;

use bytes::{Buf, Bytes, BytesMut};
use flate2::{Compress, CompressError, FlushCompress, Status};

use crate::bundle::{Bundle, Gather};
use crate::limits::COMPRESS_MIN;
use crate::wire::message::{Compression, FRAMES_LEN_MAX, frames_len, put_frames};

/// Measured with zlib-rs on log text: 117-167 MB/s at a ratio of 4.39. Level
/// 1 gives 290-396 at 3.15, level 6 gives 83-88 at 4.90.
const ZLIB_LEVEL: u32 = 3;

/// The compressor's output grows by this much at a time.
const GROWTH: usize = 64 * 1024;

/// Makes the messages of one output. Its memory is used again for every
/// bundle.
#[derive(Debug)]
pub(crate) struct Encoder {
    gather: Gather,
    zlib: Option<Zlib>,
    /// The message, if it is compressed; otherwise it is in `gather`.
    compressed: Option<Bytes>,
}

impl Encoder {
    pub fn new(compression: Compression) -> Self {
        Self {
            gather: Gather::default(),
            zlib: match compression {
                Compression::None => None,
                Compression::Zlib => Some(Zlib::new()),
            },
            compressed: None,
        }
    }

    /// Makes the message of `bundle`, whose [`pieces`](Self::pieces) are to
    /// be written in order. A small bundle is not compressed.
    pub fn encode(&mut self, bundle: &Bundle) {
        self.clear();
        if let Some(zlib) = &mut self.zlib
            && bundle.len() >= COMPRESS_MIN
        {
            self.gather.bundle(bundle);
            let compressed = zlib.message(self.gather.pieces());
            self.gather.clear();
            match compressed {
                Ok(message) => {
                    self.compressed = Some(message);
                    return;
                }
                // It has no reason to, but then the bundle goes as it is.
                Err(error) => log::warn!("a bundle could not be compressed: {error}"),
            }
        }
        self.gather.message(bundle);
    }

    /// The message.
    pub fn pieces(&self) -> &[Bytes] {
        match &self.compressed {
            Some(message) => slice::from_ref(message),
            None => self.gather.pieces(),
        }
    }

    /// Bytes of the message.
    pub fn len(&self) -> u64 {
        self.pieces().iter().map(|piece| piece.len() as u64).sum()
    }

    /// Lets go of the bundle.
    pub fn clear(&mut self) {
        self.gather.clear();
        self.compressed = None;
    }
}

#[derive(Debug)]
struct Zlib {
    stream: Compress,
    /// What the last message left: the same memory once that is dropped.
    out: BytesMut,
    /// The longest message so far.
    len_max: usize,
}

impl Zlib {
    fn new() -> Self {
        Self {
            stream: Compress::new(flate2::Compression::new(ZLIB_LEVEL), true),
            out: BytesMut::new(),
            len_max: 0,
        }
    }

    /// The whole message in one piece: room for the frames is left in front.
    fn message(&mut self, pieces: &[Bytes]) -> Result<Bytes, CompressError> {
        self.stream.reset();
        self.out.clear();
        self.out.reserve(self.len_max);
        self.out.resize(FRAMES_LEN_MAX, 0);
        let mut end = FRAMES_LEN_MAX;
        for (at, piece) in pieces.iter().enumerate() {
            let flush = match at + 1 == pieces.len() {
                true => FlushCompress::Finish,
                false => FlushCompress::None,
            };
            self.compress(piece, &mut end, flush)?;
        }
        let data_len = end - FRAMES_LEN_MAX;
        let start = FRAMES_LEN_MAX - frames_len(Compression::Zlib, data_len);
        put_frames(&mut self.out[start..], Compression::Zlib, data_len);
        self.out.truncate(end);
        self.len_max = self.len_max.max(end.next_multiple_of(GROWTH));
        let mut message = self.out.split().freeze();
        message.advance(start);
        Ok(message)
    }

    /// Compresses `input` to `out` from `end` on.
    fn compress(
        &mut self,
        mut input: &[u8],
        end: &mut usize,
        flush: FlushCompress,
    ) -> Result<(), CompressError> {
        loop {
            if self.out.len() == *end {
                self.out.resize(*end + GROWTH, 0);
            }
            let (in_before, out_before) = (self.stream.total_in(), self.stream.total_out());
            let status = self.stream.compress(input, &mut self.out[*end..], flush)?;
            input = &input[(self.stream.total_in() - in_before) as usize..];
            *end += (self.stream.total_out() - out_before) as usize;
            let done = match flush {
                FlushCompress::Finish => status == Status::StreamEnd,
                _ => input.is_empty(),
            };
            if done {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::testing::{bundles, lines, text_bundle};
    use crate::wire::descriptor::StreamType;
    use crate::wire::message::MessageView;

    fn check(encoder: &mut Encoder, bundle: &Bundle, compression: Compression) -> usize {
        encoder.encode(bundle);
        let bytes = encoder.pieces().concat();
        assert_eq!(bytes.len() as u64, encoder.len());
        let view = MessageView::parse(&bytes).unwrap().unwrap();
        assert_eq!((view.compression, view.len), (compression, bytes.len()));
        assert_eq!(view.bundle().unwrap(), bundle.decode());
        bytes.len()
    }

    #[test]
    fn round_trips_at_all_sizes() {
        let mut none = Encoder::new(Compression::None);
        let mut zlib = Encoder::new(Compression::Zlib);
        for len in [1, 300, 5000, 70_000, 1_000_000, 6_000_000, 2] {
            let bundle = text_bundle(&lines(len));
            let compressed = match bundle.len() >= COMPRESS_MIN {
                true => Compression::Zlib,
                false => Compression::None,
            };
            let plain_len = check(&mut none, &bundle, Compression::None);
            let zlib_len = check(&mut zlib, &bundle, compressed);
            assert!(len < 5000 || zlib_len * 2 < plain_len);
        }
    }

    #[test]
    fn compresses_from_860_bytes_on() {
        let mut seen = [false; 2];
        for len in 600..1000 {
            let bundle = text_bundle(&vec![b'x'; len]);
            let mut encoder = Encoder::new(Compression::Zlib);
            encoder.encode(&bundle);
            let bytes = encoder.pieces().concat();
            let view = MessageView::parse(&bytes).unwrap().unwrap();
            let large = bundle.len() >= 860;
            assert_eq!(view.compression == Compression::Zlib, large);
            seen[usize::from(large)] = true;
        }
        assert_eq!(seen, [true; 2]);
    }

    #[test]
    fn what_does_not_compress_goes_through() {
        let mut seed = 7u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 56) as u8
        })
        .take(3_000_000)
        .collect();
        let mut encoder = Encoder::new(Compression::Zlib);
        for bundle in bundles(1 << 20, &[("noise", StreamType::Binary, &noise)]) {
            check(&mut encoder, &bundle, Compression::Zlib);
        }
    }

    #[test]
    fn memory_is_used_again() {
        let mut encoder = Encoder::new(Compression::Zlib);
        let all = [300_000, 1_000_000, 50_000, 700_000].map(|len| text_bundle(&lines(len)));
        for bundle in all.iter().cycle().take(16) {
            check(&mut encoder, bundle, Compression::Zlib);
            encoder.clear();
        }
        let zlib = encoder.zlib.as_ref().unwrap();
        assert!(zlib.len_max < 500_000 && zlib.out.capacity() < 1 << 20);
    }
}
