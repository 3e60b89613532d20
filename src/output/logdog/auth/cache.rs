//! One token for all who need it.

use tokio::sync::Mutex;

use super::{AccessToken, AuthError, Source};

/// Hands out the token of one account, and renews it: before it expires, or
/// when somebody found that it is not accepted. Whoever comes while that is
/// under way waits for it.
#[derive(Debug)]
pub struct Tokens {
    source: Source,
    state: Mutex<State>,
    /// Renewals that have ended, whether they succeeded or not.
    renewals: std::cell::Cell<u64>,
}

#[derive(Debug, Default)]
struct State {
    token: Option<AccessToken>,
    /// The one before, for as long as a peer may quote it.
    previous: Option<AccessToken>,
    /// Why the last renewal failed.
    failed: Option<AuthError>,
}

impl Tokens {
    pub(super) fn new(source: Source) -> Self {
        Self {
            source,
            state: Mutex::default(),
            renewals: std::cell::Cell::new(0),
        }
    }

    /// With a token that has been got already.
    pub(super) fn with_token(source: Source, token: AccessToken) -> Self {
        Self {
            state: Mutex::new(State {
                token: Some(token),
                ..State::default()
            }),
            ..Self::new(source)
        }
    }

    /// The account, for people.
    pub fn account(&self) -> String {
        self.source.to_string()
    }

    /// A token that is fresh.
    ///
    /// # Errors
    ///
    /// If there is none to be had. All who waited for it get the same error.
    pub async fn get(&self) -> Result<AccessToken, AuthError> {
        let before = self.renewals.get();
        let mut state = self.state.lock().await;
        if let Some(token) = state.token.as_ref().filter(|token| token.is_fresh()) {
            return Ok(token.clone());
        }
        let renewed = match &state.failed {
            Some(error) if self.renewals.get() > before => Err(error.clone()),
            _ => {
                let fetched = self.source.fetch().await;
                self.renewals.set(self.renewals.get() + 1);
                fetched.map_err(|error| match error {
                    AuthError::Transient(why) => AuthError::Transient(self.explain(&why)),
                    AuthError::Final(why) => AuthError::Final(self.explain(&why)),
                })
            }
        };
        match renewed {
            Ok(token) => {
                log::debug!("a new token for {}", self.source);
                let replaced = state.token.replace(token.clone());
                state.previous = replaced.or(state.previous.take());
                state.failed = None;
                Ok(token)
            }
            Err(error) => {
                state.failed = Some(error.clone());
                match &state.token {
                    // The old one still is good for a while.
                    Some(token) if token.is_valid() => Ok(token.clone()),
                    _ => Err(error),
                }
            }
        }
    }

    fn explain(&self, why: &str) -> String {
        format!("no token for {}: {why}", self.source)
    }

    /// `token` was not accepted: the next who asks gets another.
    pub async fn reject(&self, token: &AccessToken) {
        let mut state = self.state.lock().await;
        // Of many who find it out only the first is to be heard.
        if state.token.as_ref() == Some(token) {
            state.previous = state.token.take();
        }
    }
}
