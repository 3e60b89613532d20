//! The butler as a library: streams in, bundles out.

mod engine;
mod hooks;
mod opening;
mod report;
mod sending;
mod snapshot;

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_local;

use crate::config::ConfigError;
use crate::core::{Core, StreamRefused};
use crate::edge::clock;
use crate::edge::driver::{Driver, Onlooker};
use crate::edge::listener::StreamServer;
use crate::edge::runtime::{self, IoMode, StartError};
use crate::edge::source::{self, UnfitSource};
use crate::edge::system::System;
use crate::edge::tee::{Screen, Tee};
#[cfg(feature = "logdog")]
use crate::output::logdog::RegistrationError;
use crate::output::spool::SpoolError;
use crate::watch::queue::{Receiver, queue};
use crate::wire::descriptor::StreamProperties;
use crate::wire::name::{Namespace, StreamName};
use engine::{Engine, Failure};
pub use hooks::{ChunkCallback, RegistrationCallback};
pub use report::{Loss, Report};
pub use sending::{SendConfig, SendReport, Sending};
pub use snapshot::{Dropped, Quantiles, Snapshot};

/// Why a butler can't start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration is not valid.
    #[error("the configuration")]
    Config(#[source] ConfigError),
    /// The output can't be opened.
    #[error("the output")]
    Output(#[source] io::Error),
    /// The spool can't be had.
    #[error("the spool")]
    Spool(#[source] SpoolError),
    /// The prefix is not registered, and won't be.
    #[cfg(feature = "logdog")]
    #[error("the logdog output")]
    Registration(#[source] RegistrationError),
    /// The kernel does not let us use io_uring: it needs Linux 6.1, and a
    /// container whose profile allows `io_uring_setup`.
    #[error("io_uring is not available")]
    IoUring(#[source] io::Error),
    /// The kernel has no epoll set for us.
    #[error("epoll")]
    Epoll(#[source] io::Error),
    /// There is no runtime to be had.
    #[error("the runtime")]
    Runtime(#[source] io::Error),
    /// The system has no thread for the butler.
    #[error("a thread for the butler")]
    Thread(#[source] io::Error),
    /// A fault of butler's own: its thread is gone, and with it what it had
    /// not delivered.
    #[error("the butler's thread has panicked")]
    Panicked,
    /// The kernel refused what must work to read streams. What was accepted by
    /// then is delivered or reported.
    #[error("reading streams")]
    Reading(#[source] Arc<io::Error>),
}

/// A stream was not added. The descriptor is given back.
#[derive(Debug)]
#[non_exhaustive]
pub struct AddStreamError {
    /// What was to be the stream.
    pub fd: OwnedFd,
    /// Why it is not.
    pub reason: AddStreamReason,
}

/// Why a stream was not added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddStreamReason {
    /// Its name can't be used, or not any more.
    #[error(transparent)]
    Refused(StreamRefused),
    /// Nobody can read a stream of bytes from the descriptor.
    #[error("it can't be a stream")]
    Unfit(#[source] UnfitSource),
    /// The butler has ended.
    #[error("the butler has ended")]
    Ended,
}

impl fmt::Display for AddStreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl std::error::Error for AddStreamError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.reason.source()
    }
}

/// Runs `future` on the runtime that a [`Butler`] needs: one thread, with
/// io_uring or else epoll, timers, signals and processes.
///
/// # Errors
///
/// If there is no runtime to be had.
pub fn start<F: Future>(future: F) -> Result<F::Output, Error> {
    start_with(IoMode::Auto, future)
}

/// The same, with the choice between io_uring and epoll.
///
/// # Errors
///
/// With [`IoMode::Uring`], if the kernel does not let us use io_uring; and if
/// there is no runtime to be had.
pub fn start_with<F: Future>(mode: IoMode, future: F) -> Result<F::Output, Error> {
    runtime::run(mode, future).map_err(|error| match error {
        StartError::Uring(error) => Error::IoUring(error),
        StartError::Runtime(error) => Error::Runtime(error),
    })
}

/// Takes streams and delivers them to its output.
///
/// It lives on the thread that made it, inside [`start`]. Clones are handles
/// to the same butler.
#[derive(Debug, Clone)]
pub struct Butler {
    engine: Rc<Engine>,
    shared: Rc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    activated: std::cell::Cell<bool>,
    /// Somebody waits for the end.
    awaited: std::cell::Cell<bool>,
}

impl Butler {
    fn begin(driver: Driver<System>) -> Self {
        let engine = Engine::new(driver);
        let driver = spawn_local(Rc::clone(&engine).run_driver());
        let watched = Rc::clone(&engine);
        spawn_local(async move {
            if driver.await.is_err_and(|error| error.is_panic()) {
                watched.panicked();
            }
        });
        Self {
            engine,
            shared: Rc::default(),
        }
    }

    /// Takes what is read from `fd` as a stream, and closes it at its end.
    ///
    /// # Errors
    ///
    /// If the name was used before or its namespace is drained; `fd` is in
    /// the error.
    pub fn add_stream(
        &self,
        fd: OwnedFd,
        properties: &StreamProperties,
    ) -> Result<(), AddStreamError> {
        self.add(fd, properties, None)
    }

    /// The same, and shows what is read on `copy_to` as well. The stream is
    /// read no faster than `copy_to` takes it; if that fails, the stream goes
    /// on without.
    ///
    /// The future ends when all is shown, or nothing more can be.
    pub fn add_stream_with_copy(
        &self,
        fd: OwnedFd,
        properties: &StreamProperties,
        copy_to: OwnedFd,
    ) -> Result<impl Future<Output = ()> + use<>, AddStreamError> {
        let screen = self.screen();
        let tee = screen.add(properties.name.as_str(), copy_to);
        let tee = tee.inspect_err(|error| {
            log::warn!("stream {} is not shown: {error}", properties.name);
        });
        self.add(fd, properties, tee.ok())?;
        let task = spawn_local(screen.show());
        Ok(async move {
            // It ends by itself; that it panicked has been told on stderr.
            let _ = task.await;
        })
    }

    /// A place where streams are shown.
    pub(crate) fn screen(&self) -> Rc<Screen> {
        let engine = Rc::clone(&self.engine);
        Screen::new(move || engine.wake_driver.notify_one())
    }

    /// Takes a stream, and shows it too if there is a `tee`.
    pub(crate) fn add(
        &self,
        fd: OwnedFd,
        properties: &StreamProperties,
        tee: Option<Tee>,
    ) -> Result<(), AddStreamError> {
        let by = match source::of(&fd) {
            Ok(by) => by,
            Err(unfit) => {
                let reason = AddStreamReason::Unfit(unfit);
                return Err(AddStreamError { fd, reason });
            }
        };
        match self.engine.open(&clock::now(), properties) {
            Err(refused) => {
                let reason = AddStreamReason::Refused(refused);
                Err(AddStreamError { fd, reason })
            }
            Ok(stream) => {
                let onlooker = tee.map(|tee| Rc::new(tee) as Rc<dyn Onlooker>);
                self.engine.attach(stream, (fd, by), onlooker);
                Ok(())
            }
        }
    }

    /// Takes the streams of everybody who connects to `server`.
    pub fn add_stream_server(&self, server: StreamServer) {
        self.engine.listen(server);
    }

    /// From now on [`wait`](Self::wait) ends when no stream is open.
    pub fn activate(&self) {
        self.shared.activated.set(true);
        self.end_when_idle();
    }

    /// It ends by itself only once somebody waits for that, and has said that no
    /// more streams come.
    fn end_when_idle(&self) {
        if self.shared.activated.get() && self.shared.awaited.get() {
            self.engine
                .tell(|machine, now| machine.wait_for_the_end(now));
        }
    }

    /// All stream names ever registered, sorted.
    pub fn streams(&self) -> Vec<StreamName> {
        self.engine.core(Core::names)
    }

    /// `callback` is asked about each new stream. The first callback that
    /// returns one watches the stream: it gets each LogEntry, and `None` once
    /// at the stream's end, also of a stream without data.
    ///
    /// With `wrap` a watcher sees text in whole lines only (the last may lack
    /// its end) and datagrams whole only (one that is never completed is not
    /// seen); the time offset and prefix index are then 0, and stream indices
    /// and sequences count what is seen. What is larger than 16 MiB comes in
    /// parts, as does what there is no memory for: what is not whole yet counts
    /// as buffered, and may be half of `max_buffered`. Binary streams are shown
    /// as they are.
    ///
    /// Callbacks may use the butler. What they bring about for callbacks, a new
    /// stream or another entry, is told when they have returned. One that panics
    /// is not called again, and the stream goes on.
    ///
    /// A stream that nobody watches pays nothing for this.
    pub fn add_stream_registration_callback(&self, callback: RegistrationCallback, wrap: bool) {
        self.engine.hooks.add(callback, wrap);
        self.engine.ask_about_streams();
    }

    /// Puts all that is seen of the streams that are selected, from now on
    /// when they are opened, in a queue.
    pub(crate) fn watch(&self, selects: hooks::Selects) -> Receiver {
        let (queue, receiver) = queue(self.engine.hooks.budget());
        if !self.is_over() {
            self.engine.hooks.add_queue(selects, queue);
            self.engine.ask_about_streams();
        }
        receiver
    }

    /// No stream is taken any more.
    pub(crate) fn is_over(&self) -> bool {
        self.engine.life().is_flushing()
    }

    /// From now on refuses new streams in the namespace, and waits until
    /// those that are open have ended. Returns the names of those still open
    /// after `timeout`. The empty namespace is everything.
    pub async fn drain_namespace(
        &self,
        namespace: &Namespace,
        timeout: Duration,
    ) -> Vec<StreamName> {
        self.close_namespace(namespace);
        let open = || {
            self.engine.core(|core| {
                let keys = core.open_in(namespace).into_iter();
                let mut names: Vec<_> = keys.filter_map(|key| core.name(key).cloned()).collect();
                names.sort_unstable();
                names
            })
        };
        let drained = self.engine.until(|_| open().is_empty());
        // That it timed out shows in what is open.
        let _ = tokio::time::timeout(timeout, drained).await;
        open()
    }

    /// From now on refuses new streams in the namespace.
    pub(crate) fn close_namespace(&self, namespace: &Namespace) {
        self.engine
            .tell(|machine, _| machine.core_mut().drain(namespace.clone()));
    }

    /// Begins to end: whoever waits to be accepted is still taken, nobody
    /// after them. Streams that are still open after `grace` are ended, with
    /// all that their clients have written by then. What the output has not
    /// taken by the flush timeout after that is lost, whether it was read or
    /// could not be read for want of room.
    pub fn shutdown(&self, grace: Duration) {
        self.shared.activated.set(true);
        self.engine
            .tell(|machine, now| machine.shut_down(now, grace));
    }

    /// What is buffered leaves now, however young it is, and from now on all
    /// leaves as it is read: whoever ends us may soon do it by force.
    pub fn stop_buffering(&self) {
        self.engine.tell(|machine, now| machine.stop_buffering(now));
    }

    /// Ends now: what has been written is read, and what the output takes of
    /// it without being waited for is delivered. The rest is lost, and
    /// reported by [`wait`](Self::wait).
    pub fn abort(&self) {
        self.engine.tell(|machine, now| machine.abort(now));
    }

    /// What it has done so far.
    pub fn snapshot(&self) -> Snapshot {
        self.engine.count_outside();
        self.engine.core(Snapshot::new)
    }

    /// The same as one JSON object, as the command writes it.
    pub fn statistics(&self) -> serde_json::Value {
        self.snapshot().to_json()
    }

    /// Waits until the butler is activated and no stream is open any more,
    /// takes what still waits to be accepted, delivers all, and says how it
    /// went.
    ///
    /// # Errors
    ///
    /// If the butler itself failed. What was lost is no error, but in the
    /// report.
    pub async fn wait(&self) -> Result<Report, Error> {
        self.shared.awaited.set(true);
        self.end_when_idle();
        let engine = &self.engine;
        engine.until(Engine::is_over).await;
        engine.hooks.forget();
        match engine.failure() {
            None => {}
            Some(Failure::Reading(error)) => return Err(Error::Reading(error)),
            Some(Failure::Panicked) => return Err(Error::Panicked),
        }
        engine.count_outside();
        Ok(engine.machine(|machine| {
            let mut report = Report::new(machine.core());
            report.cut = machine.cut().to_vec();
            report.left = engine.left();
            report
        }))
    }
}
