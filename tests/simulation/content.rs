//! What clients write: byte i of stream s follows from s and i alone, so
//! whatever is lost, repeated or swapped can be told by where it belongs.

use butler::wire::descriptor::StreamType;
use butler::wire::header::MAGIC;
use butler::wire::varint;

use crate::random::Random;

/// What a client says first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    Good,
    /// With the name of client 0.
    NameOfTheFirst,
    BadMagic,
    BadJson,
    /// A length of more than 64 bits.
    BadLength,
}

/// The name of the stream of client `number`.
pub fn name(number: usize) -> String {
    format!("s/{number}")
}

/// The header that client `number` writes, with so many spaces in it.
pub fn header(number: usize, kind: Header, stream_type: StreamType, padding: usize) -> Vec<u8> {
    let name = match kind {
        Header::NameOfTheFirst => name(0),
        _ => name(number),
    };
    let end = if kind == Header::BadJson { "" } else { "}" };
    let spaces = " ".repeat(padding);
    let json = format!(
        r#"{{{spaces}"name":"{name}","type":"{}","tags":{{"n":"{number}"}}{end}"#,
        stream_type.as_str()
    );
    let mut header = match kind {
        Header::BadMagic => b"BTLR2\x1e".to_vec(),
        _ => MAGIC.to_vec(),
    };
    if kind == Header::BadLength {
        header.extend([0xff; 9]);
        header.push(2);
    } else {
        varint::push(&mut header, json.len() as u64);
    }
    header.extend(json.into_bytes());
    header
}

/// The first `len` bytes that client `number` writes after its header.
pub fn data(number: usize, stream_type: StreamType, len: usize) -> Vec<u8> {
    let mut random = Random::new(0xc0_ffee ^ (number as u64) << 32);
    let mut data = Vec::with_capacity(len + 100);
    let mut count = 0u64;
    while data.len() < len {
        match stream_type {
            StreamType::Text => push_line(&mut data, &mut random, number, count),
            StreamType::Binary => data.extend(random.bits().to_le_bytes()),
            StreamType::Datagram => push_datagram(&mut data, &mut random, number),
        }
        count += 1;
    }
    data.truncate(len);
    data
}

/// Lines that differ in every word: of characters of one to four bytes, with
/// each line end there is, a few too long for a bundle, a few no UTF-8.
fn push_line(data: &mut Vec<u8>, random: &mut Random, number: usize, count: u64) {
    data.extend(format!("{number}:{count}").bytes());
    let words = if random.one_in(40) {
        random.below(700)
    } else {
        random.below(8)
    };
    for _ in 0..words {
        let word = random.pick(&["x", "é", "☃", "😀", "\r", " "]);
        data.extend(format!("{word}{:x}", random.bits() as u16).bytes());
    }
    if random.one_in(20) {
        data.extend([0xe2, 0x98, 0xff]);
    }
    data.extend_from_slice(random.pick(&[&b"\n"[..], b"\n", b"\r\n", b"\r\r\n", b"\n\n"]));
}

/// Datagrams from none to several bundles long. Rarely one that can't be.
fn push_datagram(data: &mut Vec<u8>, random: &mut Random, number: usize) {
    if random.one_in(60) {
        let wrong: &[u8] = random.pick(&[
            &[0xff, 0xff, 0xff, 0xff, 0x7f][..],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ]);
        data.extend_from_slice(wrong);
        return;
    }
    let size = match random.below(10) {
        0 => 0,
        1 => random.below(9000),
        _ => random.below(200),
    };
    varint::push(data, size);
    let mut left = size as usize;
    while left > 0 {
        let word = (random.bits() ^ number as u64).to_le_bytes();
        let take = left.min(8);
        data.extend_from_slice(&word[..take]);
        left -= take;
    }
}
