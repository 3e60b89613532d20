//! Where the last whole message of a file ends.
//!
//! A butler that is killed, or whose disk is full, leaves a message that is
//! cut. The next one goes on in its place. What is not a file of messages is
//! somebody else's and is never changed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::wire::message::{Compression, MessageError, MessageView, frames_len, put_frames};
use crate::wire::varint;

/// Bytes read at a time: more than what stands before a message's data, and
/// no more, as the data itself is passed over.
const WINDOW: usize = 4096;

/// Reads message by message and returns where the last whole one ends, at
/// most `file_len`. An error of kind `InvalidData` says that there is
/// something else than messages in the file, and where.
pub(super) fn end_of_messages(file: &File, file_len: u64) -> io::Result<u64> {
    let mut window = [0; WINDOW];
    let (mut start, mut filled) = (0, 0);
    let mut at = 0;
    while at < file_len {
        let end = start + filled as u64;
        let whole = end == file_len;
        if !whole && end.saturating_sub(at) < HEAD_MAX as u64 {
            start = at;
            filled = read(file, &mut window, start, file_len)?;
        }
        match head(&window[(at - start) as usize..filled]) {
            Ok(Some(len)) if len <= file_len - at => at += len,
            Ok(_) => break,
            Err(error) => return Err(not_messages(at, &error)),
        }
    }
    Ok(at)
}

fn read(file: &File, window: &mut [u8], at: u64, file_len: u64) -> io::Result<usize> {
    let want = (file_len - at).min(window.len() as u64) as usize;
    file.read_exact_at(&mut window[..want], at)?;
    Ok(want)
}

fn not_messages(at: u64, error: &MessageError) -> io::Error {
    let text = match at {
        0 => format!("it has content that no butler wrote ({error}), and is left alone"),
        _ => format!("what follows at byte {at} is no message ({error}), so it is left alone"),
    };
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// The longest that can stand before a message's data: far more than the
/// metadata that anybody writes.
const HEAD_MAX: usize = varint::MAX_LEN + 1024 + varint::MAX_LEN;

/// The length of the message at the front of `bytes`, of which they may hold
/// only a part; `None` if they end before the length does, but are what a
/// butler writes.
fn head(bytes: &[u8]) -> Result<Option<u64>, MessageError> {
    MessageView::parse(bytes)?;
    let Some((metadata, rest)) = frame(bytes) else {
        return match is_cut_metadata(bytes) {
            true => Ok(None),
            false => Err(MessageError::Metadata),
        };
    };
    Ok(match varint::get(rest) {
        Ok(Some((data, used))) => Some((metadata + used) as u64 + data),
        _ => None,
    })
}

/// The length of the frame at the front, and what follows it.
fn frame(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (len, used) = varint::get(bytes).ok()??;
    let end = used.checked_add(usize::try_from(len).ok()?)?;
    Some((end, bytes.get(end..)?))
}

/// Short text, say, would pass for the beginning of metadata: that begins
/// with a length, and any byte is one.
fn is_cut_metadata(bytes: &[u8]) -> bool {
    [Compression::None, Compression::Zlib]
        .into_iter()
        .any(|compression| {
            let mut frames = [0; crate::wire::message::FRAMES_LEN_MAX];
            put_frames(&mut frames, compression, 0);
            // The length of no data is one byte.
            frames[..frames_len(compression, 0) - 1].starts_with(bytes)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::compress::Encoder;
    use crate::output::testing::{bundles, lines, parse};
    use crate::wire::descriptor::StreamType;
    use proptest::prelude::*;
    use std::io::Write;

    fn end_in(bytes: &[u8]) -> io::Result<u64> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        end_of_messages(&file, bytes.len() as u64)
    }

    fn messages(compression: Compression, target: usize, bytes: usize) -> Vec<Vec<u8>> {
        let mut encoder = Encoder::new(compression);
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
        for compression in [Compression::None, Compression::Zlib] {
            for (target, bytes) in [(300, 600), (3000, 20_000), (300_000, 700_000)] {
                let all = messages(compression, target, bytes);
                let (last, before) = all.split_last().unwrap();
                let mut file = before.concat();
                let end = file.len() as u64;
                assert!(!before.is_empty());
                assert_eq!(end_in(&file).unwrap(), end);
                let step = last.len().div_ceil(500);
                for cut in (0..40.min(last.len())).chain((40..last.len()).step_by(step)) {
                    file.truncate(end as usize);
                    file.extend_from_slice(&last[..cut]);
                    assert_eq!(end_in(&file).unwrap(), end, "{compression:?} {cut}");
                    assert_eq!(end_in(&last[..cut]).unwrap(), 0, "{compression:?} {cut}");
                }
                file.truncate(end as usize);
                file.extend_from_slice(last);
                assert_eq!(end_in(&file).unwrap(), file.len() as u64);
            }
        }
    }

    #[test]
    fn many_small_messages() {
        let bytes = messages(Compression::None, 300, 100).concat().repeat(3000);
        assert!(bytes.len() > 50 * WINDOW);
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
        let mut bytes = messages(Compression::None, 300, 1000).concat();
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
                all = messages(Compression::None, 300, 100).concat();
            }
            all.extend(bytes);
            if let Ok(end) = end_in(&all) {
                prop_assert_eq!(end, whole(&all));
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
        let bytes = messages(Compression::Zlib, 3000, 20_000).concat();
        let cut = &bytes[..bytes.len() - 1];
        assert_eq!(end_in(cut).unwrap(), parse(cut).1 as u64);
    }
}
