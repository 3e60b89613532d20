//! A copy of what a stream carries, for our own stdout or stderr.

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use tokio::sync::Notify;

use super::writer::{AT_POSITION, Writer};

/// A stream is not read while so much of its copy is not shown yet.
const FULL: usize = 256 * 1024;

/// The copy waits here until the terminal, or whatever it is, takes it.
#[derive(Debug)]
pub(crate) struct Tee {
    waiting: RefCell<Vec<u8>>,
    more: Notify,
    /// No more comes.
    closed: Cell<bool>,
    /// Nobody takes it any more.
    broken: Cell<bool>,
}

impl Tee {
    pub fn new() -> Rc<Self> {
        Rc::new(Self {
            waiting: RefCell::default(),
            more: Notify::new(),
            closed: Cell::new(false),
            broken: Cell::new(false),
        })
    }

    pub fn push(&self, data: &[u8]) {
        if !self.broken.get() {
            self.waiting.borrow_mut().extend_from_slice(data);
            self.more.notify_one();
        }
    }

    pub fn is_full(&self) -> bool {
        self.waiting.borrow().len() >= FULL
    }

    /// The stream has ended.
    pub fn close(&self) {
        self.closed.set(true);
        self.more.notify_one();
    }

    /// Writes the copy to `fd` until the stream has ended; `taken` is called
    /// whenever there is room again. Ends early when nobody reads it.
    pub async fn write_to(&self, fd: OwnedFd, taken: impl Fn()) {
        let writer = match Writer::shared(fd.into()) {
            Ok(writer) => writer,
            Err(error) => return self.fails(&error, taken),
        };
        loop {
            let data = self.waiting.take();
            if data.is_empty() {
                if self.closed.get() {
                    return;
                }
                self.more.notified().await;
                continue;
            }
            // From where the descriptor stands, which others may share.
            let mut rest = bytes::Bytes::from(data);
            while !rest.is_empty() {
                let (result, _) = writer.writev_at(vec![rest.clone()], AT_POSITION).await;
                match result {
                    Ok(written) => rest = rest.slice(written..),
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => return self.fails(&error, taken),
                }
            }
            taken();
        }
    }

    fn fails(&self, error: &std::io::Error, taken: impl Fn()) {
        log::warn!("can't show a stream any more: {error}");
        self.broken.set(true);
        self.waiting.take();
        taken();
    }
}
