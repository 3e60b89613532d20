//! What a bundle holds of a stream, without what the wire puts around it.

use crate::bundle::{Bundle, BundleStream};
use crate::wire::walk::{self, ContentView, Fields, Malformed, Value};

/// The field of a bundle's Entry that has a LogEntry.
const LOGS: u64 = 5;

/// The contents of the stream's entries, in order.
pub(super) fn entries<'a>(
    bundle: &'a Bundle,
    stream: &'a BundleStream,
) -> impl Iterator<Item = Result<ContentView<'a>, Malformed>> {
    bundle
        .logs(stream)
        .flat_map(Fields)
        .filter_map(|field| match field {
            Ok((LOGS, Value::Bytes(entry))) => walk::content(entry).transpose(),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        })
}

/// The bytes that the client of a text or binary stream wrote.
pub(super) fn gather(
    bundle: &Bundle,
    stream: &BundleStream,
    bytes: &mut Vec<u8>,
) -> Result<(), Malformed> {
    bytes.clear();
    for content in entries(bundle, stream) {
        match content? {
            ContentView::Text(text) => {
                for line in walk::lines(text) {
                    let (value, delimiter) = line?;
                    bytes.extend_from_slice(value);
                    // A call to copy one byte is a sixth of a short line's cost.
                    match delimiter {
                        [byte] => bytes.push(*byte),
                        _ => bytes.extend_from_slice(delimiter),
                    }
                }
            }
            ContentView::Binary(data) | ContentView::Datagram { data, .. } => {
                bytes.extend_from_slice(data);
            }
        }
    }
    Ok(())
}
