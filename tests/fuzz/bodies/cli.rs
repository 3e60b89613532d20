//! Command lines and SPECs: anything is read or refused with a message.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use butler::cli::args;
use butler::output::Output;
use butler::units;

/// Names a file that would be read.
const READS_A_FILE: &str = "json-args-path";

pub fn run(bytes: &[u8]) {
    spec(OsStr::from_bytes(bytes));
    if let Ok(text) = std::str::from_utf8(bytes) {
        let duration = units::duration(text);
        assert!(duration.map_or_else(|error| !error.to_string().is_empty(), |_| true));
        let size = units::size(text);
        assert!(size.map_or_else(|error| !error.to_string().is_empty(), |_| true));
    }
    // Arguments are lines here: people can read and write the corpus.
    let lines = bytes.split(|byte| *byte == b'\n');
    let line: Vec<_> = lines.map(|arg| OsString::from_vec(arg.to_vec())).collect();
    let reads = |arg: &OsString| arg.to_string_lossy().contains(READS_A_FILE);
    if line.iter().any(reads) {
        return;
    }
    let parsed = args::parse(line.clone());
    match &parsed {
        Ok(_) => {}
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    // Nothing is remembered from one to the next.
    assert_eq!(parsed.is_ok(), args::parse(line).is_ok());
}

fn spec(text: &OsStr) {
    if let Err(error) = Output::from_spec(text) {
        assert!(!error.to_string().is_empty());
    }
}
