//! Text of others, made harmless for people who read it in a line.

use std::fmt::{self, Write};

/// Text of which nothing but letters reaches a terminal.
pub(crate) struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for letter in chunk.valid().chars() {
                match letter {
                    '\n' => f.write_str("\\n")?,
                    '\t' => f.write_str("\\t")?,
                    '\r' => f.write_str("\\r")?,
                    '\0'..='\x1f' | '\x7f' => write!(f, "\\x{:02x}", letter as u32)?,
                    // More controls, and what ends lines or turns the
                    // direction of the text.
                    '\u{80}'..='\u{9f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                        write!(f, "\\u{{{:x}}}", letter as u32)?
                    }
                    _ => f.write_char(letter)?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_is_no_letter() {
        let text = "a\u{9b}2J\u{202e}\u{2028}b\r\n\0é\u{7f}".as_bytes();
        let escaped = Escaped(text).to_string();
        assert_eq!(escaped, "a\\u{9b}2J\\u{202e}\\u{2028}b\\r\\n\\x00é\\x7f");
        assert_eq!(Escaped(b"\xf0\x9f\x98").to_string(), "\\xf0\\x9f\\x98");
    }
}
