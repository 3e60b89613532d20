//! Messages: a bundle as it goes to an output.
//!
//! ```text
//! message = frame(ButlerMetadata) frame(ButlerLogBundle, perhaps compressed)
//! frame   = uvarint(len) bytes[len]
//! ```
//!
//! Writing is [`frames_len`] and [`put_frames`]; reading is [`MessageView::parse`].

use flate2::{Decompress, FlushDecompress, Status};
use prost::Message;

use super::varint;
use crate::limits::BUNDLE_MAX;
use crate::proto::logpb;

/// How the bundle of a message is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// As a zlib stream (RFC 1950).
    Zlib,
}

/// The metadata frame of a message: type ButlerLogBundle, the compression,
/// protocol version "1".
const fn metadata_frame(compression: Compression) -> &'static [u8] {
    match compression {
        Compression::None => b"\x05\x08\x01\x1a\x011",
        Compression::Zlib => b"\x07\x08\x01\x10\x01\x1a\x011",
    }
}

/// The longest that [`frames_len`] gives.
pub const FRAMES_LEN_MAX: usize = 8 + varint::MAX_LEN;

/// Bytes before the `data_len` bytes of data: the metadata's frame, and the
/// data's length.
pub const fn frames_len(compression: Compression, data_len: usize) -> usize {
    metadata_frame(compression).len() + varint::len(data_len as u64)
}

/// Writes what stands before the data, at the front of `out`, and returns its
/// length, [`frames_len`].
pub fn put_frames(out: &mut [u8], compression: Compression, data_len: usize) -> usize {
    let metadata = metadata_frame(compression);
    out[..metadata.len()].copy_from_slice(metadata);
    metadata.len() + varint::put(&mut out[metadata.len()..], data_len as u64)
}

/// Why bytes are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// A frame's length has more than 64 bits, or is larger than any message.
    #[error("a frame's length is not possible")]
    Frame,
    /// The metadata does not decode, or is not of version "1".
    #[error("the metadata is not that of a bundle")]
    Metadata,
    /// The data does not decompress to a bundle of an allowed size.
    #[error("the data is not a bundle")]
    Data,
}

/// Metadata has three small fields.
const METADATA_MAX: u64 = 1024;
/// Zlib adds less than this to a bundle that does not compress.
const DATA_MAX: u64 = BUNDLE_MAX as u64 + 64 * 1024;
/// No message that parses is longer: 10.1 MiB.
pub const MESSAGE_LEN_MAX: usize = MessageHead::LEN_MAX + DATA_MAX as usize;

/// What stands before a message's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageHead {
    /// How the data is compressed.
    pub compression: Compression,
    /// Where the data begins in the message.
    pub data_start: usize,
    /// Bytes of the data.
    pub data_len: usize,
}

impl MessageHead {
    /// This many bytes always suffice to tell what the head is.
    pub const LEN_MAX: usize = METADATA_MAX as usize + 2 * varint::MAX_LEN;

    /// Parses the head of the message at the front of `bytes`; `None` when
    /// more bytes are needed to tell.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, MessageError> {
        let Some((metadata, metadata_end)) = frame(bytes, METADATA_MAX)? else {
            return Ok(None);
        };
        let metadata =
            logpb::ButlerMetadata::decode(metadata).map_err(|_| MessageError::Metadata)?;
        let is_bundle = metadata.r#type() == logpb::butler_metadata::ContentType::ButlerLogBundle
            && metadata.proto_version == "1";
        let compression = match logpb::butler_metadata::Compression::try_from(metadata.compression)
        {
            Ok(logpb::butler_metadata::Compression::None) if is_bundle => Compression::None,
            Ok(logpb::butler_metadata::Compression::Zlib) if is_bundle => Compression::Zlib,
            _ => return Err(MessageError::Metadata),
        };
        let head = frame_head(&bytes[metadata_end..], DATA_MAX)?;
        Ok(head.map(|(data_len, used)| Self {
            compression,
            data_start: metadata_end + used,
            data_len,
        }))
    }

    /// Is that the beginning of a message, cut anywhere in its head? Any byte
    /// is a length, so [`parse`](Self::parse) waits for more of what is no
    /// message at all. Metadata that is cut itself must be what we write.
    pub fn is_begun(bytes: &[u8]) -> bool {
        matches!(frame(bytes, METADATA_MAX), Ok(Some(_)))
            || [Compression::None, Compression::Zlib]
                .iter()
                .any(|compression| metadata_frame(*compression).starts_with(bytes))
    }

    /// Bytes of the whole message.
    pub const fn message_len(&self) -> usize {
        self.data_start + self.data_len
    }
}

/// One message in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageView<'a> {
    /// How `data` is compressed.
    pub compression: Compression,
    /// The bundle, as it stands there.
    pub data: &'a [u8],
    /// Bytes of the whole message.
    pub len: usize,
}

impl<'a> MessageView<'a> {
    /// Parses the message at the front of `bytes`; `None` when more bytes are
    /// needed to tell.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<Self>, MessageError> {
        Ok(MessageHead::parse(bytes)?.and_then(|head| {
            let len = head.message_len();
            Some(Self {
                compression: head.compression,
                data: bytes.get(head.data_start..len)?,
                len,
            })
        }))
    }

    /// Decompresses and decodes the bundle.
    pub fn bundle(&self) -> Result<logpb::ButlerLogBundle, MessageError> {
        let mut inflated = Vec::new();
        logpb::ButlerLogBundle::decode(self.bundle_bytes(&mut inflated)?)
            .map_err(|_| MessageError::Data)
    }

    /// The bundle's protobuf: the data itself, or what it decompresses to, in
    /// `inflated`, whose content is replaced.
    pub fn bundle_bytes<'b>(&self, inflated: &'b mut Vec<u8>) -> Result<&'b [u8], MessageError>
    where
        'a: 'b,
    {
        match self.compression {
            Compression::None if self.data.len() > BUNDLE_MAX => Err(MessageError::Data),
            Compression::None => Ok(self.data),
            Compression::Zlib => inflate(self.data, inflated).map(|()| &**inflated),
        }
    }
}

/// Decompresses `data` into `out`, to its end: flate2's reader would take
/// data that breaks off for data that ends.
fn inflate(data: &[u8], out: &mut Vec<u8>) -> Result<(), MessageError> {
    let mut zlib = Decompress::new(true);
    out.clear();
    loop {
        // It doubles, up to a byte more than the largest bundle.
        let room = out.len().max(data.len()).max(4096);
        out.reserve_exact(room.min(BUNDLE_MAX + 1 - out.len()));
        let rest = &data[zlib.total_in() as usize..];
        let status = zlib
            .decompress_vec(rest, out, FlushDecompress::None)
            .map_err(|_| MessageError::Data)?;
        if out.len() > BUNDLE_MAX {
            return Err(MessageError::Data);
        }
        if status == Status::StreamEnd {
            return Ok(());
        }
        if out.len() < out.capacity() {
            // There was room, so it is the input that is at its end.
            return Err(MessageError::Data);
        }
    }
}

/// The frame at the front of `bytes`, and where it ends.
fn frame(bytes: &[u8], max: u64) -> Result<Option<(&[u8], usize)>, MessageError> {
    Ok(frame_head(bytes, max)?.and_then(|(len, start)| {
        let end = start + len;
        bytes.get(start..end).map(|frame| (frame, end))
    }))
}

/// The length of the frame at the front of `bytes`, and the bytes it takes.
fn frame_head(bytes: &[u8], max: u64) -> Result<Option<(usize, usize)>, MessageError> {
    match varint::get(bytes) {
        Ok(Some((len, used))) if len <= max => Ok(Some((len as usize, used))),
        Ok(None) => Ok(None),
        Ok(Some(_)) | Err(varint::Overflow) => Err(MessageError::Frame),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    #[test]
    fn metadata_is_what_prost_writes() {
        for (compression, number) in [(Compression::None, 0), (Compression::Zlib, 1)] {
            let metadata = logpb::ButlerMetadata {
                r#type: 1,
                compression: number,
                proto_version: "1".into(),
            };
            assert_eq!(
                metadata.encode_length_delimited_to_vec(),
                metadata_frame(compression)
            );
        }
    }

    #[test]
    fn round_trips() {
        let bundle = logpb::ButlerLogBundle {
            project: "p".repeat(1000),
            ..Default::default()
        };
        for compression in [Compression::None, Compression::Zlib] {
            let mut data = bundle.encode_to_vec();
            if compression == Compression::Zlib {
                let mut encoder =
                    flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(&data).unwrap();
                data = encoder.finish().unwrap();
            }
            let mut message = vec![0; frames_len(compression, data.len())];
            assert_eq!(
                put_frames(&mut message, compression, data.len()),
                message.len()
            );
            message.extend(&data);
            for cut in 0..message.len() {
                assert_eq!(MessageView::parse(&message[..cut]).unwrap(), None);
            }
            let len = message.len();
            message.extend(b"\x05next");
            let view = MessageView::parse(&message).unwrap().unwrap();
            assert_eq!((view.len, view.compression), (len, compression));
            assert_eq!(view.data, data);
            assert_eq!(view.bundle().unwrap(), bundle);
            for cut in 0..view.data.len() {
                let data = &view.data[..cut];
                if compression == Compression::Zlib {
                    let cut = MessageView { data, ..view };
                    assert_eq!(cut.bundle(), Err(MessageError::Data));
                }
            }
        }
    }

    /// Other writers may encode the same metadata otherwise.
    #[test]
    fn metadata_of_others() {
        let message = b"\x07\x08\x01\x10\x00\x1a\x011\x02\x22\x00";
        for cut in 0..message.len() {
            assert_eq!(MessageHead::parse(&message[..cut]).map(|_| ()), Ok(()));
            // What may be theirs or anything is not taken for theirs.
            let begun = cut <= 4 || cut >= 8;
            assert_eq!(MessageHead::is_begun(&message[..cut]), begun, "{cut}");
        }
        let view = MessageView::parse(message).unwrap().unwrap();
        assert_eq!(view.compression, Compression::None);
        assert_eq!(view.bundle(), Ok(logpb::ButlerLogBundle::default()));

        for other in [
            &b"\x05\x08\x02\x1a\x011"[..],
            b"\x05\x08\x01\x1a\x012",
            b"\x07\x08\x01\x10\x02\x1a\x011",
            b"\x07\x08\x02\x10\x01\x1a\x011",
            b"\x03\x1a\x011",
            b"\x02\xff\xff",
        ] {
            assert_eq!(MessageHead::parse(other), Err(MessageError::Metadata));
        }
        for frame in [b"\x81\x08", b"\x80\x09"] {
            assert_eq!(MessageHead::parse(frame), Err(MessageError::Frame));
        }
        assert_eq!(MessageHead::parse(b"\x80\x08"), Ok(None));
    }

    #[test]
    fn the_longest_of_all() {
        assert_eq!(frames_len(Compression::Zlib, usize::MAX), FRAMES_LEN_MAX);
        // A size in as many bytes as it may have.
        let longest = |size: u64| {
            let mut bytes = [0x80; varint::MAX_LEN];
            varint::put(&mut bytes, size);
            for byte in &mut bytes[..varint::MAX_LEN - 1] {
                *byte |= 0x80;
            }
            bytes[varint::MAX_LEN - 1] = 0;
            bytes
        };
        let data_max = BUNDLE_MAX as u64 + 65_536;
        for (len, fits) in [(data_max, true), (data_max + 1, false)] {
            let mut head = longest(1024).to_vec();
            head.extend(&metadata_frame(Compression::None)[1..]);
            // A field that nobody knows fills it up.
            let filler = 1024 - 5 - 3;
            head.extend([0x7a, (filler & 0x7f) as u8 | 0x80, (filler >> 7) as u8]);
            head.resize(varint::MAX_LEN + 1024, 0);
            head.extend(longest(len));
            match MessageHead::parse(&head) {
                Ok(Some(parsed)) if fits => {
                    assert_eq!(parsed.data_start, MessageHead::LEN_MAX);
                    assert_eq!(parsed.message_len(), MESSAGE_LEN_MAX);
                }
                other => assert!(!fits && other == Err(MessageError::Frame), "{other:?}"),
            }
        }
    }

    #[test]
    fn errors_are_told() {
        let errors = [
            MessageError::Frame,
            MessageError::Metadata,
            MessageError::Data,
        ];
        assert_eq!(
            errors.map(|error| error.to_string()),
            [
                "a frame's length is not possible",
                "the metadata is not that of a bundle",
                "the data is not a bundle"
            ]
        );
    }

    #[test]
    fn what_is_more_than_a_bundle_is_refused() {
        let mut out = Vec::new();
        for (len, fits) in [
            (BUNDLE_MAX, true),
            (BUNDLE_MAX + 1, false),
            (3 * BUNDLE_MAX, false),
        ] {
            let zeros = vec![0; len];
            let mut encoder =
                flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&zeros).unwrap();
            let data = encoder.finish().unwrap();
            // Whatever memory the last one took.
            for out in [&mut Vec::new(), &mut out] {
                assert_eq!(inflate(&data, out).is_ok(), fits, "{len}");
                assert!(out.capacity() <= BUNDLE_MAX + 1);
            }
            let view = MessageView {
                compression: Compression::None,
                data: &zeros,
                len,
            };
            assert_eq!(view.bundle_bytes(&mut out).is_ok(), fits, "{len}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..60), good: bool) {
            let mut all = if good { metadata_frame(Compression::Zlib).to_vec() } else { vec![] };
            all.extend(bytes);
            if let Ok(Some(view)) = MessageView::parse(&all) {
                let _ = view.bundle();
            }
        }
    }
}
