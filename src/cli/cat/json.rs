//! Shows entries as JSON: one object a line.
//!
//! It is written piece by piece and never held as a tree: an entry may have
//! millions of lines.

use std::io::{self, BufWriter, Write};

use super::Sink;
use crate::escape::is_hidden;
use crate::read::{Body, Catalog, Entry, Event, Origin, StreamId};

/// Shows entries as JSON.
pub struct Json<'a> {
    out: BufWriter<&'a mut dyn Write>,
}

impl<'a> Json<'a> {
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self {
            out: BufWriter::with_capacity(64 * 1024, out),
        }
    }
}

impl Json<'_> {
    fn entry(&mut self, catalog: &Catalog, id: StreamId, entry: &Entry<'_>) -> io::Result<()> {
        let out = &mut self.out;
        head(out, catalog, id)?;
        if let Some(logged) = entry.logged {
            write!(
                out,
                ",\"stream_index\":{},\"prefix_index\":{},\"sequence\":{},\"timestamp\":\"{}\"",
                logged.stream_index, logged.prefix_index, entry.sequence, logged.time
            )?;
        }
        match entry.body {
            Body::Text(text) if entry.logged.is_some() => {
                out.write_all(b",\"lines\":[")?;
                for (at, (value, delimiter)) in text.lines().enumerate() {
                    out.write_all(if at == 0 { b"{" } else { b",{" })?;
                    line(out, value, delimiter)?;
                    out.write_all(b"}")?;
                }
                out.write_all(b"]")?;
            }
            // In a directory it is one.
            Body::Text(text) => {
                for (value, delimiter) in text.lines() {
                    write!(out, ",\"line\":{},", entry.sequence + 1)?;
                    line(out, value, delimiter)?;
                }
            }
            Body::Binary(data) | Body::Datagram(data, _) => {
                match (entry.logged, entry.body) {
                    (Some(_), _) => {}
                    (None, Body::Binary(_)) => write!(out, ",\"offset\":{}", entry.sequence)?,
                    (None, _) => write!(out, ",\"sequence\":{}", entry.sequence)?,
                }
                out.write_all(b",\"data\":")?;
                base64(out, data)?;
            }
            Body::Empty => {}
        }
        if let Body::Datagram(_, Some(partial)) = entry.body {
            write!(
                out,
                ",\"partial\":{{\"index\":{},\"size\":{},\"last\":{}}}",
                partial.index, partial.size, partial.last
            )?;
        }
        out.write_all(b"}\n")
    }
}

impl Sink for Json<'_> {
    fn take(&mut self, catalog: &Catalog, event: &Event<'_>) -> io::Result<()> {
        match event {
            Event::Entry(id, entry) => self.entry(catalog, *id, entry),
            _ => Ok(()),
        }
    }

    fn finish(&mut self, _catalog: &Catalog) -> io::Result<()> {
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Begins an object with what identifies the stream.
pub fn head(out: &mut impl Write, catalog: &Catalog, id: StreamId) -> io::Result<()> {
    let (key, value) = match catalog.origin_of(id) {
        Origin::Prefix(prefix, _) => ("prefix", prefix),
        Origin::Directory(path) => ("directory", path),
    };
    write!(out, "{{\"{key}\":")?;
    string(out, value)?;
    if let Origin::Prefix(_, run @ 1..) = catalog.origin_of(id) {
        write!(out, ",\"run\":{}", run + 1)?;
    }
    out.write_all(b",\"stream\":")?;
    string(out, catalog.get(id).name())?;
    write!(out, ",\"type\":\"{}\"", catalog.get(id).kind())
}

fn line(out: &mut impl Write, value: &[u8], delimiter: &[u8]) -> io::Result<()> {
    out.write_all(b"\"value\":")?;
    text_or_base64(out, value)?;
    out.write_all(b",\"delimiter\":")?;
    text_or_base64(out, delimiter)
}

fn text_or_base64(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return string(out, text);
    }
    out.write_all(b"{\"base64\":")?;
    base64(out, bytes)?;
    out.write_all(b"}")
}

/// Writes a JSON string. All that is hidden is escaped, what JSON allows too:
/// a terminal may read it.
pub fn string(out: &mut impl Write, text: &str) -> io::Result<()> {
    // What is before DEL is escaped as JSON wants it; most lines end with that.
    let is_left = |c: char| c >= '\x7f' && is_hidden(c);
    if !text.contains(is_left) {
        return Ok(serde_json::to_writer(out, text)?);
    }
    let quoted = serde_json::to_string(text)?;
    let mut rest = quoted.as_str();
    while let Some((at, hidden)) = rest.char_indices().find(|(_, c)| is_left(*c)) {
        out.write_all(&rest.as_bytes()[..at])?;
        write!(out, "\\u{:04x}", u32::from(hidden))?;
        rest = &rest[at + hidden.len_utf8()..];
    }
    out.write_all(rest.as_bytes())
}

/// Writes the bytes as a JSON string in the standard base64 alphabet, padded.
fn base64(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    out.write_all(b"\"")?;
    for group in bytes.chunks(3) {
        let [a, b, c] = std::array::from_fn(|at| group.get(at).copied().unwrap_or(0));
        let bits = u32::from_be_bytes([0, a, b, c]);
        let mut digits = [18, 12, 6, 0].map(|shift| ALPHABET[(bits >> shift & 63) as usize]);
        digits[group.len() + 1..].fill(b'=');
        out.write_all(&digits)?;
    }
    out.write_all(b"\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (bytes, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let found = written(|out| base64(out, bytes.as_bytes()));
            assert_eq!(found, format!("\"{expected}\""));
        }
        assert_eq!(written(|out| base64(out, &[0xff, 0xfe, 0xfd])), "\"//79\"");
    }

    #[test]
    fn strings_hold_no_control_characters() {
        let text = "a\"\\\n\x1b\x7f\u{9b}\u{202e}é";
        let json = written(|out| string(out, text));
        assert!(!json.contains(is_hidden));
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        let json = written(|out| text_or_base64(out, b"\xff"));
        assert_eq!(json, "{\"base64\":\"/w==\"}");
    }
}
