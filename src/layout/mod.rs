//! What a directory output looks like, for who writes it and who reads it.
//!
//! The segments of a stream's name are its path. Of stream `a/b` there are
//!
//! * `a/b`, if it is text or binary: what its client wrote, to the byte;
//! * `a/_00000.b`, `a/_00001.b` and so on, if it is of datagrams: one file
//!   each, the number with five digits or as many as it needs. Those of an
//!   earlier run are removed when the stream begins;
//! * `a/.meta.b`: its descriptor, as protobuf JSON. It is made with the
//!   stream's first bundle, and is complete from the moment it is there (a
//!   butler that is killed may leave `a/.meta~.b`, which is none); a stream
//!   without entries has no files at all.
//!
//! Beside them is `.butler-run`, which says whose the directory is and which
//! streams this run has written: see [`mark`].
//!
//! Two rules change a segment's name on disk, by means of `~`, which no
//! stream name has (the functions here):
//!
//! * a name has 32 segments at most: of a longer one all that is behind the
//!   31st `/` is the last. A segment of more than 200 bytes, or with a `/`,
//!   becomes its first 135 with `~` for each `/`, a `~`, and the 64 hexadecimal
//!   digits of its SHA-256: no two have the same;
//! * `~` is appended, as often as needed, where the place is taken: a
//!   directory's by a file or a link, a file's by a directory (or by anything
//!   else that can't be removed). So after `a`, the stream `a/b` is in
//!   `a~/b`; after `a/b`, the stream `a` is in `a~`. What an earlier run left
//!   counts: its directories are used, its files are replaced where we need
//!   files and are in the way where we need directories.
//!
//! The other files follow the name that was found: `.meta.a~`,
//! `_00000.a~`. So a reader goes the other way: it looks for `.meta.NAME`,
//! reads the stream's own name and type in it, and finds the content beside
//! it. (If a directory stands where a datagram belongs, the number gets the
//! `~`: `_00007~.b`.)

pub(crate) mod mark;

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use crate::limits::{COMPONENT_MAX, DEPTH_MAX};

pub(crate) use self::mark::MARK;

/// Stands before the name of a stream's descriptor.
const META: &str = ".meta.";
/// Stands before it while it is not complete. No stream's file begins so.
const DRAFT: &str = ".meta~.";
/// A SHA-256 in hexadecimal digits.
const HASH_LEN: usize = 64;

/// The segments that a stream's name has on disk: all but the last are
/// directories. Of a name with more than 32 the last one is all the rest.
pub(crate) fn segments(name: &str) -> impl Iterator<Item = &str> {
    name.splitn(DEPTH_MAX, '/')
}

/// The last of those, and what is before it.
pub(crate) fn split_last(name: &str) -> (impl Iterator<Item = &str>, &str) {
    let last = segments(name).last().unwrap_or(name);
    let above = name[..name.len() - last.len()].trim_end_matches('/');
    (above.split('/').filter(|it| !it.is_empty()), last)
}

/// A segment's name on disk while nothing else stands there. Most are their
/// own; one of more than 200 bytes, or with a `/`, keeps 135 of them (each `/`
/// as `~`) and gets `~` and the hash of all of it, in 64 hexadecimal digits.
pub(crate) fn component(segment: &str) -> Cow<'_, str> {
    if segment.len() <= COMPONENT_MAX && !segment.contains('/') {
        return Cow::Borrowed(segment);
    }
    // A segment is ASCII, so any byte is the end of a character.
    let kept = segment.len().min(COMPONENT_MAX - 1 - HASH_LEN);
    let mut name = segment[..kept].replace('/', "~");
    name.push('~');
    for byte in Sha256::digest(segment) {
        name.push_str(&format!("{byte:02x}"));
    }
    Cow::Owned(name)
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
            assert!(name.starts_with(&long[..135]));
            assert!(datagram_file(&displaced(name, 9), u64::MAX, 9).len() <= 255);
        }
        assert_eq!(displaced("a", 2), "a~~");
        assert_eq!(datagram_file("b", 0, 0), "_00000.b");
        assert_eq!(datagram_file("b", 123_456, 2), "_123456~~.b");
        assert_eq!(component_of_meta(&meta_file("a~")), Some("a~"));
        assert_eq!(component_of_meta("a"), None);
        assert_eq!(component_of_meta(&meta_draft("a")), None);
    }

    /// Names must be the same in every version.
    #[test]
    fn the_hash_is_sha_256() {
        assert_eq!(
            component("a/b"),
            "a~b~c14cddc033f64b9dea80ea675cf280a015e672516090a5626781153dc68fea11"
        );
    }

    #[test]
    fn what_is_deep_is_flat() {
        let split = |name: &str| {
            let (above, last) = split_last(name);
            (above.count(), last.to_owned())
        };
        assert_eq!(split("a"), (0, "a".into()));
        assert_eq!(split("a/b/c"), (2, "c".into()));
        let deep = "d/".repeat(31);
        assert_eq!(split(&(deep.clone() + "e")), (31, "e".into()));
        let deeper = split(&(deep.clone() + "e/f"));
        assert_eq!(deeper, (31, "e/f".into()));
        assert!(component(&deeper.1).starts_with("e~f~"));
        let longest = deep.clone() + &"e/".repeat(2016) + "f";
        assert_eq!(component(&split(&longest).1).len(), 200);
        assert_eq!(segments(&longest).count(), DEPTH_MAX);
    }
}
