//! What a far end has that acknowledges: each connection has the messages in the
//! order in which they were given, from the first one on that the output had not
//! heard to be safe; the same message is the same bytes every time; and what the
//! output has heard to be safe is there.

use butler::proto::logpb::ButlerLogBundle;
use butler::wire::message::MessageView;

use crate::kernel::peer::Received;

/// The messages that the output has heard to be safe, in their order.
pub fn safe(
    connections: &[Received],
    given: &[ButlerLogBundle],
) -> Result<Vec<ButlerLogBundle>, String> {
    let mut first = 0;
    let mut bytes_of: Vec<Option<&[u8]>> = vec![None; given.len()];
    for (number, connection) in connections.iter().enumerate() {
        let wrong = |what: String| format!("connection {number}: {what}");
        let mut rest = &connection.bytes[..];
        let mut next = first;
        while let Some(view) = MessageView::parse(rest).map_err(|error| wrong(error.to_string()))? {
            let (bytes, behind) = rest.split_at(view.len);
            rest = behind;
            let bundle = view.bundle().map_err(|error| wrong(error.to_string()))?;
            if given.get(next) != Some(&bundle) {
                return Err(wrong(format!("another message than {next} comes")));
            }
            if bytes_of[next].replace(bytes).is_some_and(|it| it != bytes) {
                return Err(wrong(format!("message {next} comes with other bytes")));
            }
            next += 1;
        }
        let heard = connection.answers.heard as usize;
        if first + heard > next {
            let there = next - first;
            return Err(wrong(format!(
                "{heard} are said to be safe, {there} are there"
            )));
        }
        first += heard;
    }
    Ok(given[..first].to_vec())
}
