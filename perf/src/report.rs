//! How the programs tell the driver what they found: lines of JSON on stdout.

use std::io::{self, Write};

use serde_json::Value;

/// Says one line, at once.
pub fn say(value: &Value) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{value}")?;
    stdout.flush()
}

/// The end of a `main`: an error goes to stderr.
pub fn exit(program: &str, result: crate::Result<()>) -> std::process::ExitCode {
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{program}: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
