//! The header with which a client opens a stream.

/// Appends the varint of protobuf and recordio.
pub fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Magic, length and JSON, as the Go client writes them: with a timestamp and
/// a tag.
pub fn header(name: &str, stream_type: &str) -> Vec<u8> {
    let json = format!(
        r#"{{"name":"{name}","type":"{stream_type}","timestamp":"2026-01-15T10:32:07.123456789Z","tags":{{"step":"bench"}}}}"#
    );
    let mut out = b"BTLR1\x1e".to_vec();
    push_varint(&mut out, json.len() as u64);
    out.extend_from_slice(json.as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_its_length() {
        let bytes = header("a/b", "text");
        assert_eq!(&bytes[..6], b"BTLR1\x1e");
        assert_eq!(bytes[6] as usize, bytes.len() - 7);
        let mut long = Vec::new();
        push_varint(&mut long, 300);
        assert_eq!(long, [0xac, 0x02]);
    }
}
