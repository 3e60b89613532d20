//! From a bundle to the message that is written, compressed or not.

use std::fmt;
use std::slice;

use bytes::{BufMut, Bytes, BytesMut};
use libdeflater::{CompressionLvl, Compressor};

use super::gather::{Gather, heads_len};
use super::message::Message;
use super::stored::Stored;
use crate::limits::COMPRESS_MIN;
use crate::wire::message::{Compression, FRAMES_LEN_MAX, frames_len, put_frames};

/// A message that is kept until it is acknowledged is copied up to this size, so
/// that it does not keep a whole segment: that costs a microsecond or two.
const KEPT_COPY_MAX: usize = 64 * 1024;

/// Whether and how hard an output compresses its bundles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compress {
    /// Not at all.
    #[default]
    None,
    /// To zlib streams.
    Zlib(ZlibLevel),
}

impl Compress {
    /// At the default level.
    pub const ZLIB: Self = Self::Zlib(ZlibLevel::DEFAULT);
}

/// How hard zlib compression tries: 1 is the fastest, 12 makes the smallest
/// output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZlibLevel(u8);

impl ZlibLevel {
    /// The highest.
    pub const MAX: u8 = 12;

    /// Measured on log text, in CPU s/GB and as the ratio of input to output:
    /// libdeflate at level 4 takes 4.1 for 4.70, 5 takes 4.6 for 5.15, 6 takes
    /// 6.1 for 5.38; zlib-rs at level 3 takes 4.6 for 4.54, 6 takes 10.0 for
    /// 5.36; zlib 1.2.13 at level 6 takes 13.6 for 5.24.
    pub const DEFAULT: Self = Self(4);

    /// A level of 1 to [`MAX`](Self::MAX).
    pub fn new(level: u8) -> Option<Self> {
        (1..=Self::MAX).contains(&level).then_some(Self(level))
    }
}

impl Default for ZlibLevel {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for ZlibLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A message as it is sent, and the memory that is used again for another one.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    /// The message, if it is not compressed.
    gather: Gather,
    /// The message, if it is.
    compressed: Option<Bytes>,
    /// What the last compressed one left: the same memory once that is dropped.
    buffer: BytesMut,
    /// The largest compressed one so far.
    room: usize,
}

impl Encoded {
    /// What is to be written, in order.
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

    /// Bytes of memory that it keeps for the next one.
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.gather.memory() + self.room
    }

    /// Lets go of the bundle.
    pub fn clear(&mut self) {
        self.gather.clear();
        self.compressed = None;
    }
}

/// Makes the messages of one output. Its memory is used again for every
/// bundle.
#[derive(Debug)]
pub(crate) struct Encoder {
    zlib: Option<Zlib>,
    message: Encoded,
}

impl Encoder {
    pub fn new(compress: Compress) -> Self {
        Self {
            zlib: match compress {
                Compress::None => None,
                Compress::Zlib(level) => Some(Zlib::new(level)),
            },
            message: Encoded::default(),
        }
    }

    /// Makes the message of `bundle`, whose [`pieces`](Self::pieces) are to
    /// be written in order. A small bundle is not compressed.
    pub fn encode(&mut self, bundle: &Message) {
        self.encode_by(bundle.len(), |gather, is_message| match is_message {
            true => gather.message(bundle),
            false => gather.bundle(bundle),
        });
    }

    /// The same of one that was stored.
    pub fn encode_stored(&mut self, stored: &Stored) {
        self.encode_by(stored.len(), |gather, is_message| match is_message {
            true => gather.stored_message(stored),
            false => gather.stored_bundle(stored),
        });
    }

    /// The same of a message that others may have to wait behind: where that costs
    /// little it shares nothing with `bundle`, whose entries can go. True if so.
    pub fn encode_to_keep(&mut self, bundle: &Message) -> bool {
        let is_compressed = self.zlib.is_some() && bundle.len() >= COMPRESS_MIN;
        let copies = !is_compressed
            && (bundle.len() <= KEPT_COPY_MAX || heads_len(bundle) >= bundle.len() / 2);
        self.message.gather.set_copies(copies);
        self.encode(bundle);
        self.message.gather.set_copies(false);
        is_compressed || copies
    }

    /// `gather` gathers a message, or its bundle alone if that is to be compressed.
    fn encode_by(&mut self, len: usize, gather: impl FnOnce(&mut Gather, bool)) {
        self.clear();
        match &mut self.zlib {
            Some(zlib) if len >= COMPRESS_MIN => {
                gather(&mut zlib.gather, false);
                zlib.compress(&mut self.message);
            }
            _ => gather(&mut self.message.gather, true),
        }
    }

    /// The message.
    pub fn pieces(&self) -> &[Bytes] {
        self.message.pieces()
    }

    /// Bytes of the message.
    pub fn len(&self) -> u64 {
        self.message.len()
    }

    /// Lets go of the bundle.
    pub fn clear(&mut self) {
        self.message.clear();
    }

    /// Gives the message away, and its memory.
    pub fn take(&mut self) -> Encoded {
        std::mem::take(&mut self.message)
    }

    /// The memory for the next message.
    pub fn reuse(&mut self, memory: Encoded) {
        self.message = memory;
    }
}

struct Zlib {
    compressor: Compressor,
    /// A bundle.
    gather: Gather,
    /// The same in one piece.
    input: Vec<u8>,
    /// Room for whatever becomes of it.
    output: Vec<u8>,
}

impl fmt::Debug for Zlib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zlib").finish_non_exhaustive()
    }
}

impl Zlib {
    fn new(ZlibLevel(level): ZlibLevel) -> Self {
        let level = CompressionLvl::new(level.into()).unwrap_or_default();
        Self {
            compressor: Compressor::new(level),
            gather: Gather::default(),
            input: Vec::new(),
            output: Vec::new(),
        }
    }

    /// Makes a message of the bundle that is gathered.
    fn compress(&mut self, message: &mut Encoded) {
        self.input.clear();
        for piece in self.gather.pieces() {
            self.input.extend_from_slice(piece);
        }
        self.gather.clear();
        let room = self.compressor.zlib_compress_bound(self.input.len());
        if self.output.len() < room {
            self.output.resize(room, 0);
        }
        let len = self
            .compressor
            .zlib_compress(&self.input, &mut self.output)
            .expect("it has the room that it asked for");
        let frames_len = frames_len(Compression::Zlib, len);
        let mut frames = [0; FRAMES_LEN_MAX];
        put_frames(&mut frames[..frames_len], Compression::Zlib, len);
        message.buffer.reserve(frames_len + len);
        message.buffer.put_slice(&frames[..frames_len]);
        message.buffer.put_slice(&self.output[..len]);
        message.compressed = Some(message.buffer.split().freeze());
        message.room = message.room.max(frames_len + len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::message::{Identity, Ticket};
    use crate::delivery::stored::Run;
    use crate::limits::BUNDLE_MAX;
    use crate::output::testing::{bundles, lines, noise, text_bundle};
    use crate::secret::Secret;
    use crate::wire::descriptor::StreamType;
    use crate::wire::message::MessageView;
    use std::sync::Arc;

    fn check(encoder: &mut Encoder, bundle: &Message, compression: Compression) -> usize {
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
        let mut none = Encoder::new(Compress::None);
        let mut zlib = Encoder::new(Compress::ZLIB);
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
    fn what_was_stored_is_the_same_message() {
        for compress in [Compress::None, Compress::ZLIB] {
            let (mut fresh, mut again) = (Encoder::new(compress), Encoder::new(compress));
            for len in [1, 700, 5000, 300_000] {
                let message = text_bundle(&lines(len));
                let mut gather = Gather::default();
                gather.body(&message);
                let run = Arc::new(Run::new(whose(&message), None));
                let streams = (message.streams[0].info.name.clone(), 0);
                let body = gather.concat().into();
                fresh.encode(&message);
                again.encode_stored(&Stored::new(Ticket(1 << 63), run, body, streams));
                assert_eq!(fresh.pieces().concat(), again.pieces().concat());
            }
        }
    }

    fn whose(message: &Message) -> Identity {
        let bundle = message.decode();
        Identity {
            project: bundle.project,
            prefix: bundle.prefix,
            secret: Secret::new(bundle.secret),
        }
    }

    #[test]
    fn all_levels_make_zlib_streams() {
        let bundle = text_bundle(&lines(100_000));
        assert_eq!((ZlibLevel::new(0), ZlibLevel::new(13)), (None, None));
        let lens = (1..=12).map(|level| {
            let level = ZlibLevel::new(level).unwrap();
            let mut encoder = Encoder::new(Compress::Zlib(level));
            check(&mut encoder, &bundle, Compression::Zlib)
        });
        let lens: Vec<_> = lens.collect();
        assert!(lens[0] > lens[5] && lens[5] > lens[11], "{lens:?}");
    }

    #[test]
    fn compresses_from_860_bytes_on() {
        let mut seen = [false; 2];
        for len in 600..1000 {
            let bundle = text_bundle(&vec![b'x'; len]);
            let mut encoder = Encoder::new(Compress::ZLIB);
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
        let mut encoder = Encoder::new(Compress::ZLIB);
        for bundle in bundles(1 << 20, &[("noise", StreamType::Binary, &noise(3_000_000))]) {
            check(&mut encoder, &bundle, Compression::Zlib);
        }
    }

    #[test]
    fn memory_is_used_again() {
        let mut encoder = Encoder::new(Compress::ZLIB);
        let all = [300_000, 1_000_000, 50_000, 700_000].map(|len| text_bundle(&lines(len)));
        for bundle in all.iter().cycle().take(16) {
            check(&mut encoder, bundle, Compression::Zlib);
            encoder.clear();
        }
        assert!(encoder.message.buffer.capacity() < 1 << 20);
    }

    /// Whatever the sizes, the message is the same; and what it shares is large.
    #[test]
    fn what_is_kept_is_the_same_message() {
        for compress in [Compress::None, Compress::ZLIB] {
            let (mut plain, mut keeping) = (Encoder::new(compress), Encoder::new(compress));
            for len in [1, 5000, 40_000, 70_000, 1_000_000] {
                let message = text_bundle(&lines(len));
                plain.encode(&message);
                let is_apart = keeping.encode_to_keep(&message);
                let kept = keeping.take();
                assert_eq!(kept.pieces().concat(), plain.pieces().concat());
                assert_eq!(
                    is_apart,
                    compress == Compress::ZLIB || len <= 60_000,
                    "{len}"
                );
                assert!(!is_apart || kept.memory() as u64 >= kept.len());
                keeping.reuse(kept);
            }
        }
        // Many small parts are copied anyway.
        let data = vec![b'x'; 500];
        let names: Vec<_> = (0..300).map(|at| format!("s/{at}")).collect();
        let streams = names.iter().map(|it| (&**it, StreamType::Binary, &*data));
        let message = bundles(BUNDLE_MAX, &streams.collect::<Vec<_>>()).remove(0);
        assert!(message.len() > KEPT_COPY_MAX);
        assert!(Encoder::new(Compress::None).encode_to_keep(&message));
    }
}
