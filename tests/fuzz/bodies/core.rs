//! The core under any list of operations on some streams, with an output that
//! takes, holds and loses bundles.

use std::collections::BTreeMap;
use std::sync::Arc;

use butler::Message;
use butler::keys::StreamKey;
use butler::ledger::DropReason;
use butler::proto::logpb::butler_log_bundle;
use butler::proto::logpb::log_entry::Content;
use butler::wire::descriptor::{StreamProperties, StreamType};

use super::driver::{AGE_NS, Driver};
use super::input::Input;

/// Bundles that the output holds at most.
const HELD_MAX: usize = 4;
const STREAMS: u8 = 8;

#[derive(Default)]
struct Seen {
    written: Vec<u8>,
    content: Vec<u8>,
    is_datagram: bool,
    entries: u64,
    terminal: bool,
    ended: bool,
}

/// The streams by name, and the keys of those that are open.
#[derive(Default)]
struct World {
    seen: BTreeMap<String, Seen>,
    open: BTreeMap<u8, StreamKey>,
    prefix_indices: Vec<u64>,
}

pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut driver = Driver::new(&mut input);
    let mut world = World::default();
    let mut held: Vec<Arc<Message>> = Vec::new();
    while !input.is_empty() {
        let (what, number) = (input.byte(), input.byte() % STREAMS);
        match what % 8 {
            0..=2 => world.write(&mut driver, number, &mut input),
            3 => world.end(&mut driver, number),
            4 => driver.wait([1, AGE_NS / 2, AGE_NS][usize::from(number) % 3]),
            5 if held.len() < HELD_MAX => {
                let now = driver.now();
                held.extend(driver.core.poll_message(&now));
            }
            5 | 6 if !held.is_empty() => {
                let bundle = held.remove(0);
                world.take_bundle(&bundle);
                let now = driver.now();
                if number == 0 {
                    driver.core.lost(&now, bundle.ticket(), DropReason::Refused);
                } else {
                    driver.core.delivered(&now, bundle.ticket(), 1);
                }
            }
            // Nothing overtakes what the output holds.
            7 if held.is_empty() => driver.pump(|entry| world.take(&entry)),
            _ => {}
        }
    }
    for number in 0..STREAMS {
        world.end(&mut driver, number);
    }
    for bundle in held {
        world.take_bundle(&bundle);
        let now = driver.now();
        driver.core.delivered(&now, bundle.ticket(), 1);
    }
    driver.finish(|entry| world.take(&entry));
    world.check();
}

impl World {
    fn write(&mut self, driver: &mut Driver, number: u8, input: &mut Input<'_>) {
        let stream_type = StreamType::ALL[usize::from(number) % 3];
        let name = format!("s/{number}");
        let now = driver.now();
        if !self.seen.contains_key(&name) {
            let parsed = name.parse().expect("a name");
            let properties = StreamProperties::new(parsed, stream_type);
            let key = driver.core.open(&now, &properties).expect("it is new");
            self.open.insert(number, key);
            let seen = self.seen.entry(name.clone()).or_default();
            seen.is_datagram = stream_type == StreamType::Datagram;
        }
        let len = usize::from(input.byte());
        let data = input.take(len).repeat(1 + usize::from(input.byte()) / 8);
        let Some(key) = self.open.get(&number) else {
            return;
        };
        let seen = self.seen.entry(name).or_default();
        seen.written.extend_from_slice(&data);
        if driver.core.data(&now, *key, &data).is_err() {
            self.end(driver, number);
        }
    }

    fn end(&mut self, driver: &mut Driver, number: u8) {
        if let Some(key) = self.open.remove(&number) {
            let now = driver.now();
            driver.core.end(&now, key);
            if let Some(seen) = self.seen.get_mut(&format!("s/{number}")) {
                seen.ended = true;
            }
        }
    }

    fn take_bundle(&mut self, bundle: &Message) {
        for entry in bundle.decode().entries {
            self.take(&entry);
        }
    }

    fn take(&mut self, entry: &butler_log_bundle::Entry) {
        let name = entry.desc.as_ref().map_or("", |desc| &desc.name);
        let seen = self.seen.get_mut(name).expect("it was opened");
        assert!(!seen.terminal, "nothing comes after the terminal");
        for log in &entry.logs {
            assert_eq!(log.stream_index, seen.entries);
            seen.entries += 1;
            self.prefix_indices.push(log.prefix_index);
            match log.content.as_ref().expect("an entry has content") {
                Content::Text(text) => {
                    for line in &text.lines {
                        seen.content.extend_from_slice(&line.value);
                        seen.content.extend_from_slice(line.delimiter.as_bytes());
                    }
                }
                Content::Binary(binary) => seen.content.extend_from_slice(&binary.data),
                Content::Datagram(datagram) => seen.content.extend_from_slice(&datagram.data),
            }
        }
        if entry.terminal {
            assert_eq!(entry.terminal_index + 1, seen.entries);
            seen.terminal = true;
        }
    }

    fn check(mut self) {
        for (name, seen) in &self.seen {
            assert_eq!(seen.terminal, seen.ended && seen.entries > 0, "{name}");
            // What datagrams come to has a target of its own.
            assert!(seen.is_datagram || seen.content == seen.written, "{name}");
        }
        self.prefix_indices.sort_unstable();
        let count = self.prefix_indices.len() as u64;
        assert!(self.prefix_indices.into_iter().eq(0..count));
    }
}
