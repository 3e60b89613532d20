//! Where the last whole message of a file ends.
//!
//! A butler that is killed, or whose disk is full, leaves a message that is
//! cut. The next one goes on in its place. What is not a file of messages is
//! somebody else's and is never changed.

use std::io::{self, Read, Seek};

use crate::wire::message::MessageError;
use crate::wire::reader::{Tail, scan};

/// Where the last whole message ends. An error of kind `InvalidData` says
/// that there is something else than messages in the file, and where.
pub(super) fn end_of_messages(mut file: impl Read + Seek) -> io::Result<u64> {
    let found = scan(&mut file)?;
    match found.tail {
        Tail::Nothing | Tail::Torn { .. } => Ok(found.end),
        Tail::Corrupt { error, .. } => Err(not_messages(found.end, &error)),
    }
}

fn not_messages(at: u64, error: &MessageError) -> io::Error {
    let text = match at {
        0 => format!("it has content that no butler wrote ({error}), and is left alone"),
        _ => format!("what follows at byte {at} is no message ({error}), so it is left alone"),
    };
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::encode::{Compress, Encoder};
    use crate::output::testing::{bundles, lines, parse};
    use crate::wire::descriptor::StreamType;
    use crate::wire::message::MessageView;
    use proptest::prelude::*;
    use std::io::Write;

    fn end_in(bytes: &[u8]) -> io::Result<u64> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        end_of_messages(&file)
    }

    fn messages(compress: Compress, target: usize, bytes: usize) -> Vec<Vec<u8>> {
        let mut encoder = Encoder::new(compress);
        bundles(target, &[("s", StreamType::Text, &lines(bytes))])
            .iter()
            .map(|bundle| {
                encoder.encode(bundle);
                encoder.pieces().concat()
            })
            .collect()
    }

    #[test]
    fn every_cut_is_found() {
        for compress in [Compress::None, Compress::ZLIB] {
            for (target, bytes) in [(300, 600), (3000, 20_000), (300_000, 700_000)] {
                let all = messages(compress, target, bytes);
                let (last, before) = all.split_last().unwrap();
                let mut file = before.concat();
                let end = file.len() as u64;
                assert!(!before.is_empty());
                assert_eq!(end_in(&file).unwrap(), end);
                let step = last.len().div_ceil(500);
                for cut in (0..40.min(last.len())).chain((40..last.len()).step_by(step)) {
                    file.truncate(end as usize);
                    file.extend_from_slice(&last[..cut]);
                    assert_eq!(end_in(&file).unwrap(), end, "{compress:?} {cut}");
                    assert_eq!(end_in(&last[..cut]).unwrap(), 0, "{compress:?} {cut}");
                }
                file.truncate(end as usize);
                file.extend_from_slice(last);
                assert_eq!(end_in(&file).unwrap(), file.len() as u64);
            }
        }
    }

    #[test]
    fn many_small_messages() {
        let bytes = messages(Compress::None, 300, 100).concat().repeat(3000);
        assert_eq!(end_in(&bytes).unwrap(), bytes.len() as u64);
    }

    #[test]
    fn other_files_are_refused() {
        for text in [
            "A",
            "\n",
            "hello, world: what follows the length is not there",
            "a longer text\nof a few lines\n",
            "\u{5}hello",
            "\u{5}\u{8}\u{1}\u{1a}\u{1}2",
            "\0\0\0\0",
        ] {
            let error = end_in(text.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{text:?}");
            assert!(error.to_string().contains("no butler wrote"), "{error}");
        }
    }

    #[test]
    fn corruption_is_told_with_its_place() {
        let mut bytes = messages(Compress::None, 300, 1000).concat();
        let len = bytes.len();
        bytes.extend_from_slice(b"\0\0\0\0");
        let error = end_in(&bytes).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(
            error.to_string().contains(&format!("byte {len} ")),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn never_takes_a_message_that_is_none(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            good: bool,
        ) {
            let mut all = vec![];
            if good {
                all = messages(Compress::None, 300, 100).concat();
            }
            all.extend(bytes);
            if let Ok(end) = end_in(&all) {
                prop_assert_eq!(end, whole(&all));
                prop_assert!(!good || end > 0);
            }
        }
    }

    /// Bytes of the whole messages; what is in them need not be a bundle.
    fn whole(bytes: &[u8]) -> u64 {
        let mut at = 0;
        while let Ok(Some(view)) = MessageView::parse(&bytes[at..]) {
            at += view.len;
        }
        at as u64
    }

    #[test]
    fn what_is_found_is_what_a_reader_finds() {
        let bytes = messages(Compress::ZLIB, 3000, 20_000).concat();
        let cut = &bytes[..bytes.len() - 1];
        assert_eq!(end_in(cut).unwrap(), parse(cut).1 as u64);
    }
}
