//! How errors of the library are told on the command line: with their causes,
//! and with the options that help. The library itself knows no option.

use std::error::Error;

use crate::output::spec::SpecError;

/// The error, what caused it, and what to do about it.
pub fn told(error: &(dyn Error + 'static)) -> String {
    let cause = error.source().map(told).unwrap_or_default();
    match advice(error, &cause) {
        Some(text) => text,
        None if cause.is_empty() => error.to_string(),
        None => format!("{error}: {cause}"),
    }
}

/// The text of an error for which there is an option.
fn advice(error: &(dyn Error + 'static), cause: &str) -> Option<String> {
    if let Some(crate::Error::IoUring(_)) = error.downcast_ref() {
        return Some(format!(
            "{error}: {cause} (it needs Linux 6.1, and a container profile that allows \
             io_uring_setup; with --io epoll butler does without)"
        ));
    }
    if let Some(SpecError::Unknown(_)) = error.downcast_ref() {
        return Some(format!("{error} (--output help explains them)"));
    }
    None
}
