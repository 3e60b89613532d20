//! What the command finds in its environment.

use std::ffi::OsString;
use std::path::{self, Path};

use tokio::process::Command;

use crate::cli::notify;
use crate::cli::options::Common;
use crate::output::kind::Finds;

/// What names a path to clients: bytes, as paths are.
pub(super) fn absolute_uri(scheme: &str, path: &Path) -> Result<OsString, String> {
    let path = path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut uri = OsString::from(scheme);
    uri.push(path);
    Ok(uri)
}

/// What the child finds in its environment besides ours; `None` takes away
/// what another butler around us has set and does not hold for our streams.
pub(super) struct Environment([(&'static str, Option<OsString>); 4]);

impl Environment {
    pub fn give_to(&self, command: &mut Command) {
        for (name, value) in &self.0 {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        // What a service manager has said it has said to us.
        for name in notify::VARIABLES {
            command.env_remove(name);
        }
    }
}

/// What it is for the command of this run.
pub(super) fn environment(common: &Common, uri: OsString) -> Result<Environment, String> {
    let config = &common.config;
    let null = || Some(OsString::from("null"));
    let host = || common.coordinator_host.clone().map(OsString::from);
    let carried = || {
        (
            Some(config.prefix.to_string().into()),
            Some(config.project.to_string().into()),
        )
    };
    let (host, (prefix, project)) = match config.output.finds() {
        Finds::Nothing => (None, (null(), null())),
        Finds::Shown => (None, (None, None)),
        Finds::Directory(path) => (Some(absolute_uri("file://", &path)?), (None, None)),
        Finds::Carried => (host(), carried()),
        Finds::Coordinator(host) => (Some(host.into()), carried()),
    };
    Ok(Environment([
        ("LOGDOG_STREAM_SERVER_PATH", Some(uri)),
        ("LOGDOG_COORDINATOR_HOST", host),
        ("LOGDOG_STREAM_PREFIX", prefix),
        ("LOGDOG_STREAM_PROJECT", project),
    ]))
}
