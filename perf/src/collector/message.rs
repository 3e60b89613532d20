//! The message of a Publish call: only how long it is, by the bytes before it.
//! So it is discarded as it comes, and what was counted can still be compared
//! with what the butler says it sent.

/// What is before a message has at most so many bytes, with a topic of ours.
pub const HEAD_MAX: usize = 64;

/// gRPC's head: whether it is compressed, and the length.
const GRPC_HEAD: usize = 5;
/// The fields of `PublishRequest`, and the one of `PubsubMessage`, with their
/// wire type: bytes with a length before them.
const TOPIC: u8 = 1 << 3 | 2;
const MESSAGES: u8 = 2 << 3 | 2;
const DATA: u8 = 1 << 3 | 2;

/// Bytes of the one message of a call of `len` bytes that begins with `head`,
/// or what is wrong with it. A butler publishes messages one by one.
pub fn message_len(head: &[u8], len: usize, topic: &str) -> Result<usize, &'static str> {
    let mut rest = head;
    let grpc: [u8; GRPC_HEAD] = take(&mut rest, GRPC_HEAD)
        .and_then(|it| it.try_into().ok())
        .ok_or("the call has no head")?;
    let [compressed, length @ ..] = grpc;
    if compressed != 0 || u32::from_be_bytes(length) as usize != len - GRPC_HEAD {
        return Err("the head of the call is not of one plain request");
    }
    let topic_len = field(&mut rest, TOPIC).ok_or("the request has no topic")?;
    if take(&mut rest, topic_len) != Some(topic.as_bytes()) {
        return Err("the topic is not ours");
    }
    // Nothing may be behind: both reach to the end.
    for tag in [MESSAGES, DATA] {
        let field_len = field(&mut rest, tag).ok_or("the request has no message with data")?;
        if head.len() - rest.len() + field_len != len {
            return Err("the request has not exactly one message, with data alone");
        }
    }
    Ok(len - (head.len() - rest.len()))
}

fn take<'a>(from: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = from.split_at_checked(len)?;
    *from = rest;
    Some(taken)
}

/// The length of the field that must follow.
fn field(from: &mut &[u8], tag: u8) -> Option<usize> {
    let [first, rest @ ..] = *from else {
        return None;
    };
    *from = rest;
    if *first != tag {
        return None;
    }
    let mut value = 0;
    // Lengths have 32 bits at most.
    for shift in (0..35).step_by(7) {
        let [byte, rest @ ..] = *from else {
            return None;
        };
        *from = rest;
        value |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varint(mut value: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
        out
    }

    fn field_of(tag: u8, bytes: &[u8]) -> Vec<u8> {
        [&[tag][..], &varint(bytes.len()), bytes].concat()
    }

    fn call(topic: &str, messages: &[&[u8]]) -> Vec<u8> {
        let mut request = field_of(TOPIC, topic.as_bytes());
        for data in messages {
            request.extend(field_of(MESSAGES, &field_of(DATA, data)));
        }
        let mut call = vec![0];
        call.extend((request.len() as u32).to_be_bytes());
        call.extend(request);
        call
    }

    fn len_of(call: &[u8]) -> Result<usize, &'static str> {
        message_len(&call[..call.len().min(HEAD_MAX)], call.len(), "t/x")
    }

    #[test]
    fn messages_have_their_lengths() {
        for len in [0, 1, 100, 127, 128, 70_000, 3_000_000] {
            assert_eq!(len_of(&call("t/x", &[&vec![7; len]])), Ok(len));
        }
    }

    #[test]
    fn what_is_not_one_message_is_told() {
        let whole = call("t/x", &[b"abc"]);
        for len in 0..whole.len() {
            let mut cut = whole[..len].to_vec();
            assert!(len_of(&cut).is_err(), "{len}");
            if let Some(length) = len.checked_sub(GRPC_HEAD) {
                cut[1..GRPC_HEAD].copy_from_slice(&(length as u32).to_be_bytes());
                assert!(len_of(&cut).is_err(), "{len}");
            }
        }
        assert!(len_of(&call("t/y", &[b"abc"])).is_err());
        assert!(len_of(&call("t/x", &[])).is_err());
        assert!(len_of(&call("t/x", &[b"abc", b"abc"])).is_err());
        let mut compressed = whole;
        compressed[0] = 1;
        assert!(len_of(&compressed).is_err());
    }
}
