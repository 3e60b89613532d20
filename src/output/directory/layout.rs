//! How stream names become names on disk: see the module above for the rule.

use std::borrow::Cow;

use crate::limits::COMPONENT_MAX;

/// Stands before the name of a stream's descriptor.
const META: &str = ".meta.";
/// Stands before it while it is not complete. No stream's file begins so.
const DRAFT: &str = ".meta~.";

/// A segment's name on disk while nothing else stands there. Most are their
/// own; one of more than 200 bytes keeps 183 of them and gets `~` and the
/// hash of all of it, in 16 hexadecimal digits.
pub(crate) fn component(segment: &str) -> Cow<'_, str> {
    if segment.len() <= COMPONENT_MAX {
        return Cow::Borrowed(segment);
    }
    // A segment is ASCII, so any byte is the end of a character.
    let kept = &segment[..COMPONENT_MAX - 17];
    Cow::Owned(format!("{kept}~{:016x}", fnv1a(segment.as_bytes())))
}

/// That name when its place was taken so many times.
pub(crate) fn displaced(component: &str, times: usize) -> String {
    let mut name = String::with_capacity(component.len() + times);
    name.push_str(component);
    name.extend(std::iter::repeat_n('~', times));
    name
}

/// The descriptor of the stream that has that component.
pub(crate) fn meta_file(component: &str) -> String {
    format!("{META}{component}")
}

/// Where that is written, to get its name when it is complete.
pub(crate) fn meta_draft(component: &str) -> String {
    format!("{DRAFT}{component}")
}

/// The other way round: the component of the stream whose descriptor that is.
pub(crate) fn component_of_meta(file: &str) -> Option<&str> {
    file.strip_prefix(META)
}

/// A datagram of the stream that has that component. Only when a directory
/// stands in its place are there `~` behind the number.
pub(crate) fn datagram_file(component: &str, number: u64, displaced: usize) -> String {
    format!("_{number:05}{:~<displaced$}.{component}", "")
}

/// FNV-1a: names must be the same in every version of this program.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_disk() {
        let long = "n".repeat(200);
        assert_eq!(component("a.b"), "a.b");
        assert_eq!(component(&long), long);
        let (x, y) = (long.clone() + "x", long.clone() + "y");
        let names = [component(&x), component(&y)];
        assert_ne!(names[0], names[1]);
        for name in &names {
            assert_eq!(name.len(), 200);
            assert!(name.starts_with(&long[..183]));
            assert!(datagram_file(&displaced(name, 9), u64::MAX, 9).len() <= 255);
        }
        assert_eq!(displaced("a", 2), "a~~");
        assert_eq!(datagram_file("b", 0, 0), "_00000.b");
        assert_eq!(datagram_file("b", 123_456, 2), "_123456~~.b");
        assert_eq!(component_of_meta(&meta_file("a~")), Some("a~"));
        assert_eq!(component_of_meta("a"), None);
        assert_eq!(component_of_meta(&meta_draft("a")), None);
    }

    #[test]
    fn the_hash_is_fnv_1a() {
        // From the reference's test vectors.
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
