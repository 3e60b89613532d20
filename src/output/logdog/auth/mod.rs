//! Who we are to the Coordinator and to Pub/Sub: where access tokens come
//! from, and how they are kept fresh.

mod cache;
mod choose;
mod gce;
mod luci;
mod service_account;
#[cfg(test)]
pub(super) mod testing;
mod token;

use std::fmt;

pub use cache::Tokens;
pub use choose::{Accounts, Wanted, choose};
pub use token::AccessToken;

/// What tokens are asked for.
pub(super) const SCOPES: [&str; 2] = [
    "https://www.googleapis.com/auth/userinfo.email",
    "https://www.googleapis.com/auth/pubsub",
];

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// It may work later.
    #[error("{0}")]
    Transient(String),
    /// It won't.
    #[error("{0}")]
    Final(String),
}

/// A source of tokens.
#[derive(Debug)]
pub(super) enum Source {
    ServiceAccount(Box<service_account::ServiceAccount>),
    Luci(luci::LuciAccount),
    Gce(gce::Metadata),
}

impl Source {
    /// Gets a new token. No secret is in an error.
    async fn fetch(&self) -> Result<AccessToken, AuthError> {
        match self {
            Self::ServiceAccount(account) => account.fetch().await,
            Self::Luci(account) => account.fetch().await,
            Self::Gce(metadata) => metadata.fetch().await,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServiceAccount(account) => account.fmt(f),
            Self::Luci(account) => account.fmt(f),
            Self::Gce(metadata) => metadata.fmt(f),
        }
    }
}
