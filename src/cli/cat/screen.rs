//! Writes bytes for people, or as they are.

use std::io::{self, BufWriter, Write};

use crate::escape::EscapedText;
use crate::utf8::unfinished_tail;

/// Where text goes.
pub struct TextSink<'a> {
    out: BufWriter<&'a mut dyn Write>,
    escapes: bool,
    /// What [`exact`](Self::exact) can't tell yet how to show.
    unclear: Vec<u8>,
}

const BUFFER: usize = 64 * 1024;

impl<'a> TextSink<'a> {
    /// With `escapes` control characters are made visible.
    pub fn new(out: &'a mut dyn Write, escapes: bool) -> Self {
        Self {
            out: BufWriter::with_capacity(BUFFER, out),
            escapes,
            unclear: Vec::new(),
        }
    }

    /// Writes a part of something that may go on.
    pub fn exact(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.escapes {
            return self.out.write_all(bytes);
        }
        self.unclear.extend_from_slice(bytes);
        let clear = self.unclear.len() - unfinished_tail(&self.unclear);
        write!(self.out, "{}", EscapedText(&self.unclear[..clear]))?;
        self.unclear.drain(..clear);
        Ok(())
    }

    /// What was written by [`exact`](Self::exact) does not go on.
    pub fn settle(&mut self) -> io::Result<()> {
        let unclear = std::mem::take(&mut self.unclear);
        self.whole(&unclear)
    }

    /// Writes a whole.
    pub fn whole(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.escapes {
            return self.out.write_all(bytes);
        }
        write!(self.out, "{}", EscapedText(bytes))
    }

    /// Writes what is our own.
    pub fn ours(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
