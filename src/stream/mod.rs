//! One stream's machine: what its bytes become.
//!
//! Text, binary and datagram streams are machines with the same four moves:
//! take bytes, give out what has waited too long, stop at the size limit, end.
//! They keep what is unfinished in a carry and put entries on a stage.

mod binary;
mod carry;
mod datagram;
mod notice;
mod raw;
mod stage;
#[cfg(test)]
mod testing;
mod text;
mod watched;

pub(crate) use carry::Carry;
pub use datagram::FramingError;
pub(crate) use stage::{Progress, Stage};
pub(crate) use watched::WatchEvents;

use crate::keys::StreamKey;
use crate::wire::descriptor::StreamType;
use binary::Binary;
use datagram::Datagram;
use raw::Raw;
use text::Text;

/// The state of a stream that depends on its type.
#[derive(Debug)]
pub(crate) enum Parser {
    Text(Text),
    Raw(Raw),
    Binary(Binary),
    Datagram(Datagram),
}

impl Parser {
    /// `lines`: text is to be cut into lines.
    pub fn new(stream_type: StreamType, lines: bool) -> Self {
        match stream_type {
            StreamType::Text if !lines => Self::Raw(Raw::default()),
            StreamType::Text => Self::Text(Text::default()),
            StreamType::Binary => Self::Binary(Binary::default()),
            StreamType::Datagram => Self::Datagram(Datagram::default()),
        }
    }

    /// Takes the client's next bytes. On an error all of them are accounted
    /// for, and the stream must end.
    pub fn push(
        &mut self,
        stage: &mut Stage<'_>,
        carry: &mut Carry,
        data: &[u8],
    ) -> Result<(), FramingError> {
        match self {
            Self::Text(text) => text.push(stage, carry, data),
            Self::Raw(raw) => raw.push(stage, carry, data),
            Self::Binary(binary) => binary.push(stage, carry, data),
            Self::Datagram(datagram) => return datagram.push(stage, carry, data),
        }
        Ok(())
    }

    /// Gives out what is carried, because it has waited for the maximum age
    /// or memory is short.
    pub fn expire(&mut self, stage: &mut Stage<'_>, carry: &mut Carry) {
        match self {
            Self::Text(text) => text.expire(stage, carry),
            Self::Raw(raw) => raw.expire(stage, carry),
            Self::Binary(binary) => binary.expire(stage, carry),
            Self::Datagram(datagram) => datagram.expire(stage, carry),
        }
    }

    /// The stream's size limit of `limit` bytes is reached and more has come:
    /// gives out what is carried; nothing is pushed any more.
    pub fn cut(&mut self, stage: &mut Stage<'_>, carry: &mut Carry, limit: u64) {
        match self {
            Self::Text(text) => text.cut(stage, carry, limit),
            Self::Raw(raw) => raw.cut(stage, carry, limit),
            Self::Binary(binary) => binary.expire(stage, carry),
            Self::Datagram(datagram) => datagram.finish(stage, carry),
        }
    }

    /// The stream ends, with `omitted` bytes of `total` beyond its limit.
    pub fn finish(&mut self, stage: &mut Stage<'_>, carry: &mut Carry, omitted: u64, total: u64) {
        match self {
            Self::Text(text) => text.finish(stage, carry, omitted, total),
            Self::Raw(raw) => raw.finish(stage, carry, omitted, total),
            Self::Binary(binary) => binary.expire(stage, carry),
            Self::Datagram(datagram) => datagram.finish(stage, carry),
        }
    }
}
