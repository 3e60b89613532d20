//! Copies of what streams carry, for our own stdout and stderr.
//!
//! A [`Screen`] is one place where copies go: a terminal, a pipe, a file. Its
//! task writes them as fast as they are taken there, and its streams are read
//! no faster, as with tee(1). Who has gone away is not written to any more; the
//! streams go on.

mod lines;

use std::cell::{Cell, RefCell};
use std::future;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

use self::lines::{Lines, Next, Source};
use super::clock;
use super::driver::Onlooker;
use super::writer::Writer;
use crate::limits::{SHOWN_PIECE, SHOWN_PIECE_AT_END, SHOWN_WAITING_AT_END, SHOWN_WAITING_MAX};

/// See the module.
pub(crate) struct Screen {
    lines: RefCell<Lines>,
    streams: RefCell<Vec<Stream>>,
    /// There is more to show, or less to wait for.
    changed: Notify,
    /// More may be read.
    has_room: Box<dyn Fn()>,
    /// The command has ended.
    at_end: Cell<bool>,
    /// How long nobody may take anything. `None`: as long as they like.
    patience: Cell<Option<Duration>>,
    has_ended: Cell<bool>,
}

/// One of the streams that are shown.
#[derive(Debug)]
struct Stream {
    name: String,
    /// `None`: nothing can be shown any more.
    writer: Option<Rc<Writer>>,
    /// No more comes.
    closed: bool,
    /// What was taken out of the lines, and is not written.
    in_hand: usize,
}

/// Takes the copy of one stream.
#[derive(Debug, Clone)]
pub(crate) struct Tee {
    screen: Rc<Screen>,
    source: Source,
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Screen")
            .field("streams", &self.streams)
            .finish_non_exhaustive()
    }
}

impl Onlooker for Tee {
    fn push(&self, data: &[u8]) {
        let screen = &self.screen;
        if screen.streams.borrow()[self.source].writer.is_some() {
            screen.lines.borrow_mut().push(self.source, data);
            screen.changed.notify_one();
        }
    }

    fn is_full(&self) -> bool {
        let waiting_max = match self.screen.at_end.get() {
            true => SHOWN_WAITING_AT_END,
            false => SHOWN_WAITING_MAX,
        };
        self.screen.lines.borrow().held(self.source) >= waiting_max
    }

    fn close(&self) {
        self.screen.streams.borrow_mut()[self.source].closed = true;
        self.screen.lines.borrow_mut().close(self.source);
        self.screen.changed.notify_one();
    }
}

/// Nobody takes anything.
#[derive(Debug)]
struct OutOfPatience;

impl Screen {
    /// Without streams; `has_room` is called when some of what waited was
    /// shown.
    pub fn new(has_room: impl Fn() + 'static) -> Rc<Self> {
        Rc::new(Self {
            lines: RefCell::default(),
            streams: RefCell::default(),
            changed: Notify::new(),
            has_room: Box::new(has_room),
            at_end: Cell::new(false),
            patience: Cell::new(None),
            has_ended: Cell::new(false),
        })
    }

    /// Takes one more stream, which is shown on `fd`.
    pub fn add(self: &Rc<Self>, name: &str, fd: OwnedFd) -> io::Result<Tee> {
        let writer = Writer::shared(fd.into())?;
        let mut streams = self.streams.borrow_mut();
        streams.push(Stream {
            name: name.to_owned(),
            writer: Some(Rc::new(writer)),
            closed: false,
            in_hand: 0,
        });
        Ok(Tee {
            screen: Rc::clone(self),
            source: self.lines.borrow_mut().add(),
        })
    }

    /// Shows everything until all streams have ended, or nobody waits for it
    /// any more: then it tells what is not shown.
    pub async fn show(self: Rc<Self>) {
        loop {
            let next = self.lines.borrow_mut().next(clock::mono_ns());
            match next {
                Next::Show(source, data) => {
                    if self.write(source, data.into()).await.is_err() {
                        break;
                    }
                    (self.has_room)();
                }
                Next::HeldUntil(due_ns) => tokio::select! {
                    () = self.changed.notified() => {}
                    () = sleep_until(due_ns) => {}
                },
                Next::Nothing if self.streams.borrow().iter().all(|it| it.closed) => break,
                Next::Nothing => self.changed.notified().await,
            }
        }
        self.end();
    }

    fn writer(&self, source: Source) -> Option<Rc<Writer>> {
        self.streams.borrow()[source].writer.clone()
    }

    /// Writes from where the descriptor stands, which others may share.
    async fn write(&self, source: Source, data: Bytes) -> Result<(), OutOfPatience> {
        let Some(writer) = self.writer(source) else {
            return Ok(());
        };
        let mut rest = data;
        while !rest.is_empty() {
            self.streams.borrow_mut()[source].in_hand = rest.len();
            // Small ones show sooner that somebody takes them.
            let piece = match self.patience.get() {
                None => SHOWN_PIECE,
                Some(_) => SHOWN_PIECE_AT_END,
            };
            let piece = rest.slice(..rest.len().min(piece));
            let written = tokio::select! {
                biased;
                (written, _) = writer.writev(vec![piece]) => written,
                () = self.out_of_patience() => return Err(OutOfPatience),
            };
            match written {
                Ok(written) => rest = rest.slice(written..),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.fails(source, &error);
                    break;
                }
            }
        }
        if let Some(stream) = self.streams.borrow_mut().get_mut(source) {
            stream.in_hand = 0;
            // It may have ended meanwhile.
            if stream.closed {
                self.lines.borrow_mut().close(source);
            }
        }
        Ok(())
    }

    async fn out_of_patience(&self) {
        let mut patience = self.patience.get();
        let mut begun = Instant::now();
        loop {
            let out = async {
                match patience {
                    Some(patience) => tokio::time::sleep_until(begun + patience).await,
                    None => future::pending().await,
                }
            };
            tokio::select! {
                () = out => return,
                () = self.changed.notified() => {}
            }
            // That more has come is no progress.
            if self.patience.get() != patience {
                patience = self.patience.get();
                begun = Instant::now();
            }
        }
    }

    /// Whoever looked at it may have seen enough; the stream goes on.
    fn fails(&self, source: Source, error: &io::Error) {
        let stream = &mut self.streams.borrow_mut()[source];
        let level = match error.kind() {
            io::ErrorKind::BrokenPipe => log::Level::Info,
            _ => log::Level::Warn,
        };
        log::log!(
            level,
            "stream {} is not shown any more: {error}",
            stream.name
        );
        stream.writer = None;
        self.lines.borrow_mut().drop_source(source);
    }

    /// Nothing more is shown, and that is told.
    fn end(&self) {
        if self.has_ended.replace(true) {
            return;
        }
        let mut streams = self.streams.borrow_mut();
        for (source, stream) in streams.iter_mut().enumerate() {
            let left = stream.in_hand + self.lines.borrow().len(source);
            if left > 0 && stream.writer.is_some() {
                log::warn!(
                    "stream {}: {left} bytes were not shown, as nobody took them",
                    stream.name
                );
            }
            stream.writer = None;
            self.lines.borrow_mut().drop_source(source);
        }
        drop(streams);
        (self.has_room)();
    }
}

/// What becomes of it once the command of `run` has ended.
#[cfg(feature = "cli")]
impl Screen {
    /// The command has ended: what is left of its output is read at once, so
    /// that it is delivered however long it takes to be shown.
    pub fn command_ended(&self) {
        self.at_end.set(true);
        (self.has_room)();
    }

    /// From now on it ends when nothing is taken for `patience`.
    pub fn lose_patience(&self, patience: Duration) {
        self.patience.set(Some(patience));
        self.changed.notify_one();
    }

    /// Ends now, and tells what is not shown.
    pub fn give_up(&self) {
        self.lose_patience(Duration::ZERO);
        self.end();
    }
}

async fn sleep_until(due_ns: u64) {
    let wait = due_ns.saturating_sub(clock::mono_ns());
    tokio::time::sleep(Duration::from_nanos(wait)).await;
}
