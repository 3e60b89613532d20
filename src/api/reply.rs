//! Answers that take their time.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use super::thread::is_butlers;

/// What a butler will answer.
///
/// It is a future that any executor may poll. Outside of async code
/// [`wait`](Self::wait) for it. What was asked for goes on if it is dropped,
/// unless its method says otherwise.
#[must_use = "what is asked for has no answer before it is awaited or waited for"]
pub struct Reply<T>(Pin<Box<dyn Future<Output = T> + Send>>);

impl<T> Reply<T> {
    pub(super) fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Box::pin(future))
    }

    /// Blocks this thread until there is an answer. In async code await the
    /// reply instead: this would keep the tasks of the executor from running.
    ///
    /// # Panics
    ///
    /// In a callback on the butler's own thread, which would wait for itself.
    pub fn wait(self) -> T {
        assert!(
            !is_butlers(),
            "a callback must not wait for a butler on the butler's own thread"
        );
        block_on(self)
    }
}

impl<T> Future for Reply<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        self.0.as_mut().poll(context)
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").finish_non_exhaustive()
    }
}

/// Wakes a thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls a future to its end on this thread, whatever else runs on it: tokio
/// would panic in a task of its own.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
