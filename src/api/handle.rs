//! What can be asked of a butler from other threads.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::spawn_local;

use super::reply::Reply;
use super::stream::{NewStream, StreamWriter};
use super::thread::{ButlerThread, Ended};
use super::watcher::{Selector, Watch, Watcher};
use crate::butler::{AddStreamError, AddStreamReason, ChunkCallback, Error, Report, Snapshot};
use crate::edge::listener::StreamServer;
use crate::proto::logpb::LogStreamDescriptor;
use crate::wire::descriptor::StreamProperties;
use crate::wire::name::{Namespace, StreamName};

/// A [`RegistrationCallback`](crate::RegistrationCallback) that can be brought
/// to the butler's thread. What it returns stays there.
pub type SendRegistrationCallback =
    Box<dyn FnMut(&LogStreamDescriptor) -> Option<ChunkCallback> + Send>;

/// A butler on a thread of its own. Clones are handles to the same butler.
///
/// When the last one is dropped the butler ends, as by
/// [`shutdown`](Self::shutdown) without grace: streams that are still open are
/// delivered as far as they were written. How it went is logged, unless
/// somebody has been told. The drop waits for that, at most as long as
/// [`Config::flush_timeout`](crate::Config::flush_timeout) and a moment more;
/// but not in a tokio runtime, which it would block: there the butler ends by
/// itself, and a program that must not exit before awaits a shutdown.
///
/// A callback that keeps a handle keeps the butler running: it ends when it is
/// told to.
#[derive(Debug, Clone)]
pub struct Handle {
    thread: Arc<ButlerThread>,
}

impl Handle {
    pub(super) fn new(thread: ButlerThread) -> Self {
        Self {
            thread: Arc::new(thread),
        }
    }

    /// A new stream of text with that name, to be opened and written to.
    pub fn stream(&self, name: &str) -> NewStream<StreamWriter> {
        NewStream::new(self.clone(), name)
    }

    /// Takes what is read from `fd` as a stream, and closes it at its end.
    ///
    /// # Errors
    ///
    /// If the name was used before or its namespace is drained, if nobody can
    /// read a stream of bytes from `fd`, and if the butler has ended. `fd` is
    /// in the error.
    ///
    /// # Panics
    ///
    /// If the butler's thread does, by a fault of its own, while it has `fd`.
    pub fn attach(
        &self,
        fd: impl Into<OwnedFd>,
        properties: &StreamProperties,
    ) -> Result<(), AddStreamError> {
        // What nobody has taken is taken back.
        let given = Arc::new(Mutex::new(Some(fd.into())));
        let (taken, properties) = (Arc::clone(&given), properties.clone());
        let added = self.thread.ask(move |here| {
            let fd = match here.butler.is_over() {
                true => None,
                false => take(&taken),
            };
            fd.map(|fd| here.butler.add_stream(fd, &properties))
        });
        added.ok().flatten().unwrap_or_else(|| {
            let fd = take(&given).expect("the butler's thread has not panicked over it");
            let reason = AddStreamReason::Ended;
            Err(AddStreamError { fd, reason })
        })
    }

    /// Takes the streams of everybody who connects to `server`.
    ///
    /// # Errors
    ///
    /// If the butler has ended. Then nobody listens any more.
    pub fn listen(&self, server: StreamServer) -> Result<(), Ended> {
        let listened = self.thread.ask(move |here| match here.butler.is_over() {
            true => Err(Ended),
            false => {
                here.butler.add_stream_server(server);
                Ok(())
            }
        });
        listened?
    }

    /// Shows what the streams that `selector` selects carry: those that are
    /// opened from now on. Any number of watchers may look at one stream.
    pub fn watch(&self, selector: impl Into<Selector>, watch: Watch) -> Watcher {
        let mut selector = selector.into();
        let selects = Box::new(move |descriptor: &_| selector.selects(descriptor));
        let receiver = self.thread.ask(|here| here.butler.watch(selects));
        Watcher::new(receiver.ok(), watch)
    }

    /// `callback` is asked about each new stream, on the butler's thread. The
    /// first callback that returns one watches the stream, there too: it gets
    /// each entry, and `None` once at the stream's end. `wrap` and all else is
    /// as with
    /// [`Butler::add_stream_registration_callback`](crate::Butler::add_stream_registration_callback).
    ///
    /// While a callback runs, the butler does nothing else. It may use handles
    /// of the butler, but must not wait for a [`Reply`], nor write into a
    /// stream of the butler more than fits in a socket.
    ///
    /// # Errors
    ///
    /// If the butler has ended.
    pub fn add_stream_registration_callback(
        &self,
        callback: SendRegistrationCallback,
        wrap: bool,
    ) -> Result<(), Ended> {
        self.thread
            .ask(move |here| here.butler.add_stream_registration_callback(callback, wrap))
    }

    /// From now on refuses new streams in the namespace, and waits until those
    /// that are open have ended. The answer is the names of those still open
    /// after `deadline`, sorted. The empty namespace is everything.
    ///
    /// If the reply is dropped the namespace stays as it is.
    pub fn drain(
        &self,
        namespace: &Namespace,
        deadline: Duration,
    ) -> Reply<Result<Vec<StreamName>, Ended>> {
        let (mut tell, drained) = oneshot::channel();
        let namespace = namespace.clone();
        self.thread.order(move |here| {
            let butler = here.butler.clone();
            // At once: whoever has been answered after this finds it so.
            butler.close_namespace(&namespace);
            spawn_local(async move {
                tokio::select! {
                    open = butler.drain_namespace(&namespace, deadline) => {
                        // Who asked may have gone at this moment.
                        let _ = tell.send(open);
                    }
                    () = tell.closed() => {}
                }
            });
        });
        Reply::new(async move { drained.await.map_err(|_| Ended) })
    }

    /// All stream names ever registered, sorted.
    ///
    /// # Errors
    ///
    /// If the butler's thread has panicked: also a butler that has ended
    /// answers.
    pub fn streams(&self) -> Result<Vec<StreamName>, Ended> {
        self.thread.ask(|here| here.butler.streams())
    }

    /// What the butler has done so far.
    ///
    /// # Errors
    ///
    /// If the butler's thread has panicked: also a butler that has ended
    /// answers.
    pub fn snapshot(&self) -> Result<Snapshot, Ended> {
        self.thread.ask(|here| here.butler.snapshot())
    }

    /// From now on the butler that is waited for ends when no stream is open.
    pub fn activate(&self) {
        self.thread.order(|here| here.butler.activate());
    }

    /// Waits until the butler is [activated](Self::activate) and no stream is
    /// open any more, or it is told to end; until all is delivered. The answer
    /// is how it went. If the reply is dropped, nobody waits.
    ///
    /// # Errors
    ///
    /// If the butler itself failed. What was lost is no error, but in the
    /// report.
    pub fn wait(&self) -> Reply<Result<Report, Error>> {
        self.thread.end(false, |_| {})
    }

    /// Ends the butler: whoever waits to be accepted is still taken, nobody
    /// after them. Streams that are still open after `grace` are ended, with
    /// all that was written by then. What the output has not taken by
    /// [`Config::flush_timeout`](crate::Config::flush_timeout) after that is
    /// lost. The answer is how it went. All this happens whether or not
    /// somebody waits for it.
    ///
    /// # Errors
    ///
    /// If the butler itself failed. What was lost is no error, but in the
    /// report.
    pub fn shutdown(&self, grace: Duration) -> Reply<Result<Report, Error>> {
        self.thread.end(true, move |butler| butler.shutdown(grace))
    }

    /// Ends the butler now: what has been written is read, and what the output
    /// takes of it without being waited for is delivered. The rest is lost,
    /// and in the report.
    ///
    /// # Errors
    ///
    /// If the butler itself failed.
    pub fn abort(&self) -> Reply<Result<Report, Error>> {
        self.thread.end(true, |butler| butler.abort())
    }

    /// What is buffered leaves now, however young it is, and from now on all
    /// leaves as it is read.
    pub fn stop_buffering(&self) {
        self.thread.order(|here| here.butler.stop_buffering());
    }
}

fn take(given: &Mutex<Option<OwnedFd>>) -> Option<OwnedFd> {
    given.lock().unwrap_or_else(PoisonError::into_inner).take()
}
