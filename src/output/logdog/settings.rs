//! What the logdog output is told.

use std::path::PathBuf;
use std::str::FromStr;
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
    /// The realm that the prefix is registered in.
    pub realm: Realm,
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
            realm: Realm::None,
            pubsub_endpoint: None,
        }
    }
}

/// Which realm the prefix is registered in, and so how many accounts there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Realm {
    /// None is sent, and one account registers and publishes: as the command
    /// of the reference does it.
    #[default]
    None,
    /// That of `LUCI_CONTEXT`, if it has one: as the library of the reference
    /// does it. In a realm the default account of `LUCI_CONTEXT` registers,
    /// and its account `system` publishes.
    Context,
    /// This one, with the accounts of a realm.
    Named(RealmName),
}

/// The name of a realm, without its project: lower-case letters, digits and
/// `_ . - /`, at most 400 bytes; or `@root`, `@legacy`, `@project`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RealmName(String);

/// Why text is no [`Realm`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it must be none, auto, or a realm's name without its project: lower-case letters, digits and \
     _ . - /, or @root, @legacy or @project"
)]
#[non_exhaustive]
pub struct RealmError;

impl RealmName {
    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RealmName {
    type Err = RealmError;

    fn from_str(text: &str) -> Result<Self, RealmError> {
        let in_name = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-/".contains(&byte)
        };
        let is_special = ["@root", "@legacy", "@project"].contains(&text);
        let is_usual = (1..=400).contains(&text.len()) && text.bytes().all(in_name);
        match is_special || is_usual {
            true => Ok(Self(text.to_owned())),
            false => Err(RealmError),
        }
    }
}

impl FromStr for Realm {
    type Err = RealmError;

    /// Of `none`, `auto` or a name.
    fn from_str(text: &str) -> Result<Self, RealmError> {
        match text {
            "none" => Ok(Self::None),
            "auto" => Ok(Self::Context),
            name => name.parse().map(Self::Named),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn realms() {
        assert_eq!("none".parse(), Ok(Realm::None));
        assert_eq!("auto".parse(), Ok(Realm::Context));
        let longest = "x".repeat(400);
        for name in ["ci", "a/b.c-d_1", "@root", &longest] {
            let Ok(Realm::Named(realm)) = name.parse() else {
                panic!("{name} is refused");
            };
            assert_eq!(realm.as_str(), name);
        }
        let longer = "x".repeat(401);
        for wrong in ["", "None", "p:ci", "@internal", "a b", &longer] {
            assert_eq!(wrong.parse::<Realm>(), Err(RealmError), "{wrong}");
        }
    }
}
