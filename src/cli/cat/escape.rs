//! Makes control characters visible, so that a log can't command a terminal.
//!
//! Control characters are those of ASCII, DEL, and U+0080 to U+009F, which
//! some terminals take for escape sequences of one character. Bytes that are
//! not UTF-8 are shown as well: a terminal may not be in UTF-8.

use std::io::Write;

/// Appends the bytes to `out`, control characters but for `\n`, `\t` and the
/// `\r` of `\r\n` as `\x1b`. Returns how many bytes were used: all but the
/// few at the end whose meaning depends on what comes next.
pub fn flowing(bytes: &[u8], out: &mut Vec<u8>) -> usize {
    let mut used = 0;
    loop {
        let rest = &bytes[used..];
        match std::str::from_utf8(rest) {
            Ok(text) => {
                let held = usize::from(text.ends_with('\r'));
                visible(&text[..text.len() - held], out);
                return bytes.len() - held;
            }
            Err(error) => {
                let (valid, rest) = rest.split_at(error.valid_up_to());
                // It is valid, so this is never lossy.
                visible(&String::from_utf8_lossy(valid), out);
                used += valid.len();
                let Some(invalid) = error.error_len() else {
                    return used;
                };
                hex(&rest[..invalid], out);
                used += invalid;
            }
        }
    }
}

/// Like [`flowing`], when nothing comes after.
pub fn all(bytes: &[u8], out: &mut Vec<u8>) {
    let used = flowing(bytes, out);
    hex(&bytes[used..], out);
}

/// Like [`all`], line breaks and tabs too.
pub fn one_line(bytes: &[u8], out: &mut Vec<u8>) {
    for part in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\t')) {
        match part.split_last() {
            Some((last @ (b'\n' | b'\t'), before)) => {
                all(before, out);
                hex(&[*last], out);
            }
            _ => all(part, out),
        }
    }
}

fn visible(text: &str, out: &mut Vec<u8>) {
    let mut copied = 0;
    for (at, found) in text.char_indices() {
        let stays = match found {
            '\n' | '\t' => true,
            '\r' => text[at + 1..].starts_with('\n'),
            _ => !found.is_control(),
        };
        if stays {
            continue;
        }
        out.extend_from_slice(&text.as_bytes()[copied..at]);
        copied = at + found.len_utf8();
        if found.is_ascii() {
            hex(&[found as u8], out);
        } else {
            out.extend(found.escape_unicode().map(|c| c as u8));
        }
    }
    out.extend_from_slice(&text.as_bytes()[copied..]);
}

fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        // A vector takes all that is written to it.
        let _ = write!(out, "\\x{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        all(bytes, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn controls_become_visible_and_the_rest_stays() {
        for (bytes, expected) in [
            (&b"plain \ttext\r\n"[..], "plain \ttext\r\n"),
            (b"\x1b[31mred", "\\x1b[31mred"),
            (b"50%\r100%\n", "50%\\x0d100%\n"),
            (b"end\r", "end\\x0d"),
            (b"bell\x07 del\x7f nul\0", "bell\\x07 del\\x7f nul\\x00"),
            ("käse \u{9b}1m".as_bytes(), "käse \\u{9b}1m"),
            (b"\x9b1m \xff", "\\x9b1m \\xff"),
            (b"cut \xe2\x82", "cut \\xe2\\x82"),
            (b"\\x1b", "\\x1b"),
        ] {
            assert_eq!(shown(bytes), expected);
        }
        let mut out = Vec::new();
        one_line(b"a\tb\r\nc\n", &mut out);
        assert_eq!(out, b"a\\x09b\\x0d\\x0ac\\x0a");
    }

    proptest! {
        #[test]
        fn no_control_passes_and_cuts_do_not_matter(
            bytes in prop::collection::vec(
                prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(0xc2), Just(0x9b)], 0..40),
            cut in 0..40usize,
        ) {
            let text = shown(&bytes);
            let without = text.replace("\r\n", "").replace(['\n', '\t'], "");
            prop_assert!(!without.contains(char::is_control));

            let (first, second) = bytes.split_at(cut.min(bytes.len()));
            let mut out = Vec::new();
            let used = flowing(first, &mut out);
            prop_assert!(first.len() - used <= 3);
            all(&[&first[used..], second].concat(), &mut out);
            prop_assert_eq!(text.as_bytes(), out);
        }
    }
}
