//! The logdog output: registers the prefix with a Coordinator and publishes
//! bundles to the Pub/Sub topic that it names, for the Collector.
//!
//! ```text
//! opening                  how it begins
//! settings, luci_context   what we are told
//! auth                     access tokens
//! coordinator, registering secrets and topics of prefixes
//! pubsub, publishing       messages, up to 16 at once
//! tasks                    what is under way
//! net                      connections and single HTTP calls
//! secrets                  what is never shown, also of what others say
//! ```
//!
//! All of it runs on the butler's thread. Only to look up the name of a host,
//! another one is there for as long as that takes.

mod auth;
mod coordinator;
mod luci_context;
mod net;
mod opening;
mod publishing;
mod pubsub;
mod registering;
pub(in crate::output) mod secrets;
mod settings;
mod tasks;

use std::error::Error;
use std::path::PathBuf;

use coordinator::CoordinatorHost;
pub(crate) use opening::{Start, carrier, connect};
pub use settings::{Credentials, LogdogOutput, Origin, OriginError, Realm, RealmError, RealmName};

/// What a server said, or why nobody could be asked. It quotes no secret.
pub type Reason = Box<dyn Error + Send + Sync>;

/// Why a logdog output could not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationError {
    /// `LUCI_CONTEXT` is of another project.
    #[error(
        "the project is {given}, but LUCI_CONTEXT has a realm of the project {realm}: in its realm \
         a task may log to its own project only"
    )]
    Project {
        /// The project that was given.
        given: String,
        /// The project of the realm.
        realm: String,
    },
    /// A variable of the environment is not `HOST:PORT`.
    #[error("{variable}={given:?} is {problem}")]
    Host {
        /// Its name.
        variable: &'static str,
        /// Its value.
        given: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The Coordinator's host is none.
    #[error("the Coordinator's host")]
    CoordinatorHost(#[source] OriginError),
    /// The file of `LUCI_CONTEXT` can't be used.
    #[error("LUCI_CONTEXT={}", path.display())]
    LuciContext {
        /// The file.
        path: PathBuf,
        /// Why: an [`io::Error`](std::io::Error), or what is wrong with it.
        #[source]
        reason: Reason,
    },
    /// The realm of `LUCI_CONTEXT` is none.
    #[error(transparent)]
    Realm(Reason),
    /// The service account's key file can't be used.
    #[error("the key file {}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why: an [`io::Error`](std::io::Error), or what is wrong with it.
        #[source]
        reason: Reason,
    },
    /// No account is given, and neither the environment nor the machine has
    /// one.
    #[error("there are no credentials")]
    NoCredentials(#[source] Reason),
    /// The account may not register prefixes there.
    #[error("{account} may not register prefixes in {place} (permission logdog.logs.create)")]
    Denied {
        /// Who asked.
        account: String,
        /// The project or realm.
        place: String,
        /// What the Coordinator says.
        #[source]
        reason: Reason,
    },
    /// Somebody else has registered the prefix.
    #[error(
        "the prefix {prefix} is registered in the project {project} already, and not by us: each \
         job needs one of its own"
    )]
    PrefixTaken {
        /// The prefix.
        prefix: String,
        /// Its project.
        project: String,
        /// What the Coordinator says.
        #[source]
        reason: Reason,
    },
    /// The Coordinator wants to know who we are, and we have no account.
    #[error("the Coordinator wants an account")]
    AccountWanted(#[source] Reason),
    /// The Coordinator or Pub/Sub can't be used for another reason.
    #[error(transparent)]
    Failed(Reason),
}

impl From<std::io::Error> for RegistrationError {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<String> for RegistrationError {
    fn from(what: String) -> Self {
        Self::Failed(what.into())
    }
}

impl LogdogOutput {
    pub(crate) fn check_host(&self) -> Result<(), OriginError> {
        CoordinatorHost::of(self).map(drop)
    }
}
