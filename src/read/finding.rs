//! What a reader tells besides the content.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::descriptor::DescriptorError;
use crate::layout::MARK;
use crate::limits::{READER_HELD_MAX, READER_STREAMS_MAX};
use crate::spool::HeaderError;
use crate::wire::message::MessageError;

/// Something that was found while reading: content that can't be had, or what
/// is good to know. None of it ends the reading.
///
/// The text is to be followed by that of the source. Paths are those of files
/// and directories, names those of streams.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Finding {
    /// A file can't be read behind so many bytes.
    #[error("{path}: can't be read at offset {1}", path = .0.display())]
    Unreadable(PathBuf, u64, #[source] io::Error),
    /// What begins there in a file of messages is none.
    #[error("{path}: at offset {1}: {2}; nothing after it can be read", path = .0.display())]
    Corrupt(PathBuf, u64, MessageError),
    /// The frames of the message that begins there hold, and not what is in
    /// them. The next one is read.
    #[error("{path}: the message at offset {1} is left out, or a part of it", path = .0.display())]
    Malformed(PathBuf, u64, #[source] MessageError),
    /// The end of a file cuts the message that begins there: so many bytes of
    /// it are there. No loss: its butler did not count it as delivered.
    #[error(
        "{path}: the file ends inside the message at offset {1}: {2} bytes of it are there and are \
         left out",
        path = .0.display()
    )]
    Torn(PathBuf, u64, usize),
    /// What has the name of a segment is none that can be read.
    #[error("{path}: nothing in it can be read", path = .0.display())]
    NoSegment(PathBuf, #[source] HeaderError),
    /// So many bytes of a segment are damaged, from that offset on, with what they
    /// had of those streams, as far as that is known.
    #[error(
        "{path}: at offset {1} {2} bytes are damaged{streams}",
        path = .0.display(),
        streams = of_streams(.3)
    )]
    Damaged(PathBuf, u64, u64, Vec<String>),
    /// Entries of the stream with that label are not in the spool: from that
    /// stream_index on so many. No loss: they were delivered, or never had to wait.
    #[error("stream {0}: not in the spool: entries from stream_index {1} on, {2} in all")]
    NotWaiting(String, u64, u64),
    /// Another file has the path of one that is followed. No loss.
    #[error("{path}: the file was replaced; it is read from its beginning", path = .0.display())]
    Replaced(PathBuf),
    /// A file that is followed has not any more what was read. No loss.
    #[error("{path}: the file was truncated; it is read from its beginning", path = .0.display())]
    Truncated(PathBuf),
    /// Entries of the stream with that label, from that stream_index on, are
    /// not there, or came when too much of others had waited for them.
    #[error("stream {stream}: {}{}", missing(*first, *count), too_late(*late))]
    #[allow(missing_docs)]
    Missing {
        stream: String,
        first: u64,
        count: u64,
        late: bool,
    },
    /// Datagrams of the stream with that name are not there: from the first to
    /// the last number.
    #[error("{text}", text = missing_datagrams(.0, *.1, *.2))]
    MissingDatagrams(String, u64, u64),
    /// A datagram, or what has all of a stream, can't be read.
    #[error("{path}", path = .0.display())]
    Datagram(PathBuf, #[source] io::Error),
    /// A directory can't be read.
    #[error("{path}: can't be read", path = .0.display())]
    Directory(PathBuf, #[source] io::Error),
    /// A directory that is followed is not there any more. No loss.
    #[error("{path}: the directory is gone", path = .0.display())]
    DirectoryGone(PathBuf),
    /// What has the name of a descriptor is none.
    #[error("{path}: is not a stream's descriptor", path = .0.display())]
    NoDescriptor(PathBuf, #[source] DescriptorError),
    /// That file describes a stream which another one describes too.
    #[error("{path}: describes stream {1}, as another file does", path = .0.display())]
    DescribedTwice(PathBuf, String),
    /// The stream in that directory is of an earlier run than the last. No
    /// loss.
    #[error("{path}: stream {1} is of an earlier run", path = .0.display())]
    OfEarlierRun(PathBuf, String),
    /// The files of the stream with that label are not there any more. No loss.
    #[error("stream {0}: it is gone")]
    StreamGone(String),
    /// Another run writes the stream with that label. No loss.
    #[error("stream {0}: it is written anew, and read from its beginning")]
    StreamBegunAnew(String),
    /// The list of what the last run wrote can't be read. No loss.
    #[error("{mark} can't be read, so streams of earlier runs are not told apart", mark = MARK)]
    NoMark(#[source] io::Error),
    /// There are more streams than may be held, which are so many; the others
    /// are not read.
    #[error(
        "there are more streams than there is room for ({room} MiB): {0} are there, the others are \
         left out",
        room = READER_STREAMS_MAX >> 20
    )]
    LeftOut(usize),
}

impl Finding {
    /// Is there content that was not given? If not, it is only good to know.
    pub fn is_loss(&self) -> bool {
        !matches!(
            self,
            Self::Torn(..)
                | Self::NotWaiting(..)
                | Self::Replaced(_)
                | Self::Truncated(_)
                | Self::DirectoryGone(_)
                | Self::OfEarlierRun(..)
                | Self::StreamGone(_)
                | Self::StreamBegunAnew(_)
                | Self::NoMark(_)
        )
    }
}

fn missing(first: u64, count: u64) -> String {
    match count {
        1 => format!("1 entry is missing, stream_index {first}"),
        _ => format!("{count} entries are missing, from stream_index {first} on"),
    }
}

fn of_streams(names: &[String]) -> String {
    match names {
        [] => String::new(),
        names => format!(", of {}", names.join(", ")),
    }
}

fn too_late(late: bool) -> String {
    let waited = READER_HELD_MAX >> 20;
    match late {
        true => format!("; or they came too late: {waited} MiB of others had waited"),
        false => String::new(),
    }
}

fn missing_datagrams(stream: &str, first: u64, last: u64) -> String {
    match first == last {
        true => format!("datagram {first} of stream {stream} is missing"),
        false => format!("datagrams {first} to {last} of stream {stream} are missing"),
    }
}
