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
use super::io::{Completion, ReadBy, Sync, Token, Wait};
use crate::core::{ClientKey, ListenerKey};
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

/// What comes back with a completion: the kind of an operation, and whose it
/// was, which has 56 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tag {
    Read(u64),
    Readable(u64),
    Accept(u64),
    Output(u32),
    Sync(u32),
    /// Its own completion says nothing.
    Cancel,
}

impl Tag {
    const NUMBER: u64 = (1 << 56) - 1;

    fn to_u64(self) -> u64 {
        let (tag, number) = match self {
            Self::Read(number) => (1, number),
            Self::Readable(number) => (2, number),
            Self::Accept(number) => (3, number),
            Self::Output(number) => (4, number.into()),
            Self::Cancel => (5, 0),
            Self::Sync(number) => (6, number.into()),
        };
        assert!(number <= Self::NUMBER);
        tag << 56 | number
    }

    fn from_u64(user_data: u64) -> Self {
        let number = user_data & Self::NUMBER;
        match user_data >> 56 {
            1 => Self::Read(number),
            2 => Self::Readable(number),
            3 => Self::Accept(number),
            4 => Self::Output(number as u32),
            5 => Self::Cancel,
            6 => Self::Sync(number as u32),
            tag => unreachable!("no operation has the tag {tag}"),
        }
    }
}

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
        client: ClientKey,
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
            Tag::Read(client.to_u64()),
        )
    }

    /// Accepts from `fd`, which must stay open, until a completion says that
    /// it is no longer armed.
    pub fn accept(&mut self, listener: ListenerKey, fd: BorrowedFd<'_>) -> io::Result<()> {
        let entry = opcode::AcceptMulti::new(types::Fd(fd.as_raw_fd()))
            .flags(rustix::net::SocketFlags::CLOEXEC.bits() as i32)
            .build();
        self.push(entry, Tag::Accept(listener.to_u64()))
    }

    /// Waits for `fd`, which must stay open until the completion comes, and
    /// neither reads nor writes.
    pub fn wait(&mut self, token: Token, fd: BorrowedFd<'_>, wait: Wait) -> io::Result<()> {
        let events = match wait {
            Wait::Readable => libc::POLLIN,
            Wait::Writable => libc::POLLOUT,
            Wait::Either => libc::POLLIN | libc::POLLOUT,
        };
        let entry = opcode::PollAdd::new(types::Fd(fd.as_raw_fd()), events as u32).build();
        let tag = match token {
            Token::Client(client) => Tag::Readable(client.to_u64()),
            Token::Output(number) => Tag::Output(number),
            Token::Listener(_) => unreachable!("listeners accept"),
        };
        self.push(entry, tag)
    }

    /// Syncs `fd`, which must stay open until the completion comes.
    pub fn sync(&mut self, number: u32, fd: BorrowedFd<'_>, what: Sync) -> io::Result<()> {
        let flags = match what {
            Sync::Data => types::FsyncFlags::DATASYNC,
            Sync::All => types::FsyncFlags::empty(),
        };
        let entry = opcode::Fsync::new(types::Fd(fd.as_raw_fd())).flags(flags);
        self.push(entry.build(), Tag::Sync(number))
    }

    /// Cancels what is under way for the token, if it has not completed.
    pub fn cancel(&mut self, token: Token) -> io::Result<()> {
        match token {
            // It is one of these.
            Token::Client(client) => {
                self.push_cancel(Tag::Read(client.to_u64()))?;
                self.push_cancel(Tag::Readable(client.to_u64()))
            }
            Token::Listener(listener) => self.push_cancel(Tag::Accept(listener.to_u64())),
            Token::Output(number) => self.push_cancel(Tag::Output(number)),
        }
    }

    fn push_cancel(&mut self, tag: Tag) -> io::Result<()> {
        let entry = opcode::AsyncCancel::new(tag.to_u64()).build();
        self.push(entry, Tag::Cancel)
    }

    fn push(&mut self, entry: squeue::Entry, tag: Tag) -> io::Result<()> {
        // A cancellation must not overtake what it cancels, nor anything else
        // what came before it.
        self.beyond.push_back(entry.user_data(tag.to_u64()));
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
    pub fn next(&mut self) -> Option<Completion<OwnedFd, Filled>> {
        loop {
            let entry = self.uring.completion().next()?;
            let result = match entry.result() {
                error if error < 0 => Err(io::Error::from_raw_os_error(-error)),
                value => Ok(value),
            };
            return Some(match Tag::from_u64(entry.user_data()) {
                Tag::Cancel => continue,
                Tag::Read(client) => Completion::Read {
                    client: ClientKey::from_u64(client),
                    result: self.filled(result, entry.flags()),
                    more: cqueue::sock_nonempty(entry.flags()),
                },
                Tag::Readable(client) => Completion::Readable {
                    client: ClientKey::from_u64(client),
                    result: result.map(|_| ()),
                },
                Tag::Output(number) => Completion::Ready {
                    number,
                    result: result.map(|_| ()),
                },
                Tag::Sync(number) => Completion::Synced {
                    number,
                    result: result.map(|_| ()),
                },
                Tag::Accept(listener) => Completion::Accepted {
                    listener: ListenerKey::from_u64(listener),
                    // SAFETY: a successful accept gives a new descriptor,
                    // which nobody else owns.
                    result: result.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }),
                    armed: cqueue::more(entry.flags()),
                },
            });
        }
    }

    /// What a read that came back with `result` has brought.
    fn filled(&mut self, result: io::Result<i32>, flags: u32) -> io::Result<Option<Filled>> {
        let filled = cqueue::buffer_select(flags).map(|buffer| {
            let len = *result.as_ref().unwrap_or(&0);
            self.buffers.filled(buffer, len as u32)
        });
        match (result, filled) {
            (Ok(len), Some(filled)) if len > 0 => Ok(Some(filled)),
            // At the end a buffer may come along, with nothing.
            (result, filled) => {
                filled.into_iter().for_each(|it| self.buffers.recycle(it));
                result.map(|_| None)
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
        let keys: Vec<_> = (0..count).map(ClientKey::from_u64).collect();
        for key in &keys {
            ring.read(*key, reader.as_fd(), ReadBy::Read, false)
                .unwrap();
        }
        // Each comes after what it cancels.
        for key in &keys {
            ring.cancel(Token::Client(*key)).unwrap();
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
                    _ => panic!("there are only reads"),
                }
            }
        }
        assert!(ring.beyond.is_empty() && !ring.has_work());
        drop(writer);
    }

    /// A kernel that takes nothing for now (it is out of memory, or completions
    /// must be taken first) is not asked again and again: what does not fit is
    /// parked, and what has completed is taken.
    #[test]
    fn a_kernel_that_refuses_is_not_waited_for() {
        let refused = std::thread::spawn(|| {
            let Ok(mut ring) = Ring::new() else {
                eprintln!("skipped: no io_uring here");
                return;
            };
            let (reader, mut writer) = io::pipe().unwrap();
            io::Write::write_all(&mut writer, b"x").unwrap();
            let read = |ring: &mut Ring, number| {
                let client = ClientKey::from_u64(number);
                ring.read(client, reader.as_fd(), ReadBy::Read, false)
            };
            read(&mut ring, 0).unwrap();
            ring.enter().unwrap();
            refuse_submissions();
            let count = 3 * SUBMISSIONS as usize;
            for number in 0..count {
                read(&mut ring, number as u64 + 1).unwrap();
            }
            assert_eq!(ring.beyond.len(), count - SUBMISSIONS as usize);
            ring.enter().unwrap();
            assert!(ring.has_work());
            let completed = ring.next().unwrap();
            assert!(matches!(
                completed,
                Completion::Read {
                    result: Ok(Some(_)),
                    ..
                }
            ));
            assert!(ring.next().is_none());
        });
        refused.join().unwrap();
    }

    /// From now on `io_uring_enter` is refused with `EAGAIN`, on this thread.
    fn refuse_submissions() {
        use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
        let again = SeccompAction::Errno(libc::EAGAIN as u32);
        let rules = [(libc::SYS_io_uring_enter, Vec::new())];
        let arch = std::env::consts::ARCH.try_into().unwrap();
        let filter = SeccompFilter::new(rules.into(), SeccompAction::Allow, again, arch).unwrap();
        let program: BpfProgram = filter.try_into().unwrap();
        seccompiler::apply_filter(&program).unwrap();
    }
}
