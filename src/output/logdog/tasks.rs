//! Tasks on the butler's thread, of which somebody is told when they have ended.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::{Id, JoinError, JoinSet};

/// Tasks that end with an `R`, each with what it is about.
#[derive(Debug)]
pub struct Tasks<A, R> {
    set: JoinSet<R>,
    about: HashMap<Id, A>,
    /// Is given when one has ended.
    ended: Arc<Notify>,
}

impl<A, R: 'static> Tasks<A, R> {
    /// None yet.
    pub fn new(ended: Arc<Notify>) -> Self {
        Self {
            set: JoinSet::new(),
            about: HashMap::new(),
            ended,
        }
    }

    /// Begins one.
    pub fn begin(&mut self, about: A, task: impl Future<Output = R> + 'static) {
        let ended = TaskEnded(Arc::clone(&self.ended));
        let task = self.set.spawn_local(async move {
            let _ended = ended;
            task.await
        });
        self.about.insert(task.id(), about);
    }

    /// One that has ended, and how; `None`: it panicked, which has been told.
    pub fn try_next(&mut self) -> Option<(A, Option<R>)> {
        let ended = self.set.try_join_next_with_id()?;
        self.with_about(ended)
    }

    /// The same of the first that ends, if there is one.
    pub async fn next(&mut self) -> Option<(A, Option<R>)> {
        let ended = self.set.join_next_with_id().await?;
        self.with_about(ended)
    }

    fn with_about(&mut self, ended: Result<(Id, R), JoinError>) -> Option<(A, Option<R>)> {
        let (id, result) = match ended {
            Ok((id, result)) => (id, Some(result)),
            Err(error) => (error.id(), None),
        };
        Some((self.about.remove(&id)?, result))
    }

    /// What those that have not ended are about.
    pub fn about(&self) -> impl Iterator<Item = &A> {
        self.about.values()
    }

    /// Ends all.
    pub fn clear(&mut self) {
        self.set = JoinSet::new();
        self.about.clear();
    }
}

/// Tells that a task has ended, however it did.
struct TaskEnded(Arc<Notify>);

impl Drop for TaskEnded {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}
