//! Which account is used.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use super::gce::Metadata;
use super::luci::LuciAccount;
use super::service_account::ServiceAccount;
use super::{AuthError, Source, Tokens};
use crate::chain::Chain;
use crate::limits::METADATA_TIMEOUT;
use crate::output::logdog::RegistrationError;
use crate::output::logdog::luci_context::LuciContext;
use crate::output::logdog::settings::Credentials;

/// The account that LUCI gives to butlers, besides the task's own.
const SYSTEM_ACCOUNT: &str = "system";

/// The accounts of a butler.
#[derive(Debug)]
pub struct Accounts {
    /// Registers the prefix.
    pub registers: Rc<Tokens>,
    /// Registers it if the first one may not.
    pub second: Option<Rc<Tokens>>,
    publishes: RefCell<Rc<Tokens>>,
}

impl Accounts {
    fn one(source: Source) -> Self {
        Self::of(Tokens::new(source))
    }

    fn of(tokens: Tokens) -> Self {
        let tokens = Rc::new(tokens);
        Self {
            registers: Rc::clone(&tokens),
            second: None,
            publishes: RefCell::new(tokens),
        }
    }

    /// That which publishes.
    pub fn publishes(&self) -> Rc<Tokens> {
        Rc::clone(&self.publishes.borrow())
    }

    /// From now on this one publishes.
    pub fn publish_with(&self, tokens: &Rc<Tokens>) {
        self.publishes.replace(Rc::clone(tokens));
    }
}

/// What decides about the accounts.
#[derive(Debug)]
pub struct Wanted<'a> {
    pub credentials: &'a Credentials,
    /// The prefix is registered in a realm.
    pub in_realm: bool,
    /// Nobody asks who we are.
    pub optional: bool,
}

/// What was asked for; else what `LUCI_CONTEXT` has; else the machine's own
/// account, if it is a machine of Google's. `None` where no account is needed
/// and none was given.
pub async fn choose(
    wanted: &Wanted<'_>,
    context: &LuciContext,
    metadata_host: Option<&str>,
) -> Result<Option<Accounts>, RegistrationError> {
    match wanted.credentials {
        Credentials::KeyFile(path) => {
            let account = ServiceAccount::read(path)?;
            let source = Source::ServiceAccount(Box::new(account));
            return Ok(Some(Accounts::one(source)));
        }
        Credentials::Gce => {
            let metadata = Metadata::new(metadata_host)?;
            return Ok(Some(Accounts::one(Source::Gce(metadata))));
        }
        Credentials::Ambient => {}
    }
    if let Some(accounts) = of_luci(context, wanted.in_realm)? {
        return Ok(Some(accounts));
    }
    match wanted.optional {
        true => Ok(None),
        false => of_machine(metadata_host).await.map(Some),
    }
}

async fn of_machine(metadata_host: Option<&str>) -> Result<Accounts, RegistrationError> {
    let metadata = Metadata::new(metadata_host)?;
    match metadata.fetch_within(METADATA_TIMEOUT).await {
        Ok(Ok(token)) => Ok(Accounts::of(Tokens::with_token(
            Source::Gce(metadata),
            token,
        ))),
        Ok(Err(AuthError::Transient(_))) => Ok(Accounts::one(Source::Gce(metadata))),
        Ok(Err(AuthError::Final(why))) => Err(none(format!("{metadata} answers {why}"))),
        Err(error) => Err(none(format!("{metadata}: {}", Chain(&error)))),
    }
}

/// The default account. In a realm it registers, and the system's publishes,
/// where there is one.
fn of_luci(context: &LuciContext, in_realm: bool) -> io::Result<Option<Accounts>> {
    let Some(auth) = &context.local_auth else {
        return Ok(None);
    };
    let Some(default) = &auth.default_account_id else {
        return Ok(None);
    };
    let tokens = |id: &str| {
        LuciAccount::new(auth, id)
            .map(Source::Luci)
            .map(Tokens::new)
    };
    let mut accounts = Accounts::of(tokens(default)?);
    let has_system = auth.accounts.iter().any(|id| id == SYSTEM_ACCOUNT);
    if in_realm && default != SYSTEM_ACCOUNT {
        let system = Rc::new(tokens(SYSTEM_ACCOUNT)?);
        accounts.second = Some(Rc::clone(&system));
        if has_system {
            accounts.publish_with(&system);
        }
    }
    Ok(Some(accounts))
}

fn none(why: String) -> RegistrationError {
    RegistrationError::NoCredentials(why.into())
}
