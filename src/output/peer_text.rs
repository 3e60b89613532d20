//! What a peer says, for people.

use std::borrow::Cow;
use std::fmt;

#[cfg(feature = "logdog")]
use super::logdog::secrets;
use crate::escape::Escaped;
use crate::limits::PEER_TEXT_MAX;

/// Text of a peer: escaped, short, and without our secrets. There is no other
/// way to show what a peer said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerText(String);

impl PeerText {
    pub fn new(said: impl AsRef<[u8]>) -> Self {
        let said = said.as_ref().trim_ascii();
        let mut shown = Escaped(&masked(said)).to_string();
        if said.len() > PEER_TEXT_MAX || shown.len() > PEER_TEXT_MAX {
            shown.truncate(shown.floor_char_boundary(PEER_TEXT_MAX));
            shown.push('…');
        }
        Self(shown)
    }

    /// Of an error in whose words a peer may have a part.
    #[cfg(feature = "tls")]
    pub fn of(error: &(impl fmt::Display + ?Sized)) -> Self {
        Self::new(error.to_string())
    }

    #[cfg_attr(not(feature = "logdog"), allow(dead_code))]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The beginning, without our secrets. One that begins just before the end must be
/// known as one.
#[cfg(feature = "logdog")]
fn masked(said: &[u8]) -> Cow<'_, [u8]> {
    secrets::mask(&said[..said.len().min(PEER_TEXT_MAX + secrets::RUN)]).into()
}

/// The beginning: without the logdog output we hold no secrets.
#[cfg(not(feature = "logdog"))]
fn masked(said: &[u8]) -> Cow<'_, [u8]> {
    // One byte more shows that something is left out.
    said[..said.len().min(PEER_TEXT_MAX + 1)].into()
}

impl fmt::Display for PeerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(said: impl AsRef<[u8]>) -> String {
        PeerText::new(said).to_string()
    }

    #[test]
    fn is_one_short_line() {
        assert_eq!(shown(" a\nb\x1b[m\u{e9} \n"), "a\\nb\\x1b[m\u{e9}");
        assert_eq!(shown(b"\xff\xfe"), "\\xff\\xfe");
        assert_eq!(shown("x".repeat(200)), "x".repeat(200));
        assert_eq!(shown("x".repeat(201)), format!("{}…", "x".repeat(200)));
        assert_eq!(shown([1; 60]).len(), 200 + "…".len());
        let odd = format!("x{}", "\u{e9}".repeat(200));
        assert_eq!(shown(odd).len(), 199 + "…".len());
        assert!(PeerText::new(" \n").is_empty());
    }

    #[cfg(feature = "logdog")]
    #[test]
    fn no_part_of_a_secret_stands_at_its_end() {
        use secrets::HeldSecret;
        let secret = HeldSecret::new("Zk4#0fq8Lm2@wB7^");
        for before in 150..=200 {
            let said = [&b"-".repeat(before)[..], secret.expose()].concat();
            let shown = shown(said);
            let rest = shown.trim_start_matches('-');
            let rest = rest.trim_end_matches('…');
            assert!(secrets::MASK.starts_with(rest), "{before}: {rest}");
        }
    }
}
