//! Lines, however they are cut and timed, against a model that splits the
//! whole at once.

use butler::proto::logpb::log_entry::Content;
use butler::wire::descriptor::StreamType;

use super::driver::drive;

pub fn run(bytes: &[u8]) {
    let driven = drive(StreamType::Text, bytes);
    let mut lines: Vec<(Vec<u8>, String)> = Vec::new();
    let mut whole = 0;
    let mut at = 0;
    for log in &driven.logs {
        assert_eq!(log.sequence, whole);
        let Some(Content::Text(text)) = &log.content else {
            panic!("an entry of a text stream is text");
        };
        assert!(!text.lines.is_empty());
        for (number, line) in text.lines.iter().enumerate() {
            at += line.value.len() + line.delimiter.len();
            match lines.last_mut() {
                Some((value, delimiter)) if delimiter.is_empty() => {
                    value.extend_from_slice(&line.value);
                    delimiter.clone_from(&line.delimiter);
                }
                _ => lines.push((line.value.to_vec(), line.delimiter.clone())),
            }
            if line.delimiter.is_empty() {
                assert_eq!(number + 1, text.lines.len(), "a part is the last");
                assert_may_be_cut(&driven.written, at);
            } else {
                whole += 1;
            }
        }
    }
    assert!(lines == split(&driven.written), "other lines");
    assert_eq!(driven.delivered, driven.written.len() as u64);
}

/// Lines as the protocol has them.
fn split(text: &[u8]) -> Vec<(Vec<u8>, String)> {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    lines
        .map(|line| {
            let delimiter = match line {
                [.., b'\r', b'\n'] => "\r\n",
                [.., b'\n'] => "\n",
                _ => "",
            };
            (
                line[..line.len() - delimiter.len()].to_vec(),
                delimiter.into(),
            )
        })
        .collect()
}

/// A part of a line ends neither inside a character nor in `\r\n`.
fn assert_may_be_cut(text: &[u8], at: usize) {
    let (before, after) = text.split_at(at);
    assert!(!(before.ends_with(b"\r") && after.starts_with(b"\n")));
    for start in at.saturating_sub(3)..at {
        for end in at + 1..=(start + 4).min(text.len()) {
            let is_char =
                std::str::from_utf8(&text[start..end]).is_ok_and(|text| text.chars().count() == 1);
            assert!(!is_char, "cut inside a character at {at}");
        }
    }
}
