//! Bytes, however they are cut and timed.

use butler::proto::logpb::log_entry::Content;
use butler::wire::descriptor::StreamType;

use super::driver::drive;

pub fn run(bytes: &[u8]) {
    let driven = drive(StreamType::Binary, bytes);
    let mut all = Vec::new();
    for log in &driven.logs {
        assert_eq!(log.sequence, all.len() as u64);
        match &log.content {
            Some(Content::Binary(binary)) if !binary.data.is_empty() => {
                all.extend_from_slice(&binary.data);
            }
            other => panic!("not an entry of a binary stream: {other:?}"),
        }
    }
    assert!(all == driven.written, "other bytes");
    assert_eq!(driven.delivered, driven.written.len() as u64);
}
