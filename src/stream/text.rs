//! Text streams: lines.
//!
//! Whole lines go from the read buffer into the bundle at once; a line
//! without its end waits in the carry. One that has waited too long, or has
//! become too long, is given out in parts with an empty delimiter: the next
//! entry goes on with it. Parts are cut between characters.

use memchr::memchr;

use super::carry::Carry;
use super::notice;
use super::stage::{Stage, both_len, split};
use crate::limits::STREAM_BUFFER_MAX;
use crate::time::Moment;
use crate::utf8::{unfinished_char, unfinished_tail};
use crate::wire::entry::{Content, Delimiter, line_len};

#[derive(Debug, Default)]
pub(crate) struct Text {
    /// Lines completed.
    lines: u64,
    /// A part of the current line has been given out.
    in_line: bool,
}

impl Text {
    pub fn push(&mut self, stage: &mut Stage<'_>, carry: &mut Carry, data: &[u8]) {
        // Pieces, so that a line which is too long is seen as that, whatever is
        // handed in.
        for piece in data.chunks(STREAM_BUFFER_MAX) {
            self.push_piece(stage, carry, piece);
        }
    }

    fn push_piece(&mut self, stage: &mut Stage<'_>, carry: &mut Carry, mut data: &[u8]) {
        if let Some(read) = carry.read() {
            let Some(at) = memchr(b'\n', data) else {
                self.wait(stage, carry, data);
                return;
            };
            self.put_whole(stage, &read, [carry.bytes(), &data[..at]]);
            carry.clear();
            data = &data[at + 1..];
        }
        let whole = self.put_lines(stage, data);
        self.wait(stage, carry, &data[whole..]);
    }

    pub fn expire(&mut self, stage: &mut Stage<'_>, carry: &mut Carry) {
        let tail = unfinished_tail(carry.bytes());
        self.put_part(stage, carry, tail);
    }

    pub fn cut(&mut self, stage: &mut Stage<'_>, carry: &mut Carry, limit: u64) {
        // The cut line gets an end, so that the notice is a line of its own.
        if self.in_line || !carry.is_empty() {
            let read = carry.read().unwrap_or(*stage.now);
            let client_bytes = carry.len() as u64;
            self.put_line(
                stage,
                &read,
                [carry.bytes(), b""],
                Delimiter::Lf,
                client_bytes,
            );
            carry.clear();
        }
        self.put_notice(stage, &notice::at_the_cut(limit));
    }

    pub fn finish(&mut self, stage: &mut Stage<'_>, carry: &mut Carry, omitted: u64, total: u64) {
        self.put_part(stage, carry, 0);
        if omitted > 0 {
            self.put_notice(stage, &notice::at_the_end(omitted, total));
        }
    }

    /// Data without a line end joins the carry.
    fn wait(&mut self, stage: &mut Stage<'_>, carry: &mut Carry, data: &[u8]) {
        carry.extend(data, stage.now);
        if carry.len() >= STREAM_BUFFER_MAX {
            self.expire(stage, carry);
        }
    }

    /// Puts out the whole lines of `data`; returns their bytes.
    fn put_lines(&mut self, stage: &mut Stage<'_>, data: &[u8]) -> usize {
        let mut done = 0;
        while let Some(first) = memchr(b'\n', &data[done..]) {
            let rest = &data[done..];
            let room = stage.room();
            // An upper bound, a byte off for CRLF.
            if line_len(first, Delimiter::CrLf) <= room {
                let put = stage.put_lines(self.lines, rest, room);
                self.lines += put.lines;
                self.in_line = false;
                done += put.bytes;
            } else if !stage.is_fresh() {
                stage.next_bundle();
            } else {
                let now = *stage.now;
                self.put_whole(stage, &now, [&rest[..first], b""]);
                done += first + 1;
            }
        }
        done
    }

    /// Puts out a line that ended with `\n`, which is not in `line`.
    fn put_whole(&mut self, stage: &mut Stage<'_>, read: &Moment, line: [&[u8]; 2]) {
        let client_bytes = both_len(line) as u64 + 1;
        let (value, delimiter) = match line {
            [a, b] if b.ends_with(b"\r") => ([a, &b[..b.len() - 1]], Delimiter::CrLf),
            [a, b""] if a.ends_with(b"\r") => ([&a[..a.len() - 1], b""], Delimiter::CrLf),
            _ => (line, Delimiter::Lf),
        };
        self.put_line(stage, read, value, delimiter, client_bytes);
    }

    /// Puts out what is carried but the last `tail` bytes, as a part of a
    /// line.
    fn put_part(&mut self, stage: &mut Stage<'_>, carry: &mut Carry, tail: usize) {
        let len = carry.len() - tail;
        if len > 0
            && let Some(read) = carry.read()
        {
            let value = [&carry.bytes()[..len], &b""[..]];
            self.put_line(stage, &read, value, Delimiter::None, len as u64);
        }
        if !carry.is_empty() {
            carry.keep_tail(tail);
        }
    }

    fn put_notice(&mut self, stage: &mut Stage<'_>, notice: &str) {
        let now = *stage.now;
        self.put_line(stage, &now, [notice.as_bytes(), b""], Delimiter::Lf, 0);
    }

    /// Puts out a line or a part of one, in as few entries as it fits in.
    #[expect(
        clippy::too_many_arguments,
        reason = "a line, and whose bytes it stands for"
    )]
    fn put_line(
        &mut self,
        stage: &mut Stage<'_>,
        read: &Moment,
        mut value: [&[u8]; 2],
        delimiter: Delimiter,
        mut client_bytes: u64,
    ) {
        while both_len(value) > stage.room() {
            if !stage.is_fresh() {
                stage.next_bundle();
                continue;
            }
            let room = stage.room_alone();
            if both_len(value) <= room {
                break;
            }
            let (part, rest) = split(value, cut_point(value, room));
            let bytes = (both_len(part) as u64).min(client_bytes);
            stage.put(
                read,
                self.lines,
                &Content::Line(part, Delimiter::None),
                bytes,
            );
            client_bytes -= bytes;
            value = rest;
        }
        stage.put(
            read,
            self.lines,
            &Content::Line(value, delimiter),
            client_bytes,
        );
        self.in_line = delimiter == Delimiter::None;
        if !self.in_line {
            self.lines += 1;
        }
    }
}

/// At most `len`, and not inside a character of `value`.
fn cut_point(value: [&[u8]; 2], len: usize) -> usize {
    let ([a, b], _) = split(value, len);
    let mut last = [0; 3];
    let mut count = 0;
    for &byte in a.iter().chain(b).rev().take(3) {
        count += 1;
        last[3 - count] = byte;
    }
    match len - unfinished_char(&last[3 - count..]) {
        0 => len,
        point => point,
    }
}

#[cfg(test)]
mod tests;
