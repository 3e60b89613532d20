//! Entries from bundles, without any files.

use prost::Message;

use super::*;
use crate::limits::READ_HELD_MAX;
use crate::proto::logpb::{
    ButlerLogBundle, LogEntry, LogStreamDescriptor, Text, butler_log_bundle, log_entry, text,
};

fn log(index: u64, line: &str) -> LogEntry {
    let line = text::Line {
        value: line.to_owned().into(),
        delimiter: "\n".into(),
    };
    LogEntry {
        prefix_index: index,
        stream_index: index,
        content: Some(log_entry::Content::Text(Text { lines: vec![line] })),
        ..Default::default()
    }
}

fn bundle(logs: Vec<LogEntry>) -> Vec<u8> {
    let entry = butler_log_bundle::Entry {
        desc: Some(LogStreamDescriptor {
            name: "s".into(),
            ..Default::default()
        }),
        logs,
        ..Default::default()
    };
    ButlerLogBundle {
        prefix: "p".into(),
        entries: vec![entry],
        ..Default::default()
    }
    .encode_to_vec()
}

#[test]
fn what_is_held_is_bounded_and_nothing_is_lost() {
    // Far more comes early than may be held, and the beginning never comes.
    let mut assembly = Assembly::new(|_, _| true);
    let line = "x".repeat(999_999);
    let (mut len, mut findings) = (0, Vec::new());
    let mut each = |_: &Catalog, event: Event<'_>| {
        match event {
            Event::Entry(_, entry) => {
                let mut content = Vec::new();
                entry.write_to(&mut content)?;
                len += content.len();
            }
            Event::Finding(finding) => findings.push(finding.to_string()),
            _ => {}
        }
        Ok(())
    };
    for n in 1..=100 {
        let bundle = bundle(vec![log(n, &line)]);
        assembly.feed(0, &bundle, &mut each).unwrap();
        assert!(assembly.held() <= READ_HELD_MAX);
    }
    assert_eq!(assembly.held(), 0);
    assembly.finish(&mut each).unwrap();
    assert_eq!(len, 100_000_000);
    assert_eq!(
        findings,
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
    let good = bundle(vec![log(0, "one"), log(1, "two")]);
    // Behind its first entry there is one whose descriptor is cut.
    let cut = [&good[..], b"\x1a\x02\x0a\x05"].concat();
    let mut out = Vec::new();
    let mut each = |_: &Catalog, event: Event<'_>| match event {
        Event::Entry(_, entry) => entry.write_to(&mut out),
        _ => Ok(()),
    };
    for (bundle, is_good) in [(&cut, false), (&good, true)] {
        let fed = assembly.feed(0, bundle, &mut each);
        assert_eq!(fed.is_ok(), is_good);
    }
    assembly.finish(&mut each).unwrap();
    assert_eq!(out, b"one\ntwo\n");
}

#[test]
fn who_takes_entries_may_refuse() {
    let mut assembly = Assembly::new(|_, _| true);
    let refuses = &mut |_: &Catalog, _: Event<'_>| Err(std::io::Error::other("enough"));
    let fed = assembly.feed(0, &bundle(vec![log(0, "one")]), refuses);
    assert!(matches!(fed, Err(FeedError::Refused(error)) if error.to_string() == "enough"));
}
