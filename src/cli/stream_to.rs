//! `butler stream`, when another butler delivers: the stream is sent to that
//! one, as any client does.
//!
//! The server of the protocol never answers, so this is how it is known what
//! became of the stream: who refuses it, or ends before its end, closes the
//! connection with data in it that was not read, and that the kernel tells.
//! Therefore no data is sent before the header was read.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::advice::told;
use super::options::Common;
use super::sandbox::Needs;
use super::session::{self, Asked, EXIT_FAILED, Signals};
use crate::edge::wake;
use crate::process::unread::unread_by_peer;
use crate::wire::descriptor::StreamProperties;
use crate::wire::header;

/// What is read and sent at a time.
const CHUNK: usize = 64 * 1024;
/// How often it is looked whether the header was read.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// Why not all of a stream was taken.
#[derive(Debug)]
enum SendError {
    /// Nobody takes streams there.
    Connect(io::Error),
    /// The butler has closed the connection before the stream's end.
    Closed,
    /// The source can't be read: what came before has been sent.
    Source(io::Error),
    /// Something else.
    Socket(io::Error),
    /// A second signal, or the end of all patience.
    Interrupted,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(
                f,
                "nobody takes streams there: {error}; with --output it is delivered without \
                 another butler"
            ),
            Self::Closed => f.write_str(
                "that butler refused the stream, or ended it, or has ended itself; its log says \
                 which",
            ),
            Self::Source(error) => write!(f, "what was to be sent can't be read: {error}"),
            Self::Socket(error) => error.fmt(f),
            Self::Interrupted => f.write_str("it was interrupted"),
        }
    }
}

/// Sends what is read from `source` to the butler at `server`.
pub(super) async fn send(
    common: &Common,
    source: OwnedFd,
    properties: &StreamProperties,
    server: &Path,
    mut signals: Signals,
) -> ExitCode {
    let header = match header::encode(properties) {
        Ok(header) => header,
        Err(error) => return session::fail(told(&error)),
    };
    let transfer = Transfer::default();
    let mut sending = std::pin::pin!(transfer.run(common, source, &header, server));
    let mut last_moment = None;
    let result = loop {
        tokio::select! {
            result = &mut sending => break result,
            asked = signals.next() => match asked {
                Asked::Statistics => session::tell(&format!("{} bytes are sent", transfer.sent.get())),
                Asked::EndNow => break Err(SendError::Interrupted),
                Asked::End => {
                    let time = common.drain_timeout + common.config.flush_timeout;
                    last_moment = Some(Instant::now() + time);
                    transfer.ending.notify_one();
                }
            },
            () = at(last_moment) => break Err(SendError::Interrupted),
        }
    };
    let (name, server, sent) = (&properties.name, server.display(), transfer.sent.get());
    match result {
        Ok(()) => {
            log::info!("stream {name}: all {sent} bytes were taken by the butler at {server}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            log::error!("stream {name}, of which {sent} bytes went to {server}: {error}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// A stream on its way.
#[derive(Debug, Default)]
struct Transfer {
    /// Bytes that the kernel has taken.
    sent: Cell<u64>,
    /// A signal asks for the end.
    ending: Notify,
}

impl Transfer {
    async fn run(
        &self,
        common: &Common,
        source: OwnedFd,
        header: &[u8],
        server: &Path,
    ) -> Result<(), SendError> {
        let connected = UnixStream::connect(server).await;
        let mut socket = connected.map_err(SendError::Connect)?;
        Needs::nothing(common).give_up_the_rest();
        socket.write_all(header).await.map_err(of_socket)?;
        // What the source gives after a signal is sent for a while.
        let late = std::pin::pin!(async {
            self.ending.notified().await;
            tokio::time::sleep(common.drain_timeout).await;
        });
        let copied = match header_is_read(&socket).await {
            Ok(()) => self.copy(source, &mut socket, late).await,
            error => error,
        };
        if let Err(SendError::Closed | SendError::Socket(_)) = copied {
            return copied;
        }
        socket.shutdown().await.map_err(of_socket)?;
        until_closed(&socket).await?;
        copied
    }

    /// Sends what the source gives, until its end or until it is late.
    async fn copy(
        &self,
        source: OwnedFd,
        socket: &mut UnixStream,
        mut late: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<(), SendError> {
        let mut source = Source::new(source);
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = tokio::select! {
                read = source.read(&mut chunk) => read.map_err(SendError::Source)?,
                closed = until_closed(socket) => return closed.and(Err(SendError::Closed)),
                () = &mut late => return Ok(()),
            };
            let mut left = &chunk[..read];
            if left.is_empty() {
                return Ok(());
            }
            while !left.is_empty() {
                let written = socket.write(left).await.map_err(of_socket)?;
                self.sent.set(self.sent.get() + written as u64);
                left = &left[written..];
            }
        }
    }
}

async fn header_is_read(socket: &UnixStream) -> Result<(), SendError> {
    while unread_by_peer(socket).map_err(SendError::Socket)? > 0 {
        tokio::select! {
            closed = until_closed(socket) => return closed.and(Err(SendError::Closed)),
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
    Ok(())
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Waits until the peer has closed the connection. It is an error if it has
/// not read all.
async fn until_closed(socket: &UnixStream) -> Result<(), SendError> {
    let mut unexpected = [0; 512];
    loop {
        socket.readable().await.map_err(of_socket)?;
        match socket.try_read(&mut unexpected) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(of_socket(error)),
        }
    }
}

fn of_socket(error: io::Error) -> SendError {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => SendError::Closed,
        _ => SendError::Socket(error),
    }
}

/// Where a stream comes from.
enum Source {
    /// It can be waited for.
    Waits(AsyncFd<OwnedFd>),
    /// A file always has what it has.
    Ready(OwnedFd),
}

impl Source {
    fn new(fd: OwnedFd) -> Self {
        match wake::watch(fd, Interest::READABLE) {
            Ok(watched) => Self::Waits(watched),
            Err((fd, _)) => Self::Ready(fd),
        }
    }

    async fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = match self {
                Self::Ready(fd) => {
                    // Signals have their turn.
                    tokio::task::yield_now().await;
                    rustix::io::read(fd, &mut *bytes)
                }
                Self::Waits(watched) => {
                    let mut ready = watched.readable().await?;
                    // Others may have read it, and a read would block then.
                    if !is_ready(watched.get_ref())? {
                        ready.clear_ready();
                        continue;
                    }
                    rustix::io::read(watched.get_ref(), &mut *bytes)
                }
            };
            match read {
                Err(Errno::INTR | Errno::AGAIN) => {}
                read => return Ok(read?),
            }
        }
    }
}

fn is_ready(fd: &OwnedFd) -> io::Result<bool> {
    let mut polled = [PollFd::new(fd, PollFlags::IN)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    Ok(poll(&mut polled, Some(&now))? > 0)
}
