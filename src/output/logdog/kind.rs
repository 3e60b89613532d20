//! What there is to know of the logdog output, also where it is left out.

#[cfg(feature = "logdog")]
use std::ffi::OsStr;
use std::io;

#[cfg(feature = "logdog")]
pub use super::logdog::LogdogOutput;
#[cfg(feature = "logdog")]
use super::logdog::OriginError;
#[cfg(feature = "logdog")]
use crate::delivery::message::BundleLimits;
use crate::edge::io::Io;
use crate::edge::transport::Transport;
use crate::output::Output;
#[cfg(feature = "logdog")]
use crate::output::kind::{Finds, Need, UnfitOutput};
use crate::output::kind::{Given, Kind, Settings};
use crate::output::spec::SpecError;
#[cfg(feature = "logdog")]
use crate::output::spec::of;
#[cfg(feature = "logdog")]
use crate::pairs::{PairError, Pairs};
#[cfg(feature = "logdog")]
use crate::{limits, units};

/// There are none: the output is not in this butler.
#[cfg(not(feature = "logdog"))]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogdogOutput {}

const KIND: Kind = Kind {
    keys: &["service", "prefix-expiration", "pubsub-endpoint"],
    must_register: true,
    is_remote: true,
    help: "  logdog[,service=S][,prefix-expiration=DUR][,pubsub-endpoint=URL]
                        register the prefix with a LogDog Coordinator, or its
                        service S, and publish to the Pub/Sub topic it names,
                        always compressed; needs --project, --coordinator-host
                        and an account. URL is another endpoint of Pub/Sub, as
                        https://us-east1-pubsub.googleapis.com
",
    environment: "  LUCI_CONTEXT          a file with the task's accounts, realm and deadline
  GCE_METADATA_HOST     the metadata server (default 169.254.169.254)
  SSL_CERT_FILE, SSL_CERT_DIR
                        certificates to trust instead of the system's
  PUBSUB_EMULATOR_HOST  HOST:PORT of an emulator of Pub/Sub, without credentials
",
    ..Kind::new("logdog", parse)
};

#[cfg(not(feature = "logdog"))]
impl Settings for LogdogOutput {
    const KIND: &'static Kind = &KIND;

    fn open<I: Io + 'static>(&self, _: &mut I) -> io::Result<Box<dyn Transport<I>>> {
        match *self {}
    }
}

#[cfg(feature = "logdog")]
impl Settings for LogdogOutput {
    const KIND: &'static Kind = &KIND;

    fn open<I: Io + 'static>(&self, _: &mut I) -> io::Result<Box<dyn Transport<I>>> {
        Err(io::Error::other(
            "the prefix must be registered first: Butler::open does that",
        ))
    }

    fn check(&self) -> Result<(), UnfitOutput> {
        self.check_host()
            .map_err(|_| UnfitOutput::CoordinatorHost(self.coordinator_host.clone()))
    }

    fn bundle_limits(&self) -> BundleLimits {
        BundleLimits {
            early: limits::BUNDLE_TARGET,
            target: limits::BUNDLE_TARGET,
            max: limits::BUNDLE_PUBSUB_MAX,
        }
    }

    fn needs(&self) -> Vec<Need> {
        // The Coordinator, Pub/Sub and token servers have ports of their own
        // each. Whose the machine trusts is read once, but maybe not yet.
        let trusted = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter();
        let trusted = trusted.filter_map(std::env::var_os);
        let trusted = trusted.map(|path| Need::Read(path.into()));
        [Need::Hosts, Need::AnyPort]
            .into_iter()
            .chain(trusted)
            .collect()
    }

    fn finds(&self) -> Finds {
        Finds::Coordinator(self.host())
    }
}

#[cfg(not(feature = "logdog"))]
fn parse(given: Given<'_>) -> Result<Output, SpecError> {
    Err(SpecError::NotSupported(given.kind.name))
}

/// The Coordinator's host and the credentials are options of their own, which
/// are not known here.
#[cfg(feature = "logdog")]
fn parse(given: Given<'_>) -> Result<Output, SpecError> {
    settings(&given.pairs()?)
        .map(Output::Logdog)
        .map_err(of("logdog"))
}

#[cfg(feature = "logdog")]
fn settings(pairs: &Pairs) -> Result<LogdogOutput, PairError> {
    let mut settings = LogdogOutput::new("");
    // As in the reference, an empty value is none.
    let given = |key| Ok(pairs.text(key)?.filter(|value| !value.is_empty()));
    settings.service = given("service")?.map(str::to_owned);
    if let Some(text) = given("prefix-expiration")? {
        let expiration = units::duration(text)
            .map_err(|error| pairs.value_error("prefix-expiration", OsStr::new(text), error))?;
        settings.prefix_expiration = (!expiration.is_zero()).then_some(expiration);
    }
    if let Some(text) = given("pubsub-endpoint")? {
        let origin = text.parse().map_err(|error: OriginError| {
            pairs.value_error("pubsub-endpoint", OsStr::new(text), error)
        })?;
        settings.pubsub_endpoint = Some(origin);
    }
    Ok(settings)
}
