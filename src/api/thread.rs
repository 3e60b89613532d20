//! The butler's thread.
//!
//! It does what its handles ask for, in the order of their asking, until the
//! last of them is gone; also when the butler is over, as its streams and
//! figures can still be asked for. What is asked for on the thread itself, in
//! a callback, is done at once.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::spawn_local;

use super::handle::Handle;
use super::reply::{Reply, block_on};
use crate::butler::{Butler, Error, Report, start_with};
use crate::chain::Chain;
use crate::config::Config;
use crate::edge::runtime::IoMode;

/// There is no butler any more that could do what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the butler has ended")]
pub struct Ended;

/// What is done on the butler's thread.
type Order = Box<dyn FnOnce(&Here) + Send>;

/// Who is told that the butler has started.
type TellStart = oneshot::Sender<Result<(), Error>>;

/// Who is told how the butler ended.
type TellEnd = oneshot::Sender<Result<Report, Error>>;

/// The butler of this thread.
#[derive(Debug, Clone)]
pub(super) struct Here {
    pub butler: Butler,
    /// Somebody knows how it ended.
    told: Rc<Cell<bool>>,
}

thread_local! {
    static HERE: RefCell<Option<Here>> = const { RefCell::new(None) };
}

/// Is this the thread of a butler?
pub(super) fn is_butlers() -> bool {
    HERE.with_borrow(Option::is_some)
}

/// A butler's thread, as others see it. Dropped, it ends the butler.
#[derive(Debug)]
pub(super) struct ButlerThread {
    orders: Option<UnboundedSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

/// Starts a butler on a new thread.
pub(super) fn start(config: Config, mode: IoMode) -> Reply<Result<Handle, Error>> {
    let (orders, todo) = unbounded_channel();
    let (tell, started) = oneshot::channel();
    let thread = thread::Builder::new()
        .name("butler".into())
        .spawn(move || run(config, mode, todo, tell));
    let handle = thread.map(|thread| {
        Handle::new(ButlerThread {
            orders: Some(orders),
            thread: Some(thread),
        })
    });
    Reply::new(async move {
        let handle = handle.map_err(Error::Thread)?;
        started.await.unwrap_or(Err(Error::Panicked))?;
        Ok(handle)
    })
}

fn run(config: Config, mode: IoMode, todo: UnboundedReceiver<Order>, tell: TellStart) {
    let mut tell = Some(tell);
    let ran = start_with(mode, serve(config, todo, &mut tell));
    if let (Err(error), Some(tell)) = (ran, tell) {
        // Whoever waits no more needs no butler.
        let _ = tell.send(Err(error));
    }
}

async fn serve(config: Config, mut todo: UnboundedReceiver<Order>, tell: &mut Option<TellStart>) {
    let opened = tokio::select! {
        opened = Butler::open(config) => opened,
        // Nobody waits for it any more.
        _ = todo.recv() => return,
    };
    let (butler, started) = match opened {
        Ok(butler) => (Some(butler), Ok(())),
        Err(error) => (None, Err(error)),
    };
    if let Some(tell) = tell.take() {
        let _ = tell.send(started);
    }
    let Some(butler) = butler else {
        return;
    };
    let here = Here {
        butler,
        told: Rc::default(),
    };
    let _put = Put::here(here.clone());
    while let Some(order) = todo.recv().await {
        order(&here);
    }
    if !here.told.get() {
        here.butler.shutdown(Duration::ZERO);
        log_end(here.butler.wait().await);
    }
}

/// While it lives this thread is that of the butler.
struct Put;

impl Put {
    fn here(here: Here) -> Self {
        HERE.set(Some(here));
        Self
    }
}

impl Drop for Put {
    fn drop(&mut self) {
        HERE.set(None);
    }
}

/// Nobody else is told.
fn log_end(ended: Result<Report, Error>) {
    let report = match ended {
        Ok(report) => report,
        Err(error) => return log::error!("the butler has failed: {}", Chain(&error)),
    };
    for stream in &report.cut {
        log::warn!("stream {stream} was still open and ends with its butler");
    }
    for loss in &report.losses {
        log::error!("{loss}");
    }
    if let Some(summary) = report.summary() {
        log::error!("{summary}");
    }
    log::info!("statistics: {}", report.snapshot);
}

impl Here {
    /// Tells how the butler ended, when it has.
    pub fn tell_end(&self, mut tell: TellEnd, goes_on: bool) {
        let here = self.clone();
        spawn_local(async move {
            let dropped = async {
                match goes_on {
                    true => std::future::pending().await,
                    false => tell.closed().await,
                }
            };
            let ended = tokio::select! {
                ended = here.butler.wait() => ended,
                () = dropped => return,
            };
            if tell.send(ended).is_ok() {
                here.told.set(true);
            }
        });
    }
}

impl ButlerThread {
    /// Has `order` done on the butler's thread, and gives what it returned.
    pub fn ask<R: Send + 'static>(
        &self,
        order: impl FnOnce(&Here) -> R + Send + 'static,
    ) -> Result<R, Ended> {
        if let Some(here) = self.here() {
            return Ok(order(&here));
        }
        let (tell, told) = oneshot::channel();
        self.order(move |here| {
            // Who asks waits for it.
            let _ = tell.send(order(here));
        });
        block_on(told).map_err(|_| Ended)
    }

    /// Has `order` done on the butler's thread. If there is no butler it is
    /// dropped.
    pub fn order(&self, order: impl FnOnce(&Here) + Send + 'static) {
        match (self.here(), &self.orders) {
            (Some(here), _) => order(&here),
            // That there is no butler is seen by what is dropped.
            (None, Some(orders)) => drop(orders.send(Box::new(order))),
            (None, None) => {}
        }
    }

    /// Tells how the butler ended, when it has, after `begin` was done.
    pub fn end(
        &self,
        goes_on: bool,
        begin: impl FnOnce(&Butler) + Send + 'static,
    ) -> Reply<Result<Report, Error>> {
        let (tell, ended) = oneshot::channel();
        self.order(move |here| {
            begin(&here.butler);
            here.tell_end(tell, goes_on);
        });
        Reply::new(async move { ended.await.unwrap_or(Err(Error::Panicked)) })
    }

    /// The butler, if this is its thread.
    fn here(&self) -> Option<Here> {
        let thread = self.thread.as_ref()?;
        match thread.thread().id() == thread::current().id() {
            true => HERE.with_borrow(Clone::clone),
            false => None,
        }
    }
}

impl Drop for ButlerThread {
    fn drop(&mut self) {
        self.orders = None;
        let Some(thread) = self.thread.take() else {
            return;
        };
        let on_it = thread.thread().id() == thread::current().id();
        if on_it || tokio::runtime::Handle::try_current().is_ok() {
            log::debug!("the last handle of a butler is gone; it ends by itself");
        } else if thread.join().is_err() {
            log::error!("the butler's thread has panicked");
        }
    }
}
