use super::*;
use crate::proto::logpb::log_entry;
use crate::stream::testing::Bench;
use crate::wire::descriptor::StreamType;

/// Its number, the size of all, and whether it is the last.
type Part = (u32, u64, bool);

struct Pushed {
    bench: Bench,
    datagram: Datagram,
    /// Entries that were looked at.
    given: u64,
}

impl Pushed {
    fn new(target: usize, max: usize) -> Self {
        Self {
            bench: Bench::new(StreamType::Datagram, target, max),
            datagram: Datagram::default(),
            given: 0,
        }
    }

    fn push(&mut self, data: &[u8]) -> Result<(), FramingError> {
        let datagram = &mut self.datagram;
        self.bench
            .run(|stage, carry| datagram.push(stage, carry, data))
    }

    fn finish(&mut self) {
        let datagram = &mut self.datagram;
        self.bench.run(|stage, carry| datagram.finish(stage, carry));
    }

    fn dropped(&self) -> u64 {
        self.bench.account().dropped(DropReason::Framing)
    }

    /// Of every entry: the datagram, its bytes, and the part that it is.
    fn entries(&mut self) -> Vec<(u64, usize, Option<Part>)> {
        let entries = self.bench.bundles().concat();
        let first = self.given;
        self.given += entries.len() as u64;
        let entries = entries
            .into_iter()
            .zip(first..)
            .map(|(entry, index)| match entry.content {
                _ if entry.stream_index != index => panic!("{entry:?}"),
                Some(log_entry::Content::Datagram(datagram)) => {
                    let partial = datagram
                        .partial
                        .map(|part| (part.index, part.size, part.last));
                    (entry.sequence, datagram.data.len(), partial)
                }
                other => panic!("{other:?}"),
            });
        entries.collect()
    }
}

fn frame(len: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    varint::push(&mut frame, len as u64);
    frame.resize(frame.len() + len, b'x');
    frame
}

fn size(size: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint::push(&mut bytes, size);
    bytes
}

#[test]
fn whole_in_any_reads() {
    let data = [frame(0), frame(1), frame(300), frame(0)].concat();
    for step in [1, 2, 3, 4, 7, 1000] {
        let mut pushed = Pushed::new(10_000, 10_000);
        for piece in data.chunks(step) {
            pushed.push(piece).unwrap();
        }
        pushed.finish();
        assert_eq!(pushed.dropped(), 0);
        let expected = [(0, 0, None), (1, 1, None), (2, 300, None), (3, 0, None)];
        assert_eq!(pushed.entries(), expected, "{step}");
        assert_eq!(pushed.bench.client_bytes, data.len() as u64);
    }
}

/// Whatever is wrong is dropped from the size on.
#[test]
fn sizes_that_are_not_possible() {
    let too_large = DATAGRAM_MAX + 1;
    for (bytes, error) in [
        (size(too_large), FramingError::TooLarge(too_large)),
        (vec![0xff; 10], FramingError::SizeOverflow),
    ] {
        for step in [1, 3, 100] {
            let mut pushed = Pushed::new(10_000, 10_000);
            pushed.push(&frame(5)).unwrap();
            let data = [&bytes[..], b"what follows"].concat();
            let mut dropped = 0;
            let result = data.chunks(step).find_map(|piece| {
                dropped += piece.len() as u64;
                pushed.push(piece).err()
            });
            assert_eq!(result, Some(error), "{step}");
            assert_eq!(pushed.dropped(), dropped);
            pushed.finish();
            assert_eq!(pushed.dropped(), dropped);
            assert_eq!(pushed.entries(), [(0, 5, None)]);
        }
    }
    let mut pushed = Pushed::new(10_000, 10_000);
    pushed.push(&size(DATAGRAM_MAX)).unwrap();
    assert_eq!(
        FramingError::TooLarge(7).to_string(),
        format!("a datagram of 7 bytes, more than {DATAGRAM_MAX}")
    );
    assert_eq!(
        FramingError::SizeOverflow.to_string(),
        "a datagram's size has more than 64 bits"
    );
}

/// What came of the last datagram is put out; a size alone is nothing.
#[test]
fn an_end_anywhere() {
    let data = frame(300);
    for cut in 0..data.len() {
        let mut pushed = Pushed::new(10_000, 10_000);
        pushed.push(&data[..cut]).unwrap();
        pushed.finish();
        pushed.finish();
        let body = cut.saturating_sub(2);
        if body == 0 {
            assert_eq!(
                (pushed.dropped(), pushed.bench.bundles().len()),
                (cut as u64, 0)
            );
        } else {
            assert_eq!(pushed.dropped(), 0);
            assert_eq!(pushed.entries(), [(0, body, Some((0, 300, false)))]);
        }
    }
}

/// One that fits in no bundle goes in parts that fill bundles, one that
/// fits in the next goes there.
#[test]
fn larger_than_a_bundle() {
    let mut pushed = Pushed::new(1000, 2000);
    pushed.push(&[frame(500), frame(600)].concat()).unwrap();
    assert_eq!(pushed.bench.bundles().len(), 2);

    // Up to the last byte.
    for (more, bundles) in [(0, 1), (1, 2)] {
        let mut pushed = Pushed::new(1000, 2000);
        pushed.push(&frame(300)).unwrap();
        let datagram = frame(pushed.bench.room() + more);
        let (head, body) = datagram.split_at(100);
        pushed.push(head).unwrap();
        pushed.push(body).unwrap();
        assert_eq!(pushed.bench.bundles().len(), bundles);
    }

    let mut pushed = Pushed::new(1000, 2000);
    let alone = pushed.bench.run(|stage, _| stage.room_alone());
    pushed.push(&frame(alone)).unwrap();
    assert_eq!(pushed.entries(), [(0, alone, None)]);
    let size = 2 * alone + 1;
    pushed.push(&frame(size)).unwrap();
    let part = |index, last| Some((index, size as u64, last));
    let expected = [
        (1, alone, part(0, false)),
        (1, alone, part(1, false)),
        (1, 1, part(2, true)),
    ];
    assert_eq!(pushed.entries(), expected);
}

/// Old or much, what has come of a datagram does not wait for its end.
#[test]
fn what_has_come_so_far() {
    let mut pushed = Pushed::new(10_000, DATAGRAM_MAX as usize + 1000);
    let datagram = frame(STREAM_BUFFER_MAX + 10);
    let (size, body) = datagram.split_at(4);
    pushed.push(size).unwrap();
    pushed.push(&body[..STREAM_BUFFER_MAX - 1]).unwrap();
    assert_eq!(pushed.bench.carry.len(), STREAM_BUFFER_MAX - 1);
    pushed.push(b"x").unwrap();
    assert!(pushed.bench.carry.is_empty());
    pushed.push(b"xx").unwrap();
    for _ in 0..2 {
        let datagram = &mut pushed.datagram;
        pushed
            .bench
            .run(|stage, carry| datagram.expire(stage, carry));
    }
    pushed.push(&[b'x'; 8]).unwrap();
    let whole = STREAM_BUFFER_MAX as u64 + 10;
    let expected = [
        (0, STREAM_BUFFER_MAX, Some((0, whole, false))),
        (0, 2, Some((1, whole, false))),
        (0, 8, Some((2, whole, true))),
    ];
    assert_eq!(pushed.entries(), expected);
}
