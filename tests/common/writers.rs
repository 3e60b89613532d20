//! Many clients that write as fast as they may, driven by one thread.

use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::pattern::Content;
use super::process::open;
use super::tracker::name;

/// Bytes that one write asks for at most.
const PIECE: usize = 64 * 1024;
/// What a socket is asked to hold of what is written: the kernel doubles it.
/// Small, so that what is written and not read is in the butler.
const SOCKET_BUFFER: usize = 8 * 1024;

struct Writer {
    number: usize,
    /// Gone once it has written all, or was refused.
    socket: Option<UnixStream>,
    written: u64,
}

/// See the module. Stream `s/N` has the content of number N.
pub struct Writers<'a> {
    content: &'a Content,
    /// Bytes that each writes before it closes.
    goal: u64,
    /// One write at most.
    piece: usize,
    writers: Vec<Writer>,
}

impl<'a> Writers<'a> {
    /// Opens the streams.
    pub fn open(
        socket: &Path,
        count: usize,
        stream_type: &str,
        content: &'a Content,
        goal: u64,
    ) -> Self {
        let writers = (0..count).map(|number| {
            let socket = open(socket, &name(number), stream_type);
            socket.set_nonblocking(true).expect("a socket can");
            rustix::net::sockopt::set_socket_send_buffer_size(&socket, SOCKET_BUFFER)
                .expect("a socket can");
            Writer {
                number,
                socket: Some(socket),
                written: 0,
            }
        });
        Self {
            content,
            goal,
            piece: PIECE,
            writers: writers.collect(),
        }
    }

    /// Writes at most so many bytes at a time.
    pub fn in_pieces(mut self, piece: usize) -> Self {
        self.piece = piece;
        self
    }

    /// Writes until nobody could for `quiet`, or all have ended.
    pub fn push_until_stuck(&mut self, quiet: Duration) {
        self.push(quiet, Duration::from_secs(60), |_| false);
    }

    /// Writes until all have ended.
    pub fn push_to_end(&mut self) {
        self.push(Duration::from_secs(60), Duration::from_secs(120), |_| false);
        assert_eq!(self.open_count(), 0, "not all could write everything");
    }

    /// Writes until `enough`.
    pub fn push_until(&mut self, enough: impl FnMut(&Self) -> bool) {
        self.push(Duration::from_secs(60), Duration::from_secs(120), enough);
    }

    fn push(&mut self, quiet: Duration, longest: Duration, mut enough: impl FnMut(&Self) -> bool) {
        let quiet = Timespec::try_from(quiet).expect("it is short");
        let deadline = Instant::now() + longest;
        while self.open_count() > 0 && !enough(self) {
            assert!(Instant::now() < deadline, "it does not come to an end");
            let open: Vec<usize> = (0..self.writers.len())
                .filter(|at| self.writers[*at].socket.is_some())
                .collect();
            let sockets = open
                .iter()
                .filter_map(|at| self.writers[*at].socket.as_ref());
            let mut polled: Vec<_> = sockets
                .map(|socket| PollFd::new(socket, PollFlags::OUT))
                .collect();
            if poll(&mut polled, Some(&quiet)).expect("it can be polled") == 0 {
                return;
            }
            let ready: Vec<bool> = polled.iter().map(|it| !it.revents().is_empty()).collect();
            for (at, _) in open.into_iter().zip(ready).filter(|(_, ready)| *ready) {
                self.writers[at].write(self.content, self.goal, self.piece);
            }
        }
    }

    /// How many have not ended.
    pub fn open_count(&self) -> usize {
        let open = self.writers.iter().filter(|it| it.socket.is_some());
        open.count()
    }

    /// Bytes that stream `number` has written, all told.
    pub fn written(&self, number: usize) -> u64 {
        self.writers[number].written
    }

    /// Bytes that all have written.
    pub fn written_in_all(&self) -> u64 {
        self.writers.iter().map(|writer| writer.written).sum()
    }
}

impl Writer {
    fn write(&mut self, content: &Content, goal: u64, piece: usize) {
        let Some(socket) = &mut self.socket else {
            return;
        };
        let data = content.written(self.number, self.written);
        let left = usize::try_from(goal - self.written).unwrap_or(usize::MAX);
        match socket.write(&data[..data.len().min(piece).min(left)]) {
            Ok(written) => self.written += written as u64,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => {
                let ended = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
                assert!(ended.contains(&error.kind()), "{error}");
                self.socket = None;
            }
        }
        if self.written == goal {
            self.socket = None;
        }
    }
}
