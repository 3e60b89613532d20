//! What a reader tells besides the content.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::descriptor::DescriptorError;
use crate::layout::MARK;
use crate::limits::{READ_HELD_MAX, READ_STREAMS_MAX};
use crate::wire::message::MessageError;

/// Something that was found while reading: content that can't be had, or what
/// is good to know. None of it ends the reading.
///
/// The text is to be followed by that of the sources.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Finding {
    /// A file of messages, or of a stream, can't be read any further.
    #[error("{}: can't be read at offset {offset}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Bytes that were read.
        offset: u64,
        /// Why not.
        source: io::Error,
    },
    /// A file of messages goes on with what is none.
    #[error("{}: at offset {offset}: {why}; nothing after it can be read", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where the last message ends.
        offset: u64,
        /// Why it is no message.
        why: MessageError,
    },
    /// A message's frames hold, and what they hold is no bundle. The next one
    /// is read.
    #[error("{}: the message at offset {offset} is left out, or a part of it", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where the message begins.
        offset: u64,
        /// What is wrong with it.
        source: MessageError,
    },
    /// The last message of a file is cut by its end. No loss: a butler that
    /// was killed had not counted it as delivered.
    #[error(
        "{}: the file ends inside the message at offset {offset}: {bytes} bytes of it are there \
         and are left out",
        path.display()
    )]
    Torn {
        /// The file.
        path: PathBuf,
        /// Where the message begins.
        offset: u64,
        /// Bytes of it that are there.
        bytes: usize,
    },
    /// A file that is followed has not any more what was read. No loss.
    #[error("{}: the file was {change}; it is read from its beginning", path.display())]
    BegunAnew {
        /// The file.
        path: PathBuf,
        /// What became of it.
        change: Change,
    },
    /// Entries of a stream are not there.
    #[error(
        "stream {stream}: {} missing, {}stream_index {first}{}{}",
        if *count == 1 { "1 entry is".into() } else { format!("{count} entries are") },
        if *count == 1 { "" } else { "from " },
        if *count == 1 { "" } else { " on" },
        if *late { too_late() } else { String::new() }
    )]
    Missing {
        /// The stream's [label](super::Catalog::label).
        stream: String,
        /// The first one that is missing.
        first: u64,
        /// How many.
        count: u64,
        /// They may have come when too much of others had waited for them.
        late: bool,
    },
    /// Datagrams of a stream in a directory are not there.
    #[error(
        "{} of stream {stream} {} missing",
        if first == last { format!("datagram {first}") } else { format!("datagrams {first} to {last}") },
        if first == last { "is" } else { "are" }
    )]
    MissingDatagrams {
        /// The stream's name.
        stream: String,
        /// The first one that is missing.
        first: u64,
        /// The last one in a row.
        last: u64,
    },
    /// A datagram, or the directory of a stream's datagrams, can't be read.
    #[error("{}", path.display())]
    Datagram {
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A directory, or one in it, can't be read.
    #[error("{}: can't be read", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A directory that is followed is not there any more. No loss.
    #[error("{}: the directory is gone", path.display())]
    DirectoryGone {
        /// The directory.
        path: PathBuf,
    },
    /// What has the name of a descriptor is none.
    #[error("{}: is not a stream's descriptor", path.display())]
    NoDescriptor {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: DescriptorError,
    },
    /// Two files describe the same stream; this one is left out.
    #[error("{}: describes stream {stream}, as another file does", path.display())]
    DescribedTwice {
        /// The file.
        path: PathBuf,
        /// The stream's name.
        stream: String,
    },
    /// The stream is of an earlier run than the last. No loss.
    #[error("{}: stream {stream} is of an earlier run", path.display())]
    OfEarlierRun {
        /// The directory output.
        path: PathBuf,
        /// The stream's name.
        stream: String,
    },
    /// The files of a stream that is followed are not there any more. No loss.
    #[error("stream {stream}: it is gone")]
    StreamGone {
        /// The stream's [label](super::Catalog::label).
        stream: String,
    },
    /// Another run writes a stream of that name. No loss.
    #[error("stream {stream}: it is written anew, and read from its beginning")]
    StreamBegunAnew {
        /// The stream's [label](super::Catalog::label).
        stream: String,
    },
    /// The list of what the last run wrote can't be read. No loss.
    #[error("{MARK} can't be read, so streams of earlier runs are not told apart")]
    NoMark {
        /// Why not.
        source: io::Error,
    },
    /// There are more streams than may be held, so some are not read. Told
    /// once.
    #[error(
        "there are more streams than there is room for ({} MiB): {streams} are there, the others \
         are left out; --stream selects",
        READ_STREAMS_MAX >> 20
    )]
    LeftOut {
        /// How many are held.
        streams: usize,
    },
}

/// What became of a file that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Another file has its path now.
    Replaced,
    /// It has not any more what was read.
    Truncated,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Replaced => "replaced",
            Self::Truncated => "truncated",
        })
    }
}

impl Finding {
    /// Is there content that was not given? If not, it is only good to know.
    pub fn is_loss(&self) -> bool {
        !matches!(
            self,
            Self::Torn { .. }
                | Self::BegunAnew { .. }
                | Self::DirectoryGone { .. }
                | Self::OfEarlierRun { .. }
                | Self::StreamGone { .. }
                | Self::StreamBegunAnew { .. }
                | Self::NoMark { .. }
        )
    }
}

fn too_late() -> String {
    let waited = READ_HELD_MAX >> 20;
    format!("; or they came too late: {waited} MiB of others had waited")
}
