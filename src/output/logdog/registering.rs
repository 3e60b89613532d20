//! Prefixes that are registered beside all else: that of this run, and those of
//! earlier ones whose Coordinator was away as long as they lived.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Notify;

use super::RegistrationError;
use super::auth::Accounts;
use super::coordinator::{Coordinator, CoordinatorHost, Grant, Patience, Registrar};
use super::tasks::Tasks;
use crate::delivery::stored::{Registration, Run};

/// A run, and what came of registering its prefix.
pub type RunAnswer = (Arc<Run>, Result<Grant, RegistrationError>);

/// See the module.
#[derive(Debug)]
pub struct Registering {
    accounts: Option<Rc<Accounts>>,
    /// By host and service.
    coordinators: HashMap<(String, String), Rc<Coordinator>>,
    tasks: Tasks<Arc<Run>, Result<Grant, RegistrationError>>,
}

impl Registering {
    /// With those accounts, if any is needed; `ended` is given when there is an
    /// answer.
    pub fn new(accounts: Option<Rc<Accounts>>, ended: Arc<Notify>) -> Self {
        Self {
            accounts,
            coordinators: HashMap::new(),
            tasks: Tasks::new(ended),
        }
    }

    /// Begins to register the prefix of `run`, as that says.
    ///
    /// # Errors
    ///
    /// If the Coordinator is none.
    pub fn begin(
        &mut self,
        run: &Arc<Run>,
        registration: &Registration,
        patience: Patience,
    ) -> Result<(), RegistrationError> {
        let coordinator = self.coordinator(registration)?;
        let registrar = Registrar::new(coordinator, &run.identity, registration);
        let accounts = self.accounts.clone();
        self.tasks.begin(Arc::clone(run), async move {
            registrar.register(accounts.as_deref(), patience).await
        });
        Ok(())
    }

    /// The one that is asked for all runs of the same.
    fn coordinator(&mut self, of: &Registration) -> Result<Rc<Coordinator>, RegistrationError> {
        let key = (of.coordinator.clone(), of.service.clone());
        if let Some(known) = self.coordinators.get(&key) {
            return Ok(Rc::clone(known));
        }
        let host = CoordinatorHost::new(&of.coordinator, &of.service)
            .map_err(RegistrationError::CoordinatorHost)?;
        let coordinator = Rc::new(Coordinator::new(&host)?);
        self.coordinators.insert(key, Rc::clone(&coordinator));
        Ok(coordinator)
    }

    /// The next answer, if there is one.
    pub fn try_next(&mut self) -> Option<RunAnswer> {
        self.tasks.try_next().map(answer)
    }

    /// The same, when it comes; `None`: nothing is registered.
    pub async fn next(&mut self) -> Option<RunAnswer> {
        self.tasks.next().await.map(answer)
    }

    /// Is the run's prefix being registered?
    pub fn has(&self, run: &Arc<Run>) -> bool {
        self.tasks.about().any(|it| Arc::ptr_eq(it, run))
    }

    /// How often a Coordinator did not answer as it should.
    pub fn errors(&self) -> u64 {
        let coordinators = self.coordinators.values();
        coordinators.map(|it| it.health().errors()).sum()
    }

    /// Nothing is registered any more.
    pub fn stop(&mut self) {
        self.tasks.clear();
    }
}

fn answer((run, result): (Arc<Run>, Option<Result<Grant, RegistrationError>>)) -> RunAnswer {
    let fault = || Err("a fault of butler's own".to_owned().into());
    (run, result.unwrap_or_else(fault))
}
