//! Messages that are published, several at once: fresh ones, and those that were
//! stored, of this run and of others.
//!
//! Each is published by a task of its own on the butler's thread, which tells
//! when it has ended. The futures are tonic's; what is to be done and what came
//! of it is here.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;

use super::RegistrationError;
use super::coordinator::{Grant, Patience};
use super::pubsub::{Destination, Publisher, Unsent};
use super::registering::Registering;
use super::secrets::HeldSecret;
use super::tasks::Tasks;
use crate::chain::Chain;
use crate::delivery::encode::{Compress, Encoder};
use crate::delivery::message::{Message, Ticket};
use crate::delivery::outcome::{Outcome, Outcomes};
use crate::delivery::stored::{Admission, Run, Stored};
use crate::delivery::window::Capacity;
use crate::edge::io::Io;
use crate::edge::transport::{Carrier, Now, Transport};
use crate::ledger::DropReason;
use crate::limits::{PUBLISHES_BYTES_MAX, PUBLISHES_MAX};
use crate::secret::Secret;
use crate::wire::name::StreamName;

/// gRPC copies what is published once more while it is sent.
const COPIES: usize = 2;

/// See the module.
#[derive(Debug)]
pub(crate) struct Publishing {
    encoder: Encoder,
    publisher: Rc<Publisher>,
    /// Where fresh messages go. Without it there are none: the prefix of this run
    /// was not registered when it began.
    own: Option<Rc<Destination>>,
    /// Whose they are, if they can be kept elsewhere.
    keeps: Option<Arc<Run>>,
    registering: Registering,
    /// Runs whose messages are not sent, and why they are lost here.
    barred: Vec<(Arc<Run>, DropReason)>,
    capacity: Capacity,
    publishes: Tasks<Sent, Result<u64, Unsent>>,
    /// Is given when a publish or a registration has ended.
    ended: Arc<Notify>,
}

/// A message that is being published.
#[derive(Debug)]
struct Sent {
    ticket: Ticket,
    streams: StreamNames,
    len: usize,
    /// Of one that is kept elsewhere, or can be.
    run: Option<Arc<Run>>,
}

impl Publishing {
    /// Takes less than half of the `buffered_max` bytes that may be buffered.
    /// `ended` is what `registering` gives.
    pub fn new(
        publisher: Publisher,
        own: Option<Destination>,
        (registering, ended): (Registering, Arc<Notify>),
        buffered_max: u64,
    ) -> Self {
        let bytes = PUBLISHES_BYTES_MAX.min(buffered_max / 4);
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        Self {
            encoder: Encoder::new(Compress::ZLIB),
            publisher: Rc::new(publisher),
            own: own.map(Rc::new),
            keeps: None,
            registering,
            barred: Vec::new(),
            capacity: Capacity::of(PUBLISHES_MAX, bytes.saturating_mul(COPIES)),
            publishes: Tasks::new(Arc::clone(&ended)),
            ended,
        }
    }

    /// Fresh messages are of that run, and can be kept elsewhere if they can't be
    /// sent.
    pub fn keeping(mut self, run: &Arc<Run>) -> Self {
        self.keeps = Some(Arc::clone(run));
        self
    }

    /// Publishes what is in the encoder.
    fn begin(&mut self, outcomes: &mut Outcomes, mut sent: Sent, to: Rc<Destination>) {
        let bytes: Bytes = match self.encoder.pieces() {
            [whole] => whole.clone(),
            pieces => pieces.concat().into(),
        };
        self.encoder.clear();
        sent.len = bytes.len();
        outcomes.encoded(sent.ticket, COPIES * bytes.len());
        let publisher = Rc::clone(&self.publisher);
        let publish = async move { publisher.publish(&to, bytes).await };
        self.publishes.begin(sent, publish);
    }

    /// What becomes of a message that is not published.
    fn unsent(&mut self, outcomes: &mut Outcomes, sent: Sent, unsent: &Unsent) -> DropReason {
        let Unsent { why, is_its_own } = unsent;
        match &sent.run {
            Some(run) if !is_its_own => self.bar(outcomes, run, why),
            _ => {
                let Sent { streams, len, .. } = &sent;
                let why = format_args!("{why}; a message of {len} bytes is dropped ({streams})");
                self.publisher.health().failed_for_good(&why);
                DropReason::Refused
            }
        }
    }

    /// No message of that run is sent any more: they stay where they are.
    fn bar(&mut self, outcomes: &mut Outcomes, run: &Arc<Run>, why: &str) -> DropReason {
        let reason = DropReason::Undelivered;
        if self.bars(run).is_none() {
            let of = whose(run);
            let why = format_args!("{why}; messages {of} stay in the spool");
            self.publisher.health().failed_for_good(&why);
            self.barred.push((Arc::clone(run), reason));
            outcomes.admit(Arc::clone(run), Admission::Denied);
        }
        reason
    }

    fn bars(&self, run: &Arc<Run>) -> Option<DropReason> {
        let found = self.barred.iter().find(|(it, _)| Arc::ptr_eq(it, run));
        found.map(|(_, reason)| *reason)
    }

    /// Where messages of that run go.
    fn destination(
        &mut self,
        outcomes: &mut Outcomes,
        run: &Arc<Run>,
    ) -> Result<Destination, DropReason> {
        if let Some(reason) = self.bars(run) {
            return Err(reason);
        }
        if run.registration.is_some() {
            return Err(DropReason::Undelivered);
        }
        let topic = match run.topic.as_deref().map(str::parse) {
            Some(Ok(topic)) => topic,
            Some(Err(error)) => return Err(self.bar(outcomes, run, &format!("{error}"))),
            None => return Err(self.bar(outcomes, run, "another kind of output made them")),
        };
        let secret = HeldSecret::new(run.identity.secret.expose());
        Ok(Destination::new(topic, secret))
    }

    /// Tells what came of registering a run.
    fn registered(
        &mut self,
        outcomes: &mut Outcomes,
        run: Arc<Run>,
        result: Result<Grant, RegistrationError>,
    ) {
        let prefix = &run.identity.prefix;
        let error = match result {
            Ok(Grant { secret, topic }) => {
                let shown = topic.shown();
                log::info!("the prefix {prefix} is registered; its topic is {shown}");
                let admission = Admission::Registered {
                    secret: Secret::new(secret.expose().to_vec()),
                    topic: topic.as_str().to_owned(),
                };
                return outcomes.admit(run, admission);
            }
            Err(error) => error,
        };
        let of = whose(&run);
        let shown = Chain(&error);
        let (admission, reason) = match error {
            RegistrationError::PrefixTaken { .. } => {
                log::error!("output logdog: {shown}; messages {of} can't be sent, and are lost");
                (Admission::Refused, DropReason::Refused)
            }
            _ => {
                log::error!("output logdog: {shown}; messages {of} stay in the spool");
                (Admission::Denied, DropReason::Undelivered)
            }
        };
        self.barred.push((Arc::clone(&run), reason));
        outcomes.admit(run, admission);
    }
}

/// For people.
fn whose(run: &Run) -> String {
    let identity = &run.identity;
    format!(
        "of the prefix {} of the project {}",
        identity.prefix, identity.project
    )
}

impl<I: Io> Transport<I> for Publishing {
    fn start(&mut self, now: &mut Now<'_, I>, message: Arc<Message>) {
        let ticket = message.ticket();
        let barred = self.keeps.as_ref().and_then(|run| self.bars(run));
        let (Some(to), None) = (self.own.clone(), barred) else {
            let lost = Outcome::lost(ticket, DropReason::Undelivered);
            drop(message);
            return now.outcomes.settle(lost);
        };
        self.encoder.encode(&message);
        let sent = Sent::new(ticket, StreamNames::of(&message), self.keeps.clone());
        drop(message);
        self.begin(now.outcomes, sent, to);
    }

    fn poll(&mut self, now: &mut Now<'_, I>) {
        while let Some((sent, result)) = self.publishes.try_next() {
            let ticket = sent.ticket;
            let outcome = match result {
                Some(Ok(bytes_out)) => Outcome::delivered(ticket, bytes_out),
                Some(Err(unsent)) => {
                    Outcome::lost(ticket, self.unsent(now.outcomes, sent, &unsent))
                }
                None => Outcome::lost(ticket, DropReason::Undelivered),
            };
            now.outcomes.settle(outcome);
        }
        while let Some((run, result)) = self.registering.try_next() {
            self.registered(now.outcomes, run, result);
        }
    }

    fn alarm(&self) -> Option<Arc<Notify>> {
        Some(Arc::clone(&self.ended))
    }

    fn finish(&mut self, _: &mut Now<'_, I>) {}

    fn is_finished(&self) -> bool {
        self.publishes.about().next().is_none()
    }

    fn give_up(&mut self, _: &mut Now<'_, I>) {
        self.publishes.clear();
        self.registering.stop();
    }

    fn capacity(&self) -> Capacity {
        self.capacity
    }

    fn errors(&self) -> u64 {
        self.publisher.health().errors() + self.registering.errors()
    }
}

impl<I: Io> Carrier<I> for Publishing {
    fn carry(&mut self, now: &mut Now<'_, I>, stored: Stored) {
        let (ticket, run) = (stored.ticket(), stored.run());
        match self.destination(now.outcomes, run) {
            Err(reason) => now.outcomes.settle(Outcome::lost(ticket, reason)),
            Ok(to) => {
                self.encoder.encode_stored(&stored);
                let streams = StreamNames::of_stored(&stored);
                let sent = Sent::new(ticket, streams, Some(Arc::clone(run)));
                self.begin(now.outcomes, sent, Rc::new(to));
            }
        }
    }

    fn must_register(&mut self, now: &mut Now<'_, I>, run: &Arc<Run>) -> bool {
        let Some(registration) = &run.registration else {
            return false;
        };
        if self.bars(run).is_none() && !self.registering.has(run) {
            let begun = self.registering.begin(run, registration, Patience::Endless);
            if let Err(error) = begun {
                self.bar(now.outcomes, run, &Chain(&error).to_string());
            }
        }
        true
    }
}

impl Sent {
    fn new(ticket: Ticket, streams: StreamNames, run: Option<Arc<Run>>) -> Self {
        Self {
            ticket,
            streams,
            len: 0,
            run,
        }
    }
}

/// The streams of a message, for the log.
#[derive(Debug)]
struct StreamNames {
    first: Option<StreamName>,
    others: usize,
}

impl StreamNames {
    fn of(message: &Message) -> Self {
        Self {
            first: message.streams.first().map(|one| one.info.name.clone()),
            others: message.streams.len().saturating_sub(1),
        }
    }

    fn of_stored(stored: &Stored) -> Self {
        let (first, others) = stored.streams();
        Self {
            first: Some(first.clone()),
            others,
        }
    }
}

impl fmt::Display for StreamNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.first, self.others) {
            (None, _) => f.write_str("no stream"),
            (Some(first), 0) => write!(f, "of stream {first}"),
            (Some(first), others) => write!(f, "of stream {first} and {others} others"),
        }
    }
}
