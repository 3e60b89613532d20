//! The far end of a socket output.

use std::io::{self, Read};

use crate::proto::logpb::ButlerLogBundle;
use crate::wire::ack;
use crate::wire::message::{MessageError, MessageView};
use crate::wire::reader::MessageReader;

/// The far end of one connection of a socket output: cuts what comes over it into
/// messages, and says which of them are safe, if the output has `ack=yes`.
///
/// It does no I/O. What comes is put into its [space](Self::space), messages are
/// taken until there is [none](Self::message), and once they are where they outlive
/// this machine the frame of [`acknowledge`](Self::acknowledge) is written to the
/// connection. Whatever is not acknowledged when the connection ends comes again
/// over the next one, with the same bytes: so the same message may come twice, and
/// the one that the end of a connection cuts is to be thrown away.
///
/// It holds a message and a read, 10.4 MiB at most. `examples/receive.rs` is a
/// program of it.
#[derive(Debug, Default)]
pub struct Receiver {
    reader: MessageReader,
    /// Messages that were given out.
    given: u64,
}

/// A whole message.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    number: u64,
    bytes: &'a [u8],
    view: MessageView<'a>,
}

impl Receiver {
    /// Of a connection that was just made.
    pub fn new() -> Self {
        Self::default()
    }

    /// Room for what comes next. After putting bytes there call
    /// [`filled`](Self::filled).
    pub fn space(&mut self) -> &mut [u8] {
        self.reader.space()
    }

    /// The first `len` bytes of the space are what came.
    pub fn filled(&mut self, len: usize) {
        self.reader.filled(len);
    }

    /// Reads once, from whatever brings the connection's bytes; 0 at its end.
    pub fn read_from(&mut self, source: &mut impl Read) -> io::Result<usize> {
        let len = source.read(self.space())?;
        self.filled(len);
        Ok(len)
    }

    /// The next message; `None` when more bytes are needed.
    ///
    /// # Errors
    ///
    /// What comes is no message. There is nothing more to be had of the
    /// connection.
    pub fn message(&mut self) -> Result<Option<Received<'_>>, MessageError> {
        let Some(bytes) = self.reader.whole()? else {
            return Ok(None);
        };
        self.given += 1;
        let view = MessageView::parse(bytes)?.ok_or(MessageError::Frame)?;
        Ok(Some(Received {
            number: self.given,
            bytes,
            view,
        }))
    }

    /// The frame that says: all messages that were given out are safe. One that
    /// says so again does no harm, and tells that the far end is at work: it is
    /// taken for dead when nothing was heard of it for
    /// [`ACK_TIMEOUT`](crate::limits::ACK_TIMEOUT).
    pub fn acknowledge(&self) -> Vec<u8> {
        self.acknowledge_first(self.given)
    }

    /// The frame that says: the first `messages` that were given out are safe. It
    /// must never be less than it was.
    pub fn acknowledge_first(&self, messages: u64) -> Vec<u8> {
        ack::frame(messages.min(self.given), "")
    }

    /// The frame that says: the first `messages` are safe, and no more of them are
    /// taken over this connection, for that reason. Close it then: the output logs
    /// the reason (200 bytes of it), and comes back.
    pub fn refuse(&self, messages: u64, why: &str) -> Vec<u8> {
        ack::frame(messages.min(self.given), why)
    }

    /// The connection has ended: how many bytes there are of a message that it
    /// cut.
    ///
    /// # Errors
    ///
    /// No message begins so.
    pub fn tail(&self) -> Result<usize, MessageError> {
        self.reader.tail()
    }
}

impl<'a> Received<'a> {
    /// The first of its connection is 1: once it is safe, so many are.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// All of the message, as a file output has it.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The bundle in it, decoded.
    ///
    /// # Errors
    ///
    /// It is none, or larger than one may be.
    pub fn bundle(&self) -> Result<ButlerLogBundle, MessageError> {
        self.view.bundle()
    }

    /// The bundle in it, encoded: what an [`Assembly`](super::Assembly) is fed. If
    /// it was compressed it is in `inflated`, whose content is replaced.
    ///
    /// # Errors
    ///
    /// It can't be decompressed, or is larger than one may be.
    pub fn bundle_bytes<'b>(&self, inflated: &'b mut Vec<u8>) -> Result<&'b [u8], MessageError>
    where
        'a: 'b,
    {
        self.view.bundle_bytes(inflated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::logpb::StreamType;
    use crate::read::testing::{Writer, entry, text};
    use crate::wire::ack::AckReader;

    fn message(line: &str) -> Vec<u8> {
        let mut writer = Writer::new("p");
        let log = writer.log(0, text(line));
        writer.bundle(vec![entry("s", StreamType::Text, &[&log])])
    }

    fn said(frame: &[u8]) -> (u64, String) {
        let mut reader = AckReader::default();
        reader.space()[..frame.len()].copy_from_slice(frame);
        reader.filled(frame.len());
        let frame = reader.next_frame().unwrap().unwrap();
        (frame.messages, frame.error)
    }

    #[test]
    fn messages_are_counted_and_acknowledged() {
        let messages = [message("a"), message("b"), message("c")];
        let mut receiver = Receiver::new();
        let mut seen = Vec::new();
        for mut piece in messages.concat().chunks(7) {
            while receiver.read_from(&mut piece).unwrap() > 0 {}
            while let Some(message) = receiver.message().unwrap() {
                seen.push(message.bytes().to_vec());
                assert_eq!(message.number(), seen.len() as u64);
                let mut inflated = Vec::new();
                let bundle = message.bundle_bytes(&mut inflated).unwrap();
                let decoded: ButlerLogBundle = prost::Message::decode(bundle).unwrap();
                assert_eq!(message.bundle().unwrap(), decoded);
            }
            assert_eq!(
                said(&receiver.acknowledge()),
                (seen.len() as u64, "".into())
            );
        }
        assert_eq!(seen, messages);
        assert_eq!(receiver.tail(), Ok(0));
        assert_eq!(said(&receiver.acknowledge_first(2)), (2, String::new()));
        // What was not given out is never said to be safe.
        assert_eq!(said(&receiver.acknowledge_first(4)), (3, String::new()));
        assert_eq!(said(&receiver.refuse(1, "full")), (1, "full".into()));
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        let mut receiver = Receiver::new();
        let mut source = &b"GET / HTTP/1.1\r\n"[..];
        receiver.read_from(&mut source).unwrap();
        assert!(receiver.message().is_err() || receiver.tail().is_err());

        let whole = message("a");
        let mut receiver = Receiver::new();
        receiver.read_from(&mut &whole[..whole.len() - 1]).unwrap();
        assert!(receiver.message().unwrap().is_none());
        assert_eq!(receiver.tail(), Ok(whole.len() - 1));
    }
}
