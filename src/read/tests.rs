//! What is read of outputs, and what is found.

mod assembling;
mod directories;
mod files;
mod following;

use std::fs;
use std::io;
use std::path::Path;

use super::testing::*;
use super::*;
use crate::proto::logpb::StreamType;
use crate::wire::message::Compression;

/// What was read.
#[derive(Debug, Default, PartialEq)]
struct Told {
    /// All content, in the order in which it came.
    content: Vec<u8>,
    /// Findings that are losses, and those that are none.
    losses: Vec<String>,
    notes: Vec<String>,
}

impl Told {
    /// What is read when nothing is found.
    fn only(content: impl Into<Vec<u8>>) -> Self {
        let content = content.into();
        Self {
            content,
            ..Self::default()
        }
    }

    fn take(&mut self, event: Event<'_>) -> io::Result<()> {
        match event {
            Event::Entry(_, entry) => entry.write_to(&mut self.content)?,
            Event::Finding(finding) => {
                let kind = match finding.is_loss() {
                    true => &mut self.losses,
                    false => &mut self.notes,
                };
                kind.push(crate::chain::Chain(&finding).to_string());
            }
            _ => {}
        }
        Ok(())
    }

    fn content(&self) -> String {
        String::from_utf8(self.content.clone()).unwrap()
    }
}

/// All that is there of the streams of that name, or of all.
fn read(paths: &[&Path], wanted: Option<&'static str>) -> Told {
    let mut told = Told::default();
    let mut each = |_: &Catalog, event: Event<'_>| told.take(event);
    let mut reader = Reader::new(move |_, name| wanted.is_none_or(|wanted| wanted == name));
    for path in paths {
        reader.open(path, &mut each).unwrap();
    }
    reader.read(&mut each).unwrap();
    told
}

/// All that comes while `step` is called between polls, and says to go on.
fn follow(path: &Path, mut step: impl FnMut(usize) -> bool) -> Told {
    let mut told = Told::default();
    let mut each = |_: &Catalog, event: Event<'_>| told.take(event);
    let mut reader = Reader::new(|_, _| true).following();
    reader.open(path, &mut each).unwrap();
    for polls in 1.. {
        assert!(polls < 1000, "it should have ended");
        reader.poll(&mut each).unwrap();
        if reader.is_over() || !step(polls) {
            break;
        }
    }
    reader.finish(&mut each).unwrap();
    told
}
