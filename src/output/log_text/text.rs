//! How bundles look to people. Escaped, whatever a client wrote can't move the
//! cursor, nor make one line look like two.

use std::fmt::{self, Write};

use bytes::BytesMut;

use crate::delivery::message::{Message, MessageStream};
use crate::escape::Escaped;
use crate::output::Controls;
use crate::wire::descriptor::StreamType;
use crate::wire::varint;
use crate::wire::walk::{self, ContentView, Fields, Malformed, Value};

/// Bytes of binary data that are shown.
const PREVIEW: usize = 16;

pub(super) fn put_bundle(out: &mut BytesMut, bundle: &Message) {
    put(
        out,
        format_args!(
            "bundle of {}: {} streams, {} entries, {} bytes\n",
            bundle.begun,
            bundle.streams().len(),
            bundle.entries(),
            bundle.len()
        ),
    );
}

pub(super) fn put_stream(out: &mut BytesMut, stream: &MessageStream) {
    let stream_type = match stream.info.stream_type {
        StreamType::Text => "text",
        StreamType::Binary => "binary",
        StreamType::Datagram => "datagram",
    };
    put(out, format_args!("  {}, {stream_type}\n", stream.info.name));
}

pub(super) fn put_end(out: &mut BytesMut, stream: &MessageStream) {
    if let Some(last) = stream.terminal {
        put(
            out,
            format_args!("  {} ends after entry {last}\n", stream.info.name),
        );
    }
}

/// Prints an encoded LogEntry. Returns how many of the client's bytes it holds.
pub(super) fn put_entry(out: &mut BytesMut, entry: &[u8], controls: Controls) -> u64 {
    put_content(out, entry, controls).unwrap_or_else(|Malformed| {
        out.extend_from_slice(b"    malformed\n");
        0
    })
}

fn put_content(out: &mut BytesMut, entry: &[u8], controls: Controls) -> Result<u64, Malformed> {
    let head = Head::read(entry)?;
    let mut bytes = 0;
    match walk::content(entry)? {
        None => {}
        Some(ContentView::Text(text)) => {
            for (at, line) in walk::lines(text).enumerate() {
                let (value, delimiter) = line?;
                bytes += value.len() + delimiter.len();
                let end = if delimiter.is_empty() { "…" } else { "" };
                let line = head.sequence + at as u64;
                put(out, format_args!("    {head} line {line}: "));
                match controls {
                    Controls::Escaped => put(out, format_args!("{}", Escaped(value))),
                    Controls::Raw => out.extend_from_slice(value),
                }
                put(out, format_args!("{end}\n"));
            }
        }
        Some(ContentView::Binary(data)) => {
            bytes = data.len();
            let (at, data) = (head.sequence, Preview(data));
            put(out, format_args!("    {head} byte {at}: {data}\n"));
        }
        Some(ContentView::Datagram { data, last, size }) => {
            // Its size stands before it.
            bytes = data.len() + size.map_or(0, varint::len);
            let part = if last { "" } else { ", part" };
            let (at, data) = (head.sequence, Preview(data));
            put(
                out,
                format_args!("    {head} datagram {at}{part}: {data}\n"),
            );
        }
    }
    Ok(bytes as u64)
}

fn put(out: &mut BytesMut, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a buffer grows as needed");
}

/// What stands before an entry's content.
#[derive(Debug, Default)]
struct Head {
    offset: prost_types::Duration,
    stream_index: u64,
    sequence: u64,
}

impl Head {
    fn read(entry: &[u8]) -> Result<Self, Malformed> {
        let mut head = Self::default();
        for field in Fields(entry) {
            match field? {
                (1, Value::Bytes(bytes)) => {
                    head.offset = prost::Message::decode(bytes).map_err(|_| Malformed)?;
                }
                (3, Value::Uint(value)) => head.stream_index = value,
                (4, Value::Uint(value)) => head.sequence = value,
                _ => {}
            }
        }
        Ok(head)
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.offset.nanos / 1_000_000;
        let seconds = self.offset.seconds;
        write!(f, "{} +{seconds}.{millis:03}s", self.stream_index)
    }
}

/// The size of data, and how it begins.
struct Preview<'a>(&'a [u8]);

impl fmt::Display for Preview<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())?;
        let shown = &self.0[..self.0.len().min(PREVIEW)];
        for (at, byte) in shown.iter().enumerate() {
            write!(f, "{}{byte:02x}", if at == 0 { ", " } else { " " })?;
        }
        f.write_str(if shown.len() < self.0.len() {
            "…"
        } else {
            ""
        })
    }
}
