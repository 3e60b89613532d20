//! A segment of a spool, and what becomes of it: records, and between them bytes
//! that are none, records that were damaged, and others that are missing. Every
//! byte is looked at once, and what was not touched is found.

use std::io::Cursor;

use butler::spool::{Facts, Found, Header, Manifest, Part, Sums, Walk, Window, encode_head};

use super::input::Input;

const MARKER: u64 = 0x1f8e_7c32_a9b0_4d56;
/// What a body has at most, and what stands between records.
const LEN_MAX: usize = 80;

/// A record that nobody has touched.
struct Whole {
    at: u64,
    index: u32,
}

pub fn run(bytes: &[u8]) {
    // As they are they are hardly anything, which must be seen.
    let _ = Facts::parse(bytes);
    let _ = Header::read(Cursor::new(bytes)).expect("memory can be read");

    let mut input = Input::new(bytes);
    let (mut file, mut whole, mut index) = (Vec::new(), Vec::new(), 0u32);
    while !input.is_empty() {
        let kind = input.byte() % 5;
        let len = usize::from(input.byte()) % LEN_MAX;
        let at = file.len() as u64;
        match kind {
            0 | 1 => {
                record(&mut file, index, input.take(len));
                whole.push(Whole { at, index });
                index += 1;
            }
            2 => file.extend_from_slice(input.take(len)),
            3 => {
                record(&mut file, index, input.take(len));
                let damaged = at as usize + usize::from(input.byte()) % (file.len() - at as usize);
                file[damaged] ^= input.byte().max(1);
                index += 1;
            }
            _ => index += u32::from(input.byte()),
        }
    }
    walk(&file, &whole);
    // Cut anywhere, what is before is there still.
    let end = file.len() / 2;
    file.truncate(end);
    whole.retain(|record| record.at < end as u64);
    whole.pop();
    walk(&file, &whole);
}

fn record(file: &mut Vec<u8>, index: u32, body: &[u8]) {
    let part = Part {
        name: "s/t".parse().expect("it is a name"),
        bytes: body.len() as u64,
        entries: 1,
        terminal: Some(u64::from(index)),
    };
    let streams = vec![part];
    let mut head = Vec::new();
    encode_head(
        &mut head,
        MARKER,
        index,
        &Manifest { streams },
        Sums::of([body]),
    );
    file.extend_from_slice(&head);
    file.extend_from_slice(body);
}

fn walk(file: &[u8], whole: &[Whole]) {
    let (mut walk, mut window) = (Walk::new(MARKER, 0), Window::default());
    let mut source = Cursor::new(file);
    let len = file.len() as u64;
    let mut found = Vec::new();
    let (mut at, mut steps) = (0, 0);
    while let Some(next) = walk.next(&mut source, len, &mut window).expect("memory") {
        let (begins, ends) = match next {
            Found::Record(record) => {
                let body = &file[record.body_at as usize..record.end() as usize];
                if record.has_body(body) {
                    found.push((record.at, record.index));
                }
                (record.at, record.end())
            }
            Found::Lost(lost) => (lost.at, lost.at + lost.len),
        };
        assert_eq!(begins, at, "every byte is looked at, in order");
        // Records that are missing have no bytes, but there is one behind them.
        steps += 1;
        assert!(ends >= begins && ends <= len && steps <= 2 * len, "it ends");
        at = ends;
    }
    assert_eq!(at, len);
    for Whole { at, index } in whole {
        assert!(found.contains(&(*at, *index)), "record {index} at {at}");
    }
}
