//! The streams whose carry waits, by age, and the memory of all carries.

use super::{Core, OPEN};
use crate::keys::StreamKey;
use crate::limits::IDLE_BUFFERS_MAX;
use crate::stream::{Carry, Parser, Stage};
use crate::time::Moment;

impl Core {
    /// Puts out what the stream carries.
    pub(super) fn expire(&mut self, now: &Moment, key: StreamKey) {
        self.with_stage(now, key, |parser, carry, stage, _| {
            parser.expire(stage, carry);
        });
    }

    /// Runs the stream's parser, and keeps the memory count and the queue by
    /// age in step with its carry.
    pub(super) fn with_stage<R>(
        &mut self,
        now: &Moment,
        key: StreamKey,
        run: impl FnOnce(&mut Parser, &mut Carry, &mut Stage<'_>, &mut u64) -> R,
    ) -> R {
        let stream = self.streams.get_mut(key).expect(OPEN);
        match stream.queued_ns {
            Some(_) => self.carried -= stream.memory(),
            None => self.idle -= stream.memory(),
        }
        let mut stage = Stage {
            bundler: &mut self.bundler,
            info: &stream.info,
            progress: &mut stream.progress,
            watch: stream.watched.then_some((&mut self.events, key)),
            account: &mut stream.account,
            total: &mut self.total,
            now,
        };
        let result = run(
            &mut stream.parser,
            &mut stream.carry,
            &mut stage,
            &mut stream.size_left,
        );
        let waiting = stream.carry.waiting_since();
        if waiting == stream.queued_ns {
            match waiting {
                Some(_) => self.carried += stream.memory(),
                None => self.rest(key),
            }
            return result;
        }
        self.unqueue(key);
        match waiting {
            Some(since) if self.is_youngest(since) => self.enqueue(key, since),
            Some(_) => {
                self.rest(key);
                self.expire(now, key);
            }
            None => self.rest(key),
        }
        result
    }

    /// The stream is not in the queue by age; its carry may keep some memory.
    pub(super) fn rest(&mut self, key: StreamKey) {
        let stream = self.streams.get_mut(key).expect(OPEN);
        if self.idle + stream.memory() > IDLE_BUFFERS_MAX {
            stream.carry.shrink();
        }
        self.idle += stream.memory();
    }

    /// May what was read then be appended to the queue by age?
    ///
    /// Moments of reading never go back, so that nearly all may. But the tail
    /// of a line that was held and goes on is as old as it is, and others have
    /// come since. It is not sought a place between them: it leaves at once,
    /// and so the age holds for it too.
    fn is_youngest(&self, since: u64) -> bool {
        self.youngest
            .and_then(|youngest| self.streams.get(youngest)?.queued_ns)
            .is_none_or(|youngest| youngest <= since)
    }

    /// Appends the stream to the queue by age.
    fn enqueue(&mut self, key: StreamKey, since: u64) {
        let older = self.youngest.replace(key);
        match older.and_then(|older| self.streams.get_mut(older)) {
            Some(older) => older.younger = Some(key),
            None => self.oldest = Some(key),
        }
        let stream = self.streams.get_mut(key).expect(OPEN);
        stream.queued_ns = Some(since);
        stream.older = older;
        self.carried += stream.memory();
    }

    pub(super) fn unqueue(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        if stream.queued_ns.take().is_none() {
            return;
        }
        let (older, younger) = (stream.older.take(), stream.younger.take());
        match older.and_then(|key| self.streams.get_mut(key)) {
            Some(stream) => stream.younger = younger,
            None => self.oldest = younger,
        }
        match younger.and_then(|key| self.streams.get_mut(key)) {
            Some(stream) => stream.older = older,
            None => self.youngest = older,
        }
    }
}
