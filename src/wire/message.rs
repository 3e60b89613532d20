//! Messages: a bundle as it goes to an output.
//!
//! ```text
//! message = frame(ButlerMetadata) frame(ButlerLogBundle, perhaps compressed)
//! frame   = uvarint(len) bytes[len]
//! ```
//!
//! Writing is [`frames_len`] and [`put_frames`]; reading is [`MessageView::parse`].

use std::fmt;
use std::io::Read;

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
#[derive(Debug)]
pub enum MessageError {
    /// A frame's length has more than 64 bits, or is larger than any message.
    Frame,
    /// The metadata does not decode, or is not of version "1".
    Metadata,
    /// The data does not decompress to a bundle of an allowed size.
    Data,
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Frame => "a frame's length is not possible",
            Self::Metadata => "the metadata is not that of a bundle",
            Self::Data => "the data is not a bundle",
        })
    }
}

impl std::error::Error for MessageError {}

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

/// Metadata has three small fields.
const METADATA_MAX: u64 = 1024;
/// Zlib adds less than this to a bundle that does not compress.
const DATA_MAX: u64 = BUNDLE_MAX as u64 + 64 * 1024;

impl<'a> MessageView<'a> {
    /// Parses the message at the front of `bytes`; `None` when more bytes are
    /// needed to tell.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<Self>, MessageError> {
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
        let rest = &bytes[metadata_end..];
        Ok(frame(rest, DATA_MAX)?.map(|(data, end)| Self {
            compression,
            data,
            len: metadata_end + end,
        }))
    }

    /// Decompresses and decodes the bundle.
    pub fn bundle(&self) -> Result<logpb::ButlerLogBundle, MessageError> {
        match self.compression {
            Compression::None => logpb::ButlerLogBundle::decode(self.data),
            Compression::Zlib => {
                let mut data = Vec::new();
                flate2::read::ZlibDecoder::new(self.data)
                    .take(BUNDLE_MAX as u64 + 1)
                    .read_to_end(&mut data)
                    .map_err(|_| MessageError::Data)?;
                if data.len() > BUNDLE_MAX {
                    return Err(MessageError::Data);
                }
                logpb::ButlerLogBundle::decode(&*data)
            }
        }
        .map_err(|_| MessageError::Data)
    }
}

/// The frame at the front of `bytes`, and where it ends.
fn frame(bytes: &[u8], max: u64) -> Result<Option<(&[u8], usize)>, MessageError> {
    match varint::get(bytes) {
        Err(varint::Overflow) => Err(MessageError::Frame),
        Ok(None) => Ok(None),
        Ok(Some((len, _))) if len > max => Err(MessageError::Frame),
        Ok(Some((len, start))) => {
            let end = start + len as usize;
            Ok(bytes.get(start..end).map(|frame| (frame, end)))
        }
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
            assert_eq!(view.bundle().unwrap(), bundle);
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
