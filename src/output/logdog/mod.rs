//! The logdog output: registers the prefix with a Coordinator and publishes
//! bundles to the Pub/Sub topic that it names, for the Collector.
//!
//! ```text
//! settings, luci_context   what we are told
//! auth                     access tokens
//! coordinator              the prefix's secret and topic
//! pubsub, publishing       messages, up to 16 at once
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
mod publishing;
mod pubsub;
pub(in crate::output) mod secrets;
mod settings;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use auth::{Accounts, Wanted};
use coordinator::{CoordinatorHost, Registrar, Registration};
use luci_context::LuciContext;
pub(crate) use publishing::Publishing;
use pubsub::{Endpoint, Publisher};
pub use settings::{Credentials, LogdogOutput, Origin, OriginError, Realm, RealmError, RealmName};

use crate::chain::Chain;
use crate::secret::Secret;
use crate::wire::name::{ProjectName, StreamName};

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
        CoordinatorHost::new(self).map(drop)
    }
}

/// A registered prefix, and what publishes to it.
#[derive(Debug)]
pub(crate) struct Session {
    pub output: Publishing,
    /// To be in every bundle.
    pub secret: Secret,
    /// When this process is killed, as `LUCI_CONTEXT` has it.
    pub deadline: Option<SystemTime>,
}

/// Registers the prefix and connects to Pub/Sub. Retries what may work later;
/// dropping the future ends it. `buffered_max`: bytes that the butler may buffer.
pub(crate) async fn connect(
    settings: &LogdogOutput,
    (project, prefix): (&ProjectName, &StreamName),
    buffered_max: u64,
) -> Result<Session, RegistrationError> {
    let endpoint = endpoint(settings)?;
    let host = CoordinatorHost::new(settings).map_err(RegistrationError::CoordinatorHost)?;
    // Neither an emulator nor what listens on this very machine is Google's.
    let account_is_optional = matches!(endpoint, Endpoint::Emulator(_)) && !host.origin.secure;
    let context = luci_context(settings, account_is_optional)?;
    let realm = realm(settings, &context, project)?;
    let wanted = Wanted {
        credentials: &settings.credentials,
        in_realm: realm.is_some(),
        optional: account_is_optional,
    };
    let metadata_host = variable("GCE_METADATA_HOST");
    let mut accounts = auth::choose(&wanted, &context, metadata_host.as_deref()).await?;
    let realm = realm.as_deref().unwrap_or_default();
    let registrar = Registrar::new(settings, &host, project.as_str(), prefix.as_str(), realm)?;
    let Registration { secret, topic } = register(&registrar, accounts.as_mut()).await?;
    log::info!(
        "the prefix {prefix} is registered; its topic is {}",
        topic.shown()
    );
    let channel = pubsub::open(&endpoint).await?;
    let tokens = match endpoint {
        Endpoint::Google(_) => accounts.map(|accounts| accounts.publishes),
        Endpoint::Emulator(_) => None,
    };
    let publisher = Publisher::new(topic, channel, tokens, secret.clone());
    log::info!("bundles are published at {}", endpoint.origin());
    Ok(Session {
        output: Publishing::new(publisher, buffered_max),
        secret: Secret::new(secret.expose().to_vec()),
        // One that has passed is of a task that is over: we are not in it.
        deadline: context
            .deadline
            .filter(|deadline| *deadline > SystemTime::now()),
    })
}

/// What the environment says of accounts, a realm and a deadline. Where
/// nothing of it is needed, it need not be readable.
fn luci_context(
    settings: &LogdogOutput,
    account_is_optional: bool,
) -> Result<LuciContext, RegistrationError> {
    let Some(path) = std::env::var_os("LUCI_CONTEXT").filter(|path| !path.is_empty()) else {
        return Ok(LuciContext::default());
    };
    let is_needed = settings.realm == Realm::Context
        || settings.credentials == Credentials::Ambient && !account_is_optional;
    match LuciContext::read(Path::new(&path)) {
        Err(error) if !is_needed => {
            log::warn!("{}; nothing of it is used", Chain(&error));
            Ok(LuciContext::default())
        }
        result => result,
    }
}

/// The realm to register in, without its project.
fn realm(
    settings: &LogdogOutput,
    context: &LuciContext,
    project: &ProjectName,
) -> Result<Option<String>, RegistrationError> {
    match &settings.realm {
        Realm::None => Ok(None),
        Realm::Named(name) => Ok(Some(name.as_str().to_owned())),
        Realm::Context => match context
            .realm()
            .map_err(|why| RegistrationError::Realm(why.into()))?
        {
            Some(realm) if realm.project != project.as_str() => Err(RegistrationError::Project {
                given: project.to_string(),
                realm: realm.project,
            }),
            realm => Ok(realm.map(|realm| realm.name)),
        },
    }
}

/// With the second account, if the first one may not; that one then publishes
/// too.
async fn register(
    registrar: &Registrar,
    accounts: Option<&mut Accounts>,
) -> Result<Registration, RegistrationError> {
    let Some(accounts) = accounts else {
        return registrar.register(None).await;
    };
    let denied = match registrar.register(Some(&accounts.registers)).await {
        Err(denied @ RegistrationError::Denied { .. }) => denied,
        result => return result,
    };
    let Some(second) = accounts.second.take() else {
        return Err(denied);
    };
    log::warn!("{}; trying with {}", Chain(&denied), second.account());
    let registration = registrar.register(Some(&second)).await?;
    accounts.publishes = second;
    Ok(registration)
}

fn endpoint(settings: &LogdogOutput) -> Result<Endpoint, RegistrationError> {
    if let Some(host) = variable("PUBSUB_EMULATOR_HOST") {
        return Origin::plain(&host, 80)
            .map(Endpoint::Emulator)
            .map_err(|_| RegistrationError::Host {
                variable: "PUBSUB_EMULATOR_HOST",
                given: host,
                problem: "not HOST:PORT",
            });
    }
    Ok(match &settings.pubsub_endpoint {
        Some(origin) => Endpoint::Google(origin.clone()),
        None => Endpoint::global(),
    })
}

/// A variable of the environment that is set and not empty.
fn variable(name: &str) -> Option<String> {
    let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
    Some(value.to_string_lossy().into_owned())
}
