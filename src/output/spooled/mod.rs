//! An output with a spool: what its destination does not take in time is kept
//! on disk, and sent from there.
//!
//! ```text
//! fresh message ──► waiting ──► carrier ──► destination
//!                      │           ▲
//!                      ▼           │ in order, and in turn with what
//!                     disk ────────┘ earlier butlers have left
//! ```
//!
//! With `when=overflow` a message goes to the carrier from memory, as without a
//! spool. As soon as memory fills up, or one has waited for [`SPOOL_PATIENCE`],
//! all that is not delivered goes to the disk, and so does what follows, until
//! the carrier has had all that is there: so each stream's messages leave in
//! order. With `when=always` the disk has each message before the carrier. A
//! message on disk is *stored* in the account, and its memory is free, unless the
//! carrier has it from there.
//!
//! A disk that takes nothing more (it is full, or fails) does not stop what can
//! go on without it: messages go from memory while the carrier takes them, and
//! writers wait when memory is full, as they do without a spool.
//!
//! When nobody waits for the destination any more, the disk takes what is left.

mod carried;
mod feeding;
mod sending;
mod storing;

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::Notify;

use self::carried::{Carried, What};
use self::sending::SendOnly;
pub(crate) use self::sending::SendState;
use self::storing::keep;
use super::attempts::Attempts;
use super::spool::{Done, Full, SPOOL_NUMBERS, Store, When};
use crate::delivery::message::Message;
use crate::delivery::outcome::{Outcome, Outcomes};
use crate::delivery::stored::{Admission, Left, Run};
use crate::delivery::window::Capacity;
use crate::edge::io::Io;
use crate::edge::transport::{Carrier, Completed, Now, Transport};
use crate::ledger::DropReason;

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Messages come.
    Open,
    /// None comes, and what there is is delivered, or (retreating) stored.
    Emptying,
    /// The carrier closes its connection.
    Closing,
    /// The disk makes sure of what it has.
    Syncing,
    Over,
}

/// A fresh message that neither the carrier nor the disk has.
#[derive(Debug)]
struct Waiting {
    message: Arc<Message>,
    since_ns: u64,
}

/// See the module.
pub(crate) struct Spooled<I: Io> {
    carrier: Box<dyn Carrier<I>>,
    store: Store<I::Fd>,
    when: When,
    full: Full,
    waiting: VecDeque<Waiting>,
    carried: Carried,
    /// What the carrier has to tell.
    told: Outcomes,
    stage: Stage,
    /// The carrier is given nothing any more.
    retreats: bool,
    /// What an earlier butler has left is next.
    earlier_is_next: bool,
    /// Our prefix was not registered when we began: fresh messages lack what that
    /// gives, and get it when they come from disk.
    lacks_secret: bool,
    /// The carrier knows which runs are not registered.
    has_asked: bool,
    /// What there is of ours the carrier can't send; others may.
    own_is_denied: bool,
    /// To write to the disk.
    disk: Attempts,
    /// Bytes in the store when it had no room.
    full_at: Option<u64>,
    /// What the disk has in the end.
    left: Option<Left>,
    /// It is here for what earlier butlers have left.
    sending: Option<SendOnly>,
}

impl<I: Io> Spooled<I> {
    /// In front of `carrier`. `buffered_max`: what memory has room for.
    pub fn new(carrier: Box<dyn Carrier<I>>, store: Store<I::Fd>, buffered_max: u64) -> Self {
        let settings = store.settings();
        let own = store.runs().next();
        let lacks_secret = own.is_some_and(|run| run.registration.is_some());
        Self {
            when: settings.when,
            full: settings.full,
            disk: Attempts::new(format!("spool {}", settings.path.display())),
            carried: Carried::new(carrier.capacity(), fresh_max(buffered_max)),
            carrier,
            store,
            waiting: VecDeque::new(),
            told: Outcomes::default(),
            stage: Stage::Open,
            retreats: false,
            earlier_is_next: true,
            lacks_secret,
            has_asked: false,
            own_is_denied: false,
            full_at: None,
            left: None,
            sending: None,
        }
    }

    /// Calls the carrier, and takes what it has to tell.
    fn call(
        &mut self,
        now: &mut Now<'_, I>,
        call: impl FnOnce(&mut dyn Carrier<I>, &mut Now<'_, I>),
    ) {
        let mut inner = Now {
            io: &mut *now.io,
            ns: now.ns,
            outcomes: &mut self.told,
        };
        call(&mut *self.carrier, &mut inner);
        let mut told = std::mem::take(&mut self.told);
        // Of what is kept on disk, or may have to be, more is in memory.
        told.take_encoded();
        // First, so that all that is denied is on disk, in order.
        for (run, admission) in told.take_admissions() {
            self.admitted(now, &run, admission);
        }
        for outcome in told.take_settled() {
            self.settled(now, outcome);
        }
        self.told = told;
    }

    /// Asks for the registration of runs that are not registered.
    fn admit(&mut self, now: &mut Now<'_, I>) {
        if std::mem::replace(&mut self.has_asked, true) {
            return;
        }
        let runs = self.store.runs().filter(|run| run.registration.is_some());
        let runs: Vec<_> = runs.map(Arc::clone).collect();
        for run in runs {
            let mut must = false;
            self.call(now, |carrier, now| must = carrier.must_register(now, &run));
            match (must, &mut self.sending) {
                (false, _) => self.store.hold(&run, false),
                (true, Some(sending)) => sending.registers(run),
                (true, None) => {}
            }
        }
    }

    fn admitted(&mut self, now: &mut Now<'_, I>, run: &Arc<Run>, admission: Admission) {
        if let Some(sending) = &mut self.sending {
            sending.admitted(now.ns, run);
        }
        match admission {
            Admission::Registered { secret, topic } => self.store.registered(run, secret, topic),
            // What there is of it is refused, one by one.
            Admission::Refused => self.store.hold(run, false),
            Admission::Denied => {
                let own = self.store.runs().next();
                self.own_is_denied |= own.is_some_and(|own| Arc::ptr_eq(own, run));
                self.store.hold(run, true);
                self.store(now);
            }
        }
    }

    /// Can the carrier send what comes from memory?
    fn sends_fresh(&self) -> bool {
        !self.lacks_secret && !self.own_is_denied
    }

    /// The carrier is done with a message.
    fn settled(&mut self, now: &mut Now<'_, I>, outcome: Outcome) {
        let Some(what) = self.carried.take(outcome.ticket()) else {
            log::error!("an output tells of a message that it has not");
            return;
        };
        if let (Some(sending), What::Earlier { bytes, .. }) = (&mut self.sending, &what) {
            sending.settled(now.ns, *bytes, outcome.loss());
        }
        let done = match outcome.loss() {
            None => Done::Delivered,
            Some(DropReason::Refused) => Done::Refused,
            // It could not be sent by us, but others may be able to.
            Some(lost) => {
                return match what {
                    What::Fresh {
                        message,
                        record: None,
                    } => self.save(now, message, lost),
                    what => keep(now, what),
                };
            }
        };
        if let Some(record) = what.record() {
            self.store.done(record, done);
        }
        what.tell(now.outcomes, outcome);
    }

    fn go_on(&mut self, now: &mut Now<'_, I>) {
        self.store(now);
        self.feed(now);
        self.tell_losses(now);
        self.end(now);
    }

    /// Tells what could not be read back.
    fn tell_losses(&mut self, now: &mut Now<'_, I>) {
        for loss in self.store.take_losses() {
            match &mut self.sending {
                _ if loss.is_own => {
                    carried::fetched(now.outcomes, &loss.streams, Some(DropReason::Unreadable));
                }
                Some(sending) => sending.lost(&loss),
                None => {}
            }
        }
    }

    /// Goes on to the end.
    fn end(&mut self, now: &mut Now<'_, I>) {
        loop {
            self.stage = match self.stage {
                Stage::Emptying if self.has_more() => return,
                Stage::Emptying if self.retreats => self.sync(now),
                Stage::Emptying => {
                    self.call(now, |carrier, now| carrier.finish(now));
                    Stage::Closing
                }
                Stage::Closing if !self.retreats && !self.carrier.is_finished() => return,
                Stage::Closing => self.sync(now),
                Stage::Syncing if !self.store.is_synced() => return,
                Stage::Syncing => {
                    self.close(now);
                    Stage::Over
                }
                Stage::Open | Stage::Over => return,
            };
        }
    }

    fn sync(&mut self, now: &mut Now<'_, I>) -> Stage {
        self.store.finish(now.io, now.ns);
        Stage::Syncing
    }

    /// What the disk has now stays there.
    fn close(&mut self, now: &mut Now<'_, I>) {
        self.left = Some(self.store.left(now.io));
        self.store.close(now.io);
    }

    /// Is there something that is neither delivered nor kept?
    fn has_more(&self) -> bool {
        let own = !self.own_is_denied && self.store.has_own();
        let earlier = self.sending.as_ref().is_some_and(|sending| {
            sending.is_registering() || !sending.is_stopped() && self.store.has_earlier()
        });
        let on_disk = !self.retreats && (own || earlier);
        !self.waiting.is_empty() || !self.carried.is_empty() || on_disk
    }
}

/// Bytes of memory that the carrier may have of what it is given from there, so
/// that memory has room when it takes nothing: there are others yet when half of
/// it is full, and they go to the disk.
fn fresh_max(buffered_max: u64) -> usize {
    usize::try_from(buffered_max / 4).unwrap_or(usize::MAX)
}

impl<I: Io> Transport<I> for Spooled<I> {
    fn start(&mut self, now: &mut Now<'_, I>, message: Arc<Message>) {
        let since_ns = now.ns;
        self.waiting.push_back(Waiting { message, since_ns });
        self.go_on(now);
    }

    fn poll(&mut self, now: &mut Now<'_, I>) {
        self.admit(now);
        if !self.retreats && self.stage != Stage::Over {
            self.call(now, |carrier, now| carrier.poll(now));
        }
        self.store.poll(now.io, now.ns);
        self.go_on(now);
        if !self.retreats && self.patience_is_over(now.ns) {
            self.retreat(now);
        }
    }

    fn completed(&mut self, now: &mut Now<'_, I>, number: u32, what: Completed) {
        match number >= SPOOL_NUMBERS {
            true => self.store.completed(now.io, now.ns, number, what),
            false if self.retreats => {}
            false => self.call(now, |carrier, now| carrier.completed(now, number, what)),
        }
    }

    fn due_ns(&self) -> Option<u64> {
        let carrier = self.carrier.due_ns().filter(|_| !self.retreats);
        let in_memory = match (self.disk.due_ns(), self.is_to_store(0)) {
            (Some(retry), true) => Some(retry),
            _ => self
                .patience_ns()
                .map(|until| until.max(self.disk.due_ns().unwrap_or(0))),
        };
        let takes_more = !self.retreats && self.carried.has_room();
        let again = self.store.reads_again_ns().filter(|_| takes_more);
        let feeds = self.can_feed().then_some(0);
        let due = carrier.into_iter().chain(self.store.due_ns());
        let patience = self.sending_patience_ns();
        due.chain(in_memory)
            .chain(again)
            .chain(feeds)
            .chain(patience)
            .min()
    }

    fn alarm(&self) -> Option<Arc<Notify>> {
        self.carrier.alarm()
    }

    fn finish(&mut self, now: &mut Now<'_, I>) {
        self.stage = Stage::Emptying;
        self.go_on(now);
    }

    fn is_finished(&self) -> bool {
        self.stage == Stage::Over
    }

    fn retreat(&mut self, now: &mut Now<'_, I>) -> bool {
        self.retreats = true;
        self.call(now, |carrier, now| carrier.give_up(now));
        let mut first = VecDeque::new();
        while let Some(what) = self.carried.take_first() {
            match what {
                What::Fresh {
                    message,
                    record: None,
                } => first.push_back(Waiting {
                    message,
                    since_ns: now.ns,
                }),
                what => keep(now, what),
            }
        }
        first.append(&mut self.waiting);
        self.waiting = first;
        // A disk that failed before may take it now.
        self.disk.try_now();
        self.go_on(now);
        true
    }

    fn give_up(&mut self, now: &mut Now<'_, I>) {
        if !self.retreats {
            self.call(now, |carrier, now| carrier.give_up(now));
        }
        self.waiting.clear();
        self.close(now);
    }

    fn capacity(&self) -> Capacity {
        match self.needs_disk() {
            // None waits in memory alone for those before it.
            true => Capacity {
                overflows: true,
                ..Capacity::UNBOUNDED
            },
            false => self.carried.capacity(),
        }
    }

    fn errors(&self) -> u64 {
        self.carrier.errors() + self.disk.health().errors() + self.store.errors()
    }

    fn left(&self) -> Option<Left> {
        self.left.clone()
    }
}

#[cfg(test)]
mod tests;
