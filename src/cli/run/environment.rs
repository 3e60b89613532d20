//! What the command finds in its environment.

use std::path::Path;

use crate::cli::options::Common;
use crate::output::Output;

pub(super) fn absolute_uri(path: &Path) -> Result<String, String> {
    let path = std::path::absolute(path).map_err(|error| format!("the socket's path: {error}"))?;
    Ok(format!("unix:{}", path.display()))
}

/// What the child finds in its environment besides ours; `None` takes away
/// what another butler around us has set and does not hold for our streams.
pub(super) fn environment(
    common: &Common,
    uri: String,
) -> Result<[(&'static str, Option<String>); 4], String> {
    let config = &common.config;
    let carried = || {
        (
            Some(config.prefix.to_string()),
            Some(config.project.to_string()),
        )
    };
    let (host, (prefix, project)) = match &config.output {
        Output::Null => (None, (Some("null".into()), Some("null".into()))),
        Output::Log { .. } => (None, (None, None)),
        Output::Directory { path } => {
            let path = std::path::absolute(path)
                .map_err(|error| format!("the output's directory: {error}"))?;
            (Some(format!("file://{}", path.display())), (None, None))
        }
        Output::File { .. } | Output::Unix { .. } | Output::Tcp { .. } | Output::Memory(_) => {
            (common.coordinator_host.clone(), carried())
        }
        #[cfg(feature = "logdog")]
        Output::Logdog(settings) => (Some(settings.host()), carried()),
    };
    Ok([
        ("LOGDOG_STREAM_SERVER_PATH", Some(uri)),
        ("LOGDOG_COORDINATOR_HOST", host),
        ("LOGDOG_STREAM_PREFIX", prefix),
        ("LOGDOG_STREAM_PROJECT", project),
    ])
}
