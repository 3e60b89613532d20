//! What the tests of the outputs share: the real kernel for one of them, real
//! messages, and reading them back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use crate::IoMode;
use crate::core::{Core, CoreConfig};
use crate::delivery::message::{BundleLimits, Identity, Message};
use crate::delivery::outcome::{Outcome, Outcomes};
use crate::edge::io::{Completion, Io};
use crate::edge::system::System;
use crate::edge::transport::{Completed, Now, Transport};
use crate::edge::{clock, runtime};
use crate::ledger::DropReason;
use crate::limits::BUNDLE_MAX;
use crate::output::spool::{SpoolError, Store};
use crate::proto::logpb::ButlerLogBundle;
use crate::time::Moment;
use crate::wire::descriptor::{StreamProperties, StreamType, Tags};
use crate::wire::message::MessageView;
use crate::wire::name::StreamName;

/// Runs a test as [`crate::start`] does; on epoll if `BUTLER_TEST_IO` says so.
pub(crate) fn start<F: Future>(test: F) -> F::Output {
    let mode = match std::env::var("BUTLER_TEST_IO") {
        Ok(mode) => mode.parse().expect("a mode"),
        Err(_) => IoMode::Auto,
    };
    crate::start_with(mode, test).expect("a runtime")
}

/// The real kernel; on epoll if `BUTLER_TEST_IO` says so.
pub(crate) fn kernel() -> System {
    start(async { runtime::system() }).expect("a ring or an epoll set")
}

/// A spool that nobody else has. A process that another test has just begun keeps
/// its lock until it executes something.
pub(crate) fn opened<D>(mut open: impl FnMut() -> Result<Store<D>, SpoolError>) -> Store<D> {
    let begun = Instant::now();
    loop {
        match open() {
            Err(SpoolError::InUse { .. }) if begun.elapsed() < Duration::from_secs(10) => {
                std::thread::sleep(Duration::from_millis(5));
            }
            opened => return opened.expect("a spool"),
        }
    }
}

/// An output on the real kernel, and what it has told.
pub(crate) struct Bench<T> {
    pub io: System,
    pub output: T,
    pub outcomes: Outcomes,
    settled: VecDeque<Outcome>,
}

impl<T: Transport<System>> Bench<T> {
    pub fn new(open: impl FnOnce(&mut System) -> T) -> Self {
        let mut io = kernel();
        Self {
            output: open(&mut io),
            io,
            outcomes: Outcomes::default(),
            settled: VecDeque::new(),
        }
    }

    /// Calls the output, now.
    pub fn call<R>(&mut self, call: impl FnOnce(&mut T, &mut Now<'_, System>) -> R) -> R {
        let mut now = Now {
            io: &mut self.io,
            ns: clock::mono_ns(),
            outcomes: &mut self.outcomes,
        };
        let result = call(&mut self.output, &mut now);
        self.settled.extend(self.outcomes.take_settled());
        result
    }

    pub fn start(&mut self, message: &Arc<Message>) {
        let message = Arc::clone(message);
        self.call(|output, now| output.start(now, message));
    }

    /// Handles what has come, and waits a little for what comes.
    pub fn poll(&mut self) {
        self.io.enter().unwrap();
        while let Some(completion) = self.io.next(|_| None) {
            let (number, what) = match completion {
                Completion::Ready { number, .. } => (number, Completed::Ready),
                Completion::Resolved { number, result } => (number, Completed::Resolved(result)),
                Completion::Synced { number, result } => (number, Completed::Synced(result)),
                other => panic!("{other:?}"),
            };
            self.call(|output, now| output.completed(now, number, what));
        }
        self.call(|output, now| output.poll(now));
        if self.io.has_work() || self.output.due_ns() == Some(0) {
            return;
        }
        let wait = rustix::time::Timespec {
            tv_sec: 0,
            tv_nsec: 2_000_000,
        };
        let mut fds = [PollFd::from_borrowed_fd(self.io.wait_fd(), PollFlags::IN)];
        rustix::event::poll(&mut fds, Some(&wait)).unwrap();
    }

    /// Goes on until `done`, or for that long. True if it is done.
    pub fn poll_for(&mut self, time: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let begun = Instant::now();
        while !done(self) {
            if begun.elapsed() >= time {
                return false;
            }
            self.poll();
        }
        true
    }

    /// What was told of messages, to whom it concerns.
    pub fn unsettle(&mut self) {
        self.settled
            .drain(..)
            .for_each(|outcome| self.outcomes.settle(outcome));
    }

    pub fn has_settled(&self) -> bool {
        !self.settled.is_empty()
    }

    /// The outcome of a message, however long that takes.
    pub fn outcome(&mut self) -> Outcome {
        assert!(self.poll_for(Duration::from_secs(60), Self::has_settled));
        self.settled.pop_front().unwrap()
    }

    /// The bytes that a message took, or why it is lost.
    pub fn deliver(&mut self, message: &Arc<Message>) -> Result<u64, DropReason> {
        self.start(message);
        self.outcome().result()
    }

    /// Is the message not delivered within that time?
    pub fn holds_up(&mut self, message: &Arc<Message>, time: Duration) -> bool {
        self.start(message);
        !self.poll_for(time, Self::has_settled)
    }

    /// Brings all to its end.
    pub fn finish(&mut self) {
        self.call(|output, now| output.finish(now));
        let finished = self.poll_for(Duration::from_secs(60), |it| it.output.is_finished());
        assert!(finished);
    }

    pub fn errors(&self) -> u64 {
        self.output.errors()
    }
}

/// All that the core makes of streams that write `data` and end.
pub(crate) fn bundles(target: usize, streams: &[(&str, StreamType, &[u8])]) -> Vec<Arc<Message>> {
    let mut core = Core::new(CoreConfig {
        bundle_limits: BundleLimits {
            early: target,
            target,
            max: BUNDLE_MAX,
        },
        text_in_lines: true,
        identity: Identity {
            project: "p".into(),
            prefix: "a/prefix".into(),
            secret: Default::default(),
        },
        global_tags: Tags::default(),
        age_max_ns: 1,
        buffered_max: u64::MAX,
        stream_size_max: u64::MAX,
    });
    let now = Moment {
        mono_ns: 1,
        wall: prost_types::Timestamp {
            seconds: 1_700_000_000,
            nanos: 0,
        },
    };
    for (name, stream_type, data) in streams {
        let properties = StreamProperties::new(StreamName::new(*name).unwrap(), *stream_type);
        let key = core.open(&now, &properties).unwrap();
        for read in data.chunks(64 * 1024) {
            core.data(&now, key, read).unwrap();
        }
        core.end(&now, key);
    }
    core.flush();
    std::iter::from_fn(|| core.poll_message(&now)).collect()
}

/// Bytes that can't be compressed.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut seed = 7u64;
    let next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 56) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// One bundle, of one text stream.
pub(crate) fn text_bundle(data: &[u8]) -> Arc<Message> {
    let mut all = bundles(BUNDLE_MAX, &[("s/text", StreamType::Text, data)]);
    assert_eq!(all.len(), 1);
    all.remove(0)
}

/// Log lines that look the same wherever they are made.
pub(crate) fn lines(bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes + 100);
    let mut seed = 1u64;
    while out.len() < bytes {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let line = format!("[{:06}] step {} of the build\n", out.len(), seed >> 40);
        out.extend_from_slice(line.as_bytes());
    }
    out
}

/// The bundles of messages back to back, and how many bytes they take; what
/// follows is a cut message.
pub(crate) fn parse(bytes: &[u8]) -> (Vec<ButlerLogBundle>, usize) {
    let mut at = 0;
    let mut all = Vec::new();
    while let Some(view) = MessageView::parse(&bytes[at..]).unwrap() {
        all.push(view.bundle().unwrap());
        at += view.len;
    }
    (all, at)
}
