//! The secrets that we hold, and how they stay out of what others say.
//!
//! A peer can send back whatever it got from us, and a proxy's error page does:
//! the authorization of a call, the secret of a prefix. So a secret is held as
//! a [`HeldSecret`], and from then on [`mask`] takes it out of the text of any
//! peer, which can't be shown but as a [`PeerText`](crate::output::peer_text::PeerText).

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use ahash::AHashSet;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use memchr::memmem;

/// What is shown in place of a secret.
pub const MASK: &str = "[secret]";

/// As many bytes of a secret in a row are masked: peers cut what they quote.
/// Fewer tell nothing, and are found in innocent text. A shorter secret is
/// masked where all of it is there.
pub const RUN: usize = 8;

/// All that are alive. One list for the process: what one butler holds, none
/// may show.
static HELD: Mutex<Vec<Weak<Forms>>> = Mutex::new(Vec::new());

/// A secret that is masked for as long as a clone of it lives.
#[derive(Clone, PartialEq, Eq)]
pub struct HeldSecret(Arc<Forms>);

/// How a peer may write a secret: as it is (the first one), and in the usual
/// encodings of bytes.
#[derive(PartialEq, Eq)]
struct Forms([Box<[u8]>; 5]);

impl Forms {
    fn of(secret: &[u8]) -> Self {
        let hex = |digit: fn(u8) -> String| secret.iter().copied().map(digit).collect::<String>();
        Self([
            secret.into(),
            STANDARD_NO_PAD.encode(secret).into_bytes().into(),
            URL_SAFE_NO_PAD.encode(secret).into_bytes().into(),
            hex(|byte| format!("{byte:02x}")).into_bytes().into(),
            hex(|byte| format!("{byte:02X}")).into_bytes().into(),
        ])
    }
}

impl HeldSecret {
    pub fn new(secret: impl AsRef<[u8]>) -> Self {
        let forms = Arc::new(Forms::of(secret.as_ref()));
        let mut held = held();
        held.retain(|forms| forms.strong_count() > 0);
        held.push(Arc::downgrade(&forms));
        Self(forms)
    }

    /// The secret itself.
    pub fn expose(&self) -> &[u8] {
        &self.0.0[0]
    }
}

impl fmt::Debug for HeldSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeldSecret({} bytes)", self.expose().len())
    }
}

fn held() -> MutexGuard<'static, Vec<Weak<Forms>>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `text` with [`MASK`] for all that is of a secret.
pub fn mask(text: &[u8]) -> Vec<u8> {
    // Locked to the end: nothing is kept alive here behind its owner's back.
    let held = held();
    let alive: Vec<_> = held.iter().filter_map(Weak::upgrade).collect();
    let mut is_secret = vec![false; text.len()];
    let runs: AHashSet<_> = text.windows(RUN).collect();
    let mut secret_runs = AHashSet::new();
    for form in alive.iter().flat_map(|forms| &forms.0) {
        // The text is short and secrets need not be: each is gone over once.
        secret_runs.extend(form.windows(RUN).filter(|run| runs.contains(run)));
        if (1..RUN).contains(&form.len()) {
            for at in memmem::find_iter(text, form) {
                is_secret[at..at + form.len()].fill(true);
            }
        }
    }
    for (at, run) in text.windows(RUN).enumerate() {
        if secret_runs.contains(run) {
            is_secret[at..at + RUN].fill(true);
        }
    }
    let mut masked = Vec::with_capacity(text.len());
    let mut before = false;
    for (&byte, &is_secret) in text.iter().zip(&is_secret) {
        match is_secret {
            false => masked.push(byte),
            true if !before => masked.extend_from_slice(MASK.as_bytes()),
            true => {}
        }
        before = is_secret;
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: impl AsRef<[u8]>) -> String {
        String::from_utf8(mask(text.as_ref())).unwrap()
    }

    #[test]
    fn secrets_are_masked_while_they_are_held() {
        let secret = HeldSecret::new("xq~Mtop-secret+Mqx");
        let clone = secret.clone();
        for (text, expected) in [
            ("", ""),
            ("nothing", "nothing"),
            ("<xq~Mtop-secret+Mqx>", "<[secret]>"),
            ("xq~Mtop-secret+Mqxxq~Mtop-secret+Mqx", "[secret]"),
            // As much of it as somebody quotes.
            ("auth: xq~Mtop-...", "auth: [secret]..."),
            ("...secret+Mqx", "...[secret]"),
            ("xq~Mtop", "xq~Mtop"),
        ] {
            assert_eq!(masked(text), expected, "{text}");
        }
        assert_eq!(format!("{secret:?}"), "HeldSecret(18 bytes)");
        drop(secret);
        assert_eq!(masked("xq~Mtop-secret+Mqx"), "[secret]");
        drop(clone);
        assert_eq!(masked("xq~Mtop-secret+Mqx"), "xq~Mtop-secret+Mqx");
    }

    #[test]
    fn in_other_forms() {
        let secret: Vec<u8> = (200..236).collect();
        let held = HeldSecret::new(&secret);
        assert_eq!(held.expose(), secret);
        for form in [
            STANDARD_NO_PAD.encode(&secret),
            URL_SAFE_NO_PAD.encode(&secret),
            "c8c9cacbcccdcecf".into(),
            "C8C9CACBCCCDCECF".into(),
        ] {
            assert_eq!(masked(format!("({form})")), "([secret])");
        }
        assert_eq!(masked([&b"a"[..], &secret, b"b"].concat()), "a[secret]b");
    }

    #[test]
    fn short_ones_are_masked_whole() {
        let _short = HeldSecret::new("zQ9!");
        let _empty = HeldSecret::new("");
        assert_eq!(masked("a zQ9! zQ9 b"), "a [secret] zQ9 b");
    }
}
