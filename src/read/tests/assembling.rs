//! Entries from bundles, without any files.

use super::*;
use crate::limits::READER_HELD_MAX;
use prost::Message;

/// An encoded bundle of the stream `s` with entries of these indices.
fn bundle(indices: impl IntoIterator<Item = u64>, line: &str) -> Vec<u8> {
    let log = |index| {
        let mut log = Writer::new("p").log(index, text(line));
        log.prefix_index = index;
        log
    };
    let logs: Vec<_> = indices.into_iter().map(log).collect();
    crate::proto::logpb::ButlerLogBundle {
        prefix: "p".into(),
        entries: vec![entry(
            "s",
            StreamType::Text,
            &logs.iter().collect::<Vec<_>>(),
        )],
        ..Default::default()
    }
    .encode_to_vec()
}

#[test]
fn what_is_held_is_bounded_and_nothing_is_lost() {
    // Far more comes early than may be held, and the beginning never comes.
    let mut assembly = Assembly::new(|_, _| true);
    let line = "x".repeat(999_999) + "\n";
    let mut told = Told::default();
    let mut each = |_: &Catalog, event: Event<'_>| told.take(event);
    for n in 1..=100 {
        assembly.feed(0, &bundle([n], &line), &mut each).unwrap();
        assert!(assembly.held() <= READER_HELD_MAX);
    }
    assert_eq!(assembly.held(), 0);
    assembly.finish(&mut each).unwrap();
    assert_eq!(told.content.len(), 100_000_000);
    assert_eq!(
        told.losses,
        [
            "stream s: 1 entry is missing, stream_index 0; or they came too late: 64 MiB of others \
          had waited"
        ]
    );
}

/// A bundle that begins a prefix and is cut is left out; the next one begins
/// it.
#[test]
fn a_prefix_may_begin_with_a_malformed_bundle() {
    let mut assembly = Assembly::new(|_, _| true);
    let good = bundle(0..2, "line\n");
    // Behind its first entry there is one whose descriptor is cut.
    let cut = [&good[..], b"\x1a\x02\x0a\x05"].concat();
    let mut told = Told::default();
    let mut each = |_: &Catalog, event: Event<'_>| told.take(event);
    let fed = assembly.feed(0, &cut, &mut each);
    assert!(matches!(fed, Err(FeedError::Malformed(_))));
    assembly.feed(0, &good, &mut each).unwrap();
    assembly.finish(&mut each).unwrap();
    assert_eq!(told, Told::only("line\nline\n"));
}

#[test]
fn who_takes_entries_may_refuse() {
    let mut assembly = Assembly::new(|_, _| true);
    let refuses = &mut |_: &Catalog, _: Event<'_>| Err(io::Error::other("enough"));
    let fed = assembly.feed(0, &bundle([0], "line\n"), refuses);
    assert!(matches!(fed, Err(FeedError::Refused(error)) if error.to_string() == "enough"));
}
