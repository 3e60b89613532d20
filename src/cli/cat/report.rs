//! What is said on stderr, and what the exit status will be.

use std::fmt::Display;
use std::io::Write;

use super::Outcome;
use crate::escape::Escaped;

/// Says things on stderr and remembers whether one was an error.
pub struct Report<'a> {
    /// `None`: nothing is said, and nothing is remembered.
    err: Option<&'a mut dyn Write>,
    outcome: Outcome,
}

impl<'a> Report<'a> {
    pub fn new(err: &'a mut dyn Write) -> Self {
        Self {
            err: Some(err),
            outcome: Outcome::Complete,
        }
    }

    /// For a first look at what a second one will report.
    pub fn muted() -> Self {
        Self {
            err: None,
            outcome: Outcome::Complete,
        }
    }

    /// Something can't be shown.
    pub fn error(&mut self, sentence: impl Display) {
        self.outcome = Outcome::Incomplete;
        self.note(sentence);
    }

    /// Something that is good to know.
    pub fn note(&mut self, sentence: impl Display) {
        if let Some(err) = &mut self.err {
            // File names and stream names are not ours; none of them is to
            // command a terminal or to fake a line.
            let sentence = sentence.to_string();
            let line = format!("butler cat: {}\n", Escaped(sentence.as_bytes()));
            // A stderr that is gone has nobody left to tell.
            let _ = err.write_all(line.as_bytes());
        }
    }

    pub fn outcome(&self) -> Outcome {
        self.outcome
    }
}
