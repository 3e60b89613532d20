//! Headers: what comes of one does not depend on how it is cut.

use butler::wire::descriptor::StreamProperties;
use butler::wire::go_json::repair;
use butler::wire::header::{HeaderError, HeaderReader, MAGIC};

use super::input::Input;

pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (magic, step) = (
        !input.byte().is_multiple_of(4),
        usize::from(input.byte()).max(1),
    );
    let rest = input.take(usize::MAX);
    let repaired = repair(rest);
    assert!(std::str::from_utf8(&repaired).is_ok());
    assert_eq!(repair(&repaired), repaired);
    // Most headers have the right magic and length: the JSON is what matters.
    let mut wire = Vec::new();
    if magic {
        wire.extend_from_slice(MAGIC);
        butler::wire::varint::push(&mut wire, rest.len() as u64);
    }
    wire.extend_from_slice(rest);
    let all = push(&wire, wire.len().max(1));
    let cut = push(&wire, step);
    match (all, cut) {
        (Ok(all), Ok(cut)) => {
            assert_eq!(all, cut);
            if let Some((properties, _)) = all {
                assert!(properties.tags.iter().all(|(key, value)| {
                    !key.is_empty() && key.len() <= 64 && value.len() <= 4096
                }));
                assert!(properties.name.as_str().len() <= 4096);
            }
        }
        (Err(all), Err(cut)) => {
            // What is wrong is found earlier where less is there.
            assert_eq!(std::mem::discriminant(&all), std::mem::discriminant(&cut));
            assert!(!all.to_string().is_empty());
        }
        (all, cut) => panic!("at once {all:?}, in pieces {cut:?}"),
    }
}

type Pushed = Result<Option<(StreamProperties, usize)>, HeaderError>;

/// Pushes pieces of `step` bytes; with the properties comes where they end.
fn push(wire: &[u8], step: usize) -> Pushed {
    let mut reader = HeaderReader::default();
    let mut at = 0;
    for piece in wire.chunks(step) {
        if let Some((properties, used)) = reader.push(piece)? {
            assert!(used <= piece.len());
            return Ok(Some((properties, at + used)));
        }
        at += piece.len();
    }
    Ok(None)
}
