//! `cat` from files to text, with writers in memory.

mod directories;
mod files;
mod following;
mod hostile;

use super::*;
use crate::proto::logpb::{Binary, Datagram, StreamType, datagram, log_entry};
use crate::read::testing::*;
use crate::wire::message::Compression;

/// `cat` of these paths, with no option.
fn options(paths: &[&Path]) -> CatOptions {
    CatOptions {
        log_level: log::LevelFilter::Warn,
        paths: paths.iter().map(|path| path.to_path_buf()).collect(),
        stream: None,
        list: false,
        timestamps: false,
        json: false,
        follow: false,
        raw: false,
    }
}

struct Ran {
    out: String,
    err: String,
    outcome: Completeness,
}

fn run_bytes(options: &CatOptions, terminal: Terminal) -> (Vec<u8>, String, Completeness) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let outcome = cat(options, &mut out, &mut err, terminal, || false).unwrap();
    (out, String::from_utf8(err).unwrap(), outcome)
}

fn run(options: &CatOptions) -> Ran {
    let (out, err, outcome) = run_bytes(options, Terminal::default());
    let out = String::from_utf8(out).unwrap();
    Ran { out, err, outcome }
}

/// What `cat` shows when all is well.
fn shown(options: &CatOptions) -> String {
    let ran = run(options);
    assert_eq!(
        (ran.err.as_str(), ran.outcome),
        ("", Completeness::Complete)
    );
    ran.out
}

fn selecting(paths: &[&Path], stream: &str) -> CatOptions {
    CatOptions {
        stream: Some(stream.into()),
        ..options(paths)
    }
}

fn binary(data: &'static [u8]) -> log_entry::Content {
    log_entry::Content::Binary(Binary { data: data.into() })
}

fn datagram(data: &'static [u8], partial: Option<(u32, u64, bool)>) -> log_entry::Content {
    log_entry::Content::Datagram(Datagram {
        data: data.into(),
        partial: partial.map(|(index, size, last)| datagram::Partial { index, size, last }),
    })
}
