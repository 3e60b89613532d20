//! The runtime: tokio on one thread, with a ring of io_uring beneath it or
//! without.
//!
//! Which of the two it is, is decided once, when it starts. What does its I/O
//! in two ways asks [`kind`].

use std::cell::{Cell, RefCell};
use std::io;
use std::str::FromStr;

use tokio::task::LocalSet;

use super::epoll::Epoll;
use super::rights;
use super::ring::Ring;
use super::system::{Kernel, System};

/// How a butler works with the kernel.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum IoMode {
    /// With io_uring if the kernel lets us and can keep clients from passing
    /// descriptors (Linux 6.16), and with epoll if not.
    #[default]
    Auto,
    /// With io_uring: it needs Linux 6.1, and containers often forbid it. Before
    /// Linux 6.16 a client that passes descriptors may hold up all others.
    Uring,
    /// With epoll and plain calls; io_uring is not touched.
    Epoll,
}

/// The name of an [`IoMode`] that there is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it must be auto, uring or epoll")]
#[non_exhaustive]
pub struct UnknownIoMode;

impl FromStr for IoMode {
    type Err = UnknownIoMode;

    /// Of `auto`, `uring` or `epoll`.
    fn from_str(name: &str) -> Result<Self, UnknownIoMode> {
        match name {
            "auto" => Ok(Self::Auto),
            "uring" => Ok(Self::Uring),
            "epoll" => Ok(Self::Epoll),
            _ => Err(UnknownIoMode),
        }
    }
}

/// What [`IoMode`] has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Uring,
    Epoll,
}

/// A runtime could not be made.
#[derive(Debug)]
pub(crate) enum StartError {
    Uring(io::Error),
    Runtime(io::Error),
}

thread_local! {
    /// What runs on this thread.
    static RUNNING: Cell<Option<Backend>> = const { Cell::new(None) };
    /// The ring that showed that there can be rings: for the first who needs
    /// one.
    static FIRST_RING: RefCell<Option<Box<Ring>>> = const { RefCell::new(None) };
}

/// What runs on this thread.
///
/// # Panics
///
/// Outside of [`run`].
pub(crate) fn kind() -> Backend {
    RUNNING.get().expect("a butler lives inside butler::start")
}

/// The I/O of an edge on this thread.
pub(crate) fn system() -> io::Result<System> {
    Ok(System::new(match kind() {
        Backend::Epoll => Kernel::Epoll(Epoll::new()?),
        Backend::Uring => match FIRST_RING.take() {
            Some(ring) => Kernel::Ring(ring),
            None => Kernel::Ring(Box::new(Ring::new()?)),
        },
    }))
}

/// Runs `future` to its end.
pub(crate) fn run<F: Future>(mode: IoMode, future: F) -> Result<F::Output, StartError> {
    let rings = match mode {
        IoMode::Epoll => None,
        IoMode::Uring => {
            let rings = rings().map_err(StartError::Uring)?;
            if let Err(error) = keeps_descriptors_away() {
                log::warn!("{error}: a client that does so may hold up all others");
            }
            Some(rings)
        }
        // Nothing is wrong: with epoll all is the same, and costs about as much.
        IoMode::Auto => match keeps_descriptors_away().and_then(|()| rings()) {
            Ok(rings) => Some(rings),
            Err(error) => {
                log::info!("io_uring is not available ({error}); using epoll");
                None
            }
        },
    };
    match rings {
        Some((runtime, ring)) => {
            let _running = Running::new(Backend::Uring);
            FIRST_RING.set(Some(Box::new(ring)));
            Ok(runtime.block_on(future))
        }
        None => run_without_ring(future).map_err(StartError::Runtime),
    }
}

/// The kernel closes descriptors that a client passes and a ring does not take,
/// and we would wait for that, for as long as the client chose.
fn keeps_descriptors_away() -> io::Result<()> {
    match rights::can_be_refused()? {
        true => Ok(()),
        false => {
            let why = "this kernel can't keep clients from passing descriptors";
            Err(io::Error::new(io::ErrorKind::Unsupported, why))
        }
    }
}

/// All that a butler needs of io_uring, to see whether it can be had.
fn rings() -> io::Result<(tokio_uring::Runtime, Ring)> {
    let ring = Ring::new()?;
    let mut uring = tokio_uring::uring_builder();
    uring.setup_coop_taskrun();
    let mut builder = tokio_uring::builder();
    builder.entries(256).uring_builder(&uring);
    Ok((tokio_uring::Runtime::new(&builder)?, ring))
}

fn run_without_ring<F: Future>(future: F) -> io::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let _running = Running::new(Backend::Epoll);
    let tasks = LocalSet::new();
    let output = tasks.block_on(&runtime, future);
    drop(tasks);
    // A host name that is still looked up is not waited for.
    runtime.shutdown_background();
    Ok(output)
}

/// Something runs on this thread, until it is dropped.
struct Running;

impl Running {
    fn new(kind: Backend) -> Self {
        RUNNING.set(Some(kind));
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.set(None);
        FIRST_RING.set(None);
    }
}
