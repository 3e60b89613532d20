//! Datagrams, however they are cut and timed, and bytes that are none,
//! against a model that reads the whole at once.

use butler::limits::DATAGRAM_MAX;
use butler::proto::logpb::log_entry::Content;
use butler::wire::descriptor::StreamType;

use super::driver::{Driven, drive};

pub fn run(bytes: &[u8]) {
    let driven = drive(StreamType::Datagram, bytes);
    let model = Model::new(&driven.written);
    assert_eq!(driven.failed, model.wrong);
    assert!(reassemble(&driven) == model.datagrams, "other datagrams");
    assert_eq!(driven.dropped, model.dropped as u64);
    assert_eq!(
        driven.delivered + driven.dropped,
        driven.written.len() as u64
    );
}

/// Each datagram's size and what there is of it.
fn reassemble(driven: &Driven) -> Vec<(u64, Vec<u8>)> {
    let mut all: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut parts = None;
    for log in &driven.logs {
        let Some(Content::Datagram(datagram)) = &log.content else {
            panic!("an entry of a datagram stream is a datagram");
        };
        let size = match &datagram.partial {
            None => datagram.data.len() as u64,
            Some(partial) => partial.size,
        };
        let part = parts.unwrap_or_else(|| {
            all.push((size, Vec::new()));
            0
        });
        assert_eq!(log.sequence + 1, all.len() as u64);
        let (whole, data) = all.last_mut().expect("one was begun");
        data.extend_from_slice(&datagram.data);
        assert_eq!(*whole, size);
        parts = match &datagram.partial {
            None => {
                assert_eq!(part, 0, "a whole one has no parts");
                None
            }
            Some(partial) => {
                assert_eq!(partial.index, part);
                assert_eq!(partial.last, data.len() as u64 == size);
                (!partial.last).then_some(part + 1)
            }
        };
    }
    all
}

#[derive(Default)]
struct Model {
    datagrams: Vec<(u64, Vec<u8>)>,
    dropped: usize,
    wrong: bool,
}

impl Model {
    fn new(mut data: &[u8]) -> Self {
        let mut model = Self::default();
        while !data.is_empty() {
            let Some((size, used)) = size(data) else {
                model.wrong = data.len() >= 10;
                break;
            };
            if size > u128::from(DATAGRAM_MAX) {
                model.wrong = true;
                break;
            }
            let got = (size as usize).min(data.len() - used);
            if got == 0 && size > 0 {
                break;
            }
            let datagram = data[used..used + got].to_vec();
            model.datagrams.push((size as u64, datagram));
            data = &data[used + got..];
        }
        model.dropped = data.len();
        model
    }
}

/// The size before a datagram and its bytes, of which there are ten at most.
fn size(data: &[u8]) -> Option<(u128, usize)> {
    let mut size = 0;
    for (at, byte) in data.iter().enumerate().take(10) {
        size |= u128::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((size, at + 1));
        }
    }
    None
}
