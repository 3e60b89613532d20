//! What brings messages to a destination: [`Transport`].
//!
//! Each is a machine that never waits. The `Outlet` drives it,
//! and calls in this order:
//!
//! 1. [`start`](Transport::start), while fewer messages are in flight than its
//!    [`capacity`](Transport::capacity) has room for;
//! 2. [`completed`](Transport::completed), when an operation that it asked
//!    [`Io`] for has completed;
//! 3. [`poll`](Transport::poll), after these, when
//!    [`due_ns`](Transport::due_ns) has passed, when its
//!    [`alarm`](Transport::alarm) was given, and at any other time;
//! 4. [`finish`](Transport::finish) when the last message is settled, and then
//!    `poll` until it [`is_finished`](Transport::is_finished);
//! 5. [`retreat`](Transport::retreat), when nobody waits for its destination any
//!    more; if it can't, or that takes too long too,
//!    [`give_up`](Transport::give_up), after which nothing else is called.
//!
//! One that sends whole messages elsewhere is a [`Carrier`] besides: it can also
//! send those that were stored.
//!
//! A step that fails keeps its state and a deadline, and is entered again. What
//! takes long is cut: the transport is then due at once.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::Notify;

use super::io::Io;
use crate::delivery::message::Message;
use crate::delivery::outcome::Outcomes;
use crate::delivery::stored::{Left, Run, Stored};
use crate::delivery::window::Capacity;
use crate::wire::name::StreamName;

/// The moment at which a transport is called.
pub struct Now<'a, I> {
    /// What the kernel is asked through.
    pub io: &'a mut I,
    /// On the monotonic clock.
    pub ns: u64,
    /// Takes what the transport has to tell.
    pub outcomes: &'a mut Outcomes,
}

/// What became of an operation that a transport has asked for.
#[derive(Debug)]
pub enum Completed {
    /// A descriptor may be ready.
    Ready,
    /// A host's addresses are known, or why they are not.
    Resolved(io::Result<Vec<SocketAddr>>),
    /// What was written is where it outlives the machine, or may not be.
    Synced(io::Result<()>),
}

/// See the module.
pub trait Transport<I: Io> {
    /// Takes a message, and begins to deliver it. It lets go of the message
    /// before it tells its outcome.
    fn start(&mut self, now: &mut Now<'_, I>, message: Arc<Message>);

    /// Goes on as far as it can.
    fn poll(&mut self, now: &mut Now<'_, I>);

    /// The operation of that number has completed.
    fn completed(&mut self, now: &mut Now<'_, I>, number: u32, what: Completed) {
        let _ = (now, number, what);
    }

    /// When it goes on by itself, on the monotonic clock; the past: at once.
    fn due_ns(&self) -> Option<u64> {
        None
    }

    /// Is given by others who want it to be polled.
    fn alarm(&self) -> Option<Arc<Notify>> {
        None
    }

    /// No message follows: what is held or buffered is brought to its
    /// destination.
    fn finish(&mut self, now: &mut Now<'_, I>);

    /// Is all at its destination, and nothing left to do?
    fn is_finished(&self) -> bool;

    /// Its destination is waited for no longer. True: what it has, and all that is
    /// left, it keeps where that outlives the butler, and settles at once; it is
    /// given that and [finished](Self::finish). False: it can't, and is to
    /// [give up](Self::give_up).
    fn retreat(&mut self, now: &mut Now<'_, I>) -> bool {
        let _ = now;
        false
    }

    /// Nothing is tried any more. It tells what is lost of what it held, and how
    /// far messages are that it delivers stream by stream; all others that are in
    /// flight are lost.
    fn give_up(&mut self, now: &mut Now<'_, I>);

    /// What it takes at once.
    fn capacity(&self) -> Capacity {
        Capacity::ONE
    }

    /// Is it to hear of streams before their first message?
    fn wants_registrations(&self) -> bool {
        false
    }

    /// A stream of that name has begun, of which nothing was delivered yet.
    fn registered(&mut self, now: &mut Now<'_, I>, name: &StreamName) {
        let _ = (now, name);
    }

    /// What waits in its spool, if it has one.
    fn left(&self) -> Option<Left> {
        None
    }

    /// How often something did not work, which was tried again or told.
    fn errors(&self) -> u64;
}

/// A transport that also sends messages which were stored. It tells of each that
/// it is delivered whole, or lost whole; and when it [gives up](Transport::give_up),
/// nothing of those in flight.
///
/// One that is [refused](crate::ledger::DropReason::Refused) nobody will ever take. One that is
/// lost for another reason this butler can't send, but perhaps another can: it
/// stays where it is stored.
pub trait Carrier<I: Io>: Transport<I> {
    /// As [`start`](Transport::start), of a message that was stored. Its ticket
    /// is none of those that messages have.
    fn carry(&mut self, now: &mut Now<'_, I>, stored: Stored);

    /// A run whose [registration](Run::registration) is open has messages. True:
    /// that must be made first. It begins to, beside all else, and
    /// [tells](Outcomes::admit) what comes of it; until then it
    /// [carries](Self::carry) nothing of the run. False: it need not be.
    fn must_register(&mut self, now: &mut Now<'_, I>, run: &Arc<Run>) -> bool {
        let _ = (now, run);
        false
    }
}
