//! How the output begins: what there is in the environment, the prefix, and the
//! way to Pub/Sub.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::RegistrationError;
use super::auth::{self, Accounts, Wanted};
use super::coordinator::{self, CoordinatorHost, Grant, Patience};
use super::luci_context::{ContextRealm, LuciContext};
use super::publishing::Publishing;
use super::pubsub::topic::Topic;
use super::pubsub::{self, Destination, Endpoint, Publisher};
use super::registering::Registering;
use super::settings::{Credentials, LogdogOutput, Origin, Realm};
use crate::chain::Chain;
use crate::delivery::message::Identity;
use crate::delivery::stored::{Registration, Run};
use crate::limits::{CALL_TIMEOUT, START_WAIT};
use crate::secret::Secret;
use crate::wire::name::{ProjectName, StreamName};

/// A butler's prefix, and what publishes to it.
#[derive(Debug)]
pub(crate) struct Session {
    pub output: Publishing,
    /// What is to be in every bundle; or, with a spool, how the prefix is
    /// registered later.
    pub run: Arc<Run>,
    /// When this process is killed, as `LUCI_CONTEXT` has it.
    pub deadline: Option<SystemTime>,
}

/// What a butler begins with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start<'a> {
    pub project: &'a ProjectName,
    pub prefix: &'a StreamName,
    /// Bytes that it may buffer.
    pub buffered_max: u64,
    /// Messages can wait elsewhere until the prefix is registered.
    pub has_spool: bool,
}

/// Registers the prefix and connects to Pub/Sub. Retries what may work later;
/// dropping the future ends it. With a spool it waits for neither longer than
/// [`START_WAIT`]: the prefix is then registered when it can be.
pub(crate) async fn connect(
    settings: &LogdogOutput,
    start: Start<'_>,
) -> Result<Session, RegistrationError> {
    let until = start.has_spool.then(|| Instant::now() + START_WAIT);
    let endpoint = endpoint(settings)?;
    let host = CoordinatorHost::of(settings).map_err(RegistrationError::CoordinatorHost)?;
    let is_optional = account_is_optional(&endpoint, Some(&host));
    let context = luci_context(settings, is_optional)?;
    let realm = realm(settings, &context, start.project)?;
    let accounts = accounts(settings, &context, realm.is_some(), is_optional).await?;
    let ended = Arc::new(Notify::new());
    let mut registering = Registering::new(accounts.clone(), Arc::clone(&ended));
    let unregistered = Arc::new(Run::unregistered(
        identity(&start, Secret::default()),
        registration(settings, realm)?,
    ));
    let granted = register(&mut registering, &unregistered, until).await?;
    let channel = pubsub::open(&endpoint, time_to(until)).await?;
    let topic = granted.as_ref().map(|grant| &grant.topic);
    let publisher = publisher(&endpoint, channel, accounts, topic);
    log::info!("bundles are published at {}", endpoint.origin());
    let run = match &granted {
        None => unregistered,
        Some(Grant { secret, topic }) => Arc::new(Run::new(
            identity(&start, Secret::new(secret.expose().to_vec())),
            Some(topic.as_str().to_owned()),
        )),
    };
    let own = granted.map(|grant| Destination::new(grant.topic, grant.secret));
    let output = Publishing::new(publisher, own, (registering, ended), start.buffered_max);
    Ok(Session {
        output: match start.has_spool {
            true => output.keeping(&run),
            false => output,
        },
        run,
        // One that has passed is of a task that is over: we are not in it.
        deadline: context
            .deadline
            .filter(|deadline| *deadline > SystemTime::now()),
    })
}

/// What publishes the messages of others only, which it registers if need be.
/// It buffers less than half of `buffered_max` bytes.
pub(crate) async fn carrier(
    settings: &LogdogOutput,
    buffered_max: u64,
) -> Result<Publishing, RegistrationError> {
    let endpoint = endpoint(settings)?;
    let host = match settings.coordinator_host.is_empty() {
        true => None,
        false => Some(CoordinatorHost::of(settings).map_err(RegistrationError::CoordinatorHost)?),
    };
    let is_optional = account_is_optional(&endpoint, host.as_ref());
    let context = luci_context(settings, is_optional)?;
    let in_realm = match &settings.realm {
        Realm::None => false,
        Realm::Named(_) => true,
        Realm::Context => realm_of(&context)?.is_some(),
    };
    let accounts = accounts(settings, &context, in_realm, is_optional).await?;
    let channel = pubsub::open(&endpoint, START_WAIT).await?;
    let publisher = publisher(&endpoint, channel, accounts.clone(), None);
    let ended = Arc::new(Notify::new());
    let registering = Registering::new(accounts, Arc::clone(&ended));
    log::info!("bundles are published at {}", endpoint.origin());
    Ok(Publishing::new(
        publisher,
        None,
        (registering, ended),
        buffered_max,
    ))
}

/// Neither an emulator nor what listens on this very machine is Google's.
fn account_is_optional(endpoint: &Endpoint, coordinator: Option<&CoordinatorHost>) -> bool {
    matches!(endpoint, Endpoint::Emulator(_)) && coordinator.is_none_or(|it| !it.origin.secure)
}

async fn accounts(
    settings: &LogdogOutput,
    context: &LuciContext,
    in_realm: bool,
    optional: bool,
) -> Result<Option<Rc<Accounts>>, RegistrationError> {
    let wanted = Wanted {
        credentials: &settings.credentials,
        in_realm,
        optional,
    };
    let metadata_host = variable("GCE_METADATA_HOST");
    let accounts = auth::choose(&wanted, context, metadata_host.as_deref()).await?;
    Ok(accounts.map(Rc::new))
}

fn identity(start: &Start<'_>, secret: Secret) -> Identity {
    Identity {
        project: start.project.as_str().into(),
        prefix: start.prefix.as_str().into(),
        secret,
    }
}

fn registration(
    settings: &LogdogOutput,
    realm: Option<String>,
) -> Result<Registration, RegistrationError> {
    Ok(Registration {
        coordinator: settings.coordinator_host.clone(),
        service: settings.service.clone().unwrap_or_default(),
        realm: realm.unwrap_or_default(),
        nonce: coordinator::nonce()?,
        expiration: settings.prefix_expiration,
    })
}

/// Registers the prefix of `run`; `None`: it takes longer than that, and goes on.
async fn register(
    registering: &mut Registering,
    run: &Arc<Run>,
    until: Option<Instant>,
) -> Result<Option<Grant>, RegistrationError> {
    let Some(registration) = &run.registration else {
        return Ok(None);
    };
    let patience = match until {
        None => Patience::Limited,
        Some(_) => Patience::Endless,
    };
    registering.begin(run, registration, patience)?;
    let answer = match until {
        None => registering.next().await,
        Some(until) => match tokio::time::timeout_at(until, registering.next()).await {
            Ok(answer) => answer,
            Err(_) => {
                log::warn!(
                    "the prefix {} could not be registered within {START_WAIT:?}; all is kept in \
                     the spool, and that is tried again",
                    run.identity.prefix
                );
                return Ok(None);
            }
        },
    };
    let Some((_, result)) = answer else {
        return Ok(None);
    };
    let grant = result?;
    log::info!(
        "the prefix {} is registered; its topic is {}",
        run.identity.prefix,
        grant.topic.shown()
    );
    Ok(Some(grant))
}

/// How long Pub/Sub is waited for.
fn time_to(until: Option<Instant>) -> Duration {
    until.map_or(CALL_TIMEOUT, |until| {
        until.saturating_duration_since(Instant::now())
    })
}

fn publisher(
    endpoint: &Endpoint,
    channel: tonic::transport::Channel,
    accounts: Option<Rc<Accounts>>,
    topic: Option<&Topic>,
) -> Publisher {
    let accounts = match endpoint {
        Endpoint::Google(_) => accounts,
        Endpoint::Emulator(_) => None,
    };
    let what = match topic {
        Some(topic) => format!("output logdog ({})", topic.shown()),
        None => "output logdog".to_owned(),
    };
    Publisher::new(channel, accounts, what)
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
        Realm::Context => match realm_of(context)? {
            Some(realm) if realm.project != project.as_str() => Err(RegistrationError::Project {
                given: project.to_string(),
                realm: realm.project,
            }),
            realm => Ok(realm.map(|realm| realm.name)),
        },
    }
}

fn realm_of(context: &LuciContext) -> Result<Option<ContextRealm>, RegistrationError> {
    context
        .realm()
        .map_err(|why| RegistrationError::Realm(why.into()))
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
