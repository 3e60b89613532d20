//! One stream through the core: cut and timed as the input has it.

use butler::core::{Core, CoreConfig};
use butler::proto::logpb::{LogEntry, butler_log_bundle};
use butler::time::Moment;
use butler::wire::descriptor::{StreamProperties, StreamType, Tags};
use butler::wire::message::MessageView;
use butler::{BundleLimits, Gather, Identity};

use super::input::Input;

pub const AGE_NS: u64 = 5_000_000_000;

/// What came of a stream, and what went into it.
#[derive(Default)]
pub struct Driven {
    /// All that the client wrote.
    pub written: Vec<u8>,
    /// It broke the framing, and was ended.
    pub failed: bool,
    pub logs: Vec<LogEntry>,
    pub terminal: Option<u64>,
    pub delivered: u64,
    pub dropped: u64,
}

/// The core of a butler, and the time it is told.
pub struct Driver {
    pub core: Core,
    pub now_ns: u64,
    gather: Gather,
    limits: BundleLimits,
}

impl Driver {
    pub fn new(input: &mut Input<'_>) -> Self {
        let limits = input.pick(&[(4096, 4096), (4096, 1 << 20), (100_000, 1 << 20)]);
        let limits = BundleLimits {
            early: limits.0 / 2,
            target: limits.0,
            max: limits.1,
        };
        let config = CoreConfig {
            bundle_limits: limits,
            text_in_lines: true,
            identity: Identity::default(),
            global_tags: Tags::default(),
            age_max_ns: input.pick(&[AGE_NS, AGE_NS, 0]),
            buffered_max: input.pick(&[1 << 30, 20_000]),
            stream_size_max: u64::MAX,
        };
        Self {
            core: Core::new(config),
            now_ns: 1,
            gather: Gather::default(),
            limits,
        }
    }

    pub fn now(&self) -> Moment {
        Moment {
            mono_ns: self.now_ns,
            wall: prost_types::Timestamp {
                seconds: 1_700_000_000 + (self.now_ns / 1_000_000_000) as i64,
                nanos: (self.now_ns % 1_000_000_000) as i32,
            },
        }
    }

    /// Time passes.
    pub fn wait(&mut self, ns: u64) {
        self.now_ns += ns;
        let now = self.now();
        self.core.tick(&now);
    }

    /// Takes what leaves, as an output would; `take` gets what there is of
    /// each stream.
    pub fn pump(&mut self, mut take: impl FnMut(butler_log_bundle::Entry)) {
        let now = self.now();
        while let Some(bundle) = self.core.poll_message(&now) {
            self.gather.message(&bundle);
            let message = self.gather.concat();
            self.gather.clear();
            let view = MessageView::parse(&message).expect("a message");
            let view = view.expect("a whole one");
            assert_eq!(view.len, message.len());
            assert!(view.data.len() <= self.limits.max);
            let decoded = view.bundle().expect("a bundle");
            decoded.entries.into_iter().for_each(&mut take);
            self.core
                .delivered(&now, bundle.ticket(), message.len() as u64);
        }
    }

    /// After the last stream has ended.
    pub fn finish(&mut self, take: impl FnMut(butler_log_bundle::Entry)) {
        self.core.flush();
        self.pump(take);
        assert!(self.core.is_settled());
        assert_eq!(self.core.buffered(), 0);
        assert_eq!(self.core.account().pending(), 0);
    }
}

/// Drives one stream with all of the input.
pub fn drive(stream_type: StreamType, bytes: &[u8]) -> Driven {
    let mut input = Input::new(bytes);
    let mut driver = Driver::new(&mut input);
    let mut driven = Driven::default();
    let name = "s".parse().expect("a name");
    let properties = StreamProperties::new(name, stream_type);
    let now = driver.now();
    let key = driver.core.open(&now, &properties).expect("it is new");
    while !input.is_empty() && !driven.failed {
        let (control, len) = (input.byte(), usize::from(input.byte()));
        let data = input.take(len);
        // A few bytes of input stand for a line longer than a bundle.
        let data = data.repeat(if control & 0x80 == 0 { 1 } else { 30 });
        let now = driver.now();
        driven.failed = driver.core.data(&now, key, &data).is_err();
        driven.written.extend(data);
        if control & 1 != 0 {
            driver.pump(|entry| driven.take(entry));
        }
        driver.wait([0, 1, AGE_NS][usize::from(control >> 1) % 3]);
        let due = driver.core.next_tick_ns(&driver.now());
        assert!(due.is_none_or(|due| due > driver.now_ns), "nothing is late");
    }
    let now = driver.now();
    driver.core.end(&now, key);
    driver.finish(|entry| driven.take(entry));
    assert_eq!(
        driver.core.account().accepted(),
        driven.written.len() as u64
    );
    driven.delivered = driver.core.account().delivered();
    driven.dropped = driver.core.account().dropped_in_all();
    if driven.logs.is_empty() {
        assert_eq!(driven.terminal, None, "it is not mentioned");
    } else {
        assert_eq!(driven.terminal, Some(driven.logs.len() as u64 - 1));
    }
    driven
}

impl Driven {
    fn take(&mut self, entry: butler_log_bundle::Entry) {
        assert_eq!(self.terminal, None, "nothing comes after the terminal");
        for log in entry.logs {
            assert_eq!(log.stream_index, self.logs.len() as u64);
            assert_eq!(log.prefix_index, log.stream_index, "it is the only stream");
            self.logs.push(log);
        }
        self.terminal = entry.terminal.then_some(entry.terminal_index);
    }
}
