//! Streams that a program writes to without owning a descriptor.

use std::io::{self, IoSlice, Write};
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use prost_types::Timestamp;

use super::handle::Handle;
use crate::butler::AddStreamReason;
use crate::limits::DATAGRAM_MAX;
use crate::wire::descriptor::{StreamProperties, StreamType, TagError};
use crate::wire::name::{NameError, StreamName};
use crate::wire::varint;

/// Why a stream is not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenStreamError {
    /// Its name is not valid.
    #[error("the stream's name is not valid")]
    Name(#[source] NameError),
    /// One of its tags is not valid.
    #[error(transparent)]
    Tag(TagError),
    /// The system has no socket for it.
    #[error("there is no socket for the stream")]
    Socket(#[source] io::Error),
    /// The butler does not take it.
    #[error(transparent)]
    Refused(AddStreamReason),
}

/// A stream that is not opened yet; `W` is what it will be written to with.
/// What is not valid of it is told by [`open`](NewStream::<StreamWriter>::open).
#[derive(Debug)]
#[must_use = "the stream is not open yet"]
pub struct NewStream<W> {
    handle: Handle,
    properties: Result<StreamProperties, OpenStreamError>,
    writer: PhantomData<fn() -> W>,
}

impl NewStream<StreamWriter> {
    pub(super) fn new(handle: Handle, name: &str) -> Self {
        let name = StreamName::new(name).map_err(OpenStreamError::Name);
        Self {
            handle,
            properties: name.map(|name| StreamProperties::new(name, StreamType::Text)),
            writer: PhantomData,
        }
    }

    /// Opens it.
    ///
    /// # Errors
    ///
    /// If its name or one of its tags is not valid, its name was used before
    /// or is in a namespace that is drained, the system has no socket for it,
    /// or the butler has ended.
    pub fn open(self) -> Result<StreamWriter, OpenStreamError> {
        self.connect().map(StreamWriter)
    }
}

impl NewStream<DatagramWriter> {
    /// Opens it.
    ///
    /// # Errors
    ///
    /// Those of a [stream of bytes](NewStream::<StreamWriter>::open).
    pub fn open(self) -> Result<DatagramWriter, OpenStreamError> {
        self.connect().map(DatagramWriter)
    }
}

impl<W> NewStream<W> {
    /// It is text, cut into lines.
    pub fn text(self) -> NewStream<StreamWriter> {
        self.of_type(StreamType::Text)
    }

    /// It is bytes.
    pub fn binary(self) -> NewStream<StreamWriter> {
        self.of_type(StreamType::Binary)
    }

    /// It is datagrams.
    pub fn datagram(self) -> NewStream<DatagramWriter> {
        self.of_type(StreamType::Datagram)
    }

    fn of_type<V>(self, stream_type: StreamType) -> NewStream<V> {
        NewStream {
            handle: self.handle,
            properties: self.properties.map(|properties| StreamProperties {
                stream_type,
                ..properties
            }),
            writer: PhantomData,
        }
    }

    fn with(mut self, set: impl FnOnce(&mut StreamProperties) -> Result<(), TagError>) -> Self {
        if let Ok(properties) = &mut self.properties
            && let Err(error) = set(properties)
        {
            self.properties = Err(OpenStreamError::Tag(error));
        }
        self
    }

    /// Tags it. A tag of the stream wins over one of the butler with the same
    /// key.
    pub fn tag(self, key: &str, value: &str) -> Self {
        self.with(|properties| properties.tags.insert(key, value))
    }

    /// Its MIME type, if it is not that of all streams of its type.
    pub fn content_type(self, content_type: &str) -> Self {
        self.with(|properties| {
            properties.content_type = content_type.into();
            Ok(())
        })
    }

    /// The base of its entries' time offsets, if it is not the time at which it
    /// is opened.
    pub fn timestamp(self, timestamp: impl Into<Timestamp>) -> Self {
        self.with(|properties| {
            properties.timestamp = Some(timestamp.into());
            Ok(())
        })
    }

    fn connect(self) -> Result<UnixStream, OpenStreamError> {
        let properties = self.properties?;
        let (ours, butlers) = UnixStream::pair().map_err(OpenStreamError::Socket)?;
        let attached = self.handle.attach(butlers, &properties);
        attached.map_err(|error| OpenStreamError::Refused(error.reason))?;
        Ok(ours)
    }
}

/// Writes into a stream of text or bytes. Dropped, it ends the stream.
///
/// Nothing is buffered here: what a write takes is on its way. It blocks while
/// the butler does not read, as what it may buffer is full or somebody who
/// watches the stream is behind. It fails with
/// [`BrokenPipe`](io::ErrorKind::BrokenPipe) when the butler has ended the
/// stream.
///
/// It is a socket in the end: as an [`OwnedFd`] it can be a command's stdout,
/// and as a [`UnixStream`] it can be given to an async runtime.
#[derive(Debug)]
pub struct StreamWriter(UnixStream);

impl Write for StreamWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.write(data)
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for StreamWriter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<StreamWriter> for UnixStream {
    fn from(writer: StreamWriter) -> Self {
        writer.0
    }
}

impl From<StreamWriter> for OwnedFd {
    fn from(writer: StreamWriter) -> Self {
        writer.0.into()
    }
}

/// Writes into a stream of datagrams. Dropped, it ends the stream.
///
/// Each [`send`](Self::send), and each [`write`](Write::write), is one
/// datagram. (The macro `write!` writes piece by piece, and would make a
/// datagram of each.) Blocking and errors are those of a [`StreamWriter`]; and
/// after a write that has failed in the middle, no other one can follow.
#[derive(Debug)]
pub struct DatagramWriter(UnixStream);

impl DatagramWriter {
    /// Sends one datagram, which may be empty.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if it has more than 10 MiB;
    /// those of writing.
    pub fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        self.send_parts(&[IoSlice::new(datagram)])
    }

    fn send_parts(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let len: u64 = parts.iter().map(|part| part.len() as u64).sum();
        if len > DATAGRAM_MAX {
            let why = format!("a datagram has {len} bytes, more than {DATAGRAM_MAX}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let mut head = [0; varint::MAX_LEN];
        let used = varint::put(&mut head, len);
        let mut slices = vec![IoSlice::new(&head[..used])];
        slices.extend_from_slice(parts);
        let mut rest = &mut slices[..];
        while !rest.is_empty() {
            match self.0.write_vectored(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut rest, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Write for DatagramWriter {
    /// Sends one datagram.
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.send(datagram)?;
        Ok(datagram.len())
    }

    /// Sends one datagram that is in parts.
    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.send_parts(parts)?;
        Ok(parts.iter().map(|part| part.len()).sum())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
