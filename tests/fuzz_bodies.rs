//! The bodies of the fuzz targets without a fuzzer: on their corpora, and on
//! bytes that a property test makes of them. `scripts/fuzz` runs them under
//! cargo-fuzz where that works, and else this for longer.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

#[path = "fuzz/bodies/mod.rs"]
mod bodies;

use std::path::Path;
use std::time::{Duration, Instant};

use bodies::Body;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Inputs for each body.
const CASES: u32 = 500;

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().expect("a number"))
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let mut paths: Vec<_> = std::fs::read_dir(dir.join(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

/// What a fuzzer would do to an input.
#[derive(Debug, Clone)]
enum Edit {
    Set(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, usize),
    Repeat(prop::sample::Index, usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        (at(), prop::collection::vec(any::<u8>(), 1..12))
            .prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        (at(), 1..20usize).prop_map(|(at, len)| Edit::Remove(at, len)),
        (at(), 1..40usize).prop_map(|(at, len)| Edit::Repeat(at, len)),
    ]
}

impl Edit {
    fn apply(&self, input: &mut Vec<u8>) {
        let at = match self {
            Self::Set(at, _) | Self::Insert(at, _) | Self::Remove(at, _) | Self::Repeat(at, _) => {
                at.index(input.len() + 1)
            }
        };
        let end = |len: &usize| (at + len).min(input.len());
        match self {
            Self::Set(_, byte) => {
                if let Some(old) = input.get_mut(at) {
                    *old = *byte;
                }
            }
            Self::Insert(_, bytes) => {
                input.splice(at..at, bytes.iter().copied());
            }
            Self::Remove(_, len) => {
                input.drain(at..end(len));
            }
            Self::Repeat(_, len) => {
                let again = input[at..end(len)].to_vec();
                input.splice(at..at, again);
            }
        }
    }
}

/// Any bytes, or an edited input of the corpus.
fn some_input(corpus: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let edits = prop::collection::vec(edit(), 0..30);
    let edited = (prop::sample::select(corpus), edits).prop_map(|(mut input, edits)| {
        for edit in edits {
            edit.apply(&mut input);
        }
        input
    });
    prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 0..300),
        4 => edited,
    ]
}

/// Runs one body: `BUTLER_FUZZ_SECONDS` long, or so many cases.
fn fuzz((name, run): Body) {
    let corpus = corpus(name);
    assert!(!corpus.is_empty(), "{name} has inputs to begin with");
    corpus.iter().for_each(|input| run(input));
    let cases = number("BUTLER_PROPTEST_CASES").map_or(CASES, |cases| cases as u32);
    let seconds = number("BUTLER_FUZZ_SECONDS").map(Duration::from_secs);
    let begun = Instant::now();
    loop {
        let mut runner = TestRunner::new(Config {
            failure_persistence: None,
            ..Config::with_cases(cases)
        });
        let inputs = some_input(corpus.clone());
        let result = runner.run(&inputs, |input| {
            run(&input);
            Ok(())
        });
        if let Err(error) = result {
            panic!("{name}: {error}");
        }
        if seconds.is_none_or(|seconds| begun.elapsed() >= seconds) {
            return;
        }
    }
}

/// The body of that name: a test for each, so that one can be asked for.
fn body(name: &str) {
    let found = bodies::ALL.into_iter().find(|body| body.0 == name);
    fuzz(found.expect("there is such a body"));
}

#[test]
fn header() {
    body("header");
}

#[test]
fn text() {
    body("text");
}

#[test]
fn binary() {
    body("binary");
}

#[test]
fn datagram() {
    body("datagram");
}

#[test]
fn core() {
    body("core");
}

#[test]
fn reader() {
    body("reader");
}

#[test]
fn spool() {
    body("spool");
}

#[test]
fn cli() {
    body("cli");
}
