//! What is said on stderr, and what the exit status will be.

use std::fmt::Display;
use std::io::Write;

use super::Completeness;
use crate::chain::Chain;
use crate::escape::Escaped;
use crate::read::Finding;

/// Says things on stderr and remembers whether one was an error.
pub struct Diagnostics<'a> {
    err: &'a mut dyn Write,
    completeness: Completeness,
}

impl<'a> Diagnostics<'a> {
    pub fn new(err: &'a mut dyn Write) -> Self {
        Self {
            err,
            completeness: Completeness::Complete,
        }
    }

    /// What the reader found.
    pub fn finding(&mut self, finding: &Finding) {
        let sentence = Chain(finding);
        match finding {
            Finding::LeftOut(_) => self.error(format_args!("{sentence}; --stream selects")),
            _ if finding.is_loss() => self.error(sentence),
            _ => self.note(sentence),
        }
    }

    /// Something can't be shown.
    pub fn error(&mut self, sentence: impl Display) {
        self.completeness = Completeness::Incomplete;
        self.note(sentence);
    }

    /// Something that is good to know.
    pub fn note(&mut self, sentence: impl Display) {
        // File names and stream names are not ours; none of them is to
        // command a terminal or to fake a line.
        let sentence = sentence.to_string();
        let line = format!("butler cat: {}\n", Escaped(sentence.as_bytes()));
        // A stderr that is gone has nobody left to tell.
        let _ = self.err.write_all(line.as_bytes());
    }

    pub fn completeness(&self) -> Completeness {
        self.completeness
    }
}
