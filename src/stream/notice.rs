//! What a text stream says of its own size limit.

/// Where the limit was reached.
pub(super) fn at_the_cut(limit: u64) -> String {
    format!("[butler] the stream has reached its maximum of {limit} bytes; what follows is omitted")
}

/// At the end of the stream.
pub(super) fn at_the_end(omitted: u64, total: u64) -> String {
    format!("[butler] {omitted} bytes were omitted; the stream had {total} bytes")
}
