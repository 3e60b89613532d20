//! How the command ended: the exit status, and the result file.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use serde_json::json;

use crate::cli::options::RunOptions;
use crate::cli::session::EXIT_FAILED;

/// The child's own, or 128 and the signal that killed it.
pub(super) fn exit_code(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code as u8,
        (None, Some(signal)) => 128u8.wrapping_add(signal as u8),
        (None, None) => EXIT_FAILED,
    }
}

pub(super) fn write_result(path: &Path, options: &RunOptions, code: u8, delivered: bool) {
    let command: Vec<_> = options
        .command
        .iter()
        .map(|part| part.to_string_lossy())
        .collect();
    let result = json!({
        "return_code": code,
        "command": command,
        "delivered": delivered,
    });
    if let Err(error) = std::fs::write(path, format!("{result}\n")) {
        log::error!("can't write the result to {}: {error}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes() {
        assert_eq!(exit_code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(exit_code(ExitStatus::from_raw(9)), 137);
    }
}
