//! How the command ended: the exit status, and the result file.

use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use serde_json::{Value, json};

use crate::cli::options::RunOptions;
use crate::cli::session::{Delivery, EXIT_FAILED, SessionError};

/// How a run ended.
#[derive(Debug)]
pub(super) struct Ending {
    /// What butler exits with.
    pub exit_code: u8,
    /// What the command exited with, or what says why it could not.
    pub return_code: u8,
    /// What became of all that was accepted.
    pub delivered: Delivery,
    /// Why the command was not run, or not to its end.
    pub error: Option<String>,
}

impl Ending {
    /// Butler failed before it could end as it should.
    pub fn failed(failure: &SessionError) -> Self {
        Self {
            exit_code: failure.exit_code(),
            return_code: failure.exit_code(),
            delivered: Delivery::Lossy,
            error: Some(failure.to_string()),
        }
    }

    /// What the result file tells. `executed` is the file that was.
    pub fn to_json(&self, options: &RunOptions, executed: &OsStr) -> Value {
        let args = options.command.iter().skip(1).map(|arg| arg.as_os_str());
        let command: Vec<_> = std::iter::once(executed)
            .chain(args)
            .map(|part| part.to_string_lossy())
            .collect();
        let mut result = json!({
            "return_code": self.return_code,
            "command": command,
            "delivered": match self.delivered {
                Delivery::Whole => Value::Bool(true),
                Delivery::Lossy => Value::Bool(false),
                Delivery::Spooled => Value::from("spooled"),
            },
        });
        if let Some(error) = &self.error {
            result["error"] = error.as_str().into();
        }
        result
    }
}

/// The child's own, or 128 and the signal that killed it.
pub(super) fn exit_code(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code as u8,
        (None, Some(signal)) => 128u8.wrapping_add(signal as u8),
        (None, None) => EXIT_FAILED,
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
