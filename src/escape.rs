//! Makes what others wrote harmless for people who read it: it can't command
//! a terminal, make one line look like two, or change the order in which
//! people see the letters.
//!
//! Bytes that are not UTF-8 are made visible as well: a terminal need not be
//! in UTF-8, and takes some of them for commands.

use std::fmt::{self, Write};

/// Displays bytes in one line: whatever [`is_hidden`] is escaped.
pub(crate) struct Escaped<'a>(pub &'a [u8]);

/// Displays bytes as text that keeps its `\n`, its `\r\n` and its tabs. The
/// rest of what [`is_hidden`] is escaped.
///
/// Text that comes in pieces may be cut anywhere but in an
/// [unfinished tail](crate::utf8::unfinished_tail).
// Only the command line has a screen.
#[cfg_attr(not(feature = "cli"), allow(dead_code))]
pub(crate) struct EscapedText<'a>(pub &'a [u8]);

/// Whether people don't see the character but a terminal acts on it, or takes
/// it for the end of a line or for a turn of the direction of the text: the
/// control characters (C0, DEL, C1), the two separators of Unicode, and its
/// bidirectional controls.
pub(crate) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(f, self.0, |f, hidden, _| match hidden {
            '\n' => f.write_str("\\n"),
            '\t' => f.write_str("\\t"),
            '\r' => f.write_str("\\r"),
            _ => put_number(f, hidden),
        })
    }
}

impl fmt::Display for EscapedText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(f, self.0, |f, hidden, rest| match hidden {
            '\n' | '\t' => f.write_char(hidden),
            '\r' if rest.starts_with('\n') => f.write_char(hidden),
            _ => put_number(f, hidden),
        })
    }
}

/// Writes `bytes`, what is hidden by `put`, which is told what follows it.
fn escape(
    f: &mut fmt::Formatter<'_>,
    bytes: &[u8],
    put: impl Fn(&mut fmt::Formatter<'_>, char, &str) -> fmt::Result,
) -> fmt::Result {
    for chunk in bytes.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some((at, hidden)) = rest.char_indices().find(|(_, c)| is_hidden(*c)) {
            f.write_str(&rest[..at])?;
            rest = &rest[at + hidden.len_utf8()..];
            put(f, hidden, rest)?;
        }
        f.write_str(rest)?;
        for byte in chunk.invalid() {
            write!(f, "\\x{byte:02x}")?;
        }
    }
    Ok(())
}

fn put_number(f: &mut fmt::Formatter<'_>, hidden: char) -> fmt::Result {
    let number = u32::from(hidden);
    if hidden.is_ascii() {
        write!(f, "\\x{number:02x}")
    } else {
        write!(f, "\\u{{{number:x}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::utf8::unfinished_tail;
    use proptest::prelude::*;

    #[test]
    fn what_is_hidden_becomes_visible_and_the_rest_stays() {
        for (bytes, line, text) in [
            (
                &b"plain \ttext\r\n"[..],
                "plain \\ttext\\r\\n",
                "plain \ttext\r\n",
            ),
            (b"\x1b[31mred", "\\x1b[31mred", "\\x1b[31mred"),
            (b"50%\r100%\n", "50%\\r100%\\n", "50%\\x0d100%\n"),
            (b"end\r", "end\\r", "end\\x0d"),
            (
                b"bell\x07 del\x7f nul\0",
                "bell\\x07 del\\x7f nul\\x00",
                "bell\\x07 del\\x7f nul\\x00",
            ),
            (
                "käse \u{9b}1m".as_bytes(),
                "käse \\u{9b}1m",
                "käse \\u{9b}1m",
            ),
            (b"\x9b1m \xff", "\\x9b1m \\xff", "\\x9b1m \\xff"),
            (b"cut \xe2\x82", "cut \\xe2\\x82", "cut \\xe2\\x82"),
            (b"\\x1b", "\\x1b", "\\x1b"),
        ] {
            assert_eq!(Escaped(bytes).to_string(), line);
            assert_eq!(EscapedText(bytes).to_string(), text);
        }
    }

    #[test]
    fn every_class_is_hidden() {
        let hidden: Vec<u32> = ('\0'..=char::MAX)
            .filter(|c| is_hidden(*c))
            .map(u32::from)
            .collect();
        let classes = [
            0..=0x1f,    // C0
            0x7f..=0x9f, // DEL, C1
            0x61c..=0x61c,
            0x200e..=0x200f, // marks of direction
            0x2028..=0x2029, // line and paragraph separator
            0x202a..=0x202e,
            0x2066..=0x2069, // embeddings, overrides, isolates
        ];
        assert_eq!(hidden, classes.into_iter().flatten().collect::<Vec<_>>());
        let text = "a\u{202e}\u{2028}b\u{2066}\u{61c}";
        let shown = "a\\u{202e}\\u{2028}b\\u{2066}\\u{61c}";
        assert_eq!(Escaped(text.as_bytes()).to_string(), shown);
        assert_eq!(EscapedText(text.as_bytes()).to_string(), shown);
    }

    proptest! {
        #[test]
        fn nothing_hidden_passes_and_cuts_do_not_matter(
            bytes in prop::collection::vec(
                prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(0xc2), Just(0x9b)], 0..40),
            cut in 0..40usize,
        ) {
            prop_assert!(!Escaped(&bytes).to_string().contains(is_hidden));
            let text = EscapedText(&bytes).to_string();
            let without = text.replace("\r\n", "").replace(['\n', '\t'], "");
            prop_assert!(!without.contains(is_hidden));

            let cut = cut.min(bytes.len());
            let cut = cut - unfinished_tail(&bytes[..cut]);
            let (first, second) = bytes.split_at(cut);
            prop_assert_eq!(text, format!("{}{}", EscapedText(first), EscapedText(second)));
        }
    }
}
