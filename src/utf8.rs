//! Where text may be cut.

/// How many bytes at the end of `text` must wait for their next one: an
/// unfinished character, or a `\r` that may be the first half of `\r\n`.
pub(crate) fn unfinished_tail(text: &[u8]) -> usize {
    if text.ends_with(b"\r") {
        1
    } else {
        unfinished_char(text)
    }
}

/// How many bytes at the end of `text` are the beginning of a character that
/// more bytes could complete: 0 to 3.
pub(crate) fn unfinished_char(text: &[u8]) -> usize {
    for len in 1..=text.len().min(3) {
        let tail = &text[text.len() - len..];
        if tail[0] & 0xc0 != 0x80 {
            let unfinished =
                std::str::from_utf8(tail).is_err_and(|error| error.error_len().is_none());
            return if unfinished { len } else { 0 };
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_not_cut() {
        for (text, unfinished) in [
            (&b""[..], 0),
            (b"abc", 0),
            (b"a\xe2", 1),
            (b"a\xe2\x98", 2),
            (b"a\xe2\x98\x83", 0),
            (b"\xf0\x9f\x98", 3),
            (b"\xf0\x9f\x98\x80", 0),
            (b"\x98\x83", 0),
            (b"\x98\x83\x98\x83", 0),
            (b"\xff", 0),
            (b"\xe0\x80", 0),
            (b"\xed\xa0", 0),
            (b"\xc3", 1),
            (b"\xc0", 0),
        ] {
            assert_eq!(unfinished_char(text), unfinished, "{text:?}");
        }
        assert_eq!(unfinished_tail(b"a\r"), 1);
    }
}
