//! The ring for the hot path: one-shot reads into the buffer pool, accepts,
//! and their cancellation.
//!
//! It runs beside the runtime's own ring on the same thread. The kernel
//! defers its work to our calls (`DEFER_TASKRUN`) and signals an eventfd when
//! there is some, on which the runtime waits.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use rustix::event::{EventfdFlags, eventfd};

use super::buffers::{Buffers, Filled, GROUP};
use super::system::{Completion, ReadBy, Token};
use crate::limits::READ_BUFFER_SIZE;

/// Entries of the submission queue. More reads than that are submitted in
/// several calls.
const SUBMISSIONS: u32 = 1024;
/// Entries of the completion queue: one for every stream of a large job; an
/// overflow is kept by the kernel and costs only time.
const COMPLETIONS: u32 = 8192;

/// `IORING_RECVSEND_POLL_FIRST`: do not try to read before the socket is
/// ready.
const POLL_FIRST: u16 = 1;

/// See the module.
pub(super) struct Ring {
    // Dropped in this order: the kernel lets go of the buffers with the ring.
    uring: IoUring,
    buffers: Buffers,
    eventfd: OwnedFd,
    /// Submissions that the queue had no place for, in their order. Each is
    /// about a descriptor that is open, so they are not many.
    beyond: VecDeque<squeue::Entry>,
}

impl Ring {
    pub fn new() -> io::Result<Self> {
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_cqsize(COMPLETIONS)
            .dontfork()
            .build(SUBMISSIONS)?;
        let buffers = Buffers::register(&uring)?;
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        uring.submitter().register_eventfd(eventfd.as_raw_fd())?;
        Ok(Self {
            uring,
            buffers,
            eventfd,
            beyond: VecDeque::new(),
        })
    }

    /// Becomes readable when there is work for [`enter`](Self::enter). Its
    /// count is never read: every signal is an edge.
    pub fn eventfd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }

    /// Makes the eventfd readable.
    pub fn signal(&self) -> io::Result<()> {
        match rustix::io::write(&self.eventfd, &1u64.to_ne_bytes()) {
            // The count is full: it is readable all the more.
            Ok(_) | Err(rustix::io::Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads once from `fd`, which must stay open until the completion comes.
    /// `ready`: there is data in it already.
    pub fn read(
        &mut self,
        number: u64,
        fd: BorrowedFd<'_>,
        by: ReadBy,
        ready: bool,
    ) -> io::Result<()> {
        let fd = types::Fd(fd.as_raw_fd());
        let len = READ_BUFFER_SIZE as u32;
        let entry = match by {
            // There is no ring where descriptors can be passed.
            ReadBy::Recv | ReadBy::Look => opcode::Recv::new(fd, std::ptr::null_mut(), len)
                .buf_group(GROUP)
                .ioprio(if ready { 0 } else { POLL_FIRST })
                .build(),
            // The offset -1: from where the file stands, as read(2) does.
            ReadBy::Read => opcode::Read::new(fd, std::ptr::null_mut(), len)
                .buf_group(GROUP)
                .offset(u64::MAX)
                .build(),
        };
        self.push(
            entry.flags(squeue::Flags::BUFFER_SELECT),
            Token::Read(number),
        )
    }

    /// Accepts from `fd`, which must stay open, until a completion says that
    /// it is no longer armed.
    pub fn accept(&mut self, number: u64, fd: BorrowedFd<'_>) -> io::Result<()> {
        let entry = opcode::AcceptMulti::new(types::Fd(fd.as_raw_fd()))
            .flags(rustix::net::SocketFlags::CLOEXEC.bits() as i32)
            .build();
        self.push(entry, Token::Accept(number))
    }

    /// Cancels the read of that number, if it has not completed.
    pub fn cancel_read(&mut self, number: u64) -> io::Result<()> {
        let entry = opcode::AsyncCancel::new(Token::Read(number).to_u64()).build();
        self.push(entry, Token::Cancel)
    }

    /// Cancels the accept of that number.
    pub fn cancel_accept(&mut self, number: u64) -> io::Result<()> {
        let entry = opcode::AsyncCancel::new(Token::Accept(number).to_u64()).build();
        self.push(entry, Token::Cancel)
    }

    fn push(&mut self, entry: squeue::Entry, token: Token) -> io::Result<()> {
        // A cancellation must not overtake what it cancels, nor anything else
        // what came before it.
        self.beyond.push_back(entry.user_data(token.to_u64()));
        self.fill();
        match self.beyond.is_empty() {
            true => Ok(()),
            false => self.submit(),
        }
    }

    /// Puts what it has a place for in the submission queue.
    fn fill(&mut self) {
        let mut queue = self.uring.submission();
        while let Some(entry) = self.beyond.front() {
            // SAFETY: the entry points to no memory of ours: buffers come
            // from the pool, which lives as long as the ring. Its descriptor
            // stays open until the completion, by this module's contract.
            if unsafe { queue.push(entry) }.is_err() {
                return;
            }
            self.beyond.pop_front();
        }
    }

    /// Is there anything that [`enter`](Self::enter) would do?
    pub fn has_work(&mut self) -> bool {
        let submission = self.uring.submission();
        let work = submission.taskrun() || submission.cq_overflow() || !submission.is_empty();
        drop(submission);
        work || !self.uring.completion().is_empty()
    }

    /// Submits what was pushed and lets the kernel do its deferred work.
    pub fn enter(&mut self) -> io::Result<()> {
        let submission = self.uring.submission();
        let work = submission.taskrun() || submission.cq_overflow() || !submission.is_empty();
        drop(submission);
        if work { self.submit() } else { Ok(()) }
    }

    /// Submits what is in the queue, and what there was no place for. The
    /// kernel may take only a part of it now; the rest is for the next time.
    fn submit(&mut self) -> io::Result<()> {
        loop {
            let left = self.beyond.len();
            self.submit_queue()?;
            self.fill();
            if self.beyond.len() == left {
                return Ok(());
            }
        }
    }

    fn submit_queue(&self) -> io::Result<()> {
        match self.uring.submit() {
            Ok(_) => Ok(()),
            // Out of memory for the moment, or completions must be taken
            // first; what was not submitted stays in the queue.
            Err(error)
                if matches!(
                    error
                        .raw_os_error()
                        .map(rustix::io::Errno::from_raw_os_error),
                    Some(
                        rustix::io::Errno::INTR
                            | rustix::io::Errno::AGAIN
                            | rustix::io::Errno::BUSY
                    )
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The next completion.
    pub fn next(&mut self) -> Option<Completion<Filled>> {
        loop {
            let entry = self.uring.completion().next()?;
            let token = Token::from_u64(entry.user_data());
            let result = match entry.result() {
                error if error < 0 => Err(io::Error::from_raw_os_error(-error)),
                value => Ok(value),
            };
            match token {
                Token::Cancel => {}
                Token::Read(number) => {
                    let filled = cqueue::buffer_select(entry.flags()).map(|buffer| {
                        let len = *result.as_ref().unwrap_or(&0);
                        self.buffers.filled(buffer, len as u32)
                    });
                    let result = match (result, filled) {
                        (Ok(len), Some(filled)) if len > 0 => Ok(Some(filled)),
                        // At the end a buffer may come along, with nothing.
                        (result, filled) => {
                            filled.into_iter().for_each(|it| self.buffers.recycle(it));
                            result.map(|_| None)
                        }
                    };
                    return Some(Completion::Read {
                        number,
                        result,
                        more: cqueue::sock_nonempty(entry.flags()),
                    });
                }
                Token::Accept(number) => {
                    // SAFETY: a successful accept gives a new descriptor,
                    // which nobody else owns.
                    let result = result.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
                    return Some(Completion::Accept {
                        number,
                        result,
                        armed: cqueue::more(entry.flags()),
                    });
                }
            }
        }
    }

    /// What was read.
    pub fn bytes(&self, filled: &Filled) -> &[u8] {
        self.buffers.bytes(filled)
    }

    /// Gives a buffer back.
    pub fn recycle(&mut self, filled: Filled) {
        self.buffers.recycle(filled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The queue has 1024 places: what is beyond waits for its turn, also
    /// while nobody lets the kernel work.
    #[test]
    fn more_than_the_queue_has_places_for() {
        let Ok(mut ring) = Ring::new() else {
            eprintln!("skipped: no io_uring here");
            return;
        };
        let (reader, writer) = io::pipe().unwrap();
        let count = u64::from(SUBMISSIONS) * 2 + 10;
        for number in 0..count {
            ring.read(number, reader.as_fd(), ReadBy::Read, false)
                .unwrap();
        }
        // Each comes after what it cancels.
        for number in 0..count {
            ring.cancel_read(number).unwrap();
        }
        let mut over = 0;
        while over < count {
            ring.enter().unwrap();
            while let Some(completion) = ring.next() {
                match completion {
                    Completion::Read { result, .. } => {
                        let error = result.unwrap_err().raw_os_error();
                        assert_eq!(error, Some(libc::ECANCELED));
                        over += 1;
                    }
                    Completion::Accept { .. } => panic!("nobody accepts"),
                }
            }
        }
        assert!(ring.beyond.is_empty() && !ring.has_work());
        drop(writer);
    }
}
