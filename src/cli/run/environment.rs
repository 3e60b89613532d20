//! What the command finds in its environment.

use std::ffi::OsString;
use std::path::{self, Path};

use crate::cli::options::Common;
use crate::output::Output;

/// What names a path to clients: bytes, as paths are.
pub(super) fn absolute_uri(scheme: &str, path: &Path) -> Result<OsString, String> {
    let path = path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut uri = OsString::from(scheme);
    uri.push(path);
    Ok(uri)
}

/// What the child finds in its environment besides ours; `None` takes away
/// what another butler around us has set and does not hold for our streams.
pub(super) fn environment(
    common: &Common,
    uri: OsString,
) -> Result<[(&'static str, Option<OsString>); 4], String> {
    let config = &common.config;
    let null = || Some(OsString::from("null"));
    let host = || common.coordinator_host.clone().map(OsString::from);
    let carried = || {
        (
            Some(config.prefix.to_string().into()),
            Some(config.project.to_string().into()),
        )
    };
    let (host, (prefix, project)) = match &config.output {
        Output::Null => (None, (null(), null())),
        Output::Log { .. } => (None, (None, None)),
        Output::Directory { path } => (Some(absolute_uri("file://", path)?), (None, None)),
        Output::File { .. } | Output::Unix { .. } | Output::Tcp { .. } | Output::Memory(_) => {
            (host(), carried())
        }
        #[cfg(feature = "logdog")]
        Output::Logdog(settings) => (Some(settings.host().into()), carried()),
    };
    Ok([
        ("LOGDOG_STREAM_SERVER_PATH", Some(uri)),
        ("LOGDOG_COORDINATOR_HOST", host),
        ("LOGDOG_STREAM_PREFIX", prefix),
        ("LOGDOG_STREAM_PROJECT", project),
    ])
}
