//! Where Go's JSON takes more than the standard has: clients send it.

use std::borrow::Cow;
use std::ops::Range;

/// U+FFFD, in UTF-8.
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// Bytes of an escape `\uXXXX`.
const ESCAPE_LEN: usize = 6;

/// `json` with U+FFFD for every byte of its strings that is not UTF-8, and for
/// every escape that is half of a surrogate pair. Outside of strings neither
/// is JSON, before and after.
pub fn repair(json: &[u8]) -> Cow<'_, [u8]> {
    match repair_utf8(json) {
        Cow::Borrowed(json) => repair_escapes(json),
        Cow::Owned(json) => match repair_escapes(&json) {
            Cow::Borrowed(_) => Cow::Owned(json),
            Cow::Owned(json) => Cow::Owned(json),
        },
    }
}

fn repair_utf8(json: &[u8]) -> Cow<'_, [u8]> {
    if std::str::from_utf8(json).is_ok() {
        return Cow::Borrowed(json);
    }
    let mut repaired = Vec::with_capacity(json.len() + REPLACEMENT.len());
    for chunk in json.utf8_chunks() {
        repaired.extend_from_slice(chunk.valid().as_bytes());
        // One for each byte, also where a few of them begin a character.
        for _ in chunk.invalid() {
            repaired.extend_from_slice(REPLACEMENT);
        }
    }
    Cow::Owned(repaired)
}

fn repair_escapes(json: &[u8]) -> Cow<'_, [u8]> {
    let mut repaired = Vec::new();
    let mut rest = json;
    while let Some(lone) = lone_surrogate(rest) {
        repaired.extend_from_slice(&rest[..lone.start]);
        repaired.extend_from_slice(REPLACEMENT);
        rest = &rest[lone.end..];
    }
    if rest.len() == json.len() {
        return Cow::Borrowed(json);
    }
    repaired.extend_from_slice(rest);
    Cow::Owned(repaired)
}

/// The first escape of a surrogate that has no other half.
fn lone_surrogate(json: &[u8]) -> Option<Range<usize>> {
    let mut at = 0;
    loop {
        at += memchr::memchr(b'\\', json.get(at..)?)?;
        let high = match escaped_unit(&json[at..]) {
            Some(unit @ 0xd800..=0xdfff) => unit,
            // Of another escape the second byte must not begin one.
            _ => {
                at += 2;
                continue;
            }
        };
        let lone = at..at + ESCAPE_LEN;
        let low = escaped_unit(&json[lone.end..]);
        if high >= 0xdc00 || !low.is_some_and(|low| (0xdc00..=0xdfff).contains(&low)) {
            return Some(lone);
        }
        at = lone.end + ESCAPE_LEN;
    }
}

/// The UTF-16 unit of the `\uXXXX` with which `json` begins.
fn escaped_unit(json: &[u8]) -> Option<u16> {
    let digits = json.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |unit: u16, &digit| {
        let value = char::from(digit).to_digit(16)?;
        Some(unit << 4 | value as u16)
    })
}

/// A key in the form in which keys that match are equal: in lower case, with
/// `s` for a long s and `k` for the Kelvin sign.
pub fn fold_key(key: &str) -> String {
    let fold = |char: char| match char {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        char => char.to_ascii_lowercase(),
    };
    key.chars().map(fold).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The right column is what Go makes of the left one.
    #[test]
    fn strings_are_repaired() {
        for (json, expected) in [
            (&b"\"a\""[..], "\"a\""),
            (b"", ""),
            (b"\\", "\\"),
            (b"\\u", "\\u"),
            (b"\"\xff\"", "\"\u{fffd}\""),
            // One for each byte, even of what could have been a character.
            (b"\xe2\x82", "\u{fffd}\u{fffd}"),
            (b"\xe2\x82x", "\u{fffd}\u{fffd}x"),
            (b"\xf0\x9f\x98", "\u{fffd}\u{fffd}\u{fffd}"),
            // A surrogate in UTF-8.
            (b"\xed\xa0\x80", "\u{fffd}\u{fffd}\u{fffd}"),
            (br"\ud800", "\u{fffd}"),
            (br"\uDFFFx", "\u{fffd}x"),
            (br"\udcff\udcfe", "\u{fffd}\u{fffd}"),
            (br"\ud83d\ude00", r"\ud83d\ude00"),
            (br"\ud83d\ud83d\ude00", "\u{fffd}\\ud83d\\ude00"),
            (br"\ud83dx\ude00", "\u{fffd}x\u{fffd}"),
            (br"\ud83d\n", "\u{fffd}\\n"),
            (br"\ud83d\u0041", "\u{fffd}\\u0041"),
            (br"\ud83d\", "\u{fffd}\\"),
            (br"\\ud800", r"\\ud800"),
            (br"\\\ud800", "\\\\\u{fffd}"),
            (br#"\"\ud800""#, "\\\"\u{fffd}\""),
            // No escapes, and no JSON.
            (br"\ud80", r"\ud80"),
            (br"\u+800", r"\u+800"),
            (br"\Ud800", r"\Ud800"),
            (b"\\u\xffd80", "\\u\u{fffd}d80"),
            (b"\xff\\ud800", "\u{fffd}\u{fffd}"),
        ] {
            let repaired = repair(json);
            assert_eq!(
                String::from_utf8_lossy(&repaired),
                expected,
                "{}",
                json.escape_ascii()
            );
            let same = repaired == json;
            assert_eq!(matches!(repaired, Cow::Borrowed(_)), same, "{expected}");
        }
    }

    #[test]
    fn keys_are_folded() {
        for (key, folded) in [
            ("name", "name"),
            ("contentType", "contenttype"),
            ("TIME\u{17f}TAMP", "timestamp"),
            ("tag\u{17f}", "tags"),
            ("\u{212a}", "k"),
            ("\u{130}\u{c9}", "\u{130}\u{c9}"),
        ] {
            assert_eq!(fold_key(key), folded);
        }
    }
}
