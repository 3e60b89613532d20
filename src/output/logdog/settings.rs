//! What the logdog output is told.

use std::path::PathBuf;
use std::time::Duration;

pub use super::net::origin::{Origin, OriginError};

/// The settings of the logdog output. The environment has some more, which
/// are read when the butler is opened: `LUCI_CONTEXT`, `GCE_METADATA_HOST`,
/// `PUBSUB_EMULATOR_HOST`, `SSL_CERT_FILE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogdogOutput {
    /// The Coordinator, `HOST` or `HOST:PORT`. It is asked over TLS, except
    /// on this very machine (localhost and loopback addresses).
    pub coordinator_host: String,
    /// One of its services: `S` makes the host `S-dot-HOST`.
    pub service: Option<String>,
    /// How long the Coordinator is to keep the prefix open; `None`: as it is
    /// set up to.
    pub prefix_expiration: Option<Duration>,
    /// Who registers and publishes.
    pub credentials: Credentials,
    /// Another endpoint of Pub/Sub than the global one: a regional or a
    /// private one. Plain HTTP only to this very machine.
    pub pubsub_endpoint: Option<Origin>,
}

impl LogdogOutput {
    /// With the credentials that the environment has.
    pub fn new(coordinator_host: impl Into<String>) -> Self {
        Self {
            coordinator_host: coordinator_host.into(),
            service: None,
            prefix_expiration: None,
            credentials: Credentials::Ambient,
            pubsub_endpoint: None,
        }
    }
}

/// Where access tokens come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Credentials {
    /// From `LUCI_CONTEXT`, or else from GCE's metadata server.
    #[default]
    Ambient,
    /// From a service account's key file.
    KeyFile(PathBuf),
    /// From GCE's metadata server.
    Gce,
}
