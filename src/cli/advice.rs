//! How errors of the library are told on the command line: with their causes,
//! and with the options that help. The library itself knows no option.

use std::error::Error;

#[cfg(feature = "logdog")]
use crate::output::logdog::RegistrationError;
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
    #[cfg(feature = "logdog")]
    if let Some(error) = error.downcast_ref() {
        return registration_advice(error, cause);
    }
    None
}

#[cfg(feature = "logdog")]
fn registration_advice(error: &RegistrationError, cause: &str) -> Option<String> {
    Some(match error {
        RegistrationError::Project { .. } => format!("{error} (--realm none sends none)"),
        RegistrationError::PrefixTaken { .. } => format!("{error} (--prefix): {cause}"),
        RegistrationError::AccountWanted(_) => format!("{error} (--service-account-json): {cause}"),
        RegistrationError::NoCredentials(_) => format!(
            "{error}: give --service-account-json PATH (or :gce), or run where LUCI_CONTEXT has \
             local_auth with a default account, or on a machine of Google's with a service \
             account ({cause})"
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::option::OPTIONS;
    use crate::sources;

    #[test]
    fn causes_and_options_are_told() {
        let error = crate::Error::IoUring(std::io::Error::other("no ring"));
        let text = told(&error);
        assert!(text.starts_with("io_uring is not available: no ring (it needs Linux 6.1, "));
        assert!(
            text.ends_with("; with --io epoll butler does without)"),
            "{text}"
        );
        let error = "x".parse::<crate::output::Output>().unwrap_err();
        assert!(told(&error).ends_with("logdog (--output help explains them)"));
        let error = "file,path=".parse::<crate::output::Output>().unwrap_err();
        assert_eq!(
            told(&error),
            "the file output: path= is not allowed: it is empty"
        );
    }

    #[test]
    fn the_library_names_no_option() {
        let mut count = 0;
        sources::each(|path, source| {
            // The help of an output stands with it.
            if path.starts_with("cli/") || path.ends_with("/kind.rs") {
                return;
            }
            count += 1;
            for option in &OPTIONS {
                let name = format!("--{}", option.name);
                assert!(!source.contains(&name), "{name} in {path}");
            }
        });
        assert!(count > 50, "{count}");
    }
}
