//! What must hold of streams, messages and their accounts at any time.

use std::sync::Arc;

use super::{Core, Stream, StreamKey};
use crate::delivery::message::MessageStream;
use crate::ledger::Account;

impl Core {
    /// Panics unless all that it keeps in more than one place agrees.
    pub(super) fn invariants(&self) {
        self.check_queue();
        let carries = |queued: bool| {
            let streams = self.streams.iter().map(|(_, stream)| stream);
            let some = streams.filter(move |it| it.queued_ns.is_some() == queued);
            some.map(|stream| stream.carry.memory()).sum::<usize>()
        };
        assert_eq!(self.carried, carries(true), "memory of those that wait");
        assert_eq!(self.idle, carries(false), "memory of the others");
        let held_up = self.streams.iter().filter(|(_, it)| it.held_up).count();
        assert_eq!(self.held_up, held_up, "streams that are held up");
        self.window.invariants();
        self.bundler.invariants(self.window.iter());
        self.check_accounts();
        for (key, stream) in self.streams.iter() {
            self.check_stream(key, stream);
        }
    }

    /// The queue by age is linked in both directions, and in order.
    fn check_queue(&self) {
        let (mut before, mut next) = (None, self.oldest);
        let mut last_ns = 0;
        let mut queued = 0;
        while let Some(key) = next {
            let stream = self.streams.get(key).expect("who is queued is open");
            let since = stream.queued_ns.expect("who is linked is queued");
            assert!(since >= last_ns, "{key:?} stands behind a younger one");
            assert_eq!(stream.older, before, "who is before {key:?}");
            assert_eq!(stream.carry.waiting_since(), Some(since), "{key:?} waits");
            (before, next, last_ns) = (Some(key), stream.younger, since);
            queued += 1;
        }
        assert_eq!(self.youngest, before, "the last of the queue");
        let all = self.streams.iter();
        let all = all.filter(|(_, it)| it.queued_ns.is_some()).count();
        assert_eq!(queued, all, "streams in the queue by age");
    }

    /// The account of all is that of each.
    fn check_accounts(&self) {
        let mut total = Account::default();
        for name in self.registry.names() {
            let account = self.account_of(name.as_str());
            total.add(&account.expect("it is known by its name"));
        }
        assert_eq!(total, self.total, "of all streams");
    }

    fn check_stream(&self, key: StreamKey, stream: &Stream) {
        let name = &stream.info.name;
        assert_eq!(self.registry.find(name.as_str()), Some(key), "{name}");
        let is_of = |it: &&MessageStream| Arc::ptr_eq(&it.info, &stream.info);
        let messages = self.in_messages().filter(is_of).count();
        let noted = stream.progress.slot.messages as usize;
        assert_eq!(noted, messages, "messages that {name} is in");
    }

    /// Of all messages, what they have of each stream.
    fn in_messages(&self) -> impl Iterator<Item = &MessageStream> {
        let in_flight = self.window.iter().flat_map(|it| it.streams());
        self.bundler.streams().chain(in_flight)
    }
}
