//! The butler as a library: streams in, bundles out.

mod engine;
mod hooks;
#[cfg(feature = "logdog")]
mod publishing;
mod registrations;
mod report;
mod snapshot;

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::spawn_local;
use tokio::time::Instant;

use crate::config::{Config, ConfigError};
use crate::core::{ClientKey, Core, CoreConfig, OpenError};
use crate::delivery::message::Identity;
use crate::delivery::window::Capacity;
use crate::edge::clock;
use crate::edge::driver::Edge;
use crate::edge::listener::StreamServer;
use crate::edge::runtime::{self, IoMode, Kind, StartError};
use crate::edge::source::{self, UnfitSource};
use crate::edge::tee::{Screen, Tee};
use crate::limits::{DEADLINE_MARGIN, HEADER_GRACE, LAST_OFFER_STEP};
#[cfg(feature = "logdog")]
use crate::output::Output;
#[cfg(feature = "logdog")]
use crate::output::logdog::{self, LogdogSink, RegistrationError};
use crate::output::sink::AnySink;
use crate::secret::Secret;
use crate::watch::queue::{Receiver, queue};
use crate::wire::descriptor::StreamProperties;
use crate::wire::name::{Namespace, StreamName};
use engine::Engine;
pub use hooks::{ChunkCallback, RegistrationCallback};
pub use report::{Loss, Report};
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
    Refused(OpenError),
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

/// The edge of a butler on this thread.
fn edge() -> Result<Edge, Error> {
    Edge::new().map_err(|error| match runtime::kind() {
        Kind::Uring => Error::IoUring(error),
        Kind::Epoll => Error::Epoll(error),
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

/// Ends some connections; returns those that can end at once.
type EndSome = fn(&mut Edge) -> io::Result<Vec<ClientKey>>;

#[derive(Debug)]
struct Shared {
    /// Streams that were still open when their time was over.
    cut: std::cell::RefCell<Vec<StreamName>>,
    activated: std::cell::Cell<bool>,
    flush_timeout: Duration,
    /// When this process is killed.
    deadline: Option<SystemTime>,
}

impl Shared {
    /// As long as `time` from now on, or less: the process must not be killed
    /// before it has told what was lost.
    fn before_deadline(&self, time: Duration) -> Duration {
        let Some(deadline) = self.deadline else {
            return time;
        };
        let left = deadline
            .duration_since(SystemTime::now())
            .unwrap_or_default();
        time.min(left.saturating_sub(DEADLINE_MARGIN))
    }
}

fn core(config: &Config, secret: Secret, capacity: Capacity) -> Core {
    let age = match config.buffer_logs {
        true => config.max_buffer_age,
        false => Duration::ZERO,
    };
    let mut core = Core::new(CoreConfig {
        bundle_limits: config.output.bundle_limits(),
        text_in_lines: config.output.wants_lines(),
        identity: Identity {
            project: config.project.as_str().into(),
            prefix: config.prefix.as_str().into(),
            secret,
        },
        global_tags: config.global_tags.clone(),
        age_max_ns: u64::try_from(age.as_nanos()).unwrap_or(u64::MAX),
        buffered_max: config.max_buffered,
        stream_size_max: config.max_stream_size,
    });
    core.set_capacity(capacity);
    core
}

impl Butler {
    /// Opens the output and begins to work.
    ///
    /// # Errors
    ///
    /// If the configuration is not valid, the output can't be opened (one
    /// that must register a prefix first can't: see [`open`](Self::open)), or
    /// the kernel has no ring or epoll set for us.
    ///
    /// # Panics
    ///
    /// Outside of [`start`] and [`start_with`].
    pub fn new(config: Config) -> Result<Self, Error> {
        config.validate().map_err(Error::Config)?;
        let edge = edge()?;
        let sink = AnySink::open(&config.output).map_err(Error::Output)?;
        let engine = Engine::new(
            core(&config, Secret::default(), Capacity::ONE),
            edge,
            sink.health().clone(),
        );
        if sink.wants_registrations() {
            engine.registrations.want();
        }
        spawn_local(Rc::clone(&engine).run_output(sink));
        Ok(Self::begin(engine, &config, None))
    }

    /// The same for any output: one that must register a prefix does that
    /// first. It tries again what may work later, for up to 5 minutes;
    /// dropping the future ends it.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new), and if the prefix can't be registered.
    ///
    /// # Panics
    ///
    /// Outside of [`start`] and [`start_with`].
    pub async fn open(config: Config) -> Result<Self, Error> {
        #[cfg(feature = "logdog")]
        if let Output::Logdog(settings) = &config.output {
            config.validate().map_err(Error::Config)?;
            let edge = edge()?;
            let logdog::Session {
                sink,
                secret,
                deadline,
            } = logdog::connect(settings, &config.project, &config.prefix)
                .await
                .map_err(Error::Registration)?;
            let engine = Engine::new(
                core(&config, secret, LogdogSink::capacity(config.max_buffered)),
                edge,
                sink.health().clone(),
            );
            spawn_local(Rc::clone(&engine).run_publishing(sink));
            return Ok(Self::begin(engine, &config, deadline));
        }
        Self::new(config)
    }

    fn begin(engine: Rc<Engine>, config: &Config, deadline: Option<SystemTime>) -> Self {
        spawn_local(Rc::clone(&engine).run_edge());
        Self {
            engine,
            shared: Rc::new(Shared {
                cut: std::cell::RefCell::default(),
                activated: std::cell::Cell::new(false),
                flush_timeout: config.flush_timeout,
                deadline,
            }),
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
        Screen::new(move || engine.wake_edge.notify_one())
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
                if let Err(error) = self.engine.add_stream(fd, by, stream, tee) {
                    self.fail(error);
                }
                Ok(())
            }
        }
    }

    /// Takes the streams of everybody who connects to `server`.
    pub fn add_stream_server(&self, server: StreamServer) {
        let now_ns = clock::mono_ns();
        let added = self.engine.edge.borrow_mut().add_server(now_ns, server);
        if let Err(error) = added {
            self.fail(error);
        }
        self.engine.wake_edge.notify_one();
    }

    fn fail(&self, error: io::Error) {
        *self.engine.failure.borrow_mut() = Some(Arc::new(error));
        self.engine.changed.notify_waiters();
    }

    /// From now on [`wait`](Self::wait) ends when no stream is open.
    pub fn activate(&self) {
        self.shared.activated.set(true);
        self.engine.changed.notify_waiters();
    }

    /// All stream names ever registered, sorted.
    pub fn streams(&self) -> Vec<StreamName> {
        self.engine.core.borrow().names()
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
    }

    /// Puts all that is seen of the streams that are selected, from now on
    /// when they are opened, in a queue.
    pub(crate) fn watch(&self, selects: hooks::Selects) -> Receiver {
        let (queue, receiver) = queue(self.engine.hooks.budget());
        if !self.is_over() {
            self.engine.hooks.add_queue(selects, queue);
        }
        receiver
    }

    /// No stream is taken any more.
    pub(crate) fn is_over(&self) -> bool {
        self.engine.finished.get()
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
            let core = self.engine.core.borrow();
            let mut names: Vec<_> = core
                .open_in(namespace)
                .into_iter()
                .filter_map(|key| core.name(key).cloned())
                .collect();
            names.sort_unstable();
            names
        };
        let drained = self.engine.until(|_| open().is_empty());
        // That it timed out shows in what is open.
        let _ = tokio::time::timeout(timeout, drained).await;
        open()
    }

    /// From now on refuses new streams in the namespace.
    pub(crate) fn close_namespace(&self, namespace: &Namespace) {
        self.engine.core.borrow_mut().drain(namespace.clone());
    }

    /// Begins to end: whoever waits to be accepted is still taken, nobody
    /// after them. Streams that are still open after `grace` are ended, with
    /// all that their clients have written by then. What the output has not
    /// taken by the flush timeout after that is lost, whether it was read or
    /// could not be read for want of room.
    pub fn shutdown(&self, grace: Duration) {
        self.activate();
        self.stop_accepting();
        let butler = self.clone();
        spawn_local(async move {
            let begun = Instant::now();
            let shared = &butler.shared;
            let time = shared.before_deadline(grace + shared.flush_timeout);
            let waits = [
                (grace.min(HEADER_GRACE), Self::end_headers as fn(&Self)),
                (grace, Self::end_streams),
            ];
            for (wait, end_some) in waits {
                let ended = butler.engine.until(|engine| engine.finished.get());
                if tokio::time::timeout_at(begun + wait, ended).await.is_err() {
                    end_some(&butler);
                }
            }
            // While memory is full of what the output does not take, streams
            // can't be read to their end, and `wait` waits for that.
            let delivered = butler.engine.until(|engine| engine.output_done.get());
            if tokio::time::timeout_at(begun + time, delivered)
                .await
                .is_err()
            {
                butler.give_up_on_output(time);
            }
        });
    }

    fn stop_accepting(&self) {
        let stopped = self
            .engine
            .edge
            .borrow_mut()
            .stop_accepting(clock::mono_ns());
        if let Err(error) = stopped {
            self.fail(error);
        }
        self.engine.wake_edge.notify_one();
        self.engine.changed.notify_waiters();
    }

    fn end_headers(&self) {
        self.end_connections(Edge::end_headers);
    }

    /// Ends the streams that are still open, and notes which of them are cut.
    fn end_streams(&self) {
        let streams = self.engine.edge.borrow().still_written();
        let core = self.engine.core.borrow();
        let names = streams
            .into_iter()
            .filter_map(|key| core.name(key).cloned());
        *self.shared.cut.borrow_mut() = names.collect();
        drop(core);
        self.end_all();
    }

    /// All streams are read to their end, whoever watches them.
    fn end_all(&self) {
        self.engine.hooks.budget().end();
        self.end_connections(Edge::end_all);
    }

    fn end_connections(&self, end_some: EndSome) {
        let ends = end_some(&mut self.engine.edge.borrow_mut());
        match ends {
            Ok(ends) => {
                for key in ends {
                    self.engine.end(&clock::now(), key, None);
                }
            }
            Err(error) => self.fail(error),
        }
        self.engine.wake_edge.notify_one();
    }

    /// What is buffered leaves now, however young it is, and from now on all
    /// leaves as it is read: whoever ends us may soon do it by force.
    pub fn stop_buffering(&self) {
        self.engine.core.borrow_mut().stop_buffering(&clock::now());
        self.engine.dispatch();
        self.engine.wake_output.notify_one();
        self.engine.wake_edge.notify_one();
    }

    /// Ends now: what has been written is read, and what the output takes of
    /// it without being waited for is delivered. The rest is lost, and
    /// reported by [`wait`](Self::wait).
    pub fn abort(&self) {
        self.stop_buffering();
        self.engine.abort();
    }

    fn give_up_on_output(&self, time: Duration) {
        if self.engine.aborted().is_none() {
            log::error!("the output did not take everything within {time:?}");
            self.abort();
        }
    }

    /// What it has done so far.
    pub fn snapshot(&self) -> Snapshot {
        self.engine.count_outside();
        Snapshot::new(&self.engine.core.borrow())
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
        let engine = &self.engine;
        let failed = |engine: &Engine| engine.failure.borrow().is_some();
        let over = |engine: &Engine| engine.aborted().is_some() || failed(engine);
        engine
            .until(|engine| {
                let idle = engine.edge.borrow().connections() == 0;
                over(engine) || (self.shared.activated.get() && idle)
            })
            .await;
        let closed = |engine: &Engine| {
            let edge = engine.edge.borrow();
            edge.connections() == 0 && edge.listeners() == 0
        };
        if !over(engine) {
            self.stop_accepting();
            engine.until(|engine| over(engine) || closed(engine)).await;
        }
        if let Some(aborted) = engine.aborted()
            && !failed(engine)
        {
            self.stop_accepting();
            self.end_all();
            let read = engine.until(|engine| closed(engine) || failed(engine));
            // Those that can't be read to their end show below.
            let _ = tokio::time::timeout_at(aborted + LAST_OFFER_STEP, read).await;
        }
        if over(engine) {
            self.abandon_streams();
        }
        engine.core.borrow_mut().flush();
        engine.finished.set(true);
        engine.wake_output.notify_one();
        engine.changed.notify_waiters();

        let done = |engine: &Engine| engine.output_done.get();
        let flushed = engine.until(done);
        let flush_time = self.shared.before_deadline(self.shared.flush_timeout);
        if tokio::time::timeout(flush_time, flushed).await.is_err() {
            self.give_up_on_output(flush_time);
            engine.until(done).await;
        }
        engine.hooks.forget();
        match engine.failure.borrow().clone() {
            Some(error) => Err(Error::Reading(error)),
            None => {
                engine.count_outside();
                let mut report = Report::new(&engine.core.borrow());
                report.cut = self.shared.cut.borrow().clone();
                Ok(report)
            }
        }
    }

    /// What was read of streams that are still open is accounted for, what
    /// was not is left unread.
    fn abandon_streams(&self) {
        self.engine.abandoned.set(true);
        self.engine.wake_edge.notify_one();
        let now = clock::now();
        let abandoned = self.engine.edge.borrow_mut().abandon();
        match abandoned {
            Ok(streams) => {
                let mut core = self.engine.core.borrow_mut();
                for stream in streams {
                    core.end(&now, stream);
                }
            }
            Err(error) => self.fail(error),
        }
        self.engine.dispatch();
        self.engine.wake_edge.notify_one();
    }
}
